"""One writer at a time among processes, in turn.

SQLite's own busy timeout backs off and starves under contention. Here a writer passes a gate before it waits for the
lock, and leaves the gate once it has the lock: the one that just finished queues behind the one at the gate.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vaultctl.domain.errors import VaultUnavailable

_FIRST_PAUSE = 0.0002
_LONGEST_PAUSE = 0.002


class Turnstile:
    """Two ``flock``ed files beside the database. Safe among threads as well as processes.

    Locks of a process that dies are released by the operating system.
    """

    def __init__(self, database: Path, timeout: float) -> None:
        """A turnstile for ``database`` that gives up after ``timeout`` seconds."""
        self._database = database
        self._timeout = timeout
        self._threads = threading.Lock()
        self._files: tuple[int, int] | None = None
        self._closed = False

    @contextmanager
    def turn(self, patience: float | None = None) -> Iterator[None]:
        """Hold the lock.

        Args:
            patience: Seconds to wait for it, if not the usual ones.

        Raises:
            VaultUnavailable: Others held it for all of the time-out, its files can't be opened, or it was closed.
        """
        patience = self._timeout if patience is None else patience
        deadline = time.monotonic() + patience
        if not self._threads.acquire(timeout=patience):
            raise self._busy()
        try:
            gate, lock = self._open()
            self._acquire(gate, deadline)
            try:
                self._acquire(lock, deadline)
            finally:
                fcntl.flock(gate, fcntl.LOCK_UN)
            try:
                yield
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def close(self) -> None:
        """Close the lock files for good, once whoever has the lock is done."""
        self._closed = True
        if not self._threads.acquire(timeout=self._timeout):
            return  # closed from within a turn: the files go with the process
        try:
            for file in self._files or ():
                os.close(file)
            self._files = None
        finally:
            self._threads.release()

    def _open(self) -> tuple[int, int]:
        if self._closed:
            raise VaultUnavailable("The vault was closed.", hint="Open it again.")
        if self._files is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            try:
                gate, lock = (os.open(f"{self._database}-{name}", flags, 0o600) for name in ("gate", "lock"))
            except OSError as error:
                raise VaultUnavailable(
                    f"The vault's lock files beside {self._database} can't be opened: {error.strerror}.",
                    hint="The directory must be writable by you.",
                ) from None
            self._files = gate, lock
        return self._files

    def _acquire(self, file: int, deadline: float) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise self._busy() from None
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _busy(self) -> VaultUnavailable:
        return VaultUnavailable(
            f"Another process held the vault's write lock for {self._timeout:g} seconds.",
            hint="Try again; if it stays, look for a stopped vaultctl process.",
        )
