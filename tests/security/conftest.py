"""What attackers have in common: a vault with people in it, and its database open to whoever writes there."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Clock
from tests.contract.world import EmbeddedSqlite, World

TABLES = ("tenants", "tenant_keys", "credentials", "credential_versions", "tokens", "sessions", "leases", "members")
"""The tables with a column ``tenant`` that are not the audit log."""


class Scene:
    """A vault in use, and a writer to its database who is not the vault."""

    def __init__(self, directory: Path, clock: Clock, *, reaps: bool = True) -> None:
        self.clock = clock
        self.database = directory / "vault.db"
        self.door = EmbeddedSqlite(directory, clock, reaps=reaps)
        self.world = World(lambda *_, **__: self.door, directory, clock)
        self.owner = self.world.owner()

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a writer to the database does, behind the vault's back."""
        connection = sqlite3.connect(self.database)
        try:
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
        finally:
            connection.close()
        return rows

    def one(self, statement: str, *values: Any) -> Any:
        """The single value that a query answers."""
        ((value,),) = self.sql(statement, *values)
        return value

    def overwrite(self, table: str, condition: str, **columns: Any) -> None:
        """Set columns of exactly one row."""
        changes = ", ".join(f"{column} = ?" for column in columns)
        connection = sqlite3.connect(self.database)
        try:
            changed = connection.execute(f"UPDATE {table} SET {changes} WHERE {condition}", [*columns.values()])
            assert changed.rowcount == 1
            connection.commit()
        finally:
            connection.close()


@pytest.fixture
def make_scene(tmp_path_factory: pytest.TempPathFactory, fast_path: Path) -> Iterator[Callable[..., Scene]]:
    """Makes scenes, each with a clock of its own unless one is given."""
    made: list[Scene] = []

    def make(clock: Clock | None = None, *, reaps: bool = True) -> Scene:
        directory = fast_path / str(len(made))
        directory.mkdir()
        made.append(Scene(directory, clock or Clock(), reaps=reaps))
        return made[-1]

    yield make
    for scene in made:
        scene.world.close()


@pytest.fixture
def scene(make_scene: Callable[..., Scene], clock: Clock) -> Scene:
    """A vault whose reaper is never late."""
    return make_scene(clock)
