"""The remote adapter for an event loop."""

import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, cast

from vaultctl.client.adapters import OnState
from vaultctl.client.remote import transport
from vaultctl.client.remote.exchange import LARGEST_ANSWER, Answer, Exchange, Lost, Message, origin, seconds_allowed
from vaultctl.client.remote.feed import READ_TIMEOUT, Broken, Feed
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultUnavailable
from vaultctl.domain.records import AuditEntry, LogVerification
from vaultctl.domain.secrets import Secret

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class Connections:
    """Connections to one server, for as many adapters as there are callers. They belong to one event loop."""

    def __init__(self, base_url: str, ca_file: str | os.PathLike[str] | None = None) -> None:
        self._base_url = base_url
        self._ca_file = ca_file
        self._made: httpx.AsyncHTTPTransport | None = None

    def transport(self) -> "httpx.AsyncHTTPTransport":
        """What sends requests over them."""
        if self._made is None:
            settings = transport.transport_settings(self._base_url, self._ca_file)
            self._made = transport.load_httpx().AsyncHTTPTransport(**settings)
        return self._made

    async def close(self) -> None:
        """Close them all."""
        made, self._made = self._made, None
        if made is not None:
            await made.aclose()


class AsyncRemoteAdapter:
    """Performs requests at a server as whoever has a token. Belongs to the event loop in which it is first used."""

    def __init__(
        self,
        base_url: str,
        token: Secret,
        tenant: str | None = None,
        *,
        ca_file: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        connections: Connections | None = None,
    ) -> None:
        """Make ready; nothing is sent yet. See :class:`~vaultctl.client.remote.adapter.RemoteAdapter`.

        ``connections`` are shared with others, and not closed with this adapter.
        """
        self._origin = origin(base_url, token, tenant)
        self._connections = connections or Connections(self._origin.base_url, ca_file)
        self._are_own = connections is None
        self._timeout = seconds_allowed(timeout)
        self._closed = asyncio.Event()
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None

    async def perform(self, request: ask.Request[T]) -> T:
        """The answer to ``request``."""
        if isinstance(request, ask.VerifyLog):
            return cast("T", await self._verify(request))
        exchange = Exchange(self._origin, request, random=os.urandom)
        deadline = time.monotonic() + self._timeout
        while True:
            result = await self._send(exchange.message, deadline)
            left = deadline - time.monotonic()
            pause = exchange.judge(result, seconds_left=left, chance=random.random)
            if pause is None:
                return exchange.answer()
            await self._pause(pause)

    async def _verify(self, request: ask.VerifyLog) -> LogVerification:
        from vaultctl.client.remote.log_verification import verification

        steps = verification(request)
        wanted = next(steps)
        while True:
            try:
                wanted = steps.send(await self.perform(wanted))
            except StopIteration as end:
                found: LogVerification = end.value
                return found

    async def follow(
        self,
        request: ask.QueryAudit,
        *,
        poll_seconds: float,  # noqa: ARG002  # the server tells by itself
        on_state: OnState,
    ) -> AsyncGenerator[AuditEntry, None]:
        """The entries that match, and each that comes, until the adapter is closed."""
        feed = Feed(self._origin, request, on_state)
        while not self._closed.is_set():
            connections = self._transport()
            httpx = transport.load_httpx()
            result: Answer | Lost = transport.ENDED
            try:
                response = await connections.handle_async_request(
                    transport.http_request(feed.message(), READ_TIMEOUT, READ_TIMEOUT)
                )
                try:
                    if feed.accepts(transport.answer_of(response)):
                        feed.connected()
                        async for chunk in response.aiter_raw():
                            for entry in feed.receive(chunk):
                                yield entry
                    else:
                        result = await _whole(response)
                finally:
                    await response.aclose()
            except httpx.TransportError as error:
                result = transport.lost_by(error)
            except Broken:
                pass
            if not self._closed.is_set():
                await self._pause(feed.broken(result, random.random))

    async def close(self) -> None:
        """Close all connections; what is followed ends."""
        self._closed.set()
        if self._are_own:
            await self._connections.close()

    async def _send(self, message: Message, deadline: float) -> Answer | Lost:
        connections = self._transport()
        httpx = transport.load_httpx()
        left = max(deadline - time.monotonic(), 0.001)
        lost: Lost = transport.TIMED_OUT
        try:
            async with asyncio.timeout(left):
                response = await connections.handle_async_request(transport.http_request(message, left))
                try:
                    return await _whole(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            pass
        except httpx.TransportError as error:
            lost = transport.lost_by(error)
        self._require_open()  # else it is why the connection broke
        return lost

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), seconds)

    def _transport(self) -> "httpx.AsyncHTTPTransport":
        self._require_open()
        return self._connections.transport()

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise transport.closed()
        here = (os.getpid(), asyncio.get_running_loop())
        self._home = self._home or here
        if self._home != here:
            # Connections belong to the event loop that made them.
            raise VaultUnavailable("This vault is used in another event loop.", hint="Connect again in this one.")


async def _whole(response: "httpx.Response") -> Answer | Lost:
    """All of a response, if it is not too much."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            return transport.TOO_LARGE
    return transport.answer_of(response, bytes(body))
