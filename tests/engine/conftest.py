"""A vault whose store and file the tests of the engine can reach."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Clock
from tests.contract.world import Embedded, EmbeddedPostgres, EmbeddedSqlite, World
from tests.engine.crowd import Crowd
from vaultctl.crypto.root_keys import RootKey
from vaultctl.engine.engine import Engine
from vaultctl.store.sqlite import SqliteStore


@dataclass
class Workshop:
    """A world with its insides showing. Its reaper is late."""

    world: World
    path: Path
    store: SqliteStore
    engine: Engine
    root: RootKey
    clock: Clock


@pytest.fixture
def workshop(fast_path: Path, clock: Clock) -> Iterator[Workshop]:
    doors: list[EmbeddedSqlite] = []

    def open_door(directory: Path, clock: Clock, *, reaps: bool) -> EmbeddedSqlite:
        doors.append(EmbeddedSqlite(directory, clock, reaps=reaps))
        return doors[0]

    world = World(open_door, fast_path, clock, reaps=False)
    (door,) = doors
    yield Workshop(world, fast_path / "vault.db", door.store, door.engine, door.root, clock)
    world.close()


@pytest.fixture(params=["sqlite", "postgres"])
def door(request: pytest.FixtureRequest, fast_path: Path, clock: Clock) -> Iterator[Embedded]:
    """A vault on either store, whose reaper is late."""
    make: type[Embedded] = {"sqlite": EmbeddedSqlite, "postgres": EmbeddedPostgres}[request.param]
    made = make(fast_path, clock, reaps=False)
    yield made
    made.close()


@pytest.fixture
def crowd(door: Embedded) -> Crowd:
    """Two tenants with an agent and a credential each."""
    return Crowd(door)
