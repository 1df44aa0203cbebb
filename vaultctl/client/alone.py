"""One process at a time among those that make, move or replace the files of a vault's home."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vaultctl.domain.errors import VaultUnavailable

PATIENCE = 30.0
"""Seconds to wait for another process that is at work."""


@contextmanager
def alone_in(directory: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a lock on ``directory`` itself, which leaves no file behind and ends with the process.

    Args:
        directory: Where the files are.
        patience: Seconds to wait for the lock.

    Raises:
        VaultUnavailable: Another process held it for all of the time that there is.
    """
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise VaultUnavailable(
                        f"Another vaultctl process has been at work on the vault's files in {directory} for "
                        f"{patience:g} seconds.",
                        hint="Let it finish, or look for a stopped vaultctl process.",
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(file)
