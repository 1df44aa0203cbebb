"""Sessions: one run of one agent, opened by exchange, ended with its leases, never reopened once it ended."""

import pytest

from tests.contract.checks import fails_unrecorded, refused, told
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import Conflict, InvalidInput, NotAllowed, NotAuthenticated, NotFound
from vaultctl.domain.records import LeaseState, SessionState


@pytest.fixture
def owner(world: World) -> Vault:
    owner = world.owner()
    owner.credentials.create("api", "api-key", "key-0123456789")
    return owner


@pytest.fixture
def agent(world: World, owner: Vault) -> Vault:
    return world.agent("ours", "*")


def test_opening_exchanges_the_agents_token_for_one_of_the_session(world: World, owner: Vault, agent: Vault) -> None:
    opened = agent.sessions.open("cortex_sess_abc123")
    assert (opened.session.id, opened.session.agent) == ("cortex_sess_abc123", "ours")
    assert opened.session.state is SessionState.ACTIVE
    session = world.connect(opened)
    assert session.leases.create("api").lease.identity.session_id == "cortex_sess_abc123"
    started, exchanged, _ = owner.audit_log.query(session="cortex_sess_abc123")
    assert (started.event, exchanged.event) == ("session.started", "token.exchanged")
    assert started.identity.session_id == exchanged.identity.session_id == "cortex_sess_abc123"
    assert started.details["tokenId"] == exchanged.details["tokenId"] == opened.session.token_id


def test_an_id_is_made_for_a_client_that_names_none(agent: Vault) -> None:
    ids = {agent.sessions.open().session.id for _ in range(3)}
    assert len(ids) == 3
    assert all(id.startswith("mcp_sess_") for id in ids)


@pytest.mark.parametrize(
    "id",
    [
        *("", "abc", "cortex_sess_", "mcp_sess_", "sess_1", "Cortex_sess_1", "cortex_sess_a b", "cortex_sess_a\n"),
        *("cortex_sess_../x", "cortex_sess_" + "x" * 65, "cortex_sess_é", " mcp_sess_1"),
    ],
)
def test_other_ids_are_refused_without_being_quoted(owner: Vault, agent: Vault, id: str) -> None:
    error = fails_unrecorded(owner, InvalidInput, lambda: agent.sessions.open(id))
    assert len(id) < 3 or id not in str(error)


def test_one_agent_may_have_many_sessions_each_with_its_own_trail(world: World, owner: Vault, agent: Vault) -> None:
    for id in ("cortex_sess_1", "mcp_sess_2"):
        world.session(agent, id).leases.create("api", purpose=f"For {id}")
    for id in ("cortex_sess_1", "mcp_sess_2"):
        (created,) = owner.audit_log.query(session=id, events=["lease.created"])
        assert created.identity.purpose == f"For {id}"


class TestReopening:
    """While it is active, the same agent may reopen an id."""

    def test_it_kills_the_earlier_session_token_at_once(self, world: World, owner: Vault, agent: Vault) -> None:
        first = world.session(agent, "cortex_sess_1")
        lease = first.leases.create("api")
        second = world.session(agent, "cortex_sess_1")
        refused(owner, NotAuthenticated, first.whoami)
        assert second.leases.renew(lease.id).state is LeaseState.ACTIVE

    def test_whoever_holds_the_earlier_token_is_told_about_the_session(self, world: World, agent: Vault) -> None:
        first = world.session(agent, "cortex_sess_1")
        agent.sessions.open("cortex_sess_1")
        with pytest.raises(NotAuthenticated) as raised:
            first.whoami()
        # An admin's new token would not help: the session was opened again.
        assert "token create" not in raised.value.hint
        assert "session" in told(raised.value).lower()

    def test_another_token_of_the_agent_may_and_becomes_the_parent(
        self, world: World, owner: Vault, agent: Vault
    ) -> None:
        second = owner.tokens.create(agent="ours", credentials=["*"])
        agent.sessions.open("cortex_sess_1")
        session = world.session(world.connect(second), "cortex_sess_1")
        assert session.whoami().token == owner.tokens.get(second.token.id)
        owner.tokens.revoke(second.token.id)
        assert owner.sessions.get("cortex_sess_1").state is SessionState.ENDED

    def test_another_agent_may_not(self, world: World, owner: Vault, agent: Vault) -> None:
        agent.sessions.open("cortex_sess_1")
        other = world.agent("other", "*")
        assert refused(owner, Conflict, lambda: other.sessions.open("cortex_sess_1")).rule == "session-owner"

    def test_an_id_that_ended_never_reopens(self, world: World, owner: Vault, agent: Vault) -> None:
        agent.sessions.open("cortex_sess_1")
        agent.sessions.end("cortex_sess_1")
        for caller in (agent, world.agent("ours", "*"), world.agent("other", "*")):
            refused(owner, Conflict, lambda caller=caller: caller.sessions.open("cortex_sess_1"))

    def test_an_id_of_another_tenant_is_free(self, world: World, owner: Vault, agent: Vault) -> None:
        agent.sessions.open("cortex_sess_1")
        agent.sessions.end("cortex_sess_1")
        theirs = world.agent("ours", "*", tenant="other")
        assert theirs.sessions.open("cortex_sess_1").session.state is SessionState.ACTIVE

    def test_it_is_a_sign_of_life(self, world: World, owner: Vault, agent: Vault) -> None:
        agent.sessions.open("cortex_sess_1")
        world.clock.advance("14m")
        session = world.session(agent, "cortex_sess_1")
        world.clock.advance("14m")
        assert session.whoami().identity.session_id == "cortex_sess_1"


class TestWhoMayOpen:
    """Only an agent's own token."""

    def test_a_human_does_not(self, world: World, owner: Vault) -> None:
        for human in (owner, world.human("ada@example.com", "admin")):
            assert refused(owner, NotAllowed, lambda human=human: human.sessions.open()).rule == "agents-only"

    def test_a_session_token_opens_no_other_session(self, world: World, owner: Vault, agent: Vault) -> None:
        session = world.session(agent, "cortex_sess_1")
        for id in (None, "cortex_sess_1", "cortex_sess_2"):
            assert refused(owner, NotAllowed, lambda it=id: session.sessions.open(it)).rule == "session-token"


class TestNeverWider:
    """A session's authority is at most its parent's, at each use."""

    def test_it_has_the_globs_role_and_maximum_of_its_parent(self, world: World, owner: Vault) -> None:
        owner.credentials.create("other", "api-key", "key-9876543210")
        parent = owner.tokens.create(agent="ours", credentials=["api"], max_lease_ttl="30m", ttl="2h")
        session = world.session(world.connect(parent))
        assert session.whoami().reaches == ("api",)
        with pytest.raises(NotFound):
            session.leases.create("other")
        assert str(session.leases.create("api", ttl="8h").lease.ttl) == "30m"
        viewer = world.session(world.agent("ours", "*", role="viewer"))
        with pytest.raises(NotAllowed):
            viewer.leases.create("api")

    def test_it_ends_with_its_parents_expiry_even_if_that_is_moved(self, world: World, owner: Vault) -> None:
        parent = owner.tokens.create(agent="ours", credentials=["*"], ttl="1h")
        agent = world.connect(parent)
        session = world.session(agent, "cortex_sess_1")
        assert owner.sessions.get("cortex_sess_1").expires_at == parent.token.expires_at
        longer = owner.tokens.rotate(parent.token.id, ttl="3h").token
        assert owner.sessions.get("cortex_sess_1").expires_at == longer.expires_at
        for _ in range(8):
            world.clock.advance("10m")
            session.sessions.touch()
        owner.tokens.rotate(parent.token.id, ttl="5m")
        world.clock.advance("5m")
        with pytest.raises(NotAuthenticated):
            session.whoami()
        assert owner.sessions.get("cortex_sess_1").state is SessionState.ENDED

    def test_the_hint_about_an_expired_token_names_one_that_can_be_rotated(self, late_world: World) -> None:
        parent = late_world.owner().tokens.create(agent="ours", ttl="10m")
        session = late_world.session(late_world.connect(parent))
        late_world.clock.advance("10m")
        with pytest.raises(NotAuthenticated) as raised:
            session.whoami()
        assert "token rotate tok_" not in raised.value.hint or parent.token.id in raised.value.hint


class TestSignsOfLife:
    """Fifteen minutes without one end a session."""

    @pytest.mark.parametrize("sign", ["touch", "read", "lease", "renew"])
    def test_any_use_is_one(self, world: World, owner: Vault, agent: Vault, sign: str) -> None:
        session = world.session(agent, "cortex_sess_1")
        lease = session.leases.create("api", ttl="20h")
        for _ in range(5):
            world.clock.advance("14m")
            match sign:
                case "touch":
                    session.sessions.touch()
                case "read":
                    session.credentials.list()
                case "lease":
                    session.leases.create("api", ttl="1m")
                case "renew":
                    session.leases.renew(lease.id)
        assert owner.sessions.get("cortex_sess_1").state is SessionState.ACTIVE
        assert owner.leases.get(lease.id).state is LeaseState.ACTIVE

    def test_what_others_do_is_none(self, world: World, owner: Vault, agent: Vault) -> None:
        lease = world.session(agent, "cortex_sess_1").leases.create("api", ttl="20h")
        world.clock.advance("10m")
        owner.leases.get(lease.id)
        agent.leases.list()
        world.session(agent, "cortex_sess_2")
        world.clock.advance("5m")
        assert owner.sessions.get("cortex_sess_1").state is SessionState.ENDED
        assert owner.leases.get(lease.id).end_reason == "session idle"

    def test_only_a_session_can_give_one_by_hand(self, world: World, owner: Vault, agent: Vault) -> None:
        for caller in (agent, owner, world.human("ada@example.com", "user")):
            assert refused(owner, NotAllowed, caller.sessions.touch).rule == "no-session"
        assert world.session(agent, "cortex_sess_1").sessions.touch().last_seen_at == world.clock.now


class TestEnding:
    """Told to, by its own token, its agent or a manager."""

    @pytest.mark.parametrize("by", ["itself", "agent", "manager", "owner"])
    def test_its_leases_and_its_token_end_with_it(self, world: World, owner: Vault, agent: Vault, by: str) -> None:
        session = world.session(agent, "cortex_sess_1")
        leases = [session.leases.create("api").id for _ in range(3)]
        session.leases.revoke(leases[0])
        kept = [agent.leases.create("api").id, world.session(agent).leases.create("api").id]
        enders = {"itself": session, "agent": agent, "owner": owner}
        ender = enders.get(by) or world.human("mia@example.com", "manager")
        ended = ender.sessions.end("cortex_sess_1")
        assert (ended.leases, ended.sessions) == (2, 1)
        assert {owner.leases.get(id).state for id in leases} == {LeaseState.REVOKED}
        assert {owner.leases.get(id).state for id in kept} == {LeaseState.ACTIVE}
        refused(owner, NotAuthenticated, session.whoami)
        (entry,) = owner.audit_log.query(session="cortex_sess_1", events=["session.ended"])
        assert entry.details["leases"] == 2

    def test_whoever_holds_its_token_is_told_to_open_a_new_session(self, world: World, agent: Vault) -> None:
        session = world.session(agent, "cortex_sess_1")
        agent.sessions.end("cortex_sess_1")
        with pytest.raises(NotAuthenticated) as raised:
            session.leases.create("api")
        assert "session" in str(raised.value).lower()
        assert "session" in raised.value.hint.lower()

    def test_it_is_the_same_once_more(self, world: World, agent: Vault) -> None:
        agent.sessions.open("cortex_sess_1")
        agent.sessions.end("cortex_sess_1")
        again = agent.sessions.end("cortex_sess_1")
        assert (again.leases, again.sessions) == (0, 0)


def test_a_list_shows_how_many_leases_of_each_session_are_active(world: World, owner: Vault, agent: Vault) -> None:
    session = world.session(agent, "cortex_sess_1")
    session.leases.create("api", ttl="1m")
    session.leases.create("api", ttl="1h")
    world.clock.advance("2m")
    world.session(agent, "cortex_sess_2")
    assert [(s.id, s.active_leases) for s in owner.sessions.list()] == [("cortex_sess_2", 0), ("cortex_sess_1", 1)]
    agent.sessions.end("cortex_sess_1")
    assert [s.id for s in owner.sessions.list(state="active")] == ["cortex_sess_2"]
    assert [s.id for s in owner.sessions.list(state="ended")] == ["cortex_sess_1"]
    assert [s.id for s in owner.sessions.list(agent="ours", limit=1)] == ["cortex_sess_2"]
    assert owner.sessions.list(agent="other") == []
