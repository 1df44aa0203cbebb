"""Whether the server can do its work. Anyone may ask, so the answer is kept for a moment and says nothing else."""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus

from vaultctl import __version__
from vaultctl.api.answers import Answer, json_answer
from vaultctl.api.throttle import Monotonic

_PATIENCE = 2.0
"""Seconds that a read may take."""
_FRESH = 1.0
"""Seconds that the outcome counts."""


class Health:
    """Live and ready. A server that is about to stop is not ready, so that nothing new is sent to it."""

    def __init__(self, read: Callable[[], object], monotonic: Monotonic = time.monotonic) -> None:
        """``read`` reads something from the store, or raises."""
        self._read = read
        self._monotonic = monotonic
        self._known: tuple[float, bool] | None = None
        self._running: asyncio.Task[bool] | None = None
        self.stopping = False

    async def both(self) -> Answer:
        """Live and ready."""
        ready = await self._is_ready()
        return _answer(ready, live=True, ready=ready)

    async def live(self) -> Answer:
        """Live: it answers."""
        return _answer(True, live=True)

    async def ready(self) -> Answer:
        """Ready."""
        ready = await self._is_ready()
        return _answer(ready, ready=ready)

    async def _is_ready(self) -> bool:
        if self.stopping:
            return False
        if self._known is not None and self._monotonic() - self._known[0] < _FRESH:
            return self._known[1]
        if self._running is None or self._running.done():  # a read that hangs is not joined by others
            self._running = asyncio.create_task(self._try())
        try:
            return await asyncio.wait_for(asyncio.shield(self._running), _PATIENCE)
        except TimeoutError:
            return False

    async def _try(self) -> bool:
        try:
            await asyncio.to_thread(self._read)
            ready = True
        except Exception:
            ready = False
        self._known = (self._monotonic(), ready)
        return ready


def _answer(good: bool, **states: bool) -> Answer:
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return json_answer({**states, "version": __version__}, status)
