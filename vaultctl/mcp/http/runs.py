"""The runs that a server serves over HTTP: whose they are, how many there may be, and when they end.

A run is a session of the vault with the leases that were issued through it here. It belongs to whoever the vault
said the token of the opening request is, and to nobody else: requests find a run only with a token of the same
owner, which the vault has judged for each of them. What MCP calls a session is at most the way to a run.

- An agent's token opens a session for each handshake (``mcp_sess_…``), which ends with the run.
- A session's token is used as it is: whoever named the session ends it. The run's own leases end with the run.
- The protocol revision without sessions says nothing of where a run begins or ends. There an owner has one run at a
  time, which begins with the first tool that is called and ends when nothing has been asked for a while. Agents that
  share a token and want trails of their own present session tokens, or name their runs in ``X-Vault-Session``:
  that only keeps runs of one owner apart and is recorded as a claim; it says nothing of who somebody is.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import TooManyRequests, VaultError, VaultUnavailable
from vaultctl.domain.secrets import Secret
from vaultctl.mcp.http.terms import Terms
from vaultctl.mcp.logs import logger
from vaultctl.mcp.renewal import keep
from vaultctl.mcp.session import CALL_BOUND, AgentSession, Door

K = TypeVar("K")

_END_BOUND = 5.0
"""Seconds that the end of a run may take; many may end at once."""
_SWEEPS_OF_IDLE = 4


class Owner(NamedTuple):
    """Whose a run is, as the vault says; ``claimed`` only tells runs of one owner apart.

    Attributes:
        tenant: The tenant.
        token_id: The agent's token; of a session, its parent.
        session_id: The session, if it was a session's token.
        claimed: What the caller calls its run, if it says so.
    """

    tenant: str
    token_id: str
    session_id: str | None = None
    claimed: str = ""

    def is_same(self, other: "Owner") -> bool:
        """Whether it is the same by the vault's word, whatever is claimed."""
        return self[:3] == other[:3]


class Visitor(NamedTuple):
    """Who a request comes from.

    Attributes:
        owner: Whose runs it can reach.
        agent: The agent's name.
        door: Asks the vault with the token that came.
        connect: Makes a door for a token that the vault handed out.
    """

    owner: Owner
    agent: str
    door: Door
    connect: Callable[[Secret], Door]


class Run:
    """One run.

    Attributes:
        owner: Whose it is.
        session: Its session and leases.
        last_used: When it was last asked something, by the clock of its :class:`Runs`.
        streams: How many event streams of it are open.
        ending: What ends it, once that has begun.
        on_end: Is called when it ends, to let go what else belongs to it.
    """

    def __init__(self, owner: Owner, session: AgentSession, now: float) -> None:
        self.owner = owner
        self.session = session
        self.last_used = now
        self.streams = 0
        self.ending: asyncio.Task[bool] | None = None
        self.on_end: Callable[[], Awaitable[None]] | None = None
        self.keeper = asyncio.create_task(keep(session))
        self.keeper.add_done_callback(_note_failure)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is about to."""
        return self.ending is not None


class Runs:
    """All runs of this server. Belongs to the event loop in which it is first used."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._runs: set[Run] = set()
        self._of_token: Counter[tuple[str, str]] = Counter()
        self._of_tenant: Counter[str] = Counter()
        self._sole: dict[Owner, asyncio.Task[Run]] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._is_stopping = False

    @property
    def active(self) -> int:
        """How many there are."""
        return len(self._runs)

    async def open(self, visitor: Visitor) -> Run:
        """A new run of ``visitor``. One that comes too late for whoever asked ends at once.

        Raises:
            VaultError: The vault opens no session for it, or not in time.
            TooManyRequests: There are too many already.
        """
        opening = asyncio.create_task(self._open(visitor))
        try:
            async with asyncio.timeout(CALL_BOUND):
                return await asyncio.shield(opening)
        except BaseException as error:
            opening.add_done_callback(self._end_late)
            if isinstance(error, TimeoutError):
                raise VaultUnavailable("The vault is busy.", hint="Try again in a moment.") from None
            raise

    async def sole(self, visitor: Visitor) -> Run:
        """The one run of its owner that belongs to no handshake; a new one if there is none.

        Raises:
            VaultError: As :meth:`open`.
        """
        owner = visitor.owner
        opening = self._sole.get(owner)
        if opening is None or (opening.done() and _is_over(opening)):
            opening = self._sole[owner] = asyncio.create_task(self.open(visitor))
            opening.add_done_callback(lambda task: self._forget_sole(owner, task))
        run = await asyncio.shield(opening)
        self.use(run)
        return run

    def use(self, run: Run) -> None:
        """Note that somebody asks something of ``run``."""
        run.last_used = self._terms.monotonic()

    def end_soon(self, run: Run) -> "asyncio.Task[bool]":
        """Begin to end ``run``, which goes on whoever waits for it; answers whether the vault did all of it."""
        if run.ending is None:
            run.ending = asyncio.create_task(self._end(run))
        return run.ending

    async def end(self, run: Run) -> bool:
        """End ``run`` and what it leased; whether the vault did all of it."""
        return await asyncio.shield(self.end_soon(run))

    def stop(self) -> None:
        """Open no more runs, and begin to end all."""
        self._is_stopping = True
        for run in tuple(self._runs):
            self.end_soon(run)

    async def ended(self) -> None:
        """Wait until all have ended, having been told to."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for opening in tuple(self._sole.values()):
            with suppress(VaultError):
                await opening
        while self._runs:
            await asyncio.gather(*(self.end(run) for run in self._runs), return_exceptions=True)

    def sweep(self) -> None:
        """Begin to end the runs whose client is gone, or whose session is over."""
        oldest = self._terms.monotonic() - self._terms.idle_seconds
        for run in tuple(self._runs):
            if run.session.is_over or (not run.streams and run.last_used <= oldest):
                self.end_soon(run)

    async def _end(self, run: Run) -> bool:
        run.keeper.cancel()
        try:
            released = await run.session.close(_END_BOUND)  # after what it is being asked, whose answers still leave
            if run.on_end is not None:
                await run.on_end()
        finally:
            if (sole := self._sole.get(run.owner)) is not None and sole.done() and _is_over(sole):
                del self._sole[run.owner]
            self._runs.discard(run)
            self._discount(run.owner)
        return released

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(self._terms.judge_seconds, self._terms.idle_seconds / _SWEEPS_OF_IDLE))
            self.sweep()

    async def _open(self, visitor: Visitor) -> Run:
        owner = visitor.owner
        await self._make_room(owner)
        self._of_token[_token(owner)] += 1
        self._of_tenant[owner.tenant] += 1
        try:
            session = await self._session(visitor)
        except BaseException:
            self._discount(owner)
            raise
        run = Run(owner, session, self._terms.monotonic())
        self._runs.add(run)
        if self._is_stopping:
            self.end_soon(run)
            raise _stopping()
        if self._sweeping is None:
            self._sweeping = asyncio.create_task(self._sweep())
        logger.info("Serving %s in session %s", visitor.agent, session.id)
        return run

    def _end_late(self, opening: "asyncio.Task[Run]") -> None:
        if not opening.cancelled() and opening.exception() is None:
            self.end_soon(opening.result())

    async def _session(self, visitor: Visitor) -> AgentSession:
        settings, owner = self._terms.settings, visitor.owner
        claimed = {"sessionId": owner.claimed} if owner.claimed else {}
        if owner.session_id is not None:
            return AgentSession(
                visitor.door, settings, session_id=owner.session_id, agent=visitor.agent, is_own=False, claimed=claimed
            )
        opened = await visitor.door.perform(ask.OpenSession(claimed=claimed))
        return AgentSession(
            visitor.connect(opened.token),
            settings,
            session_id=opened.session.id,
            agent=visitor.agent,
            is_own=True,
            claimed=claimed,
        )

    async def _make_room(self, owner: Owner) -> None:
        """Let one more run of ``owner`` in; if need be for one of its token that was left with nothing in its hands.

        Raises:
            TooManyRequests: There are too many.
        """
        while (limit := self._limit_reached(owner)) is not None:
            mine = [run for run in self._runs if _token(run.owner) == _token(owner) and not run.is_over]
            left = [run for run in mine if not run.streams and not run.session.held]
            if not left:
                raise limit
            await self.end(min(left, key=lambda run: run.last_used))

    def _limit_reached(self, owner: Owner) -> VaultError | None:
        if self._is_stopping:
            return _stopping()
        terms = self._terms
        if self._of_token[_token(owner)] >= terms.runs_of_token:
            return TooManyRequests(
                "Too many sessions of this token hold leases.", hint="End those that are not needed any more."
            )
        if self._of_tenant[owner.tenant] >= terms.runs_of_tenant or self._of_tenant.total() >= terms.runs:
            return TooManyRequests("Too many sessions are open.", hint="Try again later.")
        return None

    def _discount(self, owner: Owner) -> None:
        _count_down(self._of_token, _token(owner))
        _count_down(self._of_tenant, owner.tenant)

    def _forget_sole(self, owner: Owner, opening: "asyncio.Task[Run]") -> None:
        if (opening.cancelled() or opening.exception() is not None) and self._sole.get(owner) is opening:
            del self._sole[owner]


def _token(owner: Owner) -> tuple[str, str]:
    return owner.tenant, owner.token_id


def _count_down(counter: "Counter[K]", key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _note_failure(keeper: "asyncio.Task[None]") -> None:
    if not keeper.cancelled() and (error := keeper.exception()) is not None:
        logger.error("Unexpected while leases were kept: %s", type(error).__name__)


def _is_over(opening: "asyncio.Task[Run]") -> bool:
    return opening.cancelled() or opening.exception() is not None or opening.result().is_over


def _stopping() -> VaultUnavailable:
    return VaultUnavailable("The server is about to stop.", hint="Try again, or another server.")
