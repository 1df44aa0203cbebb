"""The SQLite store: WAL mode, full synchronous commits, any number of processes.

Writers take turns (:mod:`vaultctl.store.turnstile`) and hold the turn around checkpoints and closing too: SQLite
before 3.51.3 can reset the WAL wrongly when a checkpoint meets a writer (sqlite.org/wal.html, "the WAL-reset bug").
Readers use read-only connections, which never checkpoint, and never wait.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vaultctl.domain.errors import InvalidInput, VaultError, VaultMissing, VaultUnavailable, VerificationFailed
from vaultctl.domain.times import SECOND
from vaultctl.store import statements
from vaultctl.store.interface import Clock, R, Where
from vaultctl.store.migrations import MIGRATIONS, Migration
from vaultctl.store.pending import Pending, Statement
from vaultctl.store.rows import EntryRow, LogRow, Row
from vaultctl.store.turnstile import Turnstile

_CHECKPOINT_PAGES = 1_000
"""A WAL of so many pages is checkpointed by the commit that makes it as long."""

_DUE_PAGES = 700
"""A WAL of about so many pages is checkpointed while nobody waits, so that no commit need do it."""

_PAGES_OF_COMMIT = 20
"""Pages that a commit writes beside one for each row, about."""

_WAL_BYTES = 5_000_000
"""A WAL that a long read has made larger than this shrinks again. Else its file stays: a commit into it is quicker."""

_CLOSING_BYTES = 400_000
"""A writer that leaves a WAL file larger than this empties it: whoever opens the database next reads what is there."""

_MOST_STATEMENTS = 500
"""That a writer keeps prepared: an INSERT for each number of rows of the tables that grow."""

_MOST_HEADS = 1_000

_CLOCK_TOLERANCE = 5 * 60 * SECOND


def system_clock() -> int:
    """The operating system's time in microseconds since 1970."""
    return time.time_ns() // 1000


class SqliteStore:
    """A vault's database file."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock = system_clock,
        lock_timeout: float = 10.0,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        """Open the database at ``path`` and bring its schema up to date.

        Args:
            path: The file, which must exist (:func:`create_database`).
            clock: Where the time comes from; tests move it.
            lock_timeout: Seconds to wait for other writers.
            migrations: The schema's history.

        Raises:
            VaultMissing: There is no such file.
            VaultUnavailable: It is damaged, unreadable, or of a newer vaultctl.
        """
        self.path = path = _existing(path)
        self._file = _file_identity(path)
        self._closed = False
        self._clock = clock
        self._turnstile = Turnstile(path, lock_timeout)
        self._writer: sqlite3.Connection | None = None
        self._heads: _Heads | None = None
        self._pages = 0  # that the WAL has of this store, about
        self._readers: list[sqlite3.Connection] = []
        self._connections_lock = threading.RLock()  # a signal handler may close
        try:
            self._migrate(migrations)
        except BaseException:
            self.close()
            raise

    @property
    def schema_version(self) -> int:
        """The version of the database's schema."""
        with self._reader() as connection:
            return _schema_version(connection)

    @contextmanager
    def read(self, *, by_clock: bool = False) -> Iterator["SqliteTransaction"]:
        """A read transaction: a snapshot that never waits for writers."""
        self._require_open()
        with self._reader() as connection:
            connection.execute("BEGIN")
            try:
                now = self._clock() if by_clock else self._now(_last_entry(connection))
                yield SqliteTransaction(connection, now, writable=False)
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def write(self, patience: float | None = None) -> Iterator["SqliteTransaction"]:
        """A write transaction, the only one at a time; commits on exit, rolls back on an exception.

        Args:
            patience: Seconds to wait for other writers; the store's own if None.
        """
        with self._turnstile.turn(patience), _translated(self.path):
            self._require_open()
            self._require_same_file()
            connection = self._writer or self._open_writer()
            connection.execute("BEGIN IMMEDIATE")
            try:
                heads = self._heads_now(connection)
                tx = SqliteTransaction(connection, self._now(heads.last_entry), writable=True, heads=heads)
                yield tx
                tx.send_pending()
                connection.execute("COMMIT")
                self._pages += tx.rows + _PAGES_OF_COMMIT
            except BaseException:
                self._heads = None
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def maintain(self) -> None:
        """Checkpoint the WAL if it has grown, unless another writer is busy. If that fails, a commit tries again."""
        if self._pages < _DUE_PAGES or self._writer is None:
            return
        with suppress(VaultUnavailable), self._turnstile.turn(0.0), _translated(self.path):
            self._pages = 0
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def clock_and_last_entry(self) -> tuple[int, int]:
        """The system's time and that of the last audit entry, in microseconds since 1970."""
        with self._reader() as connection:
            return self._clock(), _last_entry(connection)

    def problems(self) -> list[str]:
        """What SQLite's own check finds wrong with the file; empty if nothing."""
        with self._reader() as connection:
            rows = [str(row[0]) for row in connection.execute("PRAGMA quick_check(20)")]
        return [] if rows == ["ok"] else rows

    def warnings(self) -> list[str]:
        """Nothing: a commit is on the disk."""
        return []

    def close(self) -> None:
        """Close for good: the writer under the lock and before the last reader, so that none checkpoints by itself."""
        with self._connections_lock:  # a writer that is about to be opened is not any more, or is seen below
            self._closed = True
        if self._writer is not None:
            with suppress(VaultError, sqlite3.Error), self._reader(), self._turnstile.turn():
                self._empty_wal(self._writer)
                self._writer.close()
            self._writer.close()  # also where there was no turn: whoever has it keeps this from being the last
            self._writer = None
        with self._connections_lock:
            while self._readers:
                self._readers.pop().close()
        self._turnstile.close()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        with _translated(self.path):
            self._require_same_file()
            with self._connections_lock:
                connection = self._readers.pop() if self._readers else None
            connection = connection or _connect(self.path, writable=False)
            try:
                yield connection
            finally:
                with self._connections_lock:
                    if self._closed:
                        connection.close()
                    else:
                        self._readers.append(connection)

    def _open_writer(self) -> sqlite3.Connection:
        with self._connections_lock:
            self._require_open()
            self._writer = _connect(self.path, writable=True)
            return self._writer

    def _require_open(self) -> None:
        if self._closed:
            raise VaultUnavailable("The vault was closed.", hint="Open it again.")

    def _require_same_file(self) -> None:
        """A database that was moved away or replaced is still open here; what is written to it would be lost."""
        if _file_identity(self.path) != self._file:
            raise VaultUnavailable(
                f"The vault's database {self.path} was removed or replaced while it was in use.", hint="Start again."
            )

    def _heads_now(self, connection: sqlite3.Connection) -> "_Heads":
        """What is known of the logs, which nobody has changed since this connection's last transaction, or nothing."""
        # It changes whenever another connection has committed anything (sqlite.org/pragma.html#pragma_data_version).
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if self._heads is None or self._heads.version != version:
            _require_no_programs(connection, self.path)
            self._heads = _Heads(version, _last_entry(connection))
        return self._heads

    def _now(self, last: int) -> int:
        clock = self._clock()
        if clock < last - _CLOCK_TOLERANCE:
            behind = (last - clock) // (60 * SECOND)
            raise VaultUnavailable(
                f"The system clock is {behind} minutes behind the vault's last audit entry.",
                hint="Set the clock; vaultctl doctor shows both times.",
            )
        return max(clock, last)

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        newest = migrations[-1].version
        with self._reader() as connection:
            _require_no_programs(connection, self.path)
            current = _schema_version(connection)
        if current == 0:
            raise VaultUnavailable(
                f"The file {self.path} is not a vaultctl database.",
                hint="Restore it from a backup, or name another place with --database.",
            )
        if current > newest:
            raise VaultUnavailable(
                f"The database has schema {current}, from a newer vaultctl; this one knows up to {newest}.",
                hint="Upgrade vaultctl: pip install -U vaultctl",
            )
        if current == newest:
            return
        with self._turnstile.turn(), _translated(self.path):
            self._writer = _connect(self.path, writable=True)
            apply_migrations(self._writer, migrations)

    def _empty_wal(self, connection: sqlite3.Connection) -> None:
        with suppress(OSError, sqlite3.Error):
            if Path(f"{self.path}-wal").stat().st_size > _CLOSING_BYTES:
                connection.execute("PRAGMA busy_timeout = 0").fetchone()  # not even for readers
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


class _Heads:
    """The heads of logs as a writer has read or left them.

    Attributes:
        version: The database's data version, as the writer's connection has it.
        last_entry: The time of the last entry of all logs.
        by_tenant: Those that are known.
    """

    def __init__(self, version: int, last_entry: int) -> None:
        self.version = version
        self.last_entry = last_entry
        self.by_tenant: dict[str, LogRow] = {}

    def note(self, log: LogRow) -> None:
        """Take in one that was read or is written."""
        if len(self.by_tenant) >= _MOST_HEADS:
            self.by_tenant.clear()
        self.by_tenant[log.tenant] = log
        if isinstance(log.last_time, int):
            self.last_entry = max(self.last_entry, log.last_time)


class SqliteTransaction:
    """One transaction on one connection. What it writes is sent together, before the table is read."""

    def __init__(
        self, connection: sqlite3.Connection, now: int, *, writable: bool, heads: _Heads | None = None
    ) -> None:
        """``heads`` is what is known of the logs, for a transaction that is the only writer."""
        self._connection = connection
        self._heads = heads
        self._pending = Pending("?", few=False)
        self.now = now
        self.writable = writable
        self.rows = 0
        """How many rows were sent."""

    def hold(self, tenants: Collection[str], *, wait: bool = True) -> dict[str, LogRow]:  # noqa: ARG002
        """The heads of these tenants' logs, which are held anyway: there is one writer at a time."""
        known = {} if self._heads is None else self._heads.by_tenant
        held = {tenant: known[tenant] for tenant in tenants if tenant in known}
        if unknown := sorted(tenant for tenant in tenants if tenant not in known):
            for log in self.find(LogRow, Where("tenant", "in", unknown)):
                held[log.tenant] = log
                self._note(log)
        return held

    def get(self, row_type: type[R], *key: str | int) -> R | None:
        """The row with that primary key, or None."""
        self._send(self._pending.of(row_type))
        row = self._connection.execute(statements.select_by_key(row_type, "?"), key).fetchone()
        return None if row is None else row_type(*row)

    def find(
        self, row_type: type[R], *conditions: Where, order: str = "", descending: bool = False, limit: int | None = None
    ) -> list[R]:
        """The rows that meet all conditions; ``order`` names columns, separated by commas."""
        self._send(self._pending.of(row_type))
        sql, parameters = statements.select(row_type, conditions, "?", order=order, descending=descending, limit=limit)
        return [row_type(*row) for row in self._connection.execute(sql, parameters)]

    def count(self, row_type: type[Row], *conditions: Where) -> int:
        """How many rows meet all conditions."""
        self._send(self._pending.of(row_type))
        clause, parameters = statements.where(conditions, "?")
        return int(self._connection.execute(f"SELECT count(*) FROM {row_type.table}{clause}", parameters).fetchone()[0])

    def totals(
        self, row_type: type[Row], by: Sequence[str], *conditions: Where, of: str | None = None
    ) -> list[tuple[Any, ...]]:
        """How many rows that meet all conditions have each of the values of ``by``, which come first."""
        self._send(self._pending.of(row_type))
        return self._connection.execute(*statements.totals(row_type, by, conditions, "?", of)).fetchall()

    def first_entry_from(self, tenant: str, time: int) -> int | None:
        """The number that the first entry from a time on has in a log, or would have; None if entries are missing."""
        self._send(self._pending.of(EntryRow))
        found = self._connection.execute(statements.first_entry_from("?"), (time, tenant)).fetchone()
        return None if found is None else int(found[0])

    def insert(self, row: Row) -> None:
        """Add a row."""
        self._note(row)
        self._pending.add(row)
        if not self.writable:
            self.send_pending()  # which the database refuses

    def update(self, row: Row, columns: Sequence[str] | None = None) -> None:
        """Replace the row that has the same primary key, or only the ``columns`` of it that change."""
        self._note(row)
        self._pending.replace(row, columns)
        if not self.writable:
            self.send_pending()

    def delete(self, row_type: type[Row], *conditions: Where) -> None:
        """Remove the rows that meet all conditions; at least one is needed."""
        self._send(self._pending.of(row_type))
        clause, parameters = statements.where(conditions, "?")
        if not clause:
            raise ValueError("delete needs a condition")
        if row_type is LogRow and self._heads is not None:
            self._heads.by_tenant.clear()
        self._connection.execute(f"DELETE FROM {row_type.table}{clause}", parameters)

    def flush(self) -> None:
        """Send what was written, so that not all of it is kept in memory until the end."""
        self.send_pending()

    def send_pending(self) -> None:
        """Send what was written."""
        self._send(self._pending.all())

    def _note(self, row: Row) -> None:
        if self._heads is not None and isinstance(row, LogRow):
            self._heads.note(row)

    def _send(self, pending: Iterable[Statement]) -> None:
        for statement in pending:
            self.rows += statement.rows
            statement.require_rows(self._connection.execute(statement.sql, statement.parameters).rowcount)


def create_database(path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Make a new database file with the current schema, mode 0600.

    Raises:
        VaultUnavailable: It can't be written there, or a file is there already.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no file can have this name"
        raise VaultUnavailable(
            f"The database {path} can't be created: {reason}.", hint="Name a place that you can write to."
        ) from None
    with _translated(path):
        connection = _connect(path, writable=True)
        try:
            # The only moment at which the journal mode is set: it is a property of the file.
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            apply_migrations(connection, migrations)
        finally:
            connection.close()


def settle(path: Path) -> None:
    """Fold the write-ahead log into a database that nobody else has open, so that the one file can be moved."""
    with _translated(path):
        connection = _connect(path, writable=True)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.close()


def apply_migrations(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Run the migrations that have not run yet, each in one transaction."""
    for migration in migrations:
        connection.execute("BEGIN IMMEDIATE")
        try:
            if _schema_version(connection) < migration.version:
                if migration.version == 1:
                    connection.execute("CREATE TABLE schema_versions (version BIGINT PRIMARY KEY NOT NULL)")
                for statement in migration.statements:
                    connection.execute(statement)
                connection.execute("INSERT INTO schema_versions VALUES (?)", (migration.version,))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _require_no_programs(connection: sqlite3.Connection, path: Path) -> None:
    """The vault has no triggers and no views: one that is there undoes or hides what the vault does."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE type IN ('trigger', 'view') LIMIT 1").fetchone():
        raise VerificationFailed(
            f"The vault's database {path} holds a trigger or a view, which the vault did not make.",
            hint="Restore it from a backup, and find out who can write to it.",
        )


def _existing(path: Path) -> Path:
    """The file itself, links followed: the locks are beside it, whichever name it is opened by."""
    missing = VaultMissing(f"There is no vault at {path}.", hint="Create one: vaultctl init")
    try:
        real = path.resolve(strict=True)
        if not real.is_file():
            raise missing
    except (FileNotFoundError, NotADirectoryError):
        raise missing from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "no file can have this name"
        raise VaultUnavailable(
            f"The database {path} can't be opened: {reason}.", hint="Look at its place and its permissions."
        ) from None
    return real


def _file_identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 — it is done for every transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _last_entry(connection: sqlite3.Connection) -> int:
    last = connection.execute("SELECT max(last_time) FROM logs").fetchone()[0] or 0
    if not isinstance(last, int):
        raise sqlite3.DatabaseError("a time is not a number")
    return last


def _schema_version(connection: sqlite3.Connection) -> int:
    try:
        version = connection.execute("SELECT max(version) FROM schema_versions").fetchone()[0]
        return version if isinstance(version, int) else 0
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return 0
        raise


def _connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'rw' if writable else 'ro'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,  # a connection is used by one thread at a time: the turnstile and the pool see to it
        timeout=5.0,
        cached_statements=_MOST_STATEMENTS,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        if writable:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}").fetchone()
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}").fetchone()
            connection.execute("PRAGMA secure_delete = ON").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's errors as ours. Their texts name tables and files, never values."""
    try:
        yield
    except UnicodeDecodeError:
        raise _damaged(path, "it holds text that is not Unicode") from None
    except (UnicodeEncodeError, OverflowError):
        raise InvalidInput(
            "The request holds text that is not Unicode, or a number that is out of range.", hint="Write it anew."
        ) from None
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorname", None) or ""
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")):
            raise _damaged(path, str(error)) from None
        if code.startswith("SQLITE_CONSTRAINT"):
            raise VerificationFailed(f"The vault's database refused a row: {error}.", hint="vaultctl doctor") from None
        raise VaultUnavailable(
            f"The vault's database {path} can't be used: {error}.",
            hint="Look at its permissions and at the free space; vaultctl doctor tells more.",
        ) from None


def _damaged(path: Path, reason: str) -> VaultUnavailable:
    return VaultUnavailable(
        f"The vault's database {path} is damaged: {reason}.",
        hint="Restore it from a backup; vaultctl doctor tells more.",
    )
