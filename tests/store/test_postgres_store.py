"""The PostgreSQL store: several nodes on one database, and what happens when the database goes away."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.conftest import Clock
from tests.postgres import Postgres, wait_for
from vaultctl.domain.errors import AlreadyExists, InvalidInput, VaultMissing, VaultUnavailable, VerificationFailed
from vaultctl.domain.times import SECOND
from vaultctl.store.interface import Conflicted, Where
from vaultctl.store.migrations import MIGRATIONS, Migration
from vaultctl.store.postgres import PostgresStore, create_schema
from vaultctl.store.rows import EntryRow, LogRow, TenantRow
from vaultctl.store.statements import insert, select, update

NEXT = Migration(MIGRATIONS[-1].version + 1, ("CREATE TABLE extras (tenant TEXT PRIMARY KEY NOT NULL)",))


@pytest.fixture
def url(postgres_url: str) -> str:
    create_schema(postgres_url)
    return postgres_url


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    with opened(url) as store:
        yield store


@contextmanager
def opened(url: str, **options: Any) -> Iterator[PostgresStore]:
    """A store that is closed at the end."""
    store = PostgresStore(url, **options)
    try:
        yield store
    finally:
        store.close()


def add_log(store: PostgresStore, tenant: str, size: int = 0, last_time: int = 0) -> None:
    with store.write() as tx:
        tx.insert(LogRow(tenant, size, last_time))


def sizes(store: PostgresStore) -> dict[str, int]:
    with store.read() as tx:
        return {row.tenant: row.size for row in tx.find(LogRow)}


def grow(store: PostgresStore, tenant: str) -> None:
    """Add one to a log, run again as an engine does."""
    while True:
        try:
            with store.write() as tx:
                tx.hold([tenant])
                log = tx.get(LogRow, tenant)
                assert log is not None
                tx.update(LogRow(tenant, log.size + 1, log.last_time))
            return
        except Conflicted:
            continue


def test_statements_behind_one_that_failed_are_prepared_anew(url: str) -> None:
    with opened(url) as one, opened(url) as other:
        add_log(one, "a")
        for _ in range(3):  # what is used again is prepared
            with one.write() as holding:
                holding.hold(["a"])
                with pytest.raises(Conflicted), other.write(patience=0.01) as tx:
                    tx.hold(["a"])
            grow(other, "a")
        assert sizes(other) == {"a": 3}


# Transactions


def test_a_commit_is_seen_by_other_nodes_and_what_was_rolled_back_is_not(url: str, store: PostgresStore) -> None:
    with opened(url) as other:
        add_log(store, "kept")
        with pytest.raises(ZeroDivisionError), store.write() as tx:
            tx.insert(LogRow("lost", 0, 1 // tx.count(LogRow, Where("tenant", "=", "lost"))))
        assert sizes(other) == {"kept": 0}


def test_rows_that_were_added_are_there_for_every_later_statement_of_the_transaction(store: PostgresStore) -> None:
    with store.write() as tx:
        tx.insert(LogRow("a", 1, 0))
        tx.insert(LogRow("b", 2, 0))
        assert tx.get(LogRow, "a") == LogRow("a", 1, 0)
        assert tx.count(LogRow) == 2
        tx.insert(LogRow("c", 3, 0))
        tx.update(LogRow("c", 4, 0))
        tx.insert(LogRow("d", 5, 0))
        tx.delete(LogRow, Where("tenant", "=", "d"))
    assert sizes(store) == {"a": 1, "b": 2, "c": 4}


def test_a_reader_has_a_snapshot_and_does_not_wait_for_a_writer(store: PostgresStore) -> None:
    add_log(store, "a")
    with store.write() as writing, store.read() as reading:
        writing.hold(["a"])
        writing.update(LogRow("a", 7, 0))
        writing.count(LogRow)
        assert reading.get(LogRow, "a") == LogRow("a", 0, 0)


def test_names_are_ordered_by_their_bytes(store: PostgresStore) -> None:
    names = ["a-b", "a.b", "a_b", "ab", "b", "z9"]
    with store.write() as tx:
        for name in reversed(names):
            tx.insert(LogRow(name, 0, 0))
    with store.read() as tx:
        assert [row.tenant for row in tx.find(LogRow, order="tenant")] == sorted(names)
        assert [row.tenant for row in tx.find(LogRow, Where("tenant", ">", "a_b"), order="tenant")] == ["ab", "b", "z9"]


def test_every_kind_of_condition_means_what_it_means_in_sqlite(store: PostgresStore) -> None:
    with store.write() as tx:
        for seq in range(5):
            agent = "x" if seq % 2 else None
            tx.insert(EntryRow("t", seq, seq, "lease.created", agent, None, None, None, b"\x00\xff"))
    with store.read() as tx:

        def found(*conditions: Where, limit: int | None = None) -> list[int]:
            return [row.seq for row in tx.find(EntryRow, *conditions, order="seq", limit=limit)]

        assert found(Where("agent", "is", None)) == [0, 2, 4]
        assert found(Where("seq", "in", (1, 3)), Where("agent", "=", "x")) == [1, 3]
        assert found(Where("seq", "in", ())) == []
        assert found(Where(("tenant", "seq"), ">", ("t", 2))) == [3, 4]
        assert found(Where("seq", "!=", 0), limit=2) == [1, 2]
        assert [row.body for row in tx.find(EntryRow, limit=1)] == [b"\x00\xff"]


@pytest.mark.parametrize("tenant", ["nul\0", "lone \ud800"])
def test_text_that_the_database_can_not_hold_is_refused(store: PostgresStore, tenant: str) -> None:
    with pytest.raises(InvalidInput), store.write() as tx:
        tx.insert(LogRow(tenant, 0, 0))
    with pytest.raises(InvalidInput), store.read() as tx:
        tx.get(LogRow, tenant)
    add_log(store, "still-works")


def test_a_number_that_is_out_of_range_is_refused(store: PostgresStore) -> None:
    with pytest.raises(InvalidInput), store.write() as tx:
        tx.insert(LogRow("a", 2**70, 0))


def test_a_row_that_is_gone_is_noticed(store: PostgresStore) -> None:
    with pytest.raises(VerificationFailed), store.write() as tx:
        tx.update(LogRow("never", 0, 0))


# Several nodes


def test_who_holds_a_log_holds_it_until_the_commit(url: str, store: PostgresStore) -> None:
    add_log(store, "a")
    add_log(store, "b")
    with opened(url) as other:
        with store.write() as tx:
            assert tx.hold(["a", "nobody"]).keys() == {"a"}
            with other.write() as elsewhere:
                assert elsewhere.hold(["a", "b"], wait=False).keys() == {"b"}
            with pytest.raises(Conflicted), other.write(0.05) as elsewhere:
                elsewhere.hold(["a"])
        with other.write() as elsewhere:
            assert elsewhere.hold(["b", "a"], wait=False).keys() == {"a", "b"}


def test_nodes_that_write_to_one_tenant_lose_no_change(url: str) -> None:
    with ExitStack() as stack:
        nodes = [stack.enter_context(opened(url)) for _ in range(3)]
        add_log(nodes[0], "a")
        threads = [threading.Thread(target=lambda node=node: [grow(node, "a") for _ in range(20)]) for node in nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sizes(nodes[0]) == {"a": 60}


def test_under_serializable_too(url: str) -> None:
    with ExitStack() as stack:
        nodes = [stack.enter_context(opened(url, isolation="SERIALIZABLE")) for _ in range(2)]
        add_log(nodes[0], "a")
        threads = [threading.Thread(target=lambda node=node: [grow(node, "a") for _ in range(15)]) for node in nodes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sizes(nodes[0]) == {"a": 30}


def test_two_that_wait_for_each_other_do_not_wait_for_ever(url: str, store: PostgresStore) -> None:
    add_log(store, "a")
    add_log(store, "b")
    conflicts = []
    with opened(url) as other:
        both_hold_one = threading.Barrier(2)

        def hold(node: PostgresStore, *tenants: str) -> None:
            try:
                with node.write() as tx:
                    tx.hold([tenants[0]])
                    both_hold_one.wait()
                    tx.hold([tenants[1]])
            except Conflicted:
                conflicts.append(tenants)

        threads = [
            threading.Thread(target=hold, args=(store, "a", "b")),
            threading.Thread(target=hold, args=(other, "b", "a")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(conflicts) == 1


def test_a_key_that_was_just_taken_is_a_conflict(url: str, store: PostgresStore) -> None:
    add_log(store, "a")
    with pytest.raises(Conflicted), store.write() as tx:
        tx.insert(LogRow("a", 9, 9))
    assert sizes(store) == {"a": 0}


def test_nodes_that_start_at_once_make_the_schema_once(postgres_url: str) -> None:
    code = "import sys; from vaultctl.store.postgres import create_schema; create_schema(sys.argv[1])"
    nodes = [subprocess.Popen([sys.executable, "-c", code, postgres_url], stderr=subprocess.PIPE) for _ in range(4)]
    for node in nodes:
        _, error = node.communicate(timeout=60)
        assert (node.returncode, error) == (0, b"")
    with psycopg.connect(postgres_url) as connection:
        versions = connection.execute("SELECT version FROM schema_versions ORDER BY version").fetchall()
    assert versions == [(migration.version,) for migration in MIGRATIONS]


def test_a_store_brings_the_schema_up_to_date_and_refuses_a_newer_one(url: str) -> None:
    with opened(url, migrations=(*MIGRATIONS, NEXT)) as store:
        assert store.schema_version == NEXT.version
    with pytest.raises(VaultUnavailable, match="newer vaultctl"):
        PostgresStore(url)


# Time


def test_the_time_is_the_database_s_and_never_below_the_last_entry(store: PostgresStore) -> None:
    with store.read() as tx:
        now = tx.now
    clock, _ = store.clock_and_last_entry()
    assert 0 <= clock - now < 60 * SECOND
    add_log(store, "a", last_time=clock + 120 * SECOND)
    with store.write() as tx:
        tx.hold(["a"])
        assert tx.now == clock + 120 * SECOND
    add_log(store, "b", last_time=clock + 3600 * SECOND)
    with pytest.raises(VaultUnavailable, match="behind the vault's last audit entry"), store.read() as tx:
        assert tx.now


def test_the_time_is_read_anew_once_a_log_is_held(url: str, clock: Clock) -> None:
    with opened(url, clock=clock) as store:
        add_log(store, "a")
        with store.write() as tx:
            before = tx.now
            clock.advance("1m")
            assert tx.now == before
            tx.hold(["a"])
            assert tx.now == before + 60 * SECOND
        clock.advance(timedelta(minutes=-1))


# Broken connections


def test_a_connection_that_broke_is_replaced(store: PostgresStore, url: str) -> None:
    add_log(store, "a")
    _terminate_others(url)
    with pytest.raises(Conflicted), store.read() as tx:
        tx.find(LogRow)
    with pytest.raises(Conflicted), store.write() as tx:
        tx.hold(["a"])
    grow(store, "a")
    assert sizes(store) == {"a": 1}


class Proxy:
    """Carries bytes to the database, until a COMMIT comes by: then it breaks the connection.

    ``passes``: whether the COMMIT still reaches the database, so that only its answer is lost.
    """

    def __init__(self, port: int, *, passes: bool) -> None:
        self._to = port
        self._passes = passes
        self.armed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(65536):
                if self.armed and b"COMMIT\0" in data:
                    self.armed = False
                    client.shutdown(socket.SHUT_RDWR)
                    if self._passes:
                        server.sendall(data)
                        server.shutdown(socket.SHUT_WR)
                    else:
                        server.shutdown(socket.SHUT_RDWR)  # closing alone would not end what another thread reads
                    return
                server.sendall(data)
        except OSError:
            pass
        finally:
            client.close()

    @staticmethod
    def _copy(server: socket.socket, client: socket.socket) -> None:
        try:
            while data := server.recv(65536):
                client.sendall(data)
        except OSError:
            pass
        server.close()

    def close(self) -> None:
        self._listener.close()


@pytest.mark.parametrize("took_place", [True, False])
def test_a_commit_without_an_answer_is_looked_up(url: str, took_place: bool) -> None:
    port = int(url.rpartition(":")[2].partition("/")[0])
    proxy = Proxy(port, passes=took_place)
    try:
        with opened(url.replace(f":{port}/", f":{proxy.port}/")) as store:
            add_log(store, "a")
            proxy.armed = True
            if took_place:
                add_log(store, "b")
            else:
                with pytest.raises(Conflicted):
                    add_log(store, "b")
            assert ("b" in sizes(store)) is took_place
            grow(store, "a")
    finally:
        proxy.close()


def test_a_failure_at_the_commit_is_a_conflict_and_leaves_nothing(url: str) -> None:
    failures = iter([True, False])

    def fail(_: object) -> None:
        if next(failures, False):
            raise psycopg.errors.SerializationFailure

    with opened(url, before_commit=fail) as store:
        with pytest.raises(Conflicted):
            add_log(store, "a")
        add_log(store, "a")
        assert sizes(store) == {"a": 0}


def test_a_failover_loses_nothing_that_was_acknowledged() -> None:
    with Postgres() as primary:
        create_schema(primary.create_database())
        name = "vault_1"
        primary.execute("ALTER SYSTEM SET synchronous_commit = 'on'")
        with Postgres(standby_of=primary) as standby:
            both = f"postgresql://vault@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/{name}"
            with opened(both) as store:
                add_log(store, "a")
                assert store.warnings()
                primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
                primary.execute("SELECT pg_reload_conf()")
                wait_for(lambda: primary.execute("SELECT sync_state FROM pg_stat_replication") == [("sync",)])
                wait_for(lambda: not store.warnings())
                acknowledged = 0
                while acknowledged < 50:
                    grow(store, "a")
                    acknowledged += 1
                standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
                standby.execute("SELECT pg_reload_conf()")
                wait_for(lambda: not primary.execute("SELECT 1 FROM pg_stat_replication"))
                stuck = threading.Thread(target=grow, args=(store, "a"))  # its commit waits for the standby
                stuck.start()
                wait_for(lambda: bool(primary.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")))
                primary.kill()
                standby.promote()
                standby.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
                standby.execute("SELECT pg_reload_conf()")
                stuck.join()
                grow(store, "a")
                with opened(both) as restarted:
                    assert sizes(restarted) == {"a": acknowledged + 2}


def test_a_standby_is_not_written_to() -> None:
    with Postgres() as primary:
        create_schema(primary.create_database())
        with Postgres(standby_of=primary) as standby, pytest.raises(VaultUnavailable):
            PostgresStore(standby.url("vault_1"))


# What a database may not be


def test_an_empty_database_holds_no_vault(postgres_url: str) -> None:
    with pytest.raises(VaultMissing, match="no vault"):
        PostgresStore(postgres_url)


def test_tables_of_another_program_are_left_alone(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE tokens (theirs TEXT)")
    with pytest.raises(AlreadyExists):
        create_schema(postgres_url)


@pytest.mark.parametrize(
    "program",
    [
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        " CREATE TRIGGER t BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION f()",
        "CREATE RULE r AS ON INSERT TO entries DO INSTEAD NOTHING",
        "CREATE VIEW v AS SELECT 1",
        "ALTER TABLE leases ENABLE ROW LEVEL SECURITY",
    ],
    ids=["trigger", "rule", "view", "policy"],
)
def test_a_program_in_the_database_is_refused(url: str, program: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(program)
    with opened(url) as store, pytest.raises(VerificationFailed), store.write():
        pass


def test_an_error_shows_neither_password_nor_values(url: str) -> None:
    secret = "s3cr3t-w0rd"
    with pytest.raises(VaultUnavailable) as caught:
        PostgresStore(f"postgresql://vault:{secret}@127.0.0.1:1/vault")
    assert secret not in f"{caught.value.message}{caught.value.hint}{caught.value!r}"
    assert caught.value.__suppress_context__
    with pytest.raises(InvalidInput) as malformed:
        PostgresStore(f"postgresql://vault:{secret}@[/vault")
    assert secret not in f"{malformed.value.message}{malformed.value.hint}"


def test_a_closed_store_says_so(url: str) -> None:
    with opened(url) as store:
        pass
    with pytest.raises(VaultUnavailable, match="closed"), store.read():
        pass
    with pytest.raises(VaultUnavailable, match="closed"), store.write():
        pass


def test_what_a_node_noted_of_its_batches_goes_with_it(url: str) -> None:
    with opened(url) as store:
        add_log(store, "a")
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM batches WHERE id <> ''").fetchone() == (1,)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM batches").fetchone() == (0,)


def test_both_databases_speak_the_same_statements() -> None:
    for ours, theirs in (
        (insert(TenantRow, "?", rows=2), insert(TenantRow, "$", rows=2)),
        (update(TenantRow, "?", ("created_at", "mac")), update(TenantRow, "$", ("created_at", "mac"))),
    ):
        numbers = re.findall(r"\$(\d+)", theirs)
        assert numbers == [str(number + 1) for number in range(len(numbers))]
        assert re.sub(r"\$\d+", "?", theirs) == ours.replace(" OR ROLLBACK", "")
    conditions = (Where("tenant", "in", ("a", "b")), Where(("tenant", "created_at"), "<", ("a", 1)))
    of_sqlite = select(TenantRow, conditions, "?", order="tenant", descending=True, limit=3)
    of_postgres = select(TenantRow, conditions, "%s", order="tenant", descending=True, limit=3)
    assert (of_sqlite[0].replace("?", "%s"), of_sqlite[1]) == of_postgres


def _terminate_others(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        wait_for(
            lambda: (
                connection.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                ).fetchone()
                == (1,)
            )
        )
