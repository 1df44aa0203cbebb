"""What the PostgreSQL store guards against besides broken connections: programs, cancelled waits, other databases."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.postgres import Cluster, wait_for
from vaultctl.domain.errors import InvalidInput, VaultUnavailable, VerificationFailed
from vaultctl.store.interface import Conflicted, Where
from vaultctl.store.postgres import PostgresStore, create_schema
from vaultctl.store.rows import TenantRow

KEEP_WHAT_WAS_THERE = """
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
    CREATE TRIGGER undo BEFORE UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION keep()
"""


@pytest.fixture
def url(postgres_url: str) -> str:
    create_schema(postgres_url)
    return postgres_url


@pytest.fixture
def store(url: str) -> Iterator[PostgresStore]:
    store = PostgresStore(url)
    yield store
    store.close()


def put(store: PostgresStore, name: str, number: int = 0) -> None:
    with store.write() as tx:
        tx.insert(TenantRow(name, number, 0, 0))


def outside(url: str, statement: str) -> None:
    """Somebody else changes the database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def test_a_trigger_that_comes_after_the_first_write_undoes_nothing_unnoticed(url: str, store: PostgresStore) -> None:
    put(store, "a", 1)
    outside(url, KEEP_WHAT_WAS_THERE)
    with pytest.raises(VerificationFailed, match="trigger"), store.write() as tx:
        tx.update(TenantRow("a", 2, 0, 0))


def test_once_the_trigger_is_gone_the_vault_can_be_written_again(url: str, store: PostgresStore) -> None:
    outside(url, KEEP_WHAT_WAS_THERE)
    with pytest.raises(VerificationFailed):
        put(store, "a")
    outside(url, "DROP FUNCTION keep CASCADE")
    put(store, "a")


def test_closing_inside_ones_own_transaction_does_not_hang(url: str) -> None:
    """A handler of a signal closes the vault wherever the program happens to be."""
    store = PostgresStore(url, lock_timeout=0.1)

    def close_inside() -> None:
        with store.write() as tx:
            tx.insert(TenantRow("a", 1, 0, 0))
            store.close()

    thread = threading.Thread(target=close_inside, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM tenants").fetchone() == (1,)
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        wait_for(lambda: connection.execute(others).fetchone() == (0,))


@pytest.mark.parametrize("version", ["'2026-01-01-initial'", "'x' || repeat('y', 9)"])
def test_a_table_of_versions_that_is_somebody_elses_is_refused(postgres_url: str, version: str) -> None:
    outside(postgres_url, "CREATE TABLE schema_versions (version TEXT)")
    outside(postgres_url, f"INSERT INTO schema_versions VALUES ({version})")
    for act in (PostgresStore, create_schema):
        with pytest.raises(VaultUnavailable, match="not vaultctl's"):
            act(postgres_url)


def test_a_number_beyond_64_bits_is_refused(store: PostgresStore) -> None:
    with pytest.raises(InvalidInput), store.read() as tx:
        tx.find(TenantRow, Where("created_at", "=", 2**64))


def test_when_all_connections_broke_one_conflict_tells(url: str, store: PostgresStore) -> None:
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(store.read()).count(TenantRow)
    outside(
        url,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    with pytest.raises(Conflicted), store.read() as tx:
        tx.count(TenantRow)
    with store.read() as tx:
        assert tx.count(TenantRow) == 0


def test_a_commit_whose_wait_for_the_standby_is_cancelled_is_not_acknowledged() -> None:
    with Cluster(synchronous=True) as cluster:
        create_schema(cluster.url())
        store = PostgresStore(cluster.url())
        put(store, "first")
        cluster.stop_receiving()
        outcome: list[str] = []

        def write() -> None:
            try:
                put(store, "second")
                outcome.append("acknowledged")
            except Conflicted:
                outcome.append("conflicted")

        writer = threading.Thread(target=write)
        writer.start()
        waits = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        for _ in range(2):
            wait_for(lambda: bool(cluster.primary.execute(waits)))
        cluster.fail_over()
        writer.join(30)
        assert outcome == ["conflicted"]
        store.close()
        assert cluster.standby.execute("SELECT tenant FROM tenants") == [("first",)]
