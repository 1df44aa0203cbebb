"""The PostgreSQL store: any number of nodes on one database.

READ COMMITTED suffices, since a transaction that writes to a tenant holds the head of its log from before its first
read there. Nothing depends on advisory locks or on NOTIFY, so that databases which only speak PostgreSQL's protocol
stay possible, and SERIALIZABLE works too: what fails to serialise is reported as :class:`Conflicted` and run again.
"""

import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import RawCursor
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8Dumper

from vaultctl.domain.errors import AlreadyExists, InvalidInput, VaultMissing, VaultUnavailable, VerificationFailed
from vaultctl.domain.times import SECOND
from vaultctl.store import statements
from vaultctl.store.interface import Clock, Conflicted, R, Where
from vaultctl.store.migrations import MIGRATIONS, Migration
from vaultctl.store.pending import Pending, Statement
from vaultctl.store.rows import EntryRow, LogRow, Row

Isolation = Literal["READ COMMITTED", "SERIALIZABLE"]
_Connection = psycopg.Connection[tuple[Any, ...]]
_Cursor = psycopg.Cursor[tuple[Any, ...]]

_MOST_READERS = 8
_PATIENCE = 10.0
"""Seconds to wait for other writers, and for the answer to a commit that got none."""

_STALE_BATCH = 24 * 3600 * SECOND
_CLOCK_TOLERANCE = 5 * 60 * SECOND
_NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_CLOCK_AND_LAST_ENTRY: LiteralString = f"SELECT {_NOW}, (SELECT max(last_time) FROM logs)"
_LAST_BATCH: LiteralString = "SELECT id FROM batches WHERE node = %s FOR UPDATE"
_ROLLBACKS = count()
_HAS_PROGRAMS = """EXISTS (
    SELECT 1 FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace
    AND (
        c.relkind IN ('v', 'm', 'f', 'p') OR c.relrowsecurity
        OR c.relhasrules AND EXISTS (SELECT 1 FROM pg_rewrite WHERE ev_class = c.oid)
        OR c.relhastriggers AND EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = c.oid)
    )
)"""
_AGAIN = (
    pg.SerializationFailure,
    pg.DeadlockDetected,
    pg.UniqueViolation,  # two nodes make the same tenant, or the schema
    pg.LockNotAvailable,
    pg.QueryCanceled,
    pg.ReadOnlySqlTransaction,  # the primary has become a standby
)


class PostgresStore:
    """A vault in a PostgreSQL database."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        lock_timeout: float = _PATIENCE,
        migrations: Sequence[Migration] = MIGRATIONS,
        isolation: Isolation = "READ COMMITTED",
        before_commit: Callable[[_Connection], None] | None = None,
    ) -> None:
        """Open the vault at ``url`` and bring its schema up to date.

        Args:
            url: The database, which must hold a vault's tables (:func:`create_schema`).
            clock: Where the time comes from, if not from the database; tests move it.
            lock_timeout: Seconds to wait for other writers.
            migrations: The schema's history.
            isolation: Of write transactions.
            before_commit: Called before every commit; tests make it fail.

        Raises:
            VaultMissing: The database holds no vault.
            VaultUnavailable: It can't be reached, or is of a newer vaultctl.
        """
        self._info = _complete(url)
        self._clock = clock
        self._lock_timeout = lock_timeout
        self._isolation = isolation
        self._before_commit = before_commit
        self._closed = False
        self._was_open = False
        self._turn = threading.Lock()
        self._writer: _Connection | None = None
        self._node = f"node_{secrets.token_hex(16)}"
        self._readers: list[_Connection] = []
        self._readers_free = threading.Semaphore(_MOST_READERS)
        self._readers_lock = threading.Lock()
        try:
            current = self.schema_version
            if current == 0:
                raise VaultMissing("The database holds no vault.", hint="Create one: vaultctl init --database URL")
            _require_known(current, migrations)
            if current < migrations[-1].version:
                create_schema(url, migrations)
        except BaseException:
            self.close()
            raise
        self._was_open = True

    @property
    def schema_version(self) -> int:
        """The version of the database's schema."""
        with self._translated(), self._reader() as connection:
            return _schema_version(connection)

    @contextmanager
    def read(self, *, by_clock: bool = False) -> Iterator["PostgresTransaction"]:
        """A read transaction: a snapshot that never waits for writers."""
        with self._translated(), self._reader() as connection:
            tx = PostgresTransaction(
                connection, self._clock, ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",), writable=False
            )
            try:
                if by_clock:
                    tx.take_time_from_clock()
                yield tx
            except BaseException:
                if tx.has_begun and not connection.broken:
                    _roll_back(connection)
                raise
            if tx.has_begun:
                _say(connection, "COMMIT")  # of nothing: psycopg keeps what it has prepared, as it would not otherwise

    @contextmanager
    def write(self, patience: float | None = None) -> Iterator["PostgresTransaction"]:
        """A write transaction, of which a process has one at a time; commits on exit, rolls back on an exception.

        Args:
            patience: Seconds to wait for other writers; the store's own if None.
        """
        wait = self._lock_timeout if patience is None else patience
        if not self._turn.acquire(timeout=wait):
            raise _busy(wait)
        try:
            with self._translated():
                connection = self._writing()
                opening = [f"BEGIN ISOLATION LEVEL {self._isolation} READ WRITE"]
                if patience is not None:
                    opening.append(f"SET LOCAL lock_timeout = {max(1, int(wait * 1000))}")
                try:
                    tx = PostgresTransaction(connection, self._clock, opening, writable=True)
                    yield tx
                    batch = secrets.token_hex(16)
                    # Asked once the tables that were written are locked: no trigger comes to them before the commit.
                    has_programs = tx.send_pending(
                        f"INSERT INTO batches VALUES (%s, %s, {_NOW}) ON CONFLICT (node)"
                        " DO UPDATE SET id = excluded.id, committed_at = excluded.committed_at"
                        f" RETURNING {_HAS_PROGRAMS}",
                        (self._node, batch),
                    )
                    _require_no_programs(has_programs)
                    if self._before_commit is not None:
                        self._before_commit(connection)
                except BaseException:
                    self._roll_back(connection)
                    raise
                self._commit(connection, batch)
        finally:
            if self._closed:  # meanwhile, by a thread that could not wait for this
                self._close_writer()
            self._turn.release()

    def maintain(self) -> None:
        """Nothing: the database sees to itself."""

    def clock_and_last_entry(self) -> tuple[int, int]:
        """The database's time and that of the last audit entry, in microseconds since 1970."""
        with self._translated(), self._reader() as connection:
            return _clock_and_last_entry(connection, self._clock)

    def problems(self) -> list[str]:
        """Nothing: PostgreSQL has no check of its own to ask for."""
        return []

    def warnings(self) -> list[str]:
        """Whether a failover would lose what was acknowledged."""
        with self._translated(), self._reader() as connection:
            standbys = _one(connection, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
            names = _one(connection, "SHOW synchronous_standby_names")
            commit = _one(connection, "SHOW synchronous_commit")
        if not standbys or (names and commit not in ("off", "local")):
            return []
        return [
            "Replication is asynchronous: a failover loses leases and audit entries that were acknowledged. "
            "Set synchronous_standby_names, and synchronous_commit to on."
        ]

    def close(self) -> None:
        """Close for good."""
        self._closed = True
        if self._turn.acquire(timeout=self._lock_timeout):  # else the transaction that has the turn closes the writer
            try:
                self._close_writer()
            finally:
                self._turn.release()
        with self._readers_lock:
            self._close_idle_readers()

    # Connections

    @contextmanager
    def _reader(self) -> Iterator[_Connection]:
        self._require_open()
        if not self._readers_free.acquire(timeout=self._lock_timeout):
            raise _busy(self._lock_timeout)
        try:
            with self._readers_lock:
                connection = self._readers.pop() if self._readers else None
            connection = connection or self._connect()
            try:
                yield connection
            finally:
                with self._readers_lock:
                    if self._closed or connection.broken:
                        connection.close()
                        self._close_idle_readers()  # what broke one broke them all
                    else:
                        self._readers.append(connection)
        finally:
            self._readers_free.release()

    def _close_idle_readers(self) -> None:
        while self._readers:
            self._readers.pop().close()

    def _close_writer(self) -> None:
        if self._writer is not None:
            with suppress(psycopg.Error):
                self._writer.execute("DELETE FROM batches WHERE node = %s", (self._node,))
            self._writer.close()
            self._writer = None

    def _writing(self) -> _Connection:
        self._require_open()
        if self._writer is not None and self._writer.broken:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            connection = self._connect()
            try:
                _require_no_programs(_one(connection, f"SELECT {_HAS_PROGRAMS}"))
                # Waits for a commit of an earlier connection that is still under way.
                connection.execute(
                    f"INSERT INTO batches VALUES (%s, '', {_NOW}) ON CONFLICT (node) DO NOTHING", (self._node,)
                )
                connection.execute(f"DELETE FROM batches WHERE committed_at < {_NOW} - %s", (_STALE_BATCH,))
            except BaseException:
                connection.close()
                raise
            self._writer = connection
        return self._writer

    def _connect(self) -> _Connection:
        try:
            connection = psycopg.connect(self._info, autocommit=True, prepare_threshold=1)
        except psycopg.Error:
            if self._was_open:  # it was there a moment ago: perhaps it fails over
                raise Conflicted from None
            raise
        try:
            connection.adapters.register_dumper(int, Int8Dumper)
            # A node that was stopped must not hold the others for ever.
            _say(
                connection,
                f"""SET idle_in_transaction_session_timeout = 10000; SET statement_timeout = 60000;
                SET lock_timeout = {int(self._lock_timeout * 1000)};
                SELECT set_config('synchronous_commit', 'on', false)
                WHERE current_setting('synchronous_commit') = 'off'""",
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _require_open(self) -> None:
        if self._closed:
            raise VaultUnavailable("The vault was closed.", hint="Open it again.")

    # Ends of transactions

    def _roll_back(self, connection: _Connection) -> None:
        try:
            _roll_back(connection)
        except psycopg.Error:
            connection.close()
            self._writer = None

    def _commit(self, connection: _Connection, batch: str) -> None:
        try:
            with _warnings(connection) as warned:
                _say(connection, "COMMIT")
            if warned and not self._was_committed(batch):
                raise Conflicted
        except _AGAIN:
            self._roll_back(connection)
            raise Conflicted from None
        except psycopg.Error:
            connection.close()
            self._writer = None
            if not self._was_committed(batch):
                raise Conflicted from None

    def _was_committed(self, batch: str) -> bool:
        """Whether a commit that got no answer took place. Waits for one that is still under way."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                connection = self._writing()
                # The lock is itself a commit: once that has reached the standbys, so has all before it.
                with _warnings(connection) as warned:
                    found = _one(connection, _LAST_BATCH, (self._node,))
                if found is not None and not warned:
                    return bool(found == batch)
            except (psycopg.Error, Conflicted):
                pass
            time.sleep(0.1)
        raise VaultUnavailable(
            "The database went away during a commit: whether it took place is not known.",
            hint="Look whether it did before you repeat it; with the same Idempotency-Key a repetition is safe.",
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """PostgreSQL's errors as ours. Their own texts can quote values, and are not shown."""
        problem: Exception
        try:
            yield
            return
        except _AGAIN as error:
            # Entries are added by whoever holds their log: one that is there already will be there again, and trying
            # for long would keep all the others waiting.
            is_entry = isinstance(error, pg.UniqueViolation) and error.diag.table_name == EntryRow.table
            problem = _row_refused() if is_entry else Conflicted()
        except (pg.DataError, UnicodeEncodeError, OverflowError):
            problem = InvalidInput(
                "The request holds text that is not Unicode, or a number that is out of range.", hint="Write it anew."
            )
        except pg.IntegrityError:
            problem = _row_refused()
        except (pg.UndefinedTable, pg.UndefinedColumn):
            problem = VaultUnavailable(
                "The vault's database is damaged: a table or a column is missing.", hint="Restore it from a backup."
            )
        except psycopg.Error as error:
            if self._was_open and (error.sqlstate is None or error.sqlstate[:2] in ("08", "25", "57")):
                problem = Conflicted()  # the connection broke, or the server shuts down
            else:
                state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
                problem = VaultUnavailable(
                    f"The database can't be used{state}.", hint="Look at its URL, its server and its permissions."
                )
        raise problem from None


class PostgresTransaction:
    """One transaction on one connection.

    What it writes is sent together, before the table is read. It begins with its first statement, and what is sent
    together is on its way at once (libpq's pipeline mode), so that a group of operations takes few round trips.
    """

    def __init__(
        self, connection: _Connection, clock: Clock | None, opening: Sequence[LiteralString], *, writable: bool
    ) -> None:
        """Use ``connection``; ``opening`` are the statements that begin the transaction."""
        self._connection = connection
        self._clock = clock
        self._opening = opening
        self._now: int | None = None
        self._pending = Pending("$", few=True)
        self.has_begun = False
        self.writable = writable

    @property
    def now(self) -> int:
        """The transaction's time, read once; never below the last entry of any log."""
        if self._now is None:
            self._now = self._time(self._ask((_CLOCK_AND_LAST_ENTRY, ()))[0])
        return self._now

    def take_time_from_clock(self) -> None:
        """Take the clock's word for the time, whatever the last entries say."""
        self._now = _first(self._ask((f"SELECT {_NOW}", ()))[0]) if self._clock is None else self._clock()

    def _time(self, answer: _Cursor) -> int:
        clock, last = _read_clock_and_last_entry(answer, self._clock)
        if clock < last - _CLOCK_TOLERANCE:
            behind = (last - clock) // (60 * SECOND)
            raise VaultUnavailable(
                f"The database's clock is {behind} minutes behind the vault's last audit entry.",
                hint="Set the clock; vaultctl doctor shows both times.",
            )
        return max(clock, last)

    def hold(self, tenants: Collection[str], *, wait: bool = True) -> dict[str, LogRow]:
        """Take the heads of these tenants' logs until the transaction ends; answers those that are held."""
        taking = f"SELECT {statements.columns(LogRow)} FROM logs WHERE tenant = ANY(%s) ORDER BY tenant FOR UPDATE"
        # One after the other: the time is read once the heads are held.
        heads, clock = self._ask(
            (taking if wait else taking + " SKIP LOCKED", (sorted(tenants),)), (_CLOCK_AND_LAST_ENTRY, ())
        )
        self._now = self._time(clock)
        return {row[0]: LogRow(*row) for row in heads}

    def get(self, row_type: type[R], *key: str | int) -> R | None:
        """The row with that primary key, or None."""
        row = self._read(row_type, statements.select_by_key(row_type, "%s"), key).fetchone()
        return None if row is None else row_type(*row)

    def find(
        self, row_type: type[R], *conditions: Where, order: str = "", descending: bool = False, limit: int | None = None
    ) -> list[R]:
        """The rows that meet all conditions; ``order`` names columns, separated by commas."""
        sql, parameters = statements.select(row_type, conditions, "%s", order=order, descending=descending, limit=limit)
        return [row_type(*row) for row in self._read(row_type, sql, parameters)]

    def count(self, row_type: type[Row], *conditions: Where) -> int:
        """How many rows meet all conditions."""
        clause, parameters = statements.where(conditions, "%s")
        return int(_first(self._read(row_type, f"SELECT count(*) FROM {row_type.table}{clause}", parameters)))

    def totals(
        self, row_type: type[Row], by: Sequence[str], *conditions: Where, of: str | None = None
    ) -> list[tuple[Any, ...]]:
        """How many rows that meet all conditions have each of the values of ``by``, which come first."""
        sql, parameters = statements.totals(row_type, by, conditions, "%s", of)
        return [(*values, int(total)) for *values, total in self._read(row_type, sql, parameters)]

    def first_entry_from(self, tenant: str, time: int) -> int | None:
        """The number that the first entry from a time on has in a log, or would have; None if entries are missing."""
        found = self._read(EntryRow, statements.first_entry_from("%s"), (time, tenant)).fetchone()
        return None if found is None else int(found[0])

    def insert(self, row: Row) -> None:
        """Add a row."""
        self._pending.add(row)

    def update(self, row: Row, columns: Sequence[str] | None = None) -> None:
        """Replace the row that has the same primary key, or only the ``columns`` of it that change."""
        self._pending.replace(row, columns)

    def delete(self, row_type: type[Row], *conditions: Where) -> None:
        """Remove the rows that meet all conditions; at least one is needed."""
        clause, parameters = statements.where(conditions, "%s")
        if not clause:
            raise ValueError("delete needs a condition")
        self._read(row_type, f"DELETE FROM {row_type.table}{clause}", parameters)

    def flush(self) -> None:
        """Send what was written, so that not all of it is kept in memory until the end."""
        self.send_pending("SELECT 1", ())

    def send_pending(self, last: LiteralString, parameters: Sequence[Any]) -> Any:
        """Send what was written and a last statement; answers the one value that this one returns."""
        return _first(self._send(self._pending.all(), last, parameters))

    def _read(self, row_type: type[Row], sql: str, parameters: Sequence[Any]) -> _Cursor:
        return self._send(self._pending.of(row_type), sql, parameters)

    def _send(self, pending: Sequence[Statement], sql: str, parameters: Sequence[Any]) -> _Cursor:
        """Send ``pending`` and another statement; answers the cursor of that."""
        if not pending:
            return self._ask((sql, parameters))[0]
        with self._connection.pipeline():
            self._begin()
            # As they are: looking for marks in a statement of thousands takes longer than all the rest.
            written = [RawCursor(self._connection).execute(it.sql, it.parameters) for it in pending]
            last = self._connection.execute(sql, parameters)
        for statement, cursor in zip(pending, written, strict=True):
            statement.require_rows(cursor.rowcount)
        return last

    def _ask(self, *asked: tuple[str, Sequence[Any]]) -> list[_Cursor]:
        """Run statements, all of them sent before the first answer is read."""
        if self.has_begun and len(asked) == 1:
            return [self._connection.execute(*asked[0])]
        with self._connection.pipeline():
            self._begin()
            return [self._connection.execute(*one) for one in asked]

    def _begin(self) -> None:
        if not self.has_begun:
            self.has_begun = True
            for statement in self._opening:
                _say(self._connection, statement)


def create_schema(url: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Make the vault's tables, or bring them up to date; several nodes may do so at once.

    Raises:
        VaultUnavailable: The database can't be reached, or is of a newer vaultctl.
        AlreadyExists: It holds other tables with these names.
    """
    info = _complete(url)
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with psycopg.connect(info, autocommit=True) as connection:
                _migrate(connection, migrations)
            return
        except (*_AGAIN, pg.DuplicateTable, pg.DuplicateObject):  # another node was quicker
            if time.monotonic() > deadline:
                raise _busy(_PATIENCE) from None
            time.sleep(0.02)
            continue
        except psycopg.Error as error:
            state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
            problem = VaultUnavailable(
                f"The database can't be used{state}.", hint="Look at its URL, its server and its permissions."
            )
        raise problem from None


def _migrate(connection: _Connection, migrations: Sequence[Migration]) -> None:
    current = _schema_version(connection)
    _require_known(current, migrations)
    if current == 0:
        _require_no_strangers(connection, migrations)
    for migration in migrations:
        if migration.version <= current:
            continue
        with connection.transaction():
            if migration.version == 1:
                connection.execute("CREATE TABLE IF NOT EXISTS schema_versions (version BIGINT PRIMARY KEY NOT NULL)")
            # Whoever comes second waits here, and then finds the key taken.
            connection.execute("INSERT INTO schema_versions VALUES (%s)", (migration.version,))
            for statement in migration.statements:
                connection.execute(_dialect(statement))


def _dialect(statement: str) -> LiteralString:
    """A statement of the schema as PostgreSQL has it; text is ordered by its bytes, as in SQLite."""
    statement = re.sub(r"\bBLOB\b", "BYTEA", statement).removesuffix("WITHOUT ROWID")
    return re.sub(r"\bTEXT\b", 'TEXT COLLATE "C"', statement)


def _schema_version(connection: _Connection) -> int:
    if _one(connection, "SELECT to_regclass('schema_versions')") is None:
        return 0
    version = _one(connection, "SELECT max(version) FROM schema_versions")
    if not isinstance(version, int | None):
        raise VaultUnavailable(
            "The database has a table schema_versions that is not vaultctl's.",
            hint="Give the vault a database of its own.",
        )
    return version or 0


def _require_known(current: int, migrations: Sequence[Migration]) -> None:
    newest = migrations[-1].version
    if current > newest:
        raise VaultUnavailable(
            f"The database has schema {current}, from a newer vaultctl; this one knows up to {newest}.",
            hint="Upgrade vaultctl: pip install -U vaultctl",
        )


def _require_no_strangers(connection: _Connection, migrations: Sequence[Migration]) -> None:
    """Raise AlreadyExists if tables of somebody else's have the names of ours."""
    names = re.findall(r"CREATE TABLE (\w+)", "\n".join(sql for step in migrations for sql in step.statements))
    found = connection.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%s)",
        (names,),
    ).fetchall()
    if found and _schema_version(connection) == 0:
        raise AlreadyExists(
            "The database holds tables of another program that have the names of the vault's.",
            hint="Give the vault a database of its own.",
        )


def _require_no_programs(found: bool) -> None:
    """The vault has no triggers, rules or policies: one that is there undoes or hides what the vault does."""
    if found:
        raise VerificationFailed(
            "The vault's database holds a trigger, a rule or a view, which the vault did not make.",
            hint="Restore it from a backup, and find out who can write to it.",
        )


@contextmanager
def _warnings(connection: _Connection) -> Iterator[list[str]]:
    """The SQLSTATEs of what the database warns of meanwhile.

    A commit whose wait for a synchronous standby was cancelled is answered like any other, but for a warning: it took
    place, and a failover may lose it.
    """
    states: list[str] = []

    def note(notice: pg.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            states.append(notice.sqlstate or "")

    connection.add_notice_handler(note)
    try:
        yield states
    finally:
        connection.remove_notice_handler(note)


def _clock_and_last_entry(connection: _Connection, clock: Clock | None) -> tuple[int, int]:
    return _read_clock_and_last_entry(connection.execute(_CLOCK_AND_LAST_ENTRY), clock)


def _read_clock_and_last_entry(answer: _Cursor, clock: Clock | None) -> tuple[int, int]:
    now, last = answer.fetchone() or (0, 0)
    return (now if clock is None else clock()), last or 0


def _roll_back(connection: _Connection) -> None:
    """Undo a transaction.

    What was sent behind a statement that failed never was prepared, though psycopg takes it for prepared. It forgets
    that when it sees a rollback, if the statement is not one that it has seen before: hence the number.
    """
    _say(connection, f"ROLLBACK /* {next(_ROLLBACKS)} */")


def _say(connection: _Connection, statement: LiteralString) -> None:
    """Run a statement that begins or ends a transaction: preparing it would be of no use."""
    connection.execute(statement, prepare=False)


def _one(connection: _Connection, statement: LiteralString, parameters: Sequence[Any] = ()) -> Any:
    return _first(connection.execute(statement, parameters or None))


def _first(answer: _Cursor) -> Any:
    row = answer.fetchone()
    return None if row is None else row[0]


def _complete(url: str) -> str:
    """The connection's parameters: those of the URL, and ours where it says nothing."""
    try:
        named = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        named = None
    if named is None:
        raise InvalidInput(
            "The database's URL is malformed.", hint="For example postgresql://vault@db.example.com/vault"
        )
    usual = {
        "target_session_attrs": "read-write",  # so that the new primary is found among several hosts
        "connect_timeout": "5",
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": "20000",
        "application_name": "vaultctl",
        "client_encoding": "UTF8",
    }
    return make_conninfo("", **(usual | {key: value for key, value in named.items() if value is not None}))


def _row_refused() -> VerificationFailed:
    return VerificationFailed("The vault's database refused a row.", hint="vaultctl doctor")


def _busy(seconds: float) -> VaultUnavailable:
    return VaultUnavailable(
        f"Other writers have kept the vault busy for {seconds:g} seconds.",
        hint="Try again, or look for a stuck process.",
    )
