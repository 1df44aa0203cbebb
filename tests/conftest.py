"""What every test has: no configuration of the developer's, a clock that the test moves, a folder that is fast."""

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings

from vaultctl.domain.durations import Duration
from vaultctl.domain.times import SECOND, from_micros

settings.register_profile("vaultctl", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("vaultctl")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a run may be asked for."""
    parser.addoption(
        "--every-case",
        action="store_true",
        help="run every case of the contract through every door, which takes longer",
    )


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist nobody asks
def pytest_xdist_auto_num_workers() -> int:
    """Three workers for two processors: a third of the time a test waits for a server, a database or a child."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_collection_finish() -> None:
    """Thousands of tests live to the end: the garbage collector need not look at them again and again."""
    gc.collect()
    gc.freeze()


class Clock:
    """A clock in microseconds since 1970 that stands still until it is moved."""

    def __init__(self, start: int = 1_800_000_000 * SECOND) -> None:
        self.micros = start

    def __call__(self) -> int:
        return self.micros

    @property
    def now(self) -> datetime:
        return from_micros(self.micros)

    def advance(self, span: str | timedelta) -> datetime:
        """Move on by ``span`` (``"15m"``); answers the new time. Backwards only with a ``timedelta``."""
        moved = Duration.parse(span) if isinstance(span, str) else span
        self.micros += moved // timedelta(microseconds=1)
        return self.now


@pytest.fixture(autouse=True)
def _nothing_of_the_developers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.lstrip("_").startswith(("VAULT", "CORTEX")):
            monkeypatch.delenv(name)
    home = tmp_path / "vaultctl-home"
    monkeypatch.setenv("VAULTCTL_HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home / name))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def fast_directory() -> Iterator[Path]:
    """A temporary folder, in memory where the machine has such a place: most tests are not about the disk."""
    shared = Path("/dev/shm")
    in_memory = shared.is_dir() and os.access(shared, os.W_OK)
    with tempfile.TemporaryDirectory(prefix="vaultctl-test-", dir=shared if in_memory else None) as directory:
        yield Path(directory)


@pytest.fixture
def fast_path() -> Iterator[Path]:
    """A fast temporary folder of the test's own."""
    with fast_directory() as directory:
        yield directory


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    from tests.postgres import LENT

    url = LENT.server.create_database()
    yield url
    LENT.server.drop(url)


def pytest_sessionfinish() -> None:
    """Stop the PostgreSQL server of this process, if a test has started it."""
    if "tests.postgres" in sys.modules:
        sys.modules["tests.postgres"].LENT.close()
