"""How many connections each source has open, so that one alone can't take all the places."""

from collections import Counter


class Sources:
    """Counts the open connections of each source."""

    def __init__(self, most: int) -> None:
        """Let each source have at most ``most``."""
        self._most = most
        self._open: Counter[str] = Counter()

    def enter(self, source: str) -> bool:
        """Count another connection of ``source``; whether it may have that many."""
        self._open[source] += 1
        return self._open[source] <= self._most

    def leave(self, source: str) -> None:
        """Count a connection that was closed."""
        self._open[source] -= 1
        if not self._open[source]:
            del self._open[source]

    def __len__(self) -> int:
        """How many sources have connections."""
        return len(self._open)
