"""Rule 3: objects have owners. Every id of one, tried by everybody else."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.contract.checks import Trail, not_found, state_of, told
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import NotAllowed, NotFound, VaultError
from vaultctl.domain.records import Lease, LeaseState

CALLERS = [
    "session",
    "its sibling",  # another session of the same token
    "agent token",
    "second token",  # another token of the same agent
    "other agent",
    "other session",
    "user",
    "other user",
    "viewer",
    "manager",
    "admin",
    "namesake",  # an agent of the same name in another tenant
    "namesake session",
    "foreign user",  # a human with the same address in another tenant
    "foreign admin",
]
TENANT_WIDE = {"manager", "admin"}
REACH = {
    "the session's lease": {"session", "agent token", "second token"},
    "the sibling's lease": {"its sibling", "agent token", "second token"},
    "the agent's lease": {"agent token", "second token"},
    "the other agent's lease": {"other agent"},
    "the user's lease": {"user"},
    "the manager's lease": set(),
    "the owner's lease": set(),
}
SESSION_REACH = {
    "cortex_sess_1": {"session", "agent token", "second token"},
    "cortex_sess_2": {"its sibling", "agent token", "second token"},
    "cortex_sess_3": {"other agent", "other session"},
}


@dataclass
class Stage:
    world: World
    owner: Vault
    callers: dict[str, Vault]
    tokens: dict[str, str]
    leases: dict[str, Lease]

    def log_of(self, caller: str) -> Vault:
        """Who reads the log of the caller's tenant."""
        return self.world.owner("other-org" if "foreign" in caller or "namesake" in caller else "my-org")


@pytest.fixture
def stage(world: World) -> Stage:
    owner, foreign = world.owner(), world.owner("other-org")
    for vault in (owner, foreign):
        vault.credentials.create("api", "api-key", "key-0123456789")
    agent = owner.tokens.create(agent="ours", credentials=["*"])
    second = owner.tokens.create(agent="ours", credentials=["*"])
    other = owner.tokens.create(agent="other", credentials=["*"])
    namesake = foreign.tokens.create(agent="ours", credentials=["*"])
    callers = {
        "agent token": world.connect(agent),
        "second token": world.connect(second),
        "other agent": world.connect(other),
        "user": world.human("ada@example.com", "user"),
        "other user": world.human("bob@example.com", "user"),
        "viewer": world.human("vic@example.com", "viewer"),
        "manager": world.human("mia@example.com", "manager"),
        "admin": world.human("abe@example.com", "admin"),
        "namesake": world.connect(namesake),
        "foreign user": world.human("ada@example.com", "user", tenant="other-org"),
        "foreign admin": foreign,
    }
    callers["session"] = world.session(callers["agent token"], "cortex_sess_1")
    callers["its sibling"] = world.session(callers["agent token"], "cortex_sess_2")
    callers["other session"] = world.session(callers["other agent"], "cortex_sess_3")
    callers["namesake session"] = world.session(callers["namesake"], "cortex_sess_4")
    stage = Stage(world, owner, callers, {"agent": agent.token.id, "other": other.token.id}, {})
    stage.leases = lease_to_everybody(stage)
    world.clock.advance("1m")
    return stage


def lease_to_everybody(stage: Stage) -> dict[str, Lease]:
    """A lease of each kind that :data:`REACH` names."""
    holders = {
        "the session's lease": stage.callers["session"],
        "the sibling's lease": stage.callers["its sibling"],
        "the agent's lease": stage.callers["agent token"],
        "the other agent's lease": stage.callers["other agent"],
        "the user's lease": stage.callers["user"],
        "the manager's lease": stage.callers["manager"],
        "the owner's lease": stage.owner,
    }
    return {whose: holder.leases.create("api", ttl="10m").lease for whose, holder in holders.items()}


LEASE_OPERATIONS: dict[str, Callable[[Vault, str], Lease]] = {
    "get": lambda v, lease: v.leases.get(lease),
    "renew": lambda v, lease: v.leases.renew(lease, "20m"),
    "revoke": lambda v, lease: v.leases.revoke(lease),
}


@pytest.mark.parametrize("operation", LEASE_OPERATIONS)
def test_a_lease_is_reached_by_its_owners_and_is_not_there_for_anybody_else(stage: Stage, operation: str) -> None:
    act = LEASE_OPERATIONS[operation]
    never = {
        name: not_found(lambda name=name: act(stage.callers[name], "lease_0000000000000000000000")) for name in CALLERS
    }
    for whose, lease in stage.leases.items():
        before, reaching = state_of(stage.owner), REACH[whose] | TENANT_WIDE
        for name in CALLERS:
            if name in reaching:
                continue
            trail = Trail(stage.log_of(name))
            answer = not_found(lambda name=name, lease=lease: act(stage.callers[name], lease.id))
            assert answer == never[name], (whose, name)
            # What an admin of another tenant does not find was not refused: there is nothing of that name.
            denials = trail.gained()
            assert [entry.event for entry in denials] == ["access.denied"] * (name != "foreign admin"), (whose, name)
            assert lease.id not in {entry.lease_id for entry in denials}
        assert state_of(stage.owner) == before, whose
        for name in sorted(reaching, key=CALLERS.index):
            assert act(stage.callers[name], lease.id).id == lease.id, (whose, name)


@pytest.mark.parametrize("operation", ["get", "end"])
def test_a_session_is_reached_by_its_owners_and_is_not_there_for_anybody_else(stage: Stage, operation: str) -> None:
    def act(caller: Vault, id: str) -> object:
        return caller.sessions.get(id) if operation == "get" else caller.sessions.end(id)

    never = {name: not_found(lambda name=name: act(stage.callers[name], "cortex_sess_nobody")) for name in CALLERS}
    before = state_of(stage.owner)
    for session, reach in SESSION_REACH.items():
        for name in CALLERS:
            if name not in reach | TENANT_WIDE:
                answer = not_found(lambda name=name, session=session: act(stage.callers[name], session))
                assert answer == never[name], (session, name)
    assert state_of(stage.owner) == before
    for session, reach in SESSION_REACH.items():
        for name in sorted(reach | TENANT_WIDE, key=CALLERS.index):
            if operation == "get" or name not in ("session", "other session"):  # whose own token would die with it
                act(stage.callers[name], session)


@pytest.mark.parametrize("operation", ["get", "rotate", "revoke"])
def test_a_token_is_reached_by_the_admins_of_its_tenant_alone(stage: Stage, operation: str) -> None:
    def act(caller: Vault) -> object:
        return getattr(caller.tokens, operation)(stage.tokens["agent"])

    before = state_of(stage.owner)
    for name in CALLERS:
        if name == "admin":
            continue
        with pytest.raises(VaultError) as raised:
            act(stage.callers[name])
        assert type(raised.value) is (NotFound if name == "foreign admin" else NotAllowed), name
    assert state_of(stage.owner) == before
    act(stage.callers["admin"])


def test_lists_show_what_the_caller_reaches(stage: Stage) -> None:
    ids = {lease.id: whose for whose, lease in stage.leases.items()}
    for name in CALLERS:
        caller = stage.callers[name]
        expected = {whose for whose, reaching in REACH.items() if name in reaching | TENANT_WIDE}
        assert {ids[lease.id] for lease in caller.leases.list()} == expected, name
        expected = {id for id, reaching in SESSION_REACH.items() if name in reaching | TENANT_WIDE}
        if name in ("namesake", "namesake session", "foreign admin"):
            expected = {"cortex_sess_4"}
        assert {session.id for session in caller.sessions.list()} == expected, name


def test_list_filters_narrow_and_never_widen(stage: Stage) -> None:
    session = stage.callers["session"]
    own = stage.leases["the session's lease"].id
    assert [lease.id for lease in session.leases.list(agent="ours")] == [own]
    assert [lease.id for lease in session.leases.list(session="cortex_sess_1", credential="api")] == [own]
    assert session.leases.list(session="cortex_sess_2") == []
    assert session.leases.list(agent="other") == []
    assert session.leases.list(token=stage.tokens["other"]) == []
    assert session.sessions.list(agent="other") == []
    assert stage.callers["user"].leases.list(agent="ours") == []


def test_revoking_by_filter_ends_only_what_the_caller_reaches(stage: Stage) -> None:
    for name in CALLERS:
        stage.owner.leases.revoke_where(credential="api")
        leases = lease_to_everybody(stage)
        ids = {lease.id: whose for whose, lease in leases.items()}
        ended = stage.callers[name].leases.revoke_where(credential="api")
        revoked = {ids[lease.id] for lease in stage.owner.leases.list(state=LeaseState.REVOKED) if lease.id in ids}
        reached = {whose for whose, reaching in REACH.items() if name in reaching | TENANT_WIDE}
        assert revoked == reached, name
        assert ended.leases == len(revoked), name


def test_nothing_of_one_tenant_shows_in_another(stage: Stage) -> None:
    foreign = stage.callers["foreign admin"]
    stage.owner.credentials.create("only-ours", "api-key", "key-only-ours-1")
    assert [credential.name for credential in foreign.credentials.list()] == ["api"]
    assert foreign.leases.list() == []
    assert {token.agent or token.email for token in foreign.tokens.list()} == {"ours", "ada@example.com"}
    assert [session.id for session in foreign.sessions.list()] == ["cortex_sess_4"]
    assert {entry.tenant_id for entry in foreign.audit_log.query(limit=None)} == {"other-org"}
    with pytest.raises(NotFound):
        foreign.credentials.get("only-ours")


def test_credentials_of_one_name_in_two_tenants_have_nothing_in_common(stage: Stage) -> None:
    foreign = stage.callers["foreign admin"]
    foreign.credentials.rotate("api", "key-of-the-other")
    assert stage.owner.leases.create("api").value.reveal() == "key-0123456789"
    foreign.credentials.delete("api")
    assert stage.owner.leases.create("api").value.reveal() == "key-0123456789"
    assert stage.leases["the user's lease"].id in {
        lease.id for lease in stage.owner.leases.list(state=LeaseState.ACTIVE)
    }


def test_one_session_id_in_two_tenants_is_two_sessions(stage: Stage) -> None:
    namesake = stage.world.session(stage.callers["namesake"], "cortex_sess_1")
    lease = namesake.leases.create("api")
    stage.owner.sessions.end("cortex_sess_1")
    assert namesake.leases.renew(lease.id).state is LeaseState.ACTIVE


def test_an_agent_tokens_renewal_of_a_sessions_lease_is_in_the_sessions_trail(stage: Stage) -> None:
    lease = stage.leases["the session's lease"]
    stage.callers["agent token"].leases.renew(lease.id, "20m")
    stage.owner.leases.revoke(lease.id)
    trail = stage.owner.audit_log.query(session="cortex_sess_1", lease=lease.id)
    assert [(entry.event, entry.identity.label) for entry in trail] == [
        ("lease.created", "ours"),
        ("lease.renewed", "ours"),
        ("lease.revoked", "owner@localhost"),
    ]
    assert [entry.identity.session_id for entry in trail] == ["cortex_sess_1", None, None]


def test_who_renews_for_another_is_told_as_a_human_is(stage: Stage) -> None:
    lease = stage.leases["the session's lease"]
    stage.owner.credentials.update("api", allow=["agent:other"])
    manager = stage.callers["manager"]
    with pytest.raises(VaultError) as raised:
        manager.leases.renew(lease.id)
    # A manager sees the credential; that there were none would be untrue.
    assert type(raised.value) is NotAllowed, told(raised.value)
