"""Databases, other processes that use them, and a umask that does not leak into other tests."""

import os
import select
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Clock
from vaultctl.store.rows import LogRow, TenantRow
from vaultctl.store.sqlite import SqliteStore, create_database

ANSWER_LIMIT = 30.0
"""Seconds that another process has to say what is waited for."""

_PREAMBLE = """
import os, sys, time
from pathlib import Path
from vaultctl.domain.errors import VaultError
from vaultctl.store.interface import Where
from vaultctl.store.migrations import MIGRATIONS, Migration
from vaultctl.store.rows import LogRow, TenantRow
from vaultctl.store.sqlite import SqliteStore
from vaultctl.store.turnstile import Turnstile
database = Path(sys.argv[1])
def say(*words): print(*words, flush=True)
def wait_for_go():
    say("ready")
    sys.stdin.readline()
"""


class Child:
    """A Python process of its own that runs ``code`` on a database, and what it says line by line."""

    def __init__(self, database: Path, code: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PREAMBLE + textwrap.dedent(code), str(database), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def line(self) -> str:
        """The next line that it says."""
        output = self.process.stdout
        assert output is not None
        ready, _, _ = select.select([output], [], [], ANSWER_LIMIT)
        assert ready, "the child says nothing"
        return output.readline().strip()

    def expect(self, text: str) -> None:
        """Wait until it says ``text``."""
        assert self.line() == text

    def go(self) -> None:
        """Let it go on from ``wait_for_go``."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")

    def rest(self) -> str:
        """All that it still says until it ends by itself, which it must do well."""
        output, _ = self.process.communicate(timeout=ANSWER_LIMIT)
        assert self.process.returncode == 0
        return str(output).strip()

    def kill(self) -> None:
        """SIGKILL, and gone."""
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def child(database: Path) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(code: str, *arguments: str, on: Path = database) -> Child:
        children.append(Child(on, code, *arguments))
        return children[-1]

    yield start
    for started in children:
        if started.process.poll() is None:
            started.kill()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A new database without contents."""
    path = tmp_path / "vault.db"
    create_database(path)
    return path


@pytest.fixture
def store(database: Path, clock: Clock) -> Iterator[SqliteStore]:
    opened = SqliteStore(database, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def with_umask() -> Iterator[Callable[[int], None]]:
    def set_umask(mask: int) -> None:
        os.umask(mask)

    before = os.umask(0o022)
    yield set_umask
    os.umask(before)


def put(store: SqliteStore, name: str = "counter", count: int = 0) -> None:
    """A row whose first number is a counter."""
    with store.write() as tx:
        tx.insert(TenantRow(name, count, 0, 0))


def counted(store: SqliteStore, name: str = "counter") -> int:
    with store.read() as tx:
        row = tx.get(TenantRow, name)
    assert row is not None
    return row.default_lease_ttl


def write_log(store: SqliteStore, time: int, tenant: str = "my-org") -> None:
    """A log whose last entry is of ``time``."""
    with store.write() as tx:
        tx.insert(LogRow(tenant, 1, time))


def until(condition: Callable[[], bool], limit: float = ANSWER_LIMIT) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)
