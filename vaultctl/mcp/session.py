"""One run of one agent, as this server holds it: the session, its leases, and what its model has to be told.

Everything about a run is in :class:`AgentSession`, nothing in module globals, so that a process can serve several.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

import anyio
from msgspec import structs

from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import (
    Conflict,
    InternalError,
    LeaseAtMaximum,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    VaultError,
    VaultUnavailable,
)
from vaultctl.domain.records import Credential, Identity, IssuedLease, Lease, LeaseState, ResponseFormat
from vaultctl.domain.secrets import Secret
from vaultctl.mcp.logs import logger
from vaultctl.mcp.settings import Settings

T = TypeVar("T")

CALL_BOUND = 1.2
"""Seconds that a call may wait for the vault. A client gives a server that should end 2 seconds in all."""

REQUEST_BOUND = 1.1
"""Seconds that a server may take for what a call asks of it, so that one that hangs does not hold the session."""

CLOSE_BOUND = 1.5
"""Seconds that the end may take."""

_ROUNDING = timedelta(seconds=2)
"""A lease that ends so close to this server's own maximum is at it: TTLs are whole seconds."""

_MARGIN = timedelta(milliseconds=100)
"""Between computing a TTL and the vault's counting from it."""

_MOST_NOTICES = 20


@dataclass
class HeldLease:
    """A lease that this server issued and still answers for.

    Attributes:
        lease: As the vault last described it.
        limit: Until when it may live: the vault's maximum, or this server's own if that is sooner.
        settled: Nothing is left to do for it: it is at its limit, or was refused, and that has been said.
        retry_at: When to try a renewal again that failed for a reason that may pass.
    """

    lease: Lease
    limit: datetime
    settled: bool = False
    retry_at: datetime | None = None

    @property
    def renewable(self) -> bool:
        """Whether a renewal could still move its end."""
        return self.lease.state is LeaseState.ACTIVE and not self.at_limit

    @property
    def at_limit(self) -> bool:
        """Whether it lives until its limit."""
        slack = timedelta(0) if self.limit >= self.lease.max_expires_at else _ROUNDING
        return self.limit - self.lease.expires_at <= slack


@dataclass
class Issued:
    """A lease just issued: how this server sees it, and the answer with the value or the reference."""

    held: HeldLease
    answer: IssuedLease


class Door(Protocol):
    """What carries requests to the vault as one caller, without blocking the event loop."""

    async def perform(self, request: ask.Request[T]) -> T:
        """The answer to ``request``."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


class AgentSession:
    """An open session, and the leases that were issued through it here.

    What it asks of the vault it asks one after the other, each bounded by :data:`CALL_BOUND`; every method that is
    ``async`` raises :class:`VaultUnavailable` when that is exceeded.
    """

    def __init__(
        self,
        vault: Door,
        settings: Settings,
        *,
        session_id: str,
        agent: str,
        is_own: bool,
        claimed: Mapping[str, str] | None = None,
    ) -> None:
        """Take over an open session.

        Args:
            vault: Asked with the session's token.
            settings: Its bounds and defaults. The token in them is dropped.
            session_id: The session's id, attested by the vault.
            agent: The agent's name, attested by the vault.
            is_own: This server named the session, and so ends it.
            claimed: What its client says of itself, recorded with each lease and never believed.
        """
        self.id = session_id
        self.agent = agent
        self.settings = replace(settings, token=Secret(""))
        self.woken = anyio.Event()
        self.is_over = False
        """The vault has said that the session does not count any more."""
        self._claimed = dict(claimed or {})
        self._vault = vault
        self._is_own = is_own
        self._held: dict[str, HeldLease] = {}
        self._notices: list[str] = []
        self._turn = asyncio.Lock()
        self._jobs: set[asyncio.Task[Any]] = set()
        self._closing = False
        self._closed = False

    @property
    def held(self) -> list[HeldLease]:
        """The leases that this server answers for."""
        return list(self._held.values())

    def holds(self, held: HeldLease) -> bool:
        """Whether this server still answers for the lease."""
        return held.lease.id in self._held

    def wake(self) -> None:
        """Tell the keeper that there is something new to keep."""
        self.woken.set()
        self.woken = anyio.Event()

    def notify(self, notice: str) -> None:
        """Have ``notice`` said with the next answer to the model."""
        self._notices = [*self._notices, notice][-_MOST_NOTICES:]

    def take_notices(self) -> list[str]:
        """What the model has not been told yet."""
        notices, self._notices = self._notices, []
        return notices

    async def issue(
        self,
        name: str,
        purpose: str,
        ttl: Duration | None,
        claimed: Mapping[str, str],
        response_format: ResponseFormat | None = None,
    ) -> Issued:
        """Lease a credential. A lease that comes too late for whoever asked is revoked at once."""
        if self.settings.response_format is ResponseFormat.REFERENCE:  # whatever the model asks for
            response_format = ResponseFormat.REFERENCE
        wanted = ask.CreateLease(
            credential_name=name,
            ttl=ttl,
            purpose=purpose,
            response_format=response_format,
            claimed={**self._claimed, **claimed},
        )
        issued = await self._call(lambda: self._issue(wanted), undo=lambda late: self._discard(late.held))
        self.wake()
        return issued

    async def list_credentials(self) -> list[Credential]:
        """What the agent may lease."""
        return await self._call(self._list_credentials)

    async def renew(self, lease_id: str) -> HeldLease:
        """Extend a lease from now by the TTL that it was granted, up to its limit.

        Raises:
            LeaseAtMaximum: It can't be extended any further.
        """
        held = await self._call(lambda: self._renew(lease_id))
        self.wake()
        return held

    async def revoke(self, lease_id: str) -> Lease:
        """End a lease."""
        return await self._call(lambda: self._revoke(lease_id))

    async def touch(self) -> None:
        """Give a sign of life."""
        await self._call(lambda: self._vault.perform(ask.TouchSession()))

    def forget_ended(self) -> None:
        """Answer no longer for leases that have expired."""
        now = datetime.now(UTC)
        for held in self.held:
            if held.lease.expires_at <= now:
                self._held.pop(held.lease.id, None)

    async def close(self, bound: float = CLOSE_BOUND) -> bool:
        """Revoke this server's leases and end the session if it is its own; False if the vault did not do all of it.

        Args:
            bound: Seconds that it may take.
        """
        self._closing = True
        job = self._start(self._in_turn(self._close))
        with anyio.move_on_after(bound, shield=True):
            return await asyncio.shield(job)
        logger.error("The vault did not answer in time: leases of session %s may live until they expire", self.id)
        return False

    async def _call(self, job: Callable[[], Awaitable[T]], undo: Callable[[T], Awaitable[None]] | None = None) -> T:
        """What ``job`` comes to. One that has begun is carried through; what nobody waits for any more is undone."""
        if self._closing:
            raise VaultUnavailable("This server is ending.")
        has_begun = is_delivered = is_abandoned = False

        async def run() -> T:
            nonlocal has_begun
            has_begun = True
            result = await job()
            if is_abandoned and undo is not None:
                await undo(result)
            return result

        running = self._start(self._in_turn(run))
        try:
            with anyio.move_on_after(CALL_BOUND):
                result = await asyncio.shield(running)
                is_delivered = True
                return result
        except VaultError as error:
            self.is_over = self.is_over or isinstance(error, NotAuthenticated)
            raise
        except Exception as error:  # its text may hold anything
            logger.error("Unexpected: %s", type(error).__name__)
            raise InternalError("The vault server met an unexpected error.", hint="Try again, or report it.") from None
        finally:
            is_abandoned = not is_delivered
            if not has_begun:
                running.cancel()
            elif is_abandoned and undo is not None and _has_result(running):  # it came as the waiting ended
                self._start(self._in_turn(partial(undo, running.result())))
        raise VaultUnavailable("The vault is busy.", hint="Try again in a moment.")

    async def _in_turn(self, job: Callable[[], Awaitable[T]]) -> T:
        async with self._turn:
            return await job()

    def _start(self, job: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._jobs.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has been told; nobody else is

    # What follows has its turn.

    async def _issue(self, wanted: ask.CreateLease) -> Issued:
        ttl = wanted.ttl or self.settings.default_ttl
        most = self.settings.max_ttl
        if ttl and most:
            ttl = min(ttl, most)
        issued = await self._create(wanted, ttl)
        if most and issued.lease.ttl > most:
            # The credential's own default is longer than this server may hold a lease. Only the vault knew it.
            too_long = issued.lease.id
            try:
                issued = await self._create(wanted, most)
            finally:
                with suppress(VaultError):  # still held, so the end releases it
                    await self._discard(self._held[too_long])
        return Issued(self._held[issued.lease.id], issued)

    async def _create(self, wanted: ask.CreateLease, ttl: Duration | None) -> IssuedLease:
        issued = await self._vault.perform(structs.replace(wanted, ttl=ttl))
        self._held[issued.lease.id] = HeldLease(issued.lease, self._limit(issued.lease))
        return issued

    async def _list_credentials(self) -> list[Credential]:
        listed: list[Credential] = []
        page = await self._vault.perform(ask.ListCredentials(limit=ask.MAX_PAGE_SIZE))
        listed.extend(page.items)
        while page.next_cursor is not None:
            page = await self._vault.perform(ask.ListCredentials(limit=ask.MAX_PAGE_SIZE, cursor=page.next_cursor))
            listed.extend(page.items)
        return listed

    async def _renew(self, lease_id: str) -> HeldLease:
        own = self._held.get(lease_id)
        held = own
        if held is None and self.settings.max_ttl:
            lease = await self._vault.perform(ask.GetLease(id=lease_id))
            held = HeldLease(lease, self._limit(lease))
        ttl = None
        if held is not None and held.limit < held.lease.max_expires_at:
            ttl = _ttl_within(held)
        renewed = await self._vault.perform(ask.RenewLease(id=lease_id, ttl=ttl))
        if own is None:
            return HeldLease(renewed, self._limit(renewed))
        own.lease = renewed
        self._held[lease_id] = own  # it may have been forgotten as ended while this was on its way
        return own

    async def _revoke(self, lease_id: str) -> Lease:
        lease = await self._vault.perform(ask.RevokeLease(id=lease_id))
        self._held.pop(lease_id, None)
        return lease

    async def _discard(self, held: HeldLease) -> None:
        held.settled = True  # never renewed, even if it can't be revoked now
        await self._revoke(held.lease.id)

    async def _close(self) -> bool:
        if self._closed:
            return True
        self._closed = released = True
        try:
            if self._is_own:
                await self._vault.perform(ask.EndSession(id=self.id))
            else:
                for lease_id in list(self._held):
                    try:
                        await self._revoke(lease_id)
                    except (NotFound, Conflict):
                        continue  # ended by somebody else, which is as good
        except (NotAuthenticated, Conflict):
            pass  # the session has ended already, and its leases with it
        except Exception as error:
            why = error.message if isinstance(error, VaultError) else type(error).__name__
            logger.error("The leases of session %s were not released: %s", self.id, why)
            released = False
        await self._vault.close()
        return released

    def _limit(self, lease: Lease) -> datetime:
        most = self.settings.max_ttl
        return min(lease.max_expires_at, lease.issued_at + most) if most else lease.max_expires_at


def require_agent(identity: Identity, configured: str | None) -> str:
    """The name of the agent that a token belongs to.

    Raises:
        NotAllowed: It is no agent's, or not that of the agent that is configured.
    """
    agent = identity.name
    if identity.type != "agent" or agent is None:
        raise NotAllowed(
            "The MCP server acts for an agent, and this token is not an agent's.",
            hint="Mint one: vaultctl token create --agent NAME",
        )
    if configured not in (None, agent):
        raise NotAllowed(
            f"The token belongs to the agent {agent}, not to the agent that is configured.",
            hint="Remove agentName (VAULT_AGENT_NAME), or use that agent's token.",
        )
    return agent


def _has_result(task: "asyncio.Task[Any]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _ttl_within(held: HeldLease) -> Duration:
    if held.at_limit:
        raise _at_maximum()
    room = int((held.limit - datetime.now(UTC) - _MARGIN).total_seconds())
    if room < 1:
        raise _at_maximum()
    return min(held.lease.ttl, Duration.of(room))


def _at_maximum() -> LeaseAtMaximum:
    return LeaseAtMaximum("The lease has reached its maximum and can't be renewed.", hint="Request a new lease.")
