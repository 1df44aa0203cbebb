"""One run of one agent, as this server holds it: the session, its leases, and what its model has to be told.

Everything about a run is in :class:`AgentSession`, nothing in module globals, so that a process can serve several.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import anyio

from vaultctl.client import LeaseHandle, Vault
from vaultctl.client.contexts import EMBEDDED
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
from vaultctl.domain.records import Credential, IssuedLease, Lease, LeaseState
from vaultctl.domain.secrets import Secret
from vaultctl.mcp.logs import logger
from vaultctl.mcp.settings import Settings
from vaultctl.mcp.worker import Worker

T = TypeVar("T")

CALL_BOUND = 1.2
"""Seconds that a call may wait for the vault. A client gives a server that should end 2 seconds in all."""

_REQUEST_BOUND = 1.1
"""Seconds that a server may take for what a call asks of it, so that one that hangs does not hold the worker."""

_OPENING_BOUND = 10.0
"""The same while the session is being opened, when nobody's call waits yet."""

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
    """A lease just issued: how this server sees it, and the answer with the value."""

    held: HeldLease
    answer: IssuedLease


class AgentSession:
    """An open session, and the leases that were issued through it here.

    What it does with the vault runs on ``worker``, bounded by :data:`CALL_BOUND`; every method that is ``async``
    raises :class:`VaultUnavailable` when that is exceeded.
    """

    def __init__(
        self, vault: Vault, worker: Worker, settings: Settings, *, session_id: str, agent: str, is_own: bool
    ) -> None:
        """Take over an open session.

        Args:
            vault: Connected with the session's token.
            worker: Of this session alone.
            settings: Its bounds and defaults. The token in them is dropped.
            session_id: The session's id, attested by the vault.
            agent: The agent's name, attested by the vault.
            is_own: This server named the session, and so ends it.
        """
        self.id = session_id
        self.agent = agent
        self.settings = replace(settings, token=Secret(""))
        self.woken = anyio.Event()
        self._vault = vault
        self._worker = worker
        self._is_own = is_own
        self._held: dict[str, HeldLease] = {}
        self._notices: list[str] = []
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

    async def issue(self, name: str, purpose: str, ttl: Duration | None, claimed: Mapping[str, str]) -> Issued:
        """Lease a credential. A lease that comes too late for whoever asked is revoked at once."""
        handover = _Handover()

        def job() -> Issued:
            issued = self._issue(name, purpose, ttl, claimed)
            if not handover.offer(issued):
                self._discard(issued.held)
            return issued

        try:
            issued = await self._call(job)
        except BaseException:
            if late := handover.abandon():
                self._worker.submit(lambda: self._discard(late.held))
            raise
        self.wake()
        return issued

    async def list_credentials(self) -> list[Credential]:
        """What the agent may lease."""
        return await self._call(self._vault.credentials.list)

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
        await self._call(self._vault.sessions.touch)

    def forget_ended(self) -> None:
        """Answer no longer for leases that have expired."""
        now = datetime.now(UTC)
        for held in self.held:
            if held.lease.expires_at <= now:
                self._held.pop(held.lease.id, None)

    async def close(self) -> bool:
        """Revoke this server's leases and end the session if it is its own; False if the vault did not do all of it."""
        self._closing = True
        future = self._worker.submit(self._close)
        with anyio.move_on_after(CLOSE_BOUND, shield=True):
            return await asyncio.wrap_future(future)
        logger.error("The vault did not answer in time: leases of session %s may live until they expire", self.id)
        return False

    def close_now(self) -> bool:
        """:meth:`close` where no event loop runs.

        Raises:
            TimeoutError: The vault did not answer in time.
        """
        return self._worker.submit(self._close).result(CLOSE_BOUND)

    async def _call(self, job: Callable[[], T]) -> T:
        if self._closing:
            raise VaultUnavailable("This server is ending.")
        future: Future[T] = self._worker.submit(job)
        try:
            with anyio.move_on_after(CALL_BOUND):
                return await asyncio.wrap_future(future)
        except VaultError:
            raise
        except Exception as error:  # its text may hold anything
            logger.error("Unexpected: %s", type(error).__name__)
            raise InternalError("The vault server met an unexpected error.", hint="Try again, or report it.") from None
        raise VaultUnavailable("The vault is busy.", hint="Try again in a moment.")

    # What follows runs on the worker.

    def _issue(self, name: str, purpose: str, ttl: Duration | None, claimed: Mapping[str, str]) -> Issued:
        wanted = ttl or self.settings.default_ttl
        most = self.settings.max_ttl
        if wanted and most:
            wanted = min(wanted, most)
        handle = self._create(name, purpose, wanted, claimed)
        if most and handle.lease.ttl > most:
            # The credential's own default is longer than this server may hold a lease. Only the vault knew it.
            too_long = handle.id
            try:
                handle = self._create(name, purpose, most, claimed)
            finally:
                with suppress(VaultError):  # still held, so the end releases it
                    self._discard(self._held[too_long])
        return Issued(self._held[handle.id], handle.issued)

    def _create(self, name: str, purpose: str, ttl: Duration | None, claimed: Mapping[str, str]) -> LeaseHandle:
        handle = self._vault.leases.create(name, ttl=ttl, purpose=purpose, claimed=claimed)
        self._held[handle.id] = HeldLease(handle.lease, self._limit(handle.lease))
        return handle

    def _renew(self, lease_id: str) -> HeldLease:
        own = self._held.get(lease_id)
        held = own
        if held is None and self.settings.max_ttl:
            lease = self._vault.leases.get(lease_id)
            held = HeldLease(lease, self._limit(lease))
        ttl = None
        if held is not None and held.limit < held.lease.max_expires_at:
            ttl = _ttl_within(held)
        renewed = self._vault.leases.renew(lease_id, ttl)
        if own is None:
            return HeldLease(renewed, self._limit(renewed))
        own.lease = renewed
        self._held[lease_id] = own  # it may have been forgotten as ended while this was on its way
        return own

    def _revoke(self, lease_id: str) -> Lease:
        lease = self._vault.leases.revoke(lease_id)
        self._held.pop(lease_id, None)
        return lease

    def _discard(self, held: HeldLease) -> None:
        held.settled = True  # never renewed, even if it can't be revoked now
        self._revoke(held.lease.id)

    def _close(self) -> bool:
        if self._closed:
            return True
        self._closed = released = True
        try:
            if self._is_own:
                self._vault.sessions.end(self.id)
            else:
                for lease_id in list(self._held):
                    try:
                        self._revoke(lease_id)
                    except (NotFound, Conflict):
                        continue  # ended by somebody else, which is as good
        except (NotAuthenticated, Conflict):
            pass  # the session has ended already, and its leases with it
        except Exception as error:
            why = error.message if isinstance(error, VaultError) else type(error).__name__
            logger.error("The leases of session %s were not released: %s", self.id, why)
            released = False
        self._vault.close()
        return released

    def _limit(self, lease: Lease) -> datetime:
        most = self.settings.max_ttl
        return min(lease.max_expires_at, lease.issued_at + most) if most else lease.max_expires_at


class _Handover:
    """Whether a lease reached whoever asked for it, decided once between two threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offered: Issued | None = None
        self._abandoned = False

    def offer(self, issued: Issued) -> bool:
        """Hand it over; False if nobody waits for it any more."""
        with self._lock:
            self._offered = issued
            return not self._abandoned

    def abandon(self) -> Issued | None:
        """Wait no longer; what was handed over meanwhile."""
        with self._lock:
            self._abandoned = True
            return self._offered


def open_session(settings: Settings, worker: Worker) -> AgentSession:
    """Connect, and open the session that all leases of this server belong to. Runs on ``worker``.

    An agent's token is exchanged for a session's and dropped; a session's token is used as it is.

    Raises:
        NotAuthenticated: The token does not count.
        NotAllowed: It is no agent's, or not of the agent or session that the configuration names.
        VaultUnavailable: There is no vault, or it can't be opened.
    """
    vault = _connect(settings, settings.token.reveal(), timeout=_OPENING_BOUND)
    try:
        who = vault.whoami()
        agent = who.identity.name
        if who.identity.type != "agent" or agent is None:
            raise NotAllowed(
                "The MCP server acts for an agent, and this token is not an agent's.",
                hint="Mint one: vaultctl token create --agent NAME",
            )
        if settings.agent_name not in (None, agent):
            raise NotAllowed(
                f"The token belongs to the agent {agent}, not to the agent that is configured.",
                hint="Remove agentName (VAULT_AGENT_NAME), or use that agent's token.",
            )
        if who.session is not None:
            session_id = who.session.id
            if settings.session_id not in (None, session_id):
                raise NotAllowed(
                    "The token belongs to another session than CORTEX_SESSION_ID names.",
                    hint="Give the server the token of that session.",
                )
            if settings.base_url is not None:
                vault.close()
                vault = _connect(settings, settings.token.reveal(), timeout=_REQUEST_BOUND)
            return AgentSession(vault, worker, settings, session_id=session_id, agent=agent, is_own=False)
        claimed = {"agentName": settings.agent_name} if settings.agent_name else {}
        opened = vault.sessions.open(settings.session_id, claimed=claimed)
        is_own = settings.session_id is None
        try:
            own = _connect(settings, opened.token.reveal(), timeout=_REQUEST_BOUND)
        except VaultError:
            if is_own:
                vault.sessions.end(opened.session.id)
            raise
    except BaseException:
        vault.close()
        raise
    vault.close()
    return AgentSession(own, worker, settings, session_id=opened.session.id, agent=agent, is_own=is_own)


def _connect(settings: Settings, token: str, *, timeout: float) -> Vault:
    if settings.base_url is not None:
        return Vault.connect(base_url=settings.base_url, tenant=settings.tenant, token=token, timeout=timeout)
    return Vault.connect(
        context=EMBEDDED, tenant=settings.tenant, token=token, home=settings.home, database=settings.database
    )


def _ttl_within(held: HeldLease) -> Duration:
    if held.at_limit:
        raise _at_maximum()
    room = int((held.limit - datetime.now(UTC) - _MARGIN).total_seconds())
    if room < 1:
        raise _at_maximum()
    return min(held.lease.ttl, Duration.of(room))


def _at_maximum() -> LeaseAtMaximum:
    return LeaseAtMaximum("The lease has reached its maximum and can't be renewed.", hint="Request a new lease.")
