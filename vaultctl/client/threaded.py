"""The embedded vault for an event loop: what may block runs in threads."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TypeVar

from vaultctl.client.adapters import Adapter, OnState
from vaultctl.client.following import Poll
from vaultctl.domain import requests as ask
from vaultctl.domain.records import AuditEntry

T = TypeVar("T")


class ThreadedAdapter:
    """An adapter for an event loop, made of one that blocks. An operation that is cancelled goes on in its thread."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._closed = asyncio.Event()

    async def perform(self, request: ask.Request[T]) -> T:
        """The answer to ``request``."""
        return await asyncio.to_thread(self._adapter.perform, request)

    async def follow(
        self,
        request: ask.QueryAudit,
        *,
        poll_seconds: float,
        on_state: OnState,  # noqa: ARG002  # the vault of this machine is never out of reach
    ) -> AsyncGenerator[AuditEntry, None]:
        """The entries that match, and each that comes, until the adapter is closed."""
        state = Poll(self._adapter.perform, request)
        while not self._closed.is_set():
            for entry in await asyncio.to_thread(state.step):
                yield entry
            if state.caught_up:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._closed.wait(), poll_seconds)

    async def close(self) -> None:
        """Close the adapter behind this one."""
        self._closed.set()
        await asyncio.to_thread(self._adapter.close)
