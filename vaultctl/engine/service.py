"""The engine as a server uses it: for many callers at once, from one event loop.

One thread writes, and commits what waits as a group; a few threads read. Tenants take turns, so that a flood in one
leaves the others served, and every queue is bounded. What was accepted is carried out, whether or not whoever asked
still waits for the answer.
"""

import asyncio
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultError, VaultUnavailable
from vaultctl.domain.rules import Caller
from vaultctl.engine.authentication import Bearer, Owner, Principal
from vaultctl.engine.dispatch import Call, Outcome
from vaultctl.engine.engine import Engine, answer_of
from vaultctl.engine.group_commit import GroupCommit, Result, not_committed
from vaultctl.engine.idempotency import Idempotency
from vaultctl.engine.lanes import Lanes
from vaultctl.engine.reruns import rerun

MOST_IN_GROUP = 64

_REAP_BATCH = 50
"""Records of each kind at a time, so that requests don't wait for long."""

_MOST_KNOWN = 10_000
_TICK = 0.25
"""Seconds between two looks for operations whose time is up."""

_ANSWERING = 0.005
"""Seconds that a group waits at most for the answers to the one before it, and for whoever asks again then.

They would compete for the interpreter: all take longer, in groups of half the size.
"""

_LAST_WAIT = 1.0
"""Seconds that threads get to come to an end when the service stops."""

Grown = Callable[[Collection[str]], None]


class _Job:
    """A call that was accepted, and who waits for it; nobody does for a sign of life."""

    __slots__ = ("call", "deadline", "future", "lane")

    def __init__(self, call: Call, lane: str, future: asyncio.Future[Result] | None, deadline: float) -> None:
        self.call = call
        self.lane = lane
        self.future = future
        self.deadline = deadline


class Service:
    """Performs requests for many callers at once. Its methods belong to the event loop that started it.

    Attributes:
        groups: How many groups were committed, by how many calls they held.
        reads: Calls that only read.
        refusals: Calls that were refused.
        overdue: Calls that were not carried out in time.
        reaped: Records of what ended by itself.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        readers: int = 4,
        most_waiting: int = 4096,
        most_waiting_of_tenant: int = 1024,
        seconds: float = 20.0,
        reap_seconds: float = 1.0,
        report: Callable[[Exception], None] = lambda _error: None,
    ) -> None:
        """Serve ``engine``.

        Args:
            engine: Performs the requests.
            readers: Threads that read.
            most_waiting: Most calls that wait to be written; as many may wait to be read.
            most_waiting_of_tenant: Most of one tenant.
            seconds: How long a call may take, waiting included.
            reap_seconds: How often what has ended by itself is recorded.
            report: Is told, in whichever thread, of failures whose reason no caller is told.
        """
        self._engine = engine
        self._commit = GroupCommit(engine, report)
        self._report = report
        self._writes: Lanes[_Job] = Lanes(most_waiting_of_tenant, most_waiting)
        self._reads: Lanes[_Job] = Lanes(most_waiting_of_tenant, most_waiting)
        self._seconds = seconds
        self._reap_seconds = reap_seconds
        self._threads = [
            threading.Thread(target=self._write, name="vaultctl-writer", daemon=True),
            *(threading.Thread(target=self._read, name="vaultctl-reader", daemon=True) for _ in range(readers)),
        ]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ticks: asyncio.TimerHandle | None = None
        self._stopping = False
        self._arrived: list[_Job] = []
        self._pending: dict[_Job, None] = {}  # in order of their deadlines
        self._done = asyncio.Event()
        self._touching: set[bytes] = set()
        self._answered = threading.Event()
        self._callers: dict[bytes, Caller] = {}
        self._subscribers: list[Grown] = []
        self.groups: Counter[int] = Counter()
        self.reads = 0
        self.refusals = 0
        self.overdue = 0
        self.reaped = 0

    @property
    def waiting_writes(self) -> int:
        """Calls that wait to be written."""
        return len(self._writes)

    @property
    def waiting_reads(self) -> int:
        """Calls that wait to be read."""
        return len(self._reads)

    @property
    def commits(self) -> int:
        """Transactions that were committed, the reaper's left out."""
        return self._commit.commits

    @property
    def conflicts(self) -> int:
        """Transactions that were run again because another one was in their way."""
        return self._commit.conflicts

    @property
    def spoiled(self) -> int:
        """Transactions that were run again without one of their calls."""
        return self._commit.spoiled

    @property
    def failures(self) -> int:
        """Transactions that could not be committed."""
        return self._commit.failures

    def start(self) -> None:
        """Begin to serve, in the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._ticks = self._loop.call_later(_TICK, self._tick)
        for thread in self._threads:
            thread.start()

    async def stop(self, grace: float) -> None:
        """Accept nothing more, and finish what was accepted, for at most ``grace`` seconds."""
        self._stopping = True
        if self._pending:
            self._done.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._done.wait(), grace)
        for lanes in (self._reads, self._writes):
            lanes.close(drop=bool(self._pending))
        if self._ticks is not None:
            self._ticks.cancel()
        for job in list(self._pending):
            self._settle(job, not_committed())
        await asyncio.to_thread(self._join)

    async def perform(
        self, principal: Principal, request: ask.Request[Any], idempotency: Idempotency | None = None
    ) -> Outcome:
        """What ``request`` came to: its answer, and who asked. Its audit entries are committed before this returns.

        Raises:
            VaultError: It was refused or failed, or there was no room or no time for it.
        """
        if self._stopping or self._loop is None:
            raise VaultUnavailable("The server is about to stop.", hint="Try again, or another server.")
        call = Call(principal, request, idempotency)
        future: asyncio.Future[Result] = self._loop.create_future()
        job = _Job(call, self._lane(principal), future, time.monotonic() + self._seconds)
        if not self._arrived:
            self._loop.call_soon(self._hand_over)
        self._arrived.append(job)
        self._pending[job] = None
        result = await future
        if isinstance(result, Exception):
            raise result
        answer_of(result)
        return result

    def caller(self, principal: Principal) -> Caller | None:
        """Who a bearer was when it was last heard of; None if that is not known. It proves nothing."""
        return self._callers.get(principal.token_hash) if isinstance(principal, Bearer) else None

    def subscribe(self, grown: Grown) -> Callable[[], None]:
        """Call ``grown`` in the event loop with the tenants whose logs grew, after each commit; answers how to stop."""
        self._subscribers.append(grown)
        return lambda: self._subscribers.remove(grown)

    # In the event loop

    def _lane(self, principal: Principal) -> str:
        if isinstance(principal, Owner):
            return principal.tenant
        known = self._callers.get(principal.token_hash)
        return known.tenant if known is not None else ""  # whoever is not known yet shares a lane with the others

    def _hand_over(self) -> None:
        """Let the threads have what arrived in one turn of the loop: woken for the first, they would wait."""
        arrived, self._arrived = self._arrived, []
        for job in arrived:
            try:
                (self._writes if job.call.writes else self._reads).put(job.lane, job)
            except VaultError as error:  # there is no room
                self._settle(job, error)

    def _deliver(self, results: Sequence[tuple[_Job, Result]], grown: frozenset[str]) -> None:
        for job, result in results:
            self._settle(job, result)
        if grown:
            for subscriber in tuple(self._subscribers):
                subscriber(grown)

    def _deliver_group(self, results: Sequence[tuple[_Job, Result]], grown: frozenset[str]) -> None:
        self._deliver(results, grown)
        if self._loop is not None:  # once these answers have gone out, and what came meanwhile has come in
            self._loop.call_soon(self._loop.call_soon, self._loop.call_soon, self._answered.set)

    def _settle(self, job: _Job, result: Result) -> None:
        self._pending.pop(job, None)
        if isinstance(result, Outcome):
            self._learn(job.call.principal, result)
        if job.future is None:
            if isinstance(job.call.principal, Bearer):
                self._touching.discard(job.call.principal.token_hash)
        elif not job.future.done():
            job.future.set_result(result)
        if not self._pending:
            self._done.set()

    def _learn(self, principal: Principal, outcome: Outcome) -> None:
        self.refusals += outcome.refused is not None
        if outcome.caller is not None and isinstance(principal, Bearer):
            self._callers[principal.token_hash] = outcome.caller
            if len(self._callers) > _MOST_KNOWN:
                del self._callers[next(iter(self._callers))]

    def _tick(self) -> None:
        """Answer those whose time is up: a database that hangs does not hang whoever waits for it."""
        now = time.monotonic()
        for job in list(self._pending):
            if job.deadline > now:
                break
            self.overdue += 1
            self._settle(job, not_committed())
        if self._loop is not None:
            self._ticks = self._loop.call_later(_TICK, self._tick)

    def _touch(self, principal: Principal) -> None:
        """Let a sign of life be recorded, if there is room for it and none is on its way."""
        if isinstance(principal, Bearer) and principal.token_hash not in self._touching:
            lane = self._lane(principal)
            job = _Job(Call(principal, ask.TouchSession()), lane, None, math.inf)  # late is better than never
            with suppress(VaultError):
                self._writes.put(lane, job)
                self._touching.add(principal.token_hash)

    # In the threads

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(function, *arguments)

    def _write(self) -> None:
        next_reap = time.monotonic() + self._reap_seconds
        while True:
            jobs = self._writes.take(MOST_IN_GROUP, max(0.0, next_reap - time.monotonic()))
            if jobs is None:
                return
            if jobs := _in_time(jobs):
                group = self._commit.run([job.call for job in jobs], lambda jobs=jobs: self._joining(jobs))  # type: ignore[misc]
                self.groups[len(jobs)] += 1
                self._answered.clear()
                self._tell(self._deliver_group, list(zip(jobs, group.results, strict=True)), group.grown)
                self._maintain()
                if len(self._writes):
                    self._answered.wait(_ANSWERING)
            if time.monotonic() >= next_reap:
                self._commit.forget_opened()
                next_reap = time.monotonic() + (0.0 if self._reap() else self._reap_seconds)

    def _joining(self, jobs: list[_Job]) -> list[Call]:
        """What has come since ``jobs`` were taken, and joins them."""
        more = _in_time(self._writes.take_waiting(MOST_IN_GROUP - len(jobs)))
        jobs += more
        return [job.call for job in more]

    def _maintain(self) -> None:
        try:
            self._engine.maintain()
        except Exception as error:
            self._report(error)

    def _reap(self) -> bool:
        """Record some of what has ended by itself; answers whether there may be more."""
        try:
            reaped = self._engine.keep_up(_REAP_BATCH)
        except Exception as error:
            self._report(error)
            return False
        self.reaped += reaped.records
        if reaped.grown:
            self._tell(self._deliver, [], reaped.grown)
        return reaped.records + reaped.dropped >= _REAP_BATCH

    def _read(self) -> None:
        while (jobs := self._reads.take(1)) is not None:
            for job in jobs:
                if job.deadline > time.monotonic():
                    self._read_one(job)

    def _read_one(self, job: _Job) -> None:
        result: Result
        try:
            result, is_sign_of_life = rerun(lambda: self._engine.read(job.call))
        except Exception as error:
            result, is_sign_of_life = self._unread(error), False
        self.reads += 1
        if isinstance(result, Outcome) and result.refused is not None:  # judged again where it can be recorded
            self._writes.put(job.lane, job, bounded=False)
            return
        if is_sign_of_life:
            self._tell(self._touch, job.call.principal)
        self._tell(self._deliver, [(job, result)], frozenset())

    def _unread(self, error: Exception) -> Exception:
        """What a caller is told whose request could not be read."""
        if not isinstance(error, VaultUnavailable):
            return error
        self._report(error)
        return VaultUnavailable("The vault could not be read.", hint="Try again.")

    def _join(self) -> None:
        deadline = time.monotonic() + _LAST_WAIT
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _in_time(jobs: list[_Job]) -> list[_Job]:
    """Those that may still be carried out; the others were answered, or will be."""
    now = time.monotonic()
    return [job for job in jobs if job.deadline > now]
