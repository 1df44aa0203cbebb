"""The paths that are operations of the vault: from an exchange to a request, and from its answer back."""

from typing import TypeVar

from vaultctl.api.answers import JSON, TEXT, Answer, method_not_allowed, no_such_path
from vaultctl.api.bearer import IDEMPOTENCY_KEY, bearer_of
from vaultctl.api.exchange import Exchange
from vaultctl.api.limits import Limits
from vaultctl.api.throttle import TokenRates
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import NotAuthenticated, VaultError
from vaultctl.domain.http_messages import decode_request
from vaultctl.domain.routes import PREFIX, ROUTES, Match, match
from vaultctl.domain.rules import Caller
from vaultctl.domain.wire import to_json
from vaultctl.engine.authentication import Bearer
from vaultctl.engine.idempotency import Idempotency
from vaultctl.engine.service import Service

T = TypeVar("T")


class Operations:
    """Performs operations as whoever the token says, no faster than the token may."""

    def __init__(self, service: Service, limits: Limits, rates: TokenRates) -> None:
        self._service = service
        self._limits = limits
        self._rates = rates

    def find(self, exchange: Exchange) -> Match | None:
        """What the exchange asks for; None if its path is no operation's.

        Raises:
            Problem: The path is one, and does not know the method.
        """
        segments = exchange.segments()
        if not segments or segments[0] != PREFIX:
            return None
        found = match(exchange.method, segments[1:])
        if found is not None and found.kind is None:
            raise method_not_allowed(found.allowed)
        return found

    async def answer(self, exchange: Exchange, found: Match) -> Answer:
        """The answer to the operation that was found.

        Raises:
            VaultError: It was refused or failed.
            Problem: It went wrong before it was an operation.
        """
        kind = found.kind
        if kind is None:
            raise no_such_path()
        route = ROUTES[kind]
        exchange.template = route.template
        bearer = self.admit(exchange)
        body = await exchange.json_body(self._limits)
        request = decode_request(kind, found.path, exchange.query(), body)
        answer = await self.perform(exchange, bearer, request, _idempotency(exchange, body))
        if route.text is not None and JSON.decode() not in (exchange.header(b"accept") or ""):
            return Answer(route.status, getattr(answer, route.text).encode(), TEXT)
        if route.answer is bytes:
            return Answer(route.status, answer, route.media_type.encode())
        return Answer(route.status, to_json(answer))

    def admit(self, exchange: Exchange) -> Bearer:
        """The principal of the exchange, whose token has not asked too often.

        Raises:
            NotAuthenticated: It carries no token.
            Problem: The token has asked too often.
        """
        bearer = bearer_of(exchange)
        self._rates.take(bearer.token_hash)
        return bearer

    async def perform(
        self,
        exchange: Exchange,
        bearer: Bearer,
        request: ask.Request[T],
        idempotency: Idempotency | None = None,
    ) -> T:
        """The answer to ``request``.

        Raises:
            VaultError: It was refused or failed.
        """
        try:
            outcome = await self._service.perform(bearer, request, idempotency)
        except NotAuthenticated:
            raise
        except VaultError:
            # Whoever was refused is known too, and refusals count towards the limit of a token.
            self._note(exchange, bearer, self._service.caller(bearer))
            raise
        self._note(exchange, bearer, outcome.caller)
        answer: T = outcome.answer
        return answer

    def _note(self, exchange: Exchange, bearer: Bearer, caller: Caller | None) -> None:
        exchange.caller = caller
        if caller is not None and caller.token_id is not None:
            self._rates.learn(bearer.token_hash, caller.token_id, caller.requests_per_minute)


def _idempotency(exchange: Exchange, body: bytes) -> Idempotency | None:
    """What makes a repeated POST the same one: its key, with the path and the body that it was used for."""
    if exchange.method != "POST":
        return None
    key = exchange.header(IDEMPOTENCY_KEY)
    if key is None:
        return None
    raw_path: bytes = exchange.scope["raw_path"]
    return Idempotency(key, b"POST %b\n%b" % (raw_path, body))
