"""The ASGI application of a vault: where an exchange goes.

Operations are matched by the table of routes and answered without a framework's router and response classes, which
would take half of the time of a small request.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from vaultctl.api.answers import Answer, json_answer, method_not_allowed, no_such_path
from vaultctl.api.exchange import Exchange
from vaultctl.api.front import Front
from vaultctl.api.health import Health
from vaultctl.api.limits import USUAL, Limits
from vaultctl.api.logs import Log
from vaultctl.api.mcp import MCPPath, ServiceCallers
from vaultctl.api.metrics import MEDIA_TYPE, Metrics
from vaultctl.api.openapi import HEALTH, STREAM, document
from vaultctl.api.operations import Operations
from vaultctl.api.options import MCP_PATH
from vaultctl.api.streams import Streams
from vaultctl.api.throttle import FailedAuthentications, TokenRates
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import NotAllowed
from vaultctl.domain.records import Role
from vaultctl.engine.service import Service
from vaultctl.mcp.http.terms import Terms


class Application(Front):
    """One vault over HTTP."""

    def __init__(
        self,
        service: Service,
        *,
        read: Callable[[], object],
        log: Log,
        limits: Limits = USUAL,
        failures: FailedAuthentications | None = None,
        rates: TokenRates | None = None,
        mcp: Terms | None = None,
    ) -> None:
        """Serve ``service``; ``read`` reads something from its store, or raises."""
        super().__init__(log, limits, failures)
        rates = rates or TokenRates(None)
        self.health = Health(read)
        self._operations = Operations(service, limits, rates)
        self.streams = Streams(self._operations, limits)
        self.mcp = MCPPath(ServiceCallers(service, self._operations), mcp or Terms(), limits)
        self._metrics = Metrics(service, self.streams, rates, log, self.mcp)
        self._document = b""
        live, ready = (path for path in HEALTH if path.endswith(("live", "ready")))
        (both,) = HEALTH.keys() - {live, ready}
        self._paths: dict[str, Callable[[Exchange], Awaitable[Answer | None]]] = {
            both: lambda _: self.health.both(),
            live: lambda _: self.health.live(),
            ready: lambda _: self.health.ready(),
            STREAM: self.streams.answer,
            "/metrics": self._counters,
            "/openapi.json": self._openapi,
        }

    def turned_away(self, status: int, source: str) -> None:
        """Note a connection that was closed for what it sent, or did not send; ``status`` is 0 if it got no answer."""
        self._metrics.count_closed(status)
        super().turned_away(status, source)

    def stop(self) -> None:
        """Be ready for nothing new, and let go what would wait: streams, and answers that were delayed."""
        self.health.stopping = True
        self.streams.close()
        self.mcp.stop()
        super().stop()

    async def ended(self) -> None:
        """Wait until the runs that spoke MCP have ended."""
        await self.mcp.ended()

    async def _answer(self, exchange: Exchange) -> Answer | None:
        found = self._operations.find(exchange)
        if found is not None:
            return await self._operations.answer(exchange, found)
        path = "/" + "/".join(exchange.segments() or ())
        if path == MCP_PATH:
            exchange.template = path
            return await self.mcp.answer(exchange)
        serve = self._paths.get(path)
        if serve is None:
            raise no_such_path()
        exchange.template = path
        if exchange.method not in ("GET", "HEAD"):
            raise method_not_allowed(("GET", "HEAD"))
        return await serve(exchange)

    def _count(self, exchange: Exchange) -> None:
        self._metrics.count(exchange)

    def _count_problem(self, code: str) -> None:
        self._metrics.count_problem(code)

    async def _counters(self, exchange: Exchange) -> Answer:
        if not exchange.is_local:
            await self._operations.perform(exchange, self._operations.admit(exchange), ask.GetSelf())
            caller = exchange.caller
            if caller is None or not (caller.is_operator or caller.role is Role.ADMIN):
                raise NotAllowed("The counters are for operators and admins.", hint="Use the token of one.")
        return Answer(HTTPStatus.OK, self._metrics.page(), MEDIA_TYPE)

    async def _openapi(self, _: Exchange) -> Answer:
        if not self._document:
            self._document = json_answer(document()).body
        return Answer(HTTPStatus.OK, self._document)
