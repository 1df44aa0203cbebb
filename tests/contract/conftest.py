"""One world for each test and each door."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Clock
from tests.contract.world import DOORS, MakeDoor, World


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> MakeDoor:
    return DOORS[request.param]


@pytest.fixture
def world(door: MakeDoor, clock: Clock, fast_path: Path) -> Iterator[World]:
    """A vault whose reaper is never late."""
    made = World(door, fast_path, clock)
    yield made
    made.close()


@pytest.fixture
def late_world(door: MakeDoor, clock: Clock, fast_path: Path) -> Iterator[World]:
    """A vault whose reaper comes only when the test says so."""
    made = World(door, fast_path, clock, reaps=False)
    yield made
    made.close()


@pytest.fixture
def new_world(door: MakeDoor, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., World]:
    """Makes worlds, for tests that need one for each of their examples."""

    def make(clock: Clock, *, reaps: bool = True) -> World:
        return World(door, tmp_path_factory.mktemp("world"), clock, reaps=reaps)

    return make
