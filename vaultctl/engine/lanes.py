"""A queue that is fair: what waits has a lane for each tenant, and is taken from the lanes in turn."""

import threading
from collections import OrderedDict, deque
from typing import Generic, TypeVar

from vaultctl.domain.errors import TooManyRequests, VaultUnavailable

T = TypeVar("T")


class Lanes(Generic[T]):
    """A bounded queue among threads. A flood in one lane fills that lane."""

    def __init__(self, most_in_lane: int, most: int) -> None:
        self._most_in_lane = most_in_lane
        self._most = most
        self._lanes: OrderedDict[str, deque[T]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._takers = 0
        self._closed = False

    def __len__(self) -> int:
        return self._size

    def put(self, lane: str, item: T, *, bounded: bool = True) -> None:
        """Put ``item`` at the end of a lane.

        Args:
            lane: Which lane.
            item: What to put there.
            bounded: Whether there has to be room; what was accepted before is put back without.

        Raises:
            TooManyRequests: The lane is full.
            VaultUnavailable: All is full.
        """
        with self._lock:
            waiting = self._lanes.get(lane)
            if bounded and self._size >= self._most:
                raise VaultUnavailable("The server has more requests waiting than it serves.", hint="Try again soon.")
            if bounded and waiting is not None and len(waiting) >= self._most_in_lane:
                raise TooManyRequests("The tenant has too many requests waiting.", hint="Try again soon, and slower.")
            if waiting is None:
                waiting = self._lanes[lane] = deque()
            waiting.append(item)
            self._size += 1
            if self._takers:
                self._changed.notify()

    def take(self, most: int, timeout: float | None = None) -> list[T] | None:
        """At most ``most`` items, one from each lane in turn; waits so many seconds for the first.

        Returns:
            The items, none if there were none in time; None once the queue is closed and empty.
        """
        with self._lock:
            if not self._size and not self._closed:
                self._takers += 1
                self._changed.wait(timeout)
                self._takers -= 1
            if self._closed and not self._size:
                return None
            return self._taken(most)

    def take_waiting(self, most: int) -> list[T]:
        """Like :meth:`take`, of what is there already."""
        with self._lock:
            return self._taken(most)

    def _taken(self, most: int) -> list[T]:
        taken: list[T] = []
        while self._size and len(taken) < most:
            lane, waiting = self._lanes.popitem(last=False)
            taken.append(waiting.popleft())
            self._size -= 1
            if waiting:
                self._lanes[lane] = waiting
        return taken

    def close(self, *, drop: bool = False) -> None:
        """Let whoever takes come to an end, with what is waiting or without."""
        with self._lock:
            self._closed = True
            if drop:
                self._lanes.clear()
                self._size = 0
            self._changed.notify_all()
