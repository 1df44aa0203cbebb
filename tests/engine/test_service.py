"""The engine for many callers at once."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.engine.crowd import Crowd, lease, meddled
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import (
    NotAuthenticated,
    NotFound,
    TooManyRequests,
    VaultError,
    VaultUnavailable,
)
from vaultctl.domain.times import SECOND
from vaultctl.engine.authentication import Bearer
from vaultctl.engine.engine import Engine
from vaultctl.engine.group_commit import GroupCommit
from vaultctl.engine.idempotency import Idempotency
from vaultctl.engine.service import MOST_IN_GROUP, Service

NEVER = 1e6


@asynccontextmanager
async def serving(engine: Engine, **options: Any) -> AsyncIterator[Service]:
    service = Service(engine, **({"reap_seconds": NEVER} | options))
    service.start()
    try:
        yield service
    finally:
        await service.stop(10)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(_awaited(scenario), 60))


async def _awaited(scenario: Callable[[], Awaitable[None]]) -> None:
    await scenario()


async def handed_over(service: Service, count: int) -> None:
    """Wait until so many calls wait to be written: what arrives in one turn of the loop is handed over in the next."""
    while service.waiting_writes < count:  # noqa: ASYNC110 — a turn of the loop is what is waited for
        await asyncio.sleep(0)


class Gate:
    """Holds up whoever comes by, until it is opened."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._reached = threading.Event()

    def __call__(self, *_: object) -> None:
        self._reached.set()
        assert self._open.wait(30)

    async def reached(self) -> None:
        await asyncio.to_thread(self._reached.wait, 30)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gated(crowd: Crowd) -> tuple[Gate, Engine]:
    """An engine whose commits are held up."""
    meddler, engine = meddled(crowd)
    gate = Gate()
    meddler.before_commit = gate
    return gate, engine


# Answers


def test_many_callers_are_answered_each_with_their_own(crowd: Crowd) -> None:
    sessions = {crowd.open_session(tenant): tenant for tenant in crowd.agents}

    async def scenario() -> None:
        async with serving(crowd.engine) as service:

            async def one(caller: Bearer, tenant: str) -> str:
                outcome = await service.perform(caller, lease())
                assert outcome.answer.value.reveal() == f"{tenant}-api-0123456"
                assert (outcome.caller.tenant, outcome.refused) == (tenant, None)
                return str(outcome.answer.lease.id)

            callers = [*sessions.items()] * 60
            made = await asyncio.gather(*(one(*caller) for caller in callers))
            assert len(set(made)) == 120
            assert sum(size * count for size, count in service.groups.items()) == 120
            assert service.commits < 120
            assert max(service.groups) <= MOST_IN_GROUP

    run(scenario)
    for tenant in crowd.agents:
        assert crowd.events(tenant).count("lease.created") == 60


def test_refusals_and_errors_are_raised_and_refused_reads_are_recorded(crowd: Crowd) -> None:
    agent = crowd.agents["my-org"]

    async def scenario() -> None:
        async with serving(crowd.engine) as service:
            with pytest.raises(NotFound):
                await service.perform(agent, lease("none"))
            with pytest.raises(NotFound):
                await service.perform(agent, ask.GetLease(id="lease_none"))
            with pytest.raises(NotAuthenticated):
                await service.perform(Bearer(b"?" * 32), ask.GetSelf())
            assert service.caller(agent).tenant == "my-org"  # who was refused is known from then on
            assert service.refusals == 2

    run(scenario)
    assert crowd.events()[-2:] == ["lease.denied", "access.denied"]


def test_a_read_is_a_sign_of_life_of_its_session(crowd: Crowd) -> None:
    session = crowd.open_session()
    crowd.door.store._clock.micros += 120 * SECOND

    async def scenario() -> None:
        async with serving(crowd.engine) as service:
            await asyncio.gather(*(service.perform(session, ask.GetSelf()) for _ in range(5)))

    run(scenario)
    (seen,) = crowd.engine.perform(crowd.owner(), ask.ListSessions()).items
    assert seen.last_seen_at == crowd.door.store._clock.now


def test_a_repeated_key_is_carried_out_once_however_many_ask_at_once(crowd: Crowd) -> None:
    async def scenario() -> None:
        async with serving(crowd.engine) as service:
            key = Idempotency("a-key", b"body")
            outcomes = await asyncio.gather(*(service.perform(crowd.agents["my-org"], lease(), key) for _ in range(40)))
            assert len({outcome.answer.lease.id for outcome in outcomes}) == 1

    run(scenario)
    assert [crowd.events().count(name) for name in ("lease.created", "lease.replayed")] == [1, 39]


def test_a_cancelled_caller_does_not_cancel_what_was_accepted(crowd: Crowd, gated: tuple[Gate, Engine]) -> None:
    gate, engine = gated

    async def scenario() -> None:
        async with serving(engine) as service:
            waiting = asyncio.create_task(service.perform(crowd.agents["my-org"], lease()))
            await gate.reached()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            gate.open()

    run(scenario)
    assert crowd.events()[-1] == "lease.created"


# Floods


def test_a_flood_on_one_tenant_leaves_another_served(crowd: Crowd, gated: tuple[Gate, Engine]) -> None:
    gate, engine = gated
    flooding, other = crowd.agents["my-org"], crowd.agents["other-org"]

    async def scenario() -> None:
        async with serving(engine, most_waiting_of_tenant=300) as service:
            for tenant, bearer in crowd.agents.items():
                service._callers[bearer.token_hash] = crowd_caller(crowd, tenant)
            order: list[str] = []

            async def one(bearer: Bearer, name: str) -> None:
                await service.perform(bearer, lease())
                order.append(name)

            first = asyncio.create_task(one(flooding, "flood"))
            await gate.reached()
            flood = [asyncio.create_task(one(flooding, "flood")) for _ in range(400)]
            await asyncio.sleep(0)
            late = asyncio.create_task(one(other, "other"))
            await handed_over(service, 301)
            gate.open()
            await asyncio.gather(first, late)
            results = await asyncio.gather(*flood, return_exceptions=True)
            assert order.index("other") <= MOST_IN_GROUP + len(crowd.agents)
            refused = [result for result in results if result is not None]
            assert [type(error) for error in refused] == [TooManyRequests] * 100

    run(scenario)


def crowd_caller(crowd: Crowd, tenant: str) -> Any:
    from vaultctl.engine.dispatch import Call

    return crowd.engine.read(Call(crowd.agents[tenant], ask.GetSelf()))[0].caller


# Time


def test_a_database_that_hangs_does_not_hang_whoever_waits(crowd: Crowd, gated: tuple[Gate, Engine]) -> None:
    gate, engine = gated

    async def scenario() -> None:
        async with serving(engine, seconds=0.2) as service:
            asked = [service.perform(crowd.agents["my-org"], lease()) for _ in range(3)]
            results = await asyncio.gather(*asked, return_exceptions=True)
            assert [type(result) for result in results] == [VaultUnavailable] * 3
            assert "idempotency key" in results[0].hint
            assert service.overdue == 3
            gate.open()
            answered = await service.perform(crowd.agents["my-org"], ask.GetSelf())
            assert answered.answer.tenant == "my-org"

    run(scenario)


def test_what_waited_too_long_to_be_begun_is_not_done(crowd: Crowd, gated: tuple[Gate, Engine]) -> None:
    gate, engine = gated

    async def scenario() -> None:
        async with serving(engine, seconds=0.2) as service:
            begun = asyncio.create_task(service.perform(crowd.agents["my-org"], lease()))
            await gate.reached()
            late = asyncio.create_task(service.perform(crowd.agents["other-org"], lease()))
            for task in (begun, late):
                with pytest.raises(VaultUnavailable):
                    await task
            gate.open()

    run(scenario)
    assert crowd.events("other-org")[-1] == "token.created"


def test_why_a_commit_failed_is_reported_and_told_to_no_caller(crowd: Crowd) -> None:
    meddler, engine = meddled(crowd)
    reported: list[Exception] = []

    def fail() -> None:
        raise VaultUnavailable("The disk of db-7 is full.")

    meddler.before_commit = fail

    async def scenario() -> None:
        async with serving(engine, report=reported.append) as service:
            with pytest.raises(VaultUnavailable) as caught:
                await service.perform(crowd.agents["my-org"], lease())
            assert "disk" not in str(caught.value)
            assert service.failures == 1

    run(scenario)
    assert [str(error) for error in reported] == ["The disk of db-7 is full."]


# Beginning and end


def test_stopping_finishes_what_was_accepted_and_accepts_nothing_more(crowd: Crowd, gated: tuple[Gate, Engine]) -> None:
    gate, engine = gated

    async def scenario() -> None:
        async with serving(engine) as service:
            accepted = [asyncio.create_task(service.perform(crowd.agents["my-org"], lease())) for _ in range(5)]
            await gate.reached()
            stopping = asyncio.create_task(service.stop(10))
            await asyncio.sleep(0)
            with pytest.raises(VaultUnavailable, match="about to stop"):
                await service.perform(crowd.agents["my-org"], lease())
            gate.open()
            await stopping
            assert all(task.done() for task in accepted)
            assert len({task.result().answer.lease.id for task in accepted}) == 5
            assert not any(thread.is_alive() for thread in service._threads)

    run(scenario)


def test_stopping_does_not_wait_longer_than_its_grace(crowd: Crowd, gated: tuple[Gate, Engine]) -> None:
    gate, engine = gated

    async def scenario() -> None:
        service = Service(engine, reap_seconds=NEVER)
        service.start()
        accepted = asyncio.create_task(service.perform(crowd.agents["my-org"], lease()))
        await gate.reached()
        await service.stop(0.01)
        with pytest.raises(VaultUnavailable):
            await accepted
        gate.open()
        for thread in service._threads:
            await asyncio.to_thread(thread.join, 10)

    run(scenario)


# By itself


def test_what_ends_by_itself_is_recorded_and_subscribers_hear_of_it(crowd: Crowd) -> None:
    crowd.engine.perform(crowd.agents["my-org"], lease())
    crowd.engine.perform(crowd.agents["other-org"], lease(ttl=None))
    crowd.door.store._clock.micros += 7200 * SECOND

    async def scenario() -> None:
        heard: set[str] = set()
        both = asyncio.Event()

        def grown(tenants: Any) -> None:
            heard.update(tenants)
            if len(heard) == 2:
                both.set()

        service = Service(crowd.engine, reap_seconds=0.01)
        stop_hearing = service.subscribe(grown)
        service.start()
        await both.wait()
        stop_hearing()
        await service.stop(10)
        assert service.reaped == 2

    run(scenario)
    for tenant in crowd.agents:
        assert crowd.events(tenant)[-1] == "lease.expired"


def test_values_that_were_opened_are_forgotten_while_nothing_happens(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = threading.Event()

    def forget(groups: GroupCommit) -> None:
        forget_opened(groups)
        forgotten.set()

    forget_opened = GroupCommit.forget_opened
    monkeypatch.setattr(GroupCommit, "forget_opened", forget)

    async def scenario() -> None:
        async with serving(crowd.engine, reap_seconds=0.01) as service:
            await service.perform(crowd.agents["my-org"], lease())
            forgotten.clear()
            assert await asyncio.to_thread(forgotten.wait, 30)
            tenants = service._commit._memory._tenants.values()
            assert [(tenant.made, tenant.judged, tenant.fragments) for _, tenant in tenants] == [({}, {}, {})]

    run(scenario)


# Between two groups


def test_whoever_asks_again_when_answered_shares_a_group_with_whoever_waited_meanwhile(
    crowd: Crowd, gated: tuple[Gate, Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaultctl.engine.service._ANSWERING", 30.0)
    gate, engine = gated

    async def scenario() -> None:
        async with serving(engine) as service:

            async def twice() -> None:
                await service.perform(crowd.agents["my-org"], lease())
                await service.perform(crowd.agents["my-org"], lease())

            asking_twice = asyncio.create_task(twice())
            await gate.reached()
            waiting = asyncio.create_task(service.perform(crowd.agents["other-org"], lease()))
            await handed_over(service, 1)
            gate.open()
            await asyncio.gather(asking_twice, waiting)
            assert service.groups == {1: 1, 2: 1}

    run(scenario)


def test_a_store_whose_upkeep_fails_is_reported_and_goes_on_serving(crowd: Crowd) -> None:
    meddler, engine = meddled(crowd)
    error = VaultUnavailable("The disk is full.")

    def fail() -> None:
        raise error

    meddler.on_upkeep = fail
    reported: list[Exception] = []

    async def scenario() -> None:
        async with serving(engine, report=reported.append) as service:
            for _ in range(2):
                await service.perform(crowd.agents["my-org"], lease())

    run(scenario)
    assert reported == [error, error]


def test_subscribers_hear_of_each_log_that_grew(crowd: Crowd) -> None:
    async def scenario() -> None:
        heard: list[frozenset[str]] = []
        async with serving(crowd.engine) as service:
            service.subscribe(lambda tenants: heard.append(frozenset(tenants)))
            await service.perform(crowd.agents["other-org"], lease())
            await service.perform(crowd.agents["my-org"], ask.GetSelf())
            with pytest.raises(VaultError):
                await service.perform(crowd.agents["my-org"], lease("none"))
        assert heard == [{"other-org"}, {"my-org"}]

    run(scenario)


def test_a_token_s_rate_is_known_from_who_its_bearer_was(crowd: Crowd) -> None:
    token = crowd.mint(requests_per_minute=90)
    assert token.token.requests_per_minute == 90
    rotated = crowd.engine.perform(crowd.owner(), ask.RotateToken(id=token.token.id))
    assert rotated.token.requests_per_minute == 90
    bearer = Bearer.of(rotated.secret)
    session = Bearer.of(crowd.engine.perform(bearer, ask.OpenSession()).token)

    async def scenario() -> None:
        async with serving(crowd.engine) as service:
            for caller in (bearer, session):
                outcome = await service.perform(caller, lease())
                assert outcome.caller.requests_per_minute == 90
                assert service.caller(caller).token_id == token.token.id

    run(scenario)


@pytest.mark.parametrize("rate", [0, -1, 1_000_001])
def test_a_rate_that_is_none_is_refused(crowd: Crowd, rate: int) -> None:
    with pytest.raises(VaultError, match="requests per minute"):
        crowd.mint(requests_per_minute=rate)
