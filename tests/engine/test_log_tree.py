"""The tree and the checkpoints of a log are those of its entries, whoever wrote them and however many at a time."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Clock
from tests.contract.world import Embedded, EmbeddedPostgres, EmbeddedSqlite
from tests.engine.crowd import Crowd, lease, meddled
from tests.ledger.recomputed import assert_log_agrees, sizes_of_checkpoints
from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import NotAllowed, VerificationFailed
from vaultctl.domain.records import Role
from vaultctl.engine import log_tree
from vaultctl.engine.authentication import Bearer
from vaultctl.engine.dispatch import Call
from vaultctl.engine.engine import Engine, answer_of
from vaultctl.ledger.checkpoint import open_checkpoint
from vaultctl.ledger.note import parse_verifier_key
from vaultctl.store.interface import Where
from vaultctl.store.migrations import MIGRATIONS
from vaultctl.store.rows import EntryRow, LogRow, TileRow
from vaultctl.store.sqlite import SqliteStore, create_database

LIST = ask.ListTokens()
"""An agent may not: a call that writes nothing but an entry."""


def fill(crowd: Crowd, entries: int, *, at_once: int = 64) -> None:
    """Add so many entries to the log of ``my-org``, in groups."""
    while entries:
        calls = [Call(crowd.agents["my-org"], LIST)] * min(at_once, entries)
        assert crowd.engine.write(calls).grown == {"my-org"}
        entries -= len(calls)


def test_the_tree_is_that_of_the_entries_at_every_size_and_in_groups_of_any(crowd: Crowd) -> None:
    for group in (1, 2, 63, 64, 1, 1, 120, 3, 300, 5, 700):
        fill(crowd, group, at_once=1000)
        assert_log_agrees(crowd.door.store)
    assert assert_log_agrees(crowd.door.store) > 1024
    assert_log_agrees(crowd.door.store, "other-org")
    assert_log_agrees(crowd.door.store, "_vault")


def test_a_tile_is_filled_one_entry_at_a_time(crowd: Crowd) -> None:
    fill(crowd, 250)
    for _ in range(20):
        fill(crowd, 1)
    assert assert_log_agrees(crowd.door.store) > 260


def test_a_tree_of_three_levels_of_tiles(fast_path: Path, clock: Clock) -> None:
    create_database(fast_path / "vault.db")
    store = SqliteStore(fast_path / "vault.db", clock=clock)
    with store.write() as tx:
        log = log_tree.empty("my-org", clock())
        tx.insert(log)
        for count in (65_530, 3, 2, 1, 464):
            bodies = [b"%d" % seq for seq in range(log.size, log.size + count)]
            for seq, body in enumerate(bodies, log.size):
                tx.insert(EntryRow("my-org", seq, 1, "lease.created", None, None, None, None, body))
            log, _ = log_tree.grown(tx, log, bodies, 1)
        tx.update(log)
        assert {row.level for row in tx.find(TileRow)} == {0, 1, 2}
    assert assert_log_agrees(store) == 66_000
    store.close()


# Checkpoints


def test_a_writer_signs_what_was_committed_a_second_ago_and_not_what_it_commits(crowd: Crowd, clock: Clock) -> None:
    assert sizes_of_checkpoints(crowd.door.store) == []
    sizes = []
    for _ in range(3):
        clock.advance("1s")
        sizes.append(assert_log_agrees(crowd.door.store))
        fill(crowd, 3, at_once=1)
    assert sizes_of_checkpoints(crowd.door.store) == sizes
    assert_log_agrees(crowd.door.store)


def test_a_log_that_grows_no_more_is_signed_by_whoever_keeps_up(crowd: Crowd, clock: Clock) -> None:
    fill(crowd, 3)
    crowd.engine.keep_up(10)
    assert sizes_of_checkpoints(crowd.door.store) == []
    clock.advance("1s")
    for _ in range(2):
        crowd.engine.keep_up(10)
        assert sizes_of_checkpoints(crowd.door.store) == [assert_log_agrees(crowd.door.store)]
    assert len(sizes_of_checkpoints(crowd.door.store, "other-org")) == 1


def test_whoever_closes_leaves_what_it_wrote_signed(crowd: Crowd) -> None:
    meddler, another = meddled(crowd)
    answer_of(another.write([Call(crowd.agents["my-org"], lease())]).results[0])
    meddler.close = lambda: None  # type: ignore[method-assign]  # the crowd's store stays open
    another.close()
    assert sizes_of_checkpoints(crowd.door.store) == [assert_log_agrees(crowd.door.store)]
    assert sizes_of_checkpoints(crowd.door.store, "other-org") == []


def test_a_checkpoint_is_made_on_demand_over_all_that_there_is(crowd: Crowd) -> None:
    owner = crowd.owner()
    fill(crowd, 2)
    made = crowd.engine.perform(owner, ask.CreateCheckpoint())
    assert made == crowd.engine.perform(owner, ask.CreateCheckpoint())
    assert made == crowd.engine.perform(owner, ask.GetCheckpoint())
    assert sizes_of_checkpoints(crowd.door.store) == [made.size] == [assert_log_agrees(crowd.door.store)]
    key = parse_verifier_key(made.verifier_key)
    assert key.name == made.origin == f"vaultctl/{crowd.engine.vault_id}/my-org"
    assert open_checkpoint(made.note.encode(), key).size == made.size
    other = crowd.engine.perform(crowd.owner("other-org"), ask.CreateCheckpoint())
    assert parse_verifier_key(other.verifier_key).public != key.public


def test_a_viewer_gets_a_checkpoint_and_an_agent_does_not(crowd: Crowd) -> None:
    viewer = Bearer.of(crowd.mint(agent=None, email="v@example.com", role=Role.VIEWER, credentials=()).secret)
    operator = Bearer.of(crowd.mint(agent=None, operator=True, credentials=()).secret)
    for caller in (viewer, operator):
        assert crowd.engine.perform(caller, ask.CreateCheckpoint()) == crowd.engine.perform(caller, ask.GetCheckpoint())
    for request in (ask.CreateCheckpoint(), ask.GetCheckpoint()):
        with pytest.raises(NotAllowed):
            crowd.engine.perform(crowd.agents["my-org"], request)
        assert crowd.log()[-1].details["operation"] == "audit.checkpoint"


# Several writers


def test_writers_on_two_nodes_make_one_tree(crowd: Crowd, door: Embedded, fast_path: Path, clock: Clock) -> None:
    from vaultctl.store.postgres import PostgresStore

    if isinstance(door, EmbeddedPostgres):
        stores: list[Any] = [PostgresStore(door._url, clock=clock) for _ in range(2)]
    else:
        stores = [SqliteStore(fast_path / "vault.db", clock=clock) for _ in range(2)]
    engines = [Engine(store, door.root) for store in stores]

    def work(engine: Engine) -> None:
        for number in range(30):
            calls = [Call(crowd.agents[tenant], LIST) for tenant in ("my-org", "other-org")] * (1 + number % 5)
            engine.write(calls)
            if number % 10 == 0:
                engine.perform(crowd.owner(), ask.CreateCheckpoint())

    threads = [threading.Thread(target=work, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for engine in engines:
        engine.close()
    assert assert_log_agrees(door.store) > 180
    assert assert_log_agrees(door.store, "other-org") > 180


def test_a_commit_that_fails_leaves_the_tree_as_it_was(crowd: Crowd) -> None:
    fill(crowd, 255)
    meddler, engine = meddled(crowd)
    before = assert_log_agrees(crowd.door.store)

    def fail() -> None:
        raise RuntimeError

    meddler.before_commit = fail
    with pytest.raises(RuntimeError):
        engine.write([Call(crowd.agents["my-org"], LIST)] * 10)
    assert assert_log_agrees(crowd.door.store) == before
    meddler.before_commit = lambda: None
    engine.write([Call(crowd.agents["my-org"], LIST)] * 10)
    assert assert_log_agrees(crowd.door.store) == before + 10


# Logs from before there were trees


def earlier(path: Path, version: int) -> Path:
    """The database at ``path`` as it would be if it were of an earlier schema."""
    old = path.with_name(f"schema-{version}.db")
    create_database(old, MIGRATIONS[:version])
    connection = sqlite3.connect(old)
    connection.execute("ATTACH ? AS new", (str(path),))
    tables = connection.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'").fetchall()
    for (table,) in tables:
        if table != "schema_versions":
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA main.table_info({table})"))
            kept = " WHERE purpose != 'signing'" if table == "tenant_keys" else ""
            connection.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM new.{table}{kept}")
    connection.commit()
    connection.close()
    return old


@pytest.fixture
def old_vault(fast_path: Path, clock: Clock) -> Callable[[int], Path]:
    """Makes a vault of an earlier schema with 700 entries."""

    def make(version: int) -> Path:
        crowd = Crowd(EmbeddedSqlite(fast_path, clock, reaps=False))
        fill(crowd, 700)
        make.crowd = crowd  # type: ignore[attr-defined]
        return earlier(fast_path / "vault.db", version)

    return make


@pytest.mark.parametrize("version", range(1, 6))
def test_a_log_of_every_earlier_schema_gets_its_tree_from_whoever_writes_to_it(
    old_vault: Any, version: int, clock: Clock
) -> None:
    store = SqliteStore(old_vault(version), clock=clock)
    crowd = old_vault.crowd
    engine = Engine(store, crowd.door.root)
    engine.write([Call(crowd.agents["my-org"], LIST)])
    assert assert_log_agrees(store) > 700
    made = engine.perform(crowd.owner(), ask.CreateCheckpoint())
    assert made.size == assert_log_agrees(store)
    engine.catch_up()
    assert assert_log_agrees(store, "other-org") > 0
    assert assert_log_agrees(store, "_vault") > 0
    engine.close()


def test_a_tree_that_is_half_built_when_the_process_dies_is_built_anew(old_vault: Any, clock: Clock) -> None:
    store = SqliteStore(old_vault(5), clock=clock)
    crowd = old_vault.crowd
    real = crowd.door.store
    crowd.door.store = store
    meddler, engine = meddled(crowd)
    crowd.door.store = real

    def die(row: Any) -> None:
        if isinstance(row, TileRow) and row.number == 1:
            raise KeyboardInterrupt

    meddler.before_insert = die
    with pytest.raises(KeyboardInterrupt):
        engine.catch_up()
    meddler.before_insert = lambda row: None
    engine.catch_up()
    engine.write([Call(crowd.agents["my-org"], LIST)])
    assert assert_log_agrees(store) > 700
    engine.close()


def test_no_tree_is_built_over_entries_that_are_not_all_there(old_vault: Any, clock: Clock) -> None:
    path = old_vault(5)
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM entries WHERE seq = 300")
    connection.commit()
    connection.close()
    store = SqliteStore(path, clock=clock)
    engine = Engine(store, old_vault.crowd.door.root)
    engine.catch_up()
    assert assert_log_agrees(store, "other-org") > 0
    with store.read() as tx:
        assert tx.find(LogRow, Where("tenant", "=", "my-org"))[0].frontier is None
    with pytest.raises(VerificationFailed, match="missing"):
        engine.write([Call(old_vault.crowd.agents["my-org"], LIST)])
    engine.close()


# Whoever writes to the database gets nothing signed


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE logs SET size = size - 1",
        "UPDATE logs SET frontier = zeroblob(length(frontier))",
        "UPDATE logs SET frontier = NULL, checkpoints = NULL, unsigned_entries = NULL, mac = NULL",
        "UPDATE logs SET mac = NULL",
        "UPDATE logs SET unsigned_entries = unsigned_entries + 1",
        "UPDATE logs SET checkpoints = checkpoints + 1",
        "UPDATE logs SET checkpoint_time = checkpoint_time + 1",
        "UPDATE logs SET mac = (SELECT mac FROM logs WHERE tenant = 'other-org') WHERE tenant = 'my-org'",
    ],
)
def test_a_head_that_the_vault_did_not_write_is_not_built_on(change: str, fast_path: Path, clock: Clock) -> None:
    crowd = Crowd(EmbeddedSqlite(fast_path, clock, reaps=False))
    crowd.engine.perform(crowd.owner(), ask.CreateCheckpoint())
    connection = sqlite3.connect(fast_path / "vault.db")
    connection.execute(change)
    connection.commit()
    connection.close()
    for caller, request in ((crowd.agents["my-org"], LIST), (crowd.owner(), ask.CreateCheckpoint())):
        with pytest.raises(VerificationFailed):
            answer_of(crowd.engine.write([Call(caller, request)]).results[0])


def test_a_head_that_somebody_spoiled_keeps_no_other_tenants_log_from_being_kept_up(
    fast_path: Path, clock: Clock
) -> None:
    crowd = Crowd(EmbeddedSqlite(fast_path, clock, reaps=False))
    for tenant in ("my-org", "other-org"):
        answer_of(crowd.engine.write([Call(crowd.agents[tenant], lease(ttl=Duration.parse("1m")))]).results[0])
    connection = sqlite3.connect(fast_path / "vault.db")
    connection.execute("UPDATE logs SET mac = zeroblob(32) WHERE tenant = 'my-org'")
    connection.commit()
    connection.close()
    clock.advance("61s")
    assert crowd.engine.keep_up(10).grown == {"other-org"}
    assert crowd.events("other-org")[-1] == "lease.expired"
    clock.advance("1s")
    crowd.engine.keep_up(10)
    assert sizes_of_checkpoints(crowd.door.store, "other-org")[-1] == assert_log_agrees(crowd.door.store, "other-org")
    assert sizes_of_checkpoints(crowd.door.store) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET body = body || ' ' WHERE tenant = 'my-org' AND seq = 200",
        "DELETE FROM entries WHERE tenant = 'my-org' AND seq = 200",
        "UPDATE tiles SET hashes = substr(hashes, 33) WHERE tenant = 'my-org' AND level = 1",
        "DELETE FROM tiles WHERE tenant = 'my-org' AND level = 1",
    ],
)
def test_no_tile_is_made_of_what_the_vault_did_not_write(change: str, fast_path: Path, clock: Clock) -> None:
    crowd = Crowd(EmbeddedSqlite(fast_path, clock, reaps=False))
    fill(crowd, 300 if "tiles" in change else 240)
    connection = sqlite3.connect(fast_path / "vault.db")
    assert connection.execute(change).rowcount == 1
    connection.commit()
    connection.close()
    with pytest.raises(VerificationFailed):
        fill(crowd, 256)
