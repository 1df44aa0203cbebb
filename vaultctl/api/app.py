"""The ASGI application: what every exchange goes through, and where it goes.

Operations are matched by the table of routes and answered without a framework's router and response classes, which
would take half of the time of a small request. Whatever goes wrong becomes a problem here, and is logged and counted.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from vaultctl.api.answers import Answer, Problem, json_answer, method_not_allowed, no_such_path, problem_answer
from vaultctl.api.exchange import Exchange, Gone, Receive, Scope, Send, random_ids
from vaultctl.api.health import Health
from vaultctl.api.limits import USUAL, Limits
from vaultctl.api.logs import Log
from vaultctl.api.metrics import MEDIA_TYPE, Metrics
from vaultctl.api.openapi import HEALTH, STREAM, document
from vaultctl.api.operations import Operations
from vaultctl.api.streams import Streams
from vaultctl.api.throttle import FailedAuthentications, TokenRates
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InternalError, NotAllowed, NotAuthenticated, VaultError, VaultUnavailable
from vaultctl.domain.records import Role
from vaultctl.engine.service import Service

_GONE = 499
"""The status in the log of a request whose client went away before it was there. Nothing is answered."""


class Application:
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
    ) -> None:
        """Serve ``service``; ``read`` reads something from its store, or raises."""
        self.limits = limits
        self._log = log
        self._ids = random_ids()
        self._failures = failures or FailedAuthentications()
        rates = rates or TokenRates(None)
        self.health = Health(read)
        self._operations = Operations(service, limits, rates)
        self.streams = Streams(self._operations, limits)
        self._metrics = Metrics(service, self.streams, rates, log)
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        exchange = Exchange(next(self._ids), scope, receive, send)
        try:
            await self._serve(exchange)
        except Gone:
            exchange.status = _GONE
        finally:
            self._metrics.count(exchange)
            self._log.request(exchange)

    async def overloaded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an exchange for which there is no room."""
        exchange = Exchange(next(self._ids), scope, receive, send)
        error = VaultUnavailable("The server has too many connections.", hint="Try again in a moment.")
        closing = Problem(error, HTTPStatus.SERVICE_UNAVAILABLE, ((b"connection", b"close"),))
        await exchange.answer(problem_answer(closing, exchange.id))
        self._metrics.count(exchange)
        self._log.request(exchange)

    def turned_away(self, status: int, source: str) -> None:
        """Note a connection that was closed for what it sent, or did not send; ``status`` is 0 if it got no answer."""
        self._metrics.count_closed(status)
        self._log.info("closed", status=status, source=source)

    def stop(self) -> None:
        """Be ready for nothing new, and let go what would wait: streams, and answers that were delayed."""
        self.health.stopping = True
        self.streams.close()
        self._failures.release()

    async def _serve(self, exchange: Exchange) -> None:
        answer: Answer | None
        try:
            answer = await self._answer(exchange)
        except (VaultError, Problem) as error:
            answer = await self._problem(exchange, error)
        except Gone:
            raise
        except Exception as error:
            self._log.unexpected(error, requestId=exchange.id)
            defect = InternalError("Something unexpected happened in the server.", hint="Its log has the request id.")
            answer = await self._problem(exchange, defect)
        if answer is not None:
            await exchange.answer(answer)

    async def _answer(self, exchange: Exchange) -> Answer | None:
        found = self._operations.find(exchange)
        if found is not None:
            return await self._operations.answer(exchange, found)
        path = "/" + "/".join(exchange.segments() or ())
        serve = self._paths.get(path)
        if serve is None:
            raise no_such_path()
        exchange.template = path
        if exchange.method not in ("GET", "HEAD"):
            raise method_not_allowed(("GET", "HEAD"))
        return await serve(exchange)

    async def _problem(self, exchange: Exchange, error: VaultError | Problem) -> Answer | None:
        if isinstance(error, NotAuthenticated):
            try:
                await self._failures.penalise(exchange.source)
            except Problem as too_many:
                error = too_many
        kind = error.error if isinstance(error, Problem) else error
        self._metrics.count_problem(kind.code)
        if kind.http_status == HTTPStatus.INTERNAL_SERVER_ERROR and error.__traceback__ is not None:
            self._log.unexpected(kind, requestId=exchange.id)
        if exchange.status:
            raise RuntimeError("an answer that had begun can't be ended by a problem") from None
        return problem_answer(error, exchange.id)

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
