"""``Vault`` and ``AsyncVault`` at a real server, also when connections break at the worst moment."""

import asyncio
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tests.api.harness import RunningServer, running_server
from tests.client import answers
from tests.client.cutting_proxy import CuttingProxy
from tests.vaults import new_vault
from vaultctl import AsyncVault, Vault
from vaultctl.client.embedded import EmbeddedAdapter, open_engine
from vaultctl.client.home import load_settings, locate
from vaultctl.domain.errors import (
    AlreadyExists,
    Conflict,
    InvalidInput,
    LeaseAtMaximum,
    NotAllowed,
    NotAuthenticated,
    NotFound,
)
from vaultctl.domain.records import IssuedToken
from vaultctl.engine.authentication import Owner

CREDENTIAL = "shopify-api-key"


class Site:
    """A vault with its owner in this process, and a server in front of it."""

    def __init__(self, owner: Vault, server: RunningServer) -> None:
        self.owner = owner
        self.base_url = server.url
        self.admin_token = owner.tokens.create(human="ann@example.com", role="admin").secret
        owner.credentials.create(CREDENTIAL, "api-key", answers.VALUE, max_ttl="1h")

    def admin(self) -> Vault:
        return Vault.connect(self.base_url, token=self.admin_token)

    def agent_token(self) -> IssuedToken:
        return self.owner.tokens.create(agent="deploy-agent", credentials=["shopify-*"])

    def agent(self) -> Vault:
        return Vault.connect(self.base_url, token=self.agent_token().secret)


@pytest.fixture
def site(fast_path: Path) -> Iterator[Site]:
    new_vault(fast_path)
    place = locate(fast_path)
    store, engine = open_engine(place, load_settings(place), None, None)
    owner = Vault(EmbeddedAdapter(engine, Owner("my-org", "owner@localhost")))
    with owner, running_server(engine, store) as server:
        yield Site(owner, server)


@pytest.fixture
def proxy(site: Site) -> Iterator[CuttingProxy]:
    with CuttingProxy(site.base_url) as proxy:
        yield proxy


def test_credentials_live_their_life(site: Site) -> None:
    with site.admin() as vault:
        made = vault.credentials.create("orders-db", "generic-secret", "first", metadata={"team": "a&b"})
        assert vault.credentials.get("orders-db") == made
        assert vault.credentials.update("orders-db", max_ttl="2h", allow=["human:ann@*"]).policy.max_lease_ttl
        assert vault.credentials.update("orders-db", max_ttl="none").policy.max_lease_ttl is None
        vault.credentials.rotate("orders-db", "second")
        vault.credentials.rollback("orders-db", 1)
        assert [version.version for version in vault.credentials.versions("orders-db")] == [3, 2, 1]
        assert [credential.name for credential in vault.credentials.list()] == ["orders-db", CREDENTIAL]
        assert vault.leases.create("orders-db").value.reveal() == "first"
        assert vault.credentials.revoke("orders-db").leases == 1
        assert vault.credentials.delete("orders-db").leases == 0
        assert vault.credentials.list() == site.owner.credentials.list()


def test_leases_live_their_life(site: Site) -> None:
    with site.agent() as vault:
        with vault.leases.create(CREDENTIAL, ttl="15m", purpose="Fetch orders") as lease:
            assert lease.value.reveal() == answers.VALUE
            assert lease.renew("30m").renewals == 1
            assert vault.leases.get(lease.id) == lease.lease == site.owner.leases.get(lease.id)
            assert vault.leases.list(state="active") == [lease.lease]
        assert vault.leases.list(state="active") == []
        vault.leases.create(CREDENTIAL)
    assert site.owner.leases.revoke_where(credential=CREDENTIAL).leases == 1


def test_sessions_and_tokens_live_their_life(site: Site) -> None:
    with site.agent() as agent:
        opened = agent.sessions.open("cortex_sess_1", claimed={"client": "x"})
    with Vault.connect(site.base_url, token=opened.token) as session:
        assert session.whoami().session is not None
        assert session.sessions.touch().state == "active"
        session.leases.create(CREDENTIAL)
        trail = session.audit_log.query()
        assert {entry.identity.session_id for entry in trail} == {"cortex_sess_1"}
    with site.admin() as admin:
        assert admin.sessions.list(agent="deploy-agent", state="active")[0].id == "cortex_sess_1"
        assert admin.sessions.end("cortex_sess_1").leases == 1
        token = admin.tokens.create(agent="another", ttl="1h")
        assert admin.tokens.rotate(token.token.id).secret != token.secret
        assert admin.tokens.revoke(token.token.id).sessions == 0
        assert admin.tokens.get(token.token.id).state == "revoked"
        assert admin.tokens.list() == site.owner.tokens.list()
        assert admin.tenants.update("my-org", default_lease_ttl="2h") == site.owner.tenants.get("my-org")


def test_errors_are_those_of_the_embedded_vault(site: Site) -> None:
    with site.admin() as admin:
        lease = admin.leases.create(CREDENTIAL, ttl="1h")
        for attempt, kind in (
            (lambda vault: vault.credentials.create(CREDENTIAL, "api-key", answers.VALUE), AlreadyExists),
            (lambda vault: vault.credentials.create("orders-db", "ssh-key", "no key"), InvalidInput),
            (lambda vault: vault.leases.create("no-such"), NotFound),
            (lambda vault: vault.leases.renew(lease.id, "2h"), LeaseAtMaximum),
            (lambda vault: vault.tokens.get("self"), NotFound),
            (lambda vault: vault.audit_log.query({"identity.name": "x"}, limit=0), InvalidInput),
        ):
            raised = []
            for vault in (admin, site.owner):
                with pytest.raises(kind) as refused:
                    attempt(vault)
                raised.append((type(refused.value), refused.value.message, refused.value.hint))
            assert raised[0] == raised[1]
    with site.agent() as agent, pytest.raises(NotAllowed):
        agent.tokens.create(agent="x")
    elsewhere = Vault.connect(site.base_url, token=site.admin_token, tenant="another")
    with elsewhere, pytest.raises(NotAuthenticated):
        elsewhere.whoami()


def test_the_log_is_read_and_followed(site: Site) -> None:
    with site.admin() as admin:
        known = admin.audit_log.query(limit=None)
        assert known == site.owner.audit_log.query(limit=None) == list(admin.audit_log.after(-1))
        coming = admin.audit_log.follow(known[0].seq - 1)
        assert list(islice(coming, len(known))) == known
        site.owner.credentials.rotate(CREDENTIAL, answers.VALUE + "0")
        assert next(coming).event == "credential.rotated"
        admin.tokens.create(agent="a", credentials=["*"])
        assert next(coming).event == "token.created"


@pytest.mark.parametrize("cut", [1, 20, 400])
def test_an_answer_that_was_cut_off_after_the_commit_makes_one_lease(site: Site, proxy: CuttingProxy, cut: int) -> None:
    token = site.agent_token().secret
    proxy.cuts = [cut, cut]
    with Vault.connect(proxy.base_url, token=token) as vault:
        lease = vault.leases.create(CREDENTIAL, purpose="Fetch orders")
    assert lease.value.reveal() == answers.VALUE
    assert [found.id for found in site.owner.leases.list()] == [lease.id]
    assert proxy.cuts == []


def test_an_answer_that_was_cut_off_after_the_commit_makes_one_token(site: Site, proxy: CuttingProxy) -> None:
    before = len(site.owner.tokens.list())
    proxy.cuts = [30]
    with Vault.connect(proxy.base_url, token=site.admin_token) as vault:
        issued = vault.tokens.create(agent="another")
    assert len(site.owner.tokens.list()) == before + 1
    with Vault.connect(site.base_url, token=issued.secret) as vault:
        assert vault.whoami().identity.name == "another"


def test_a_session_that_was_opened_unheard_is_opened_once(site: Site, proxy: CuttingProxy) -> None:
    token = site.agent_token().secret
    proxy.cuts = [30]
    with Vault.connect(proxy.base_url, token=token) as vault:
        opened = vault.sessions.open()
    assert [session.id for session in site.owner.sessions.list()] == [opened.session.id]
    with Vault.connect(site.base_url, token=opened.token) as vault:
        vault.sessions.touch()


def test_a_revocation_that_was_done_unheard_is_answered_with_what_it_did(site: Site, proxy: CuttingProxy) -> None:
    with site.agent() as agent:
        agent.leases.create(CREDENTIAL)
        agent.leases.create(CREDENTIAL)
    proxy.cuts = [30]
    with Vault.connect(proxy.base_url, token=site.admin_token) as vault:
        assert vault.leases.revoke_where(agent="deploy-agent").leases == 2


def test_a_renewal_that_was_done_unheard_is_done_once(site: Site, proxy: CuttingProxy) -> None:
    token = site.agent_token().secret
    with Vault.connect(site.base_url, token=token) as vault:
        lease = vault.leases.create(CREDENTIAL, ttl="10m")
    proxy.cuts = [30]
    with Vault.connect(proxy.base_url, token=token) as vault:
        assert vault.leases.renew(lease.id).renewals == 1
    assert site.owner.leases.get(lease.id).renewals == 1


def test_nothing_is_lost_or_repeated_when_the_stream_breaks(site: Site, proxy: CuttingProxy) -> None:
    states: list[bool] = []
    seen: list[int] = []
    with Vault.connect(proxy.base_url, token=site.admin_token) as vault:
        proxy.cuts = [1_500, 2_500, 3_500]
        for _ in range(20):
            site.owner.leases.create(CREDENTIAL)
        coming = vault.audit_log.follow(-1, on_state=states.append)
        seen += [entry.seq for entry in islice(coming, 10)]
        proxy.cut_all()
        for _ in range(20):
            site.owner.leases.create(CREDENTIAL)
        total = len(site.owner.audit_log.query(limit=None))
        seen += [entry.seq for entry in islice(coming, total - 10)]
    assert seen == list(range(total))
    assert states[:2] == [False, True]


def test_a_revoked_token_ends_what_it_follows(site: Site) -> None:
    issued = site.owner.tokens.create(human="bob@example.com", role="admin")
    with Vault.connect(site.base_url, token=issued.secret) as vault:
        coming = vault.audit_log.follow()
        site.owner.tokens.revoke(issued.token.id)
        with pytest.raises(NotAuthenticated):
            list(coming)


def test_an_ended_lease_is_not_handed_out_again(site: Site, proxy: CuttingProxy) -> None:
    """The answer is cut off, and the lease is revoked before the client asks again."""
    token = site.agent_token().secret
    proxy.cuts = [20]
    revoked: list[int] = []

    def revoke_meanwhile(*_: object) -> float:
        revoked.append(site.owner.leases.revoke_where(credential=CREDENTIAL).leases)
        return 0.0

    with Vault.connect(proxy.base_url, token=token) as vault, pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaultctl.client.remote.exchange.pause_before", revoke_meanwhile)
        with pytest.raises(Conflict):
            vault.leases.create(CREDENTIAL)
    assert revoked[0] == 1


def test_fifty_leases_at_once_in_an_event_loop(site: Site) -> None:
    async def use() -> None:
        async with AsyncVault.connect(site.base_url, token=site.agent_token().secret) as vault:
            leases = await asyncio.gather(*(vault.leases.create(CREDENTIAL) for _ in range(50)))
            assert {lease.value.reveal() for lease in leases} == {answers.VALUE}
            assert len({lease.id for lease in leases}) == 50
            assert len(await vault.leases.list(state="active")) == 50
            await asyncio.gather(*(lease.revoke() for lease in leases))
            assert await vault.leases.list(state="active") == []

    asyncio.run(use())


def test_an_event_loop_follows_the_log(site: Site) -> None:
    async def use() -> None:
        async with AsyncVault.connect(site.base_url, token=site.admin_token) as vault:
            coming = vault.audit_log.follow(-1)
            assert [(await anext(coming)).seq for _ in range(3)] == [0, 1, 2]
            waiting = asyncio.ensure_future(anext(coming))
            await vault.leases.create(CREDENTIAL)
            assert (await waiting).event == "lease.created"

    asyncio.run(use())
