"""A stage for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Clock
from tests.tui.stage import Stage


@pytest.fixture
def stage(fast_path: Path, clock: Clock) -> Iterator[Stage]:
    made = Stage(fast_path, clock)
    yield made
    made.close()
