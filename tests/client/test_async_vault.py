"""``AsyncVault``: the same methods as ``Vault``, for an event loop."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.client import answers
from tests.client.scripted_server import ScriptedServer, answer, hang_up, problem, silence
from tests.vaults import new_vault
from vaultctl import AsyncVault, Vault
from vaultctl.client import async_vault, vault
from vaultctl.client.remote.async_adapter import AsyncRemoteAdapter
from vaultctl.domain.errors import NotFound, VaultUnavailable
from vaultctl.domain.secrets import Secret

NOUNS = ("Vault", "Credentials", "LeaseHandle", "Leases", "Tokens", "Sessions", "AuditLog", "Tenants")
AWAITED = {"__enter__": "__aenter__", "__exit__": "__aexit__"}


def methods(kind: type) -> dict[str, Any]:
    return {
        AWAITED.get(name, name): member
        for name, member in vars(kind).items()
        if callable(member) or isinstance(member, classmethod)
        if not name.startswith("_") or name in AWAITED or name in AWAITED.values()
    }


def signature(member: Any) -> list[tuple[str, Any, Any, str]]:
    function = getattr(member, "__func__", member)
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, p.default, str(p.annotation)) for p in parameters]


@pytest.mark.parametrize("noun", NOUNS)
def test_it_has_the_methods_of_vault_with_their_arguments(noun: str) -> None:
    plain, awaited = methods(getattr(vault, noun)), methods(getattr(async_vault, f"Async{noun}"))
    assert plain.keys() == awaited.keys()
    for name, member in plain.items():
        assert signature(awaited[name]) == signature(member), name
        function = getattr(member, "__func__", member)
        assert function.__doc__ or name.startswith("_"), name


@pytest.mark.parametrize("noun", NOUNS)
def test_whatever_asks_the_vault_is_awaited(noun: str) -> None:
    for name, member in methods(getattr(async_vault, f"Async{noun}")).items():
        opens = isinstance(member, classmethod)
        assert opens or inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member), name


class TestEmbedded:
    """The vault of this machine, behind threads."""

    @pytest.fixture
    def home(self, fast_path: Path) -> Path:
        new_vault(fast_path)
        with Vault.embedded(home=fast_path) as owner:
            owner.credentials.create("shopify-api-key", "api-key", answers.VALUE)
        return fast_path

    def test_a_lease_is_released_at_the_end_of_its_block(self, home: Path) -> None:
        async def use() -> None:
            async with AsyncVault.embedded(home=home) as owner:
                issued = await owner.tokens.create(agent="a", credentials=["*"])
                async with AsyncVault.connect(token=issued.secret, home=home) as agent:
                    async with await agent.leases.create("shopify-api-key", purpose="Fetch orders") as lease:
                        assert lease.value.reveal() == answers.VALUE
                        assert answers.VALUE not in repr(lease)
                        assert (await lease.renew()).renewals == 1
                    assert lease.lease.state == "revoked"
                    with pytest.raises(NotFound):
                        await agent.leases.create("another")

        asyncio.run(use())

    def test_many_at_once_each_get_theirs(self, home: Path) -> None:
        async def use() -> list[str]:
            async with AsyncVault.embedded(home=home) as owner:
                leases = await asyncio.gather(*(owner.leases.create("shopify-api-key") for _ in range(50)))
                assert len(await owner.leases.list(state="active")) == 50
                return [lease.id for lease in leases]

        assert len(set(asyncio.run(use()))) == 50

    def test_the_log_is_iterated(self, home: Path) -> None:
        async def use() -> None:
            async with AsyncVault.embedded(home=home) as owner:
                known = [entry.seq async for entry in owner.audit_log.after(-1)]
                assert known == [0, 1]
                assert [entry.seq for entry in await owner.audit_log.query(limit=1)] == [1]
                coming = owner.audit_log.follow(0, poll_seconds=0.01)
                assert (await anext(coming)).seq == 1
                following = asyncio.ensure_future(anext(coming))
                await owner.tokens.create(agent="b")
                assert (await following).event == "token.created"
                await coming.aclose()

        asyncio.run(use())

    def test_closing_it_ends_what_is_followed(self, home: Path) -> None:
        async def use() -> list[int]:
            owner = AsyncVault.embedded(home=home)
            asyncio.get_running_loop().call_later(0.05, lambda: ending.append(asyncio.ensure_future(owner.close())))
            async with asyncio.timeout(5):
                return [entry.seq async for entry in owner.audit_log.follow(poll_seconds=60)]

        ending: list[Any] = []
        assert asyncio.run(use()) == []

    def test_the_event_loop_goes_on_meanwhile(self, home: Path) -> None:
        async def use() -> int:
            turns = 0
            async with AsyncVault.embedded(home=home) as owner:
                waiting = asyncio.gather(*(owner.whoami() for _ in range(20)))
                while not waiting.done():
                    await asyncio.sleep(0)
                    turns += 1
            return turns

        assert asyncio.run(use()) > 1


class TestRemote:
    """A server."""

    @pytest.fixture(autouse=True)
    def _short_pauses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("vaultctl.client.remote.exchange.FIRST_PAUSE", 0.02)

    @asynccontextmanager
    async def _vault(self, server: ScriptedServer, token: Secret, **options: Any) -> AsyncIterator[AsyncVault]:
        async with AsyncVault(AsyncRemoteAdapter(server.base_url, token, **options)) as vault:
            yield vault

    def test_a_try_that_fails_is_repeated_under_the_same_key(self, server: ScriptedServer, token: Secret) -> None:
        server.script = [hang_up, problem(503, "vault_unavailable"), answer(201, answers.ISSUED_LEASE)]

        async def use() -> str:
            async with self._vault(server, token) as vault:
                return (await vault.leases.create("shopify-api-key")).value.reveal()

        assert asyncio.run(use()) == answers.VALUE
        assert len({received.headers["idempotency-key"] for received in server.received}) == 1

    def test_many_at_once_share_some_connections(self, server: ScriptedServer, token: Secret) -> None:
        server.script = [answer(200, answers.WHOAMI)]

        async def use() -> None:
            async with self._vault(server, token) as vault:
                for _ in range(3):
                    assert len(await asyncio.gather(*(vault.whoami() for _ in range(100)))) == 100

        asyncio.run(use())
        assert server.connections <= 64 * 3

    def test_a_silent_server_is_not_waited_for_longer_than_allowed(self, server: ScriptedServer, token: Secret) -> None:
        server.script = [silence(server.ending)]

        async def use() -> None:
            async with self._vault(server, token, timeout=0.3) as vault:
                await vault.whoami()

        started = time.monotonic()
        with pytest.raises(VaultUnavailable, match="did not answer in time") as lost:
            asyncio.run(use())
        assert time.monotonic() - started < 3
        assert lost.value.__context__ is None

    def test_whoever_is_cancelled_is_cancelled(self, server: ScriptedServer, token: Secret) -> None:
        server.script = [silence(server.ending)]

        async def use() -> None:
            async with self._vault(server, token) as vault:
                await asyncio.wait_for(vault.whoami(), 0.1)

        with pytest.raises(TimeoutError):
            asyncio.run(use())

    def test_it_belongs_to_one_event_loop(self, server: ScriptedServer, token: Secret) -> None:
        server.script = [answer(200, answers.WHOAMI)]
        vault = AsyncVault(AsyncRemoteAdapter(server.base_url, token))

        async def use() -> None:
            async with vault:
                await vault.whoami()

        async def use_open() -> None:
            await vault.whoami()

        asyncio.run(use())
        with pytest.raises(VaultUnavailable, match="closed"):
            asyncio.run(use_open())
        other = AsyncVault(AsyncRemoteAdapter(server.base_url, token))

        async def first() -> None:
            await other.whoami()
            await other._adapter._connections._made.aclose()  # type: ignore[attr-defined]  # so that nothing stays open

        async def second() -> None:
            with pytest.raises(VaultUnavailable, match="another event loop"):
                await other.whoami()

        asyncio.run(first())
        asyncio.run(second())
