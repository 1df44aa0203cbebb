"""A bar for long work, on stderr and on a terminal only: nothing of it gets into pipes, files and logs."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, int], None]
"""Says how much is done of how much."""

_WIDTH = 30


@contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Advance]:
    """What shows how far the work has come; it is wiped away at the end.

    Args:
        what: The work, like ``Rewrapping``.
        quiet: Show nothing.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from vaultctl.cli import console

    shown = -1

    def advance(done: int, total: int) -> None:
        nonlocal shown
        percent = min(100, done * 100 // total) if total else 100
        if percent != shown:
            shown = percent
            bar = ("#" * (percent * _WIDTH // 100)).ljust(_WIDTH, ".")
            console.redraw(f"{what} [{bar}] {percent}%")

    try:
        yield advance
    finally:
        console.redraw("")
