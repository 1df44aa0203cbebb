"""An application, the vault's service behind it and the sockets before it, started and stopped together."""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vaultctl.api.app import Application
from vaultctl.api.front import Front
from vaultctl.api.limits import USUAL, Limits
from vaultctl.api.logs import Log
from vaultctl.api.serving import HTTPServer
from vaultctl.api.throttle import FailedAuthentications, TokenRates
from vaultctl.engine.service import Service

if TYPE_CHECKING:
    from vaultctl.mcp.http.terms import Terms

_LEAST_GRACE = 1.0
"""Seconds that the service gets to commit what it accepted, however long the connections took."""


class Node:
    """Whatever serves an application. Lives in the event loop that starts it."""

    def __init__(
        self,
        application: Front,
        service: Service | None,
        *,
        log: Log,
        sockets: Sequence[socket.socket],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Serve ``application`` on ``sockets``; ``service`` is the vault of this process, if it has one."""
        self._application = application
        self._service = service
        self._log = log
        self._http = HTTPServer(application, sockets, tls)

    async def start(self) -> None:
        """Serve from now on."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_exception)
        self._log.start(loop.call_later)
        if self._service is not None:
            self._service.start()
        await self._http.start()

    async def stop(self, grace: float) -> bool:
        """Accept nothing more and finish what was accepted; whether that was possible in ``grace`` seconds."""
        began = time.monotonic()
        answered = await self._http.stop(grace)
        await self._application.ended()
        left = max(_LEAST_GRACE, grace - (time.monotonic() - began))
        if self._service is not None:
            await self._service.stop(left)
        self._log.stop()
        return answered

    def _on_exception(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            self._log.unexpected(error)
        else:
            self._log.error("unexpected")


class Server(Node):
    """One node of a vault."""

    def __init__(
        self,
        service: Service,
        *,
        read: Callable[[], object],
        log: Log,
        sockets: Sequence[socket.socket],
        tls: ssl.SSLContext | None = None,
        limits: Limits = USUAL,
        failures: FailedAuthentications | None = None,
        rates: TokenRates | None = None,
        mcp: "Terms | None" = None,
    ) -> None:
        """Serve ``service`` on ``sockets``; ``read`` reads something from its store, or raises."""
        application = Application(service, read=read, log=log, limits=limits, failures=failures, rates=rates, mcp=mcp)
        super().__init__(application, service, log=log, sockets=sockets, tls=tls)
        service.subscribe(application.streams.grew)
