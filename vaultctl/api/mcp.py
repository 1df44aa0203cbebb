"""A path on which agents speak MCP: who asks is established here, request by request, before MCP is spoken.

The SDK, which takes a second and much memory to load, is loaded by the first agent whose token counts.

Who has no token gets ``WWW-Authenticate: Bearer``, without the metadata of RFC 9728: that leads a client to the server
that issues tokens by OAuth, and there is none; people mint the vault's tokens. A client would begin what can't end.
"""

import asyncio
import gc
import importlib
import re
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from vaultctl.api.answers import GUARDS, Answer, Problem, method_not_allowed
from vaultctl.api.bearer import token_of
from vaultctl.api.exchange import Exchange, Gone
from vaultctl.api.limits import Limits
from vaultctl.api.operations import Operations
from vaultctl.client.remote.async_adapter import AsyncRemoteAdapter, Connections
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput, NotAllowed, NotAuthenticated, VaultUnavailable
from vaultctl.domain.rules import Caller
from vaultctl.domain.secrets import Secret
from vaultctl.engine.authentication import Bearer
from vaultctl.engine.service import Service
from vaultctl.mcp.http.runs import Owner, Runs, Visitor
from vaultctl.mcp.http.terms import Terms
from vaultctl.mcp.session import CALL_BOUND, REQUEST_BOUND, Door, require_agent

if TYPE_CHECKING:
    from vaultctl.mcp.http.endpoint import Endpoint

T = TypeVar("T")

_METHODS = ("POST", "GET", "DELETE")
_ONCE = (b"mcp-protocol-version", b"mcp-session-id", b"accept")
_CLAIM = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


class Callers(Protocol):
    """Where the vault is that knows the callers."""

    async def identify(self, exchange: Exchange, claimed: str) -> Visitor:
        """Who sent the exchange, by the vault's word; ``claimed`` is what they call their run.

        Raises:
            VaultError: The vault does not know the token, or it is no agent's.
        """
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


class ServiceDoor:
    """The way to the vault of this process as one bearer."""

    def __init__(self, service: Service, bearer: Bearer) -> None:
        self._service = service
        self._bearer = bearer

    async def perform(self, request: ask.Request[T]) -> T:
        """The answer to ``request``."""
        answer: T = (await self._service.perform(self._bearer, request)).answer
        return answer

    async def close(self) -> None:
        """Nothing is held."""


class ServiceCallers:
    """The vault of this process."""

    def __init__(
        self, service: Service, operations: Operations, tenant: str | None = None, agent: str | None = None
    ) -> None:
        """Know the callers of ``service``; if ``tenant`` or ``agent`` is named, those of that one alone."""
        self._service = service
        self._operations = operations
        self._tenant = tenant
        self._agent = agent

    async def identify(self, exchange: Exchange, claimed: str) -> Visitor:
        """Who sent the exchange. The token's rate counts requests, not what they come to."""
        bearer = self._operations.admit(exchange)
        bearer = bearer._replace(tenant=_tenant(bearer.tenant, self._tenant))
        await self._operations.perform(exchange, bearer, ask.ListSessions(limit=1))  # the cheapest that all may ask
        caller = exchange.caller
        assert caller is not None  # noqa: S101  # the vault has answered it
        return _visitor(
            caller,
            self._agent,
            claimed,
            ServiceDoor(self._service, bearer),
            lambda token: ServiceDoor(self._service, Bearer.of(token, bearer.tenant)),
        )

    async def close(self) -> None:
        """Nothing is held."""


class RemoteCallers:
    """A vault behind a server."""

    def __init__(self, base_url: str, tenant: str | None, agent: str | None = None) -> None:
        """Know the callers of the server at ``base_url``; if ``tenant`` or ``agent`` is named, those of that one."""
        self._agent = agent
        self._base_url = base_url
        self._tenant = tenant
        self._connections = Connections(base_url)

    async def identify(self, exchange: Exchange, claimed: str) -> Visitor:
        """Who sent the exchange."""
        token = token_of(exchange)
        tenant = _tenant(exchange.header(b"x-vault-tenant"), self._tenant)
        door = self._door(token, tenant)
        who = await door.perform(ask.GetSelf())
        exchange.caller = Caller(
            who.tenant,
            who.identity,
            who.role,
            token_id=who.token.id if who.token else None,
            session_id=who.session.id if who.session else None,
        )
        return _visitor(exchange.caller, self._agent, claimed, door, lambda secret: self._door(secret, tenant))

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    def _door(self, token: Secret, tenant: str | None) -> AsyncRemoteAdapter:
        return AsyncRemoteAdapter(self._base_url, token, tenant, timeout=REQUEST_BOUND, connections=self._connections)


class MCPPath:
    """MCP on one path of a server."""

    def __init__(self, callers: Callers, terms: Terms, limits: Limits) -> None:
        self._callers = callers
        self._terms = terms
        self._limits = limits
        self._runs = Runs(terms)
        self._loading: asyncio.Task[Endpoint] | None = None

    @property
    def active(self) -> int:
        """How many runs there are."""
        return self._runs.active

    def load(self) -> "asyncio.Task[Endpoint]":
        """Begin to load the SDK, unless it is there."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        return self._loading

    async def answer(self, exchange: Exchange) -> Answer | None:
        """Serve one request.

        Raises:
            VaultError: It was refused before MCP was spoken.
            Problem: The same, for what it is in HTTP.
            Gone: The client went away before its answer was there.
        """
        if not self._terms.guard.knows_host(exchange.header(b"host")):
            raise _misdirected("The request is for another name than this server has.", "--allow-host")
        if not self._terms.guard.admits_origin(exchange.header(b"origin")):
            raise _misdirected("The request comes from a web page that is not let in.", "--allow-origin")
        if exchange.method not in _METHODS:
            raise method_not_allowed(_METHODS)
        claimed = _claimed(exchange)
        try:
            async with asyncio.timeout(CALL_BOUND):
                visitor = await self._callers.identify(exchange, claimed)
        except TimeoutError:
            raise VaultUnavailable("The vault is busy.", hint="Try again in a moment.") from None
        body = await exchange.json_body(self._limits) if exchange.method == "POST" else b""
        for name in _ONCE:
            exchange.header(name)  # which refuses one that is there twice
        endpoint = await asyncio.shield(self.load())
        exchange.is_stream = exchange.method == "GET"

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                guards = (*GUARDS, (b"x-request-id", exchange.id.encode()), (b"x-accel-buffering", b"no"))
                own = {name for name, _ in guards}
                kept = [header for header in message.get("headers", ()) if header[0].lower() not in own]
                message = {**message, "headers": [*kept, *guards]}
            await exchange.send(message)

        await endpoint.serve(visitor, body, exchange.scope, exchange.receive, send)
        if not exchange.status:
            raise Gone
        return None

    def stop(self) -> None:
        """Serve nobody new, and begin to end all runs."""
        self._runs.stop()

    async def ended(self) -> None:
        """Wait until all runs have ended, having been told to."""
        await self._runs.ended()
        if self._loading is not None:
            with suppress(Exception):  # it could not be loaded, which those who asked for it know
                await (await self._loading).stop()
        await self._callers.close()

    async def _load(self) -> "Endpoint":
        module = await asyncio.to_thread(importlib.import_module, "vaultctl.mcp.http.endpoint")
        gc.freeze()  # it stays, and the collector need not look at it again
        endpoint: Endpoint = module.Endpoint(self._runs, self._terms)
        await endpoint.start()
        return endpoint


def _visitor(caller: Caller, agent: str | None, claimed: str, door: Door, connect: Callable[[Secret], Door]) -> Visitor:
    name = require_agent(caller.identity, agent)
    owner = Owner(caller.tenant, caller.token_id or "", caller.session_id, claimed)
    return Visitor(owner, name, door, connect)


def _tenant(named: str | None, configured: str | None) -> str | None:
    """The tenant that a token has to be of, if one is known.

    Raises:
        NotAuthenticated: The request names another than the server is for.
    """
    if None not in (named, configured) and named != configured:
        raise NotAuthenticated("The token is not one of this vault and tenant.", hint="Leave X-Vault-Tenant out.")
    return named or configured


def _claimed(exchange: Exchange) -> str:
    claimed = exchange.header(b"x-vault-session") or ""
    if claimed and not _CLAIM.fullmatch(claimed):
        raise InvalidInput(
            "The header X-Vault-Session is malformed.", hint="It has up to 128 letters, digits, '.', '_' or '-'."
        )
    return claimed


def _misdirected(message: str, option: str) -> Problem:
    error = NotAllowed(message, hint=f"Whoever runs the server can name it with {option}.")
    return Problem(error, HTTPStatus.FORBIDDEN)
