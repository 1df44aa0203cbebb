"""Two servers on one PostgreSQL database: one vault, one log in one order, at whichever of them one asks."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice

import httpx
import pytest

from tests.api.harness import running_server
from tests.api.speaking_mcp import RawAgent, alone
from tests.postgres import LENT
from vaultctl import Vault
from vaultctl.client.embedded import EmbeddedAdapter
from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain.errors import NotAuthenticated, NotFound
from vaultctl.domain.records import Identity
from vaultctl.domain.secrets import Secret
from vaultctl.engine.authentication import Owner
from vaultctl.engine.engine import Engine
from vaultctl.engine.founding import found_vault
from vaultctl.store.postgres import PostgresStore


class Nodes:
    """The base URLs of two servers, and the vault that they serve, as its owner."""

    def __init__(self, urls: list[str], owner: Vault) -> None:
        self.urls = urls
        self.owner = owner

    def each(self, token: Secret) -> list[Vault]:
        """Whoever has ``token``, at each of the servers."""
        return [Vault.connect(base_url=url, token=token) for url in self.urls]


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    url = LENT.borrow()
    root = RootKey.new(os.urandom)
    with ExitStack() as stack:
        stack.callback(LENT.give_back, url)
        engines = []
        for number in range(3):
            store = PostgresStore(url)
            stack.callback(store.close)
            if number == 0:
                identity = Identity(type="human", user_id="owner", email="owner@localhost")
                found_vault(store, root, tenant="my-org", owner=identity)
            engines.append((Engine(store, root), store))
        urls = [stack.enter_context(running_server(engine, store)).url for engine, store in engines[1:]]
        owner = Vault(EmbeddedAdapter(engines[0][0], Owner("my-org", "owner@localhost")))
        owner.credentials.create("api", "api-key", "sk_live_0123456789abcdef")
        yield Nodes(urls, owner)


def test_leases_of_both_are_one_log_without_a_hole(nodes: Nodes) -> None:
    agent = nodes.owner.tokens.create(agent="deploy-agent", credentials=["api"])
    vaults = nodes.each(agent.secret)

    def lease(number: int) -> str:
        return vaults[number % 2].leases.create("api", purpose="Deploy").id

    with ThreadPoolExecutor(8) as pool:
        issued = list(pool.map(lease, range(60)))
    entries = nodes.owner.audit_log.query(limit=None)
    assert [entry.seq for entry in entries] == list(range(len(entries)))
    assert sorted(issued) == sorted(entry.lease_id or "" for entry in entries if entry.event == "lease.created")
    times = [entry.timestamp for entry in entries]
    assert times == sorted(times)
    for vault in vaults:
        vault.close()


def test_what_is_revoked_at_one_is_refused_at_the_other_at_once(nodes: Nodes) -> None:
    agent = nodes.owner.tokens.create(agent="deploy-agent", credentials=["api"])
    admin = nodes.owner.tokens.create(human="admin@example.com", role="admin")
    here, there = nodes.each(agent.secret)
    admin_here, admin_there = nodes.each(admin.secret)
    for number in range(5):  # both know the token, the credential and its policy by now
        (here, there)[number % 2].leases.create("api", purpose="Deploy")
    admin_here.credentials.update("api", allow=["agent:other-*"])
    with pytest.raises(NotFound):
        there.leases.create("api", purpose="Deploy")
    admin_there.credentials.update("api", allow=[])
    assert here.leases.create("api", purpose="Deploy").value.reveal()
    rotated = admin_here.credentials.rotate("api", "sk_live_fedcba9876543210")
    assert there.leases.create("api", purpose="Deploy").lease.credential_version == rotated.version
    admin_here.tokens.revoke(agent.token.id)
    with pytest.raises(NotAuthenticated):
        there.leases.create("api", purpose="Deploy")
    assert admin_there.leases.list(state="active") == []
    for vault in (here, there, admin_here, admin_there):
        vault.close()


def test_a_stream_at_one_tells_what_the_other_wrote(nodes: Nodes) -> None:
    agent = nodes.owner.tokens.create(agent="deploy-agent", credentials=["api"])
    admin = nodes.owner.tokens.create(human="admin@example.com", role="admin")
    here, there = nodes.each(agent.secret)
    admin_here, admin_there = nodes.each(admin.secret)
    streams = [vault.audit_log.follow(-1) for vault in (admin_here, admin_there)]
    known = [entry.seq for entry in islice(streams[0], 3)]
    issued = [(here, there)[number % 2].leases.create("api", purpose="Deploy").id for number in range(6)]
    assert known == [0, 1, 2]
    for stream, begins in zip(streams, (3, 0), strict=True):
        found: list[str] = []
        seqs: list[int] = []
        while len(found) < len(issued):
            entry = next(stream)
            seqs.append(entry.seq)
            if entry.event == "lease.created":
                found.append(entry.lease_id or "")
        assert found == issued
        assert seqs == list(range(begins, begins + len(seqs)))
        stream.close()
    for vault in (here, there, admin_here, admin_there):
        vault.close()


def test_an_agent_that_speaks_mcp_is_in_its_session_at_either_and_out_of_both_when_it_ends(nodes: Nodes) -> None:
    token = nodes.owner.tokens.create(agent="deploy-agent", credentials=["api"])
    with Vault.connect(base_url=nodes.urls[0], token=token.secret) as vault:
        opened = vault.sessions.open("cortex_sess_abc123")
    bearing = {"Authorization": f"Bearer {opened.token.reveal()}"}
    with ExitStack() as stack:
        agents = [
            RawAgent(stack.enter_context(httpx.Client(base_url=url, headers=bearing, timeout=60))) for url in nodes.urls
        ]
        message, headers = alone("vault_get_credential", name="api", purpose="Deploy")
        lease = agents[0].post(message, **headers).json()["result"]["structuredContent"]["leaseId"]
        message, headers = alone("vault_renew_lease", leaseId=lease)
        assert not agents[1].post(message, **headers).json()["result"].get("isError")
        assert nodes.owner.leases.get(lease).identity.session_id == "cortex_sess_abc123"
        assert agents[1].greet().status_code == 200
        agents[0].headers = agents[1].headers  # what one node calls a session is nothing to the other
        assert agents[0].call("vault_list_credentials").status_code == 404
        nodes.owner.sessions.end("cortex_sess_abc123")
        assert {agent.call("vault_list_credentials").status_code for agent in agents} == {401}
