"""The schema: every version on the way to the newest, each step once and as a whole."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.store.conftest import Child, put
from vaultctl.domain.errors import VaultUnavailable
from vaultctl.store import rows
from vaultctl.store.migrations import MIGRATIONS, Migration
from vaultctl.store.rows import Row, TenantRow
from vaultctl.store.sqlite import SqliteStore, create_database

NEWEST = MIGRATIONS[-1].version
NEXT = Migration(
    NEWEST + 1,
    (
        "CREATE TABLE extras (tenant TEXT NOT NULL)",
        "INSERT INTO extras SELECT tenant FROM tenants",
        "ALTER TABLE tenants ADD COLUMN note TEXT",
    ),
)
BROKEN = Migration(NEWEST + 2, ("CREATE TABLE half (n BIGINT)", "INSERT INTO nowhere VALUES (1)"))

ROW_TYPES = [kind for kind in vars(rows).values() if isinstance(kind, type) and issubclass(kind, Row) and kind != Row]


def schema_of(path: Path) -> set[tuple[str, ...]]:
    """Tables and indexes, in words that do not depend on how they are spaced."""
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {(kind, name, " ".join(sql.split())) for kind, name, sql in found}


def versions_of(path: Path) -> list[int]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT version FROM schema_versions ORDER BY version").fetchall()
    connection.close()
    return [version for (version,) in found]


def contents_of(path: Path, table: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    found = connection.execute(f"SELECT * FROM {table}").fetchall()
    connection.close()
    return found


def open_and_close(path: Path, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    SqliteStore(path, migrations=migrations).close()


def test_versions_are_numbered_from_one_without_a_gap() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(1, NEWEST + 1))


def columns_of(path: Path) -> dict[tuple[str, str], tuple[str, bool]]:
    """The type of each column of each table, and whether it may be NULL."""
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {
        (table, name): (kind, not_null == 0)
        for table in tables
        for _, name, kind, not_null, *_ in connection.execute(f"PRAGMA table_info({table})")
    }
    connection.close()
    return found


@pytest.mark.parametrize("version", range(1, NEWEST))
def test_a_later_version_has_the_columns_of_an_earlier_one_and_more_that_may_be_null(
    tmp_path: Path, version: int
) -> None:
    """So that rows of an earlier schema are rows of the newest one: backups are restored that way."""
    create_database(tmp_path / "earlier.db", MIGRATIONS[:version])
    create_database(tmp_path / "newest.db")
    earlier, newest = columns_of(tmp_path / "earlier.db"), columns_of(tmp_path / "newest.db")
    assert earlier.items() <= newest.items()
    tables = {table for table, _ in earlier}
    added = {column: kind for column, kind in newest.items() if column[0] in tables and column not in earlier}
    assert all(may_be_null for _, may_be_null in added.values())


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_a_database_of_every_earlier_version_is_brought_up_to_date_when_it_is_opened(
    tmp_path: Path, version: int
) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    create_database(old, MIGRATIONS[:version])
    create_database(new)
    open_and_close(old)
    assert versions_of(old) == versions_of(new) == list(range(1, NEWEST + 1))
    assert schema_of(old) == schema_of(new)


@pytest.mark.parametrize("row_type", ROW_TYPES, ids=lambda kind: kind.table)
def test_a_row_has_the_columns_and_the_key_of_its_table(database: Path, row_type: type[Row]) -> None:
    connection = sqlite3.connect(database)
    columns = connection.execute(f"PRAGMA table_info({row_type.table})").fetchall()
    connection.close()
    assert {name for _, name, *_ in columns} == set(row_type.__struct_fields__)
    key = sorted((place, name) for _, name, _, _, _, place in columns if place)
    assert tuple(name for _, name in key) == row_type.key


def test_every_table_has_a_row_type(database: Path) -> None:
    tables = {name for kind, name, _ in schema_of(database) if kind == "table"}
    assert tables == {kind.table for kind in ROW_TYPES} | {"schema_versions", "batches"}


def test_a_new_migration_runs_once_and_keeps_what_was_there(database: Path) -> None:
    store = SqliteStore(database)
    put(store, "my-org", 5)
    store.close()
    for _ in range(2):
        open_and_close(database, (*MIGRATIONS, NEXT))
    assert versions_of(database)[-1] == NEXT.version
    assert contents_of(database, "extras") == [("my-org",)]
    assert contents_of(database, "tenants") == [("my-org", 5, 0, 0, b"", None)]


def test_programs_that_start_at_once_run_a_new_migration_once(database: Path, child: Callable[..., Child]) -> None:
    store = SqliteStore(database)
    put(store, "my-org")
    store.close()
    upgrade = f"""
    upgrade = Migration({NEXT.version}, {NEXT.statements!r})
    wait_for_go()
    store = SqliteStore(database, migrations=(*MIGRATIONS, upgrade))
    say(store.schema_version)
    store.close()
    """
    children = [child(upgrade) for _ in range(3)]
    for one in children:
        one.expect("ready")
    for one in children:
        one.go()
    assert [one.rest() for one in children] == [str(NEXT.version)] * 3
    assert contents_of(database, "extras") == [("my-org",)]


def test_a_migration_that_fails_leaves_nothing_of_itself_and_all_before_it(database: Path) -> None:
    for _ in range(2):
        with pytest.raises(VaultUnavailable):
            open_and_close(database, (*MIGRATIONS, NEXT, BROKEN))
        assert versions_of(database)[-1] == NEXT.version
        assert "half" not in {name for _, name, _ in schema_of(database)}
        assert contents_of(database, "extras") == []
    mended = Migration(BROKEN.version, BROKEN.statements[:1])
    open_and_close(database, (*MIGRATIONS, NEXT, mended))
    assert versions_of(database)[-1] == mended.version


def test_a_program_that_is_killed_in_a_migration_leaves_nothing_of_it(
    database: Path, child: Callable[..., Child]
) -> None:
    # The second statement never ends, so that the first has run when it is killed.
    endless = Migration(
        NEXT.version,
        (
            "CREATE TABLE half (n BIGINT)",
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        ),
    )
    killed = child(f"""
    say("starting")
    SqliteStore(database, migrations=(*MIGRATIONS, Migration({endless.version}, {endless.statements!r})))
    """)
    killed.expect("starting")
    locked = False
    while not locked:
        connection = sqlite3.connect(database, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            locked = True
        connection.close()
    killed.kill()
    open_and_close(database, (*MIGRATIONS, NEXT))
    assert versions_of(database)[-1] == NEXT.version
    assert "half" not in {name for _, name, _ in schema_of(database)}


def test_a_store_that_is_up_to_date_opens_while_another_process_writes(
    database: Path, child: Callable[..., Child]
) -> None:
    writer = child("""
    store = SqliteStore(database)
    with store.write():
        say("inside")
        sys.stdin.readline()
    """)
    writer.expect("inside")
    store = SqliteStore(database, lock_timeout=0.1)
    with store.read() as tx:
        assert tx.count(TenantRow) == 0
    writer.go()
    store.close()
