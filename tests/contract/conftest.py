"""One world for each test and each door."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Clock, fast_directory
from tests.contract.world import DOORS, MakeDoor, World

MANY = 6
SHARES = {"embedded-postgres": 0, "http-postgres": 1}
"""The dear doors, and where each begins to take every third case."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a test with many cases the doors on PostgreSQL take a third each, unless ``--every-case`` is given.

    What the cases differ in is judged by the engine, which is the same behind all doors; both doors on SQLite take all.
    """
    if config.getoption("every_case"):
        return
    cases: dict[tuple[str, str], list[pytest.Item]] = {}
    for item in items:
        at = (
            item.callspec.params.get("door")
            if isinstance(item, pytest.Function) and hasattr(item, "callspec")
            else None
        )
        if at in SHARES and item.path.parent == Path(__file__).parent:
            cases.setdefault((item.nodeid.partition("[")[0], at), []).append(item)
    left_out = {
        case
        for (_, at), found in cases.items()
        if len(found) >= MANY
        for number, case in enumerate(found)
        if number % 3 != SHARES[at]
    }
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=list(left_out))


@pytest.fixture(params=DOORS, scope="module")
def door(request: pytest.FixtureRequest) -> MakeDoor:
    return DOORS[request.param]


@pytest.fixture
def is_fastest_door(request: pytest.FixtureRequest) -> bool:
    """Whether the door is the one at which all combinations are tried; the rules behind the others are the same."""
    return bool(request.node.callspec.params["door"] == next(iter(DOORS)))


@pytest.fixture
def world(door: MakeDoor, clock: Clock, fast_path: Path) -> Iterator[World]:
    """A vault whose reaper is never late."""
    made = World(door, fast_path, clock)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_world(door: MakeDoor) -> Iterator[World]:
    """A vault for all tests of a file that leave it as it was, but for entries in its log."""
    with fast_directory() as directory:
        made = World(door, directory, Clock())
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
