"""Tokens: minted, shown once, rotated, revoked with all that hangs on them."""

from collections import Counter
from datetime import timedelta

import pytest

from tests.contract.checks import Trail, as_text, fails_unrecorded, refused
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import Conflict, InvalidInput, NotAuthenticated, NotFound
from vaultctl.domain.records import LeaseState, Role, SessionState, TokenState


@pytest.fixture
def owner(world: World) -> Vault:
    owner = world.owner()
    for name in ("deploy-key", "deploy-url", "mail-key"):
        owner.credentials.create(name, "api-key", f"key-of-{name}")
    owner.credentials.create("named", "api-key", "key-of-named-1", allow=["agent:deploy-*"])
    return owner


class TestMinting:
    """What a new token is, and what it says of itself."""

    def test_an_agents_token(self, world: World, owner: Vault) -> None:
        issued = owner.tokens.create(agent="deploy-agent", credentials=["deploy-*"], max_lease_ttl="2h", ttl="30d")
        token = issued.token
        assert (token.kind, token.role, token.agent) == ("agent", Role.USER, "deploy-agent")
        assert token.credentials == ("deploy-*",)
        assert (token.max_lease_ttl, token.state) == (Duration.parse("2h"), TokenState.ACTIVE)
        assert token.expires_at == world.clock.now + timedelta(days=30)
        assert token.created_by == "owner@localhost"
        assert token.parent is None
        assert issued.reaches == ("deploy-key", "deploy-url")
        assert owner.tokens.get(token.id) == token

    def test_a_humans_token(self, world: World, owner: Vault) -> None:
        token = owner.tokens.create(human="ada@example.com", role="manager").token
        assert (token.kind, token.role, token.email) == ("human", Role.MANAGER, "ada@example.com")
        assert token.expires_at == world.clock.now + timedelta(days=90)

    @pytest.mark.parametrize(
        ("globs", "reaches"),
        [
            ([], ("named",)),
            (["*"], ("deploy-key", "deploy-url", "mail-key", "named")),
            (["deploy-?ey", "mail*"], ("deploy-key", "mail-key")),
            (["named"], ("named",)),
            (["nothing"], ()),
        ],
    )
    def test_it_says_which_credentials_it_reaches(
        self, world: World, owner: Vault, globs: list[str], reaches: tuple[str, ...]
    ) -> None:
        issued = owner.tokens.create(agent="deploy-agent", credentials=globs)
        assert issued.reaches == world.connect(issued).whoami().reaches == reaches

    def test_a_viewer_reaches_nothing(self, owner: Vault) -> None:
        assert owner.tokens.create(agent="deploy-agent", credentials=["*"], role="viewer").reaches == ()

    def test_its_secret_is_in_the_one_answer_and_nowhere_else(self, owner: Vault) -> None:
        issued = owner.tokens.create(agent="deploy-agent")
        secret = issued.secret.reveal()
        assert secret.startswith("vault_token_")
        assert len(secret) == 61
        assert secret not in repr(issued)
        shown = as_text([owner.tokens.get(issued.token.id), *owner.tokens.list(), *owner.audit_log.query()])
        assert secret not in shown
        assert secret.removeprefix("vault_token_") not in shown

    @pytest.mark.parametrize(
        "wrong",
        [
            {"agent": "Deploy"},
            {"agent": ""},
            {"agent": "deploy agent"},
            {"agent": "x" * 129},
            {"agent": "ours", "credentials": [""]},
            {"agent": "ours", "credentials": ["Deploy-*"]},
            {"agent": "ours", "credentials": ["a/b"]},
            {"agent": "ours", "credentials": ["*"] * 101},
            {"agent": "ours", "ttl": "0s"},
            {"agent": "ours", "role": "root"},
            {"human": "ada", "role": "user"},
            {"human": "", "role": "user"},
            {"human": "ada@example.com", "role": "superuser"},
            {"operator": True, "agent": "ours"},
        ],
        ids=str,
    )
    def test_what_makes_no_sense_is_refused(self, owner: Vault, wrong: dict[str, object]) -> None:
        fails_unrecorded(owner, InvalidInput, lambda: owner.tokens.create(**wrong))

    def test_a_list_has_the_newest_first_and_none_of_sessions(self, world: World, owner: Vault) -> None:
        made = []
        for name in ("one", "two", "three"):
            made.append(owner.tokens.create(agent=name))
            world.connect(made[-1]).sessions.open()
            world.clock.advance("1s")
        assert [token.agent for token in owner.tokens.list()] == ["three", "two", "one"]


class TestExpiry:
    """A token that ran out is an error of its own, with the next step in it."""

    def test_it_is_refused_and_recorded_as_its_agents(self, world: World, owner: Vault) -> None:
        issued = owner.tokens.create(agent="ours", ttl="1h")
        agent = world.connect(issued)
        agent.whoami()
        world.clock.advance("1h")
        refusal = refused(owner, NotAuthenticated, agent.whoami)
        assert refusal.rule == "token-expired"
        assert (refusal.entry.identity.name, refusal.entry.details["tokenId"]) == ("ours", issued.token.id)
        assert "expired" in str(refusal.error)
        assert issued.token.id in refusal.error.hint

    def test_it_lives_again_when_it_is_rotated_with_new_time(self, world: World, owner: Vault) -> None:
        issued = owner.tokens.create(agent="ours", ttl="1h")
        world.clock.advance("2h")
        fails_unrecorded(owner, Conflict, lambda: owner.tokens.rotate(issued.token.id))
        again = owner.tokens.rotate(issued.token.id, ttl="1h")
        assert world.connect(again).whoami().token == again.token
        assert again.token.expires_at == world.clock.now + timedelta(hours=1)


class TestRotation:
    """The id, the sessions and the leases stay; the old secret dies."""

    def test_the_old_secret_dies_at_once_and_everything_else_goes_on(self, world: World, owner: Vault) -> None:
        issued = owner.tokens.create(agent="ours", credentials=["*"])
        agent = world.connect(issued)
        session = world.session(agent, "cortex_sess_1")
        leases = [agent.leases.create("deploy-key").id, session.leases.create("deploy-key").id]
        world.clock.advance("1m")
        rotated = owner.tokens.rotate(issued.token.id)
        assert rotated.token.id == issued.token.id
        assert rotated.token.rotated_at == world.clock.now
        assert rotated.token.expires_at == issued.token.expires_at
        assert rotated.secret != issued.secret
        with pytest.raises(NotAuthenticated):
            agent.whoami()
        renewed = world.connect(rotated)
        assert {lease.id for lease in renewed.leases.list(state="active")} == set(leases)
        assert session.leases.renew(leases[1]).renewals == 1
        assert renewed.sessions.get("cortex_sess_1").state is SessionState.ACTIVE

    def test_a_session_token_is_not_rotated(self, world: World, owner: Vault) -> None:
        agent = world.agent("ours", "*")
        agent.sessions.open("cortex_sess_1")
        (entry,) = owner.audit_log.query(events=["token.exchanged"])
        fails_unrecorded(owner, Conflict, lambda: owner.tokens.rotate(entry.details["sessionTokenId"]))

    def test_a_revoked_one_is_not_rotated(self, owner: Vault) -> None:
        id = owner.tokens.create(agent="ours").token.id
        owner.tokens.revoke(id)
        fails_unrecorded(owner, Conflict, lambda: owner.tokens.rotate(id, ttl="1h"))

    def test_who_minted_it_is_not_its_parent(self, world: World, owner: Vault) -> None:
        admin = owner.tokens.create(human="admin@example.com", role="admin")
        minted = world.connect(admin).tokens.create(agent="ours", credentials=["*"])
        assert (minted.token.created_by, minted.token.parent) == ("admin@example.com", None)
        owner.tokens.revoke(admin.token.id)
        assert world.connect(minted).whoami().identity.name == "ours"


class TestRevocation:
    """A token's sessions and their leases end with it, in one transaction."""

    def test_everything_that_hangs_on_it_ends_at_one_moment_and_nothing_else(self, world: World, owner: Vault) -> None:
        issued = owner.tokens.create(agent="ours", credentials=["*"])
        agent = world.connect(issued)
        sessions = {id: world.session(agent, id) for id in ("cortex_sess_1", "cortex_sess_2")}
        doomed = [agent.leases.create("deploy-key").id]
        doomed += [session.leases.create("deploy-key").id for session in sessions.values()]
        second = world.agent("ours", "*")
        kept = [second.leases.create("deploy-key").id, world.session(second).leases.create("deploy-key").id]
        kept.append(owner.leases.create("deploy-key").id)
        world.clock.advance("1m")
        trail = Trail(owner)
        ended = owner.tokens.revoke(issued.token.id)
        assert (ended.sessions, ended.leases) == (2, 3)
        entries = trail.gained()
        assert Counter(entry.event for entry in entries) == Counter(
            {"lease.revoked": 3, "session.ended": 2, "token.revoked": 1}
        )
        assert {entry.timestamp for entry in entries} == {world.clock.now}
        assert {owner.leases.get(id).state for id in doomed} == {LeaseState.REVOKED}
        assert {owner.leases.get(id).state for id in kept} == {LeaseState.ACTIVE}
        assert {owner.sessions.get(id).state for id in sessions} == {SessionState.ENDED}
        for caller in (agent, *sessions.values()):
            assert refused(owner, NotAuthenticated, caller.whoami).rule == "token-revoked"
        assert owner.tokens.get(issued.token.id).state is TokenState.REVOKED

    def test_the_cascade_is_in_the_trail_of_agent_and_session(self, world: World, owner: Vault) -> None:
        issued = owner.tokens.create(agent="ours", credentials=["*"])
        world.session(world.connect(issued), "cortex_sess_1").leases.create("deploy-key")
        owner.tokens.revoke(issued.token.id)
        by_session = [entry.event for entry in owner.audit_log.query(session="cortex_sess_1")]
        assert by_session[-2:] == ["lease.revoked", "session.ended"]
        assert [entry.event for entry in owner.audit_log.query(agent="ours")][-1] == "token.revoked"

    def test_a_humans_leases_end_too(self, world: World, owner: Vault) -> None:
        issued = owner.tokens.create(human="ada@example.com", role="user")
        id = world.connect(issued).leases.create("deploy-key").id
        assert owner.tokens.revoke(issued.token.id).leases == 1
        assert owner.leases.get(id).state is LeaseState.REVOKED

    def test_the_leases_of_a_session_that_changed_its_parent_end_with_either(self, world: World, owner: Vault) -> None:
        first = owner.tokens.create(agent="ours", credentials=["*"])
        second = owner.tokens.create(agent="ours", credentials=["*"])
        early = world.session(world.connect(first), "cortex_sess_1").leases.create("deploy-key").id
        late = world.session(world.connect(second), "cortex_sess_1").leases.create("deploy-key").id
        owner.tokens.revoke(first.token.id)
        assert owner.leases.get(early).state is LeaseState.REVOKED
        assert owner.leases.get(late).state is LeaseState.ACTIVE
        owner.tokens.revoke(second.token.id)
        assert owner.leases.get(late).state is LeaseState.REVOKED
        assert owner.sessions.get("cortex_sess_1").state is SessionState.ENDED

    def test_revoking_a_session_token_ends_its_session(self, world: World, owner: Vault) -> None:
        session = world.session(world.agent("ours", "*"), "cortex_sess_1")
        lease = session.leases.create("deploy-key").id
        (entry,) = owner.audit_log.query(events=["token.exchanged"])
        ended = owner.tokens.revoke(entry.details["sessionTokenId"])
        assert (ended.sessions, ended.leases) == (1, 1)
        assert owner.leases.get(lease).state is LeaseState.REVOKED
        refused(owner, NotAuthenticated, session.whoami)

    def test_revoking_the_session_token_of_an_earlier_opening_leaves_the_session(
        self, world: World, owner: Vault
    ) -> None:
        agent = world.agent("ours", "*")
        agent.sessions.open("cortex_sess_1")
        session = world.session(agent, "cortex_sess_1")
        earlier = owner.audit_log.query(events=["token.exchanged"])[0].details["sessionTokenId"]
        assert owner.tokens.revoke(earlier).sessions == 0
        assert session.whoami().identity.session_id == "cortex_sess_1"

    def test_operators_tokens_are_administered_by_the_owner(self, world: World, owner: Vault) -> None:
        issued = owner.tokens.create(operator=True)
        operator = world.connect(issued)
        assert operator.tokens.list() == [issued.token]
        assert operator.tokens.get(issued.token.id) == issued.token
        owner.tokens.revoke(issued.token.id)
        with pytest.raises(NotAuthenticated):
            operator.whoami()

    def test_an_admin_does_not_reach_an_operators_token(self, world: World, owner: Vault) -> None:
        id = owner.tokens.create(operator=True).token.id
        admin = world.human("admin@example.com", "admin")
        for act in (admin.tokens.get, admin.tokens.rotate, admin.tokens.revoke):
            fails_unrecorded(owner, NotFound, lambda act=act: act(id))
