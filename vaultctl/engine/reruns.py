"""Transactions that were in each other's way, or lost their connection, run again: soon, not in step, not for ever."""

import time
from collections.abc import Callable
from typing import TypeVar

from vaultctl.domain.errors import VaultUnavailable
from vaultctl.store.interface import Conflicted

T = TypeVar("T")

RERUN_SECONDS = 10.0
"""For how long a transaction that does not get through is run again; a failover takes less."""

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.25


def rerun(transaction: Callable[[], T], *, seconds: float = RERUN_SECONDS) -> T:
    """What ``transaction`` answers, run again for so many seconds while it is Conflicted.

    Raises:
        VaultUnavailable: It was Conflicted to the end.
    """
    deadline = time.monotonic() + seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            return transaction()
        except Conflicted:
            if time.monotonic() >= deadline:
                break
        import random  # which most commands never need

        time.sleep(random.uniform(0, pause))  # noqa: S311  # no secret: it keeps the others from coming in step
        pause = min(pause * 2, _LONGEST_PAUSE)
    raise VaultUnavailable("The vault is busy, or its database is failing over.", hint="Try again in a moment.")
