"""What every exchange goes through, whatever a server serves: from its start to its place in the log.

Whatever goes wrong on the way to an answer becomes a problem here, and failed authentications are slowed down.
"""

from abc import ABC, abstractmethod
from http import HTTPStatus

from vaultctl.api.answers import Answer, Problem, problem_answer
from vaultctl.api.exchange import Exchange, Gone, Receive, Scope, Send, random_ids
from vaultctl.api.limits import Limits
from vaultctl.api.logs import Log
from vaultctl.api.sources import Sources
from vaultctl.api.throttle import FailedAuthentications
from vaultctl.domain.errors import InternalError, NotAuthenticated, VaultError, VaultUnavailable

_GONE = 499
"""The status in the log of a request whose client went away before it was there. Nothing is answered."""


class Front(ABC):
    """An ASGI application; what it serves is up to its heirs."""

    def __init__(self, log: Log, limits: Limits, failures: FailedAuthentications | None = None) -> None:
        self.limits = limits
        self.sources = Sources(limits.connections_of_source)
        self._log = log
        self._ids = random_ids()
        self._failures = failures or FailedAuthentications()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        exchange = Exchange(next(self._ids), scope, receive, send)
        try:
            await self._serve(exchange)
        except Gone:
            exchange.status = _GONE
        finally:
            self._count(exchange)
            self._log.request(exchange)

    async def overloaded(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an exchange for which there is no room."""
        exchange = Exchange(next(self._ids), scope, receive, send)
        error = VaultUnavailable("The server has too many connections.", hint="Try again in a moment.")
        closing = Problem(error, HTTPStatus.SERVICE_UNAVAILABLE, ((b"connection", b"close"),))
        await exchange.answer(problem_answer(closing, exchange.id))
        self._count(exchange)
        self._log.request(exchange)

    def turned_away(self, status: int, source: str) -> None:
        """Note a connection that was closed for what it sent, or did not send; ``status`` is 0 if it got no answer."""
        self._log.info("closed", status=status, source=source)

    def stop(self) -> None:
        """Be ready for nothing new, and let go what would wait, such as answers that were delayed."""
        self._failures.release()

    async def ended(self) -> None:  # noqa: B027  # not everything does
        """Wait until what goes on beyond an exchange has ended, after :meth:`stop`."""

    @abstractmethod
    async def _answer(self, exchange: Exchange) -> Answer | None:
        """The answer to an exchange; None if it has been given."""

    def _count(self, exchange: Exchange) -> None:  # noqa: B027  # not everybody counts
        """Count an exchange that has been answered."""

    def _count_problem(self, code: str) -> None:  # noqa: B027
        """Count a problem by its code."""

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

    async def _problem(self, exchange: Exchange, error: VaultError | Problem) -> Answer | None:
        if isinstance(error, NotAuthenticated):
            try:
                await self._failures.penalise(exchange.source)
            except Problem as too_many:
                error = too_many
        kind = error.error if isinstance(error, Problem) else error
        self._count_problem(kind.code)
        if kind.http_status == HTTPStatus.INTERNAL_SERVER_ERROR and error.__traceback__ is not None:
            self._log.unexpected(kind, requestId=exchange.id)
        if exchange.status:
            raise RuntimeError("an answer that had begun can't be ended by a problem") from None
        return problem_answer(error, exchange.id)
