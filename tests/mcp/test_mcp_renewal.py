"""Keeping a session and its leases, and not keeping what nobody waits for, in one process with short times."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import VaultUnavailable
from vaultctl.domain.records import LeaseState
from vaultctl.domain.secrets import Secret
from vaultctl.mcp import renewal, session
from vaultctl.mcp.opening import open_session
from vaultctl.mcp.renewal import keep
from vaultctl.mcp.session import AgentSession
from vaultctl.mcp.settings import Settings
from vaultctl.mcp.worker import Worker
from vaultctl.store.turnstile import Turnstile

if TYPE_CHECKING:
    from conftest import Bench

pytestmark = pytest.mark.anyio
WaitUntil = Callable[[Callable[[], Any], str], Any]


@asynccontextmanager
async def kept(bench: "Bench", **settings: Any) -> AsyncIterator[AgentSession]:
    """A session of ``deploy-agent`` that is being kept, with a credential to lease."""
    bench.owner.credentials.create("shopify-api-key", "api-key", "sk_live_CANARY51Hq8s7Zf0aLw3")
    worker = Worker("vault")
    configured = Settings(token=Secret(bench.token("deploy-agent", "*")), home=str(bench.home), **settings)
    agent_session = worker.submit(lambda: open_session(configured, worker)).result()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep, agent_session)
            yield agent_session
            tasks.cancel_scope.cancel()
    finally:
        assert await agent_session.close()


@contextmanager
def held_up(bench: "Bench") -> Iterator[None]:
    """While another process, so to say, holds the vault's lock."""
    lock = Turnstile(bench.home / "vault.db", 10)
    with lock.turn():
        yield
    lock.close()


async def lease(agent_session: AgentSession, ttl: int) -> str:
    issued = await agent_session.issue("shopify-api-key", "Fetch orders", Duration.of(ttl), {})
    return issued.held.lease.id


async def seen(wait_until: WaitUntil, condition: Callable[[], Any], what: str) -> None:
    await anyio.to_thread.run_sync(wait_until, condition, what)


async def test_a_session_gives_signs_of_life(
    bench: "Bench", wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "TOUCH_EVERY", timedelta(milliseconds=50))
    async with kept(bench) as agent_session:
        first = bench.owner.sessions.get(agent_session.id).last_seen_at
        for _ in range(2):
            last = bench.owner.sessions.get(agent_session.id).last_seen_at
            await seen(
                wait_until, lambda last=last: bench.owner.sessions.get(agent_session.id).last_seen_at > last, "a touch"
            )
    assert bench.owner.sessions.get(agent_session.id).last_seen_at > first


async def test_a_session_that_ended_is_not_touched_for_ever(
    bench: "Bench", wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renewal, "TOUCH_EVERY", timedelta(milliseconds=20))
    async with kept(bench) as agent_session:
        bench.owner.sessions.end(agent_session.id)
        await seen(wait_until, lambda: "has ended" in caplog.text, "the word that it ended")
        denials = len(bench.audit("access.denied"))
        await anyio.sleep(0.1)
        assert len(bench.audit("access.denied")) == denials


async def test_a_renewal_that_the_vault_was_too_busy_for_is_tried_again(
    bench: "Bench", wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "CALL_BOUND", 0.2)
    async with kept(bench, auto_renew=True, renew_before_expiry=Duration.of(2)) as agent_session:
        lease_id = await lease(agent_session, 3)
        with held_up(bench):
            await seen(wait_until, lambda: "trying again" in caplog.text, "the failure")
        await seen(wait_until, lambda: bench.audit("lease.renewed", lease=lease_id), "the renewal")
        assert agent_session.take_notices() == []


async def test_a_lease_that_ends_before_it_could_be_renewed_is_said_to_have_ended(
    bench: "Bench", wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session, "CALL_BOUND", 0.1)
    async with kept(bench, auto_renew=True) as agent_session:
        lease_id = await lease(agent_session, 1)
        with held_up(bench):
            await seen(wait_until, lambda: "has ended" in caplog.text, "the word that it ended")
        (notice,) = agent_session.take_notices()
        assert lease_id in notice
        assert agent_session.held == []


async def test_a_lease_that_its_model_revoked_is_not_mentioned_again(
    bench: "Bench", wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    async with kept(bench, auto_renew=True) as agent_session:
        with caplog.at_level(logging.INFO, "vaultctl.mcp"):
            revoked, other = await lease(agent_session, 2), await lease(agent_session, 2)
            await agent_session.revoke(revoked)
            await seen(wait_until, lambda: f"{other} on" in caplog.text, "the renewal of the other")
        assert revoked not in caplog.text
        assert agent_session.take_notices() == []


async def test_a_lease_whose_asker_was_cancelled_is_revoked(bench: "Bench", wait_until: WaitUntil) -> None:
    async with kept(bench) as agent_session:
        with held_up(bench), anyio.move_on_after(0.1):
            await lease(agent_session, 60)
        await seen(wait_until, lambda: bench.audit("lease.revoked"), "the revocation")
        (late,) = bench.owner.leases.list()
        assert late.state is LeaseState.REVOKED


async def test_a_call_that_never_had_its_turn_is_not_made(
    bench: "Bench", wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kept(bench) as agent_session:
        lease_id = await lease(agent_session, 60)
        monkeypatch.setattr(session, "CALL_BOUND", 0.1)
        with held_up(bench):
            for _ in range(2):
                with pytest.raises(VaultUnavailable, match="busy"):
                    await agent_session.renew(lease_id)
        await seen(wait_until, lambda: bench.audit("lease.renewed"), "the first renewal")
        await agent_session.revoke(lease_id)
        assert len(bench.audit("lease.renewed")) == 1


async def test_the_agents_token_is_not_kept(bench: "Bench") -> None:
    async with kept(bench) as agent_session:
        assert agent_session.settings.token == Secret("")
