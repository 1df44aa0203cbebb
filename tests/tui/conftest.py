"""A stage for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_textual_snapshot import SVGImageExtension

from tests.conftest import Clock
from tests.tui.stage import Stage


@pytest.fixture
def stage(fast_path: Path, clock: Clock) -> Iterator[Stage]:
    made = Stage(fast_path, clock)
    yield made
    made.close()


SVGImageExtension.file_extension = "svg"  # which pytest-textual-snapshot tells Syrupy by the name of before version 5
