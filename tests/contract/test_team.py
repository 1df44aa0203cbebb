"""The team: people with one identity each, whose role counts for all their tokens, at once."""

import pytest

from tests.contract.checks import Trail, fails_unrecorded, refused
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import AlreadyExists, Conflict, InvalidInput, NotAllowed, NotAuthenticated, NotFound
from vaultctl.domain.records import Role

ALICE, BOB = "alice@example.com", "bob@example.com"


def invited(world: World, email: str, role: str, inviter: Vault | None = None) -> Vault:
    return world.connect((inviter or world.owner()).team.invite(email, role))


def details(trail: Trail) -> dict[str, dict[str, object]]:
    return {entry.event.value: entry.details for entry in trail.gained()}


def test_an_invitation_mints_a_token_that_is_shown_once_and_makes_a_member(world: World) -> None:
    owner, trail = world.owner(), Trail(world.owner())
    issued = owner.team.invite(ALICE, "manager", ttl="30d")
    token = issued.token
    assert (token.kind, token.email, token.user_id, token.role) == ("human", ALICE, ALICE, Role.MANAGER)
    recorded = details(trail)
    assert recorded["team.invited"] == {"email": ALICE, "role": "manager", "tokenId": token.id, "tokens": 0}
    assert recorded["token.created"]["tokenId"] == token.id
    assert issued.secret.reveal() not in str(recorded)
    assert world.connect(issued).whoami().role is Role.MANAGER
    (member,) = owner.team.list()
    assert (member.id, member.role, member.tokens, member.created_at) == (ALICE, Role.MANAGER, 1, world.clock.now)
    assert owner.team.get(ALICE) == member


def test_the_team_is_listed_by_address_and_of_one_tenant(world: World) -> None:
    for email in (BOB, ALICE):
        world.owner().team.invite(email, "user")
    world.owner("other").team.invite(ALICE, "admin")
    assert [member.id for member in world.owner().team.list()] == [ALICE, BOB]
    assert [(m.id, m.role) for m in world.owner("other").team.list()] == [(ALICE, Role.ADMIN)]


def test_a_role_counts_at_once_for_tokens_that_carry_it_and_for_none_that_is_narrower(world: World) -> None:
    owner = world.owner()
    alice = invited(world, ALICE, "manager")
    second = world.human(ALICE, "manager")
    narrow = world.human(ALICE, "viewer")
    trail = Trail(owner)
    assert owner.team.change_role(ALICE, "admin").role is Role.ADMIN
    assert [v.whoami().role for v in (alice, second, narrow)] == [Role.ADMIN, Role.ADMIN, Role.VIEWER]
    alice.tokens.list()
    owner.team.change_role(ALICE, "viewer")
    assert {v.whoami().role for v in (alice, second, narrow)} == {Role.VIEWER}
    with pytest.raises(NotAllowed):
        alice.credentials.create("new", "api-key", "key-0123456789")
    changes = [e.details for e in trail.gained() if e.event.value == "team.role_changed"]
    assert changes == [
        {"email": ALICE, "from": "manager", "to": "admin", "tokens": 2},
        {"email": ALICE, "from": "admin", "to": "viewer", "tokens": 2},
    ]
    trail = Trail(owner)
    owner.team.change_role(ALICE, "viewer")
    assert trail.gained() == []


def test_a_removal_ends_all_tokens_and_leases_of_the_person_and_no_others(world: World) -> None:
    owner = world.owner()
    owner.credentials.create("api", "api-key", "key-0123456789")
    alice, bob = invited(world, ALICE, "user"), invited(world, BOB, "user")
    second = world.human(ALICE, "user")
    leases = [vault.leases.create("api").id for vault in (alice, second, bob)]
    trail = Trail(owner)
    assert owner.team.remove(ALICE).leases == 2
    assert trail.events() == {"team.removed": 1, "token.revoked": 2, "lease.revoked": 2}
    for vault in (alice, second):
        with pytest.raises(NotAuthenticated):
            vault.whoami()
    assert [owner.leases.get(id).state.value for id in leases] == ["revoked", "revoked", "active"]
    assert bob.whoami().role is Role.USER
    fails_unrecorded(owner, NotFound, lambda: owner.team.remove(ALICE))
    fails_unrecorded(owner, NotFound, lambda: owner.team.change_role(ALICE, "admin"))
    assert invited(world, ALICE, "viewer").whoami().identity.user_id == ALICE


def test_tokens_that_a_person_had_before_become_theirs_and_no_stronger(world: World) -> None:
    strong, weak = world.human(ALICE, "admin"), world.human(ALICE, "viewer")
    world.owner().team.invite(ALICE, "user")
    assert (strong.whoami().role, weak.whoami().role) == (Role.USER, Role.VIEWER)
    assert world.owner().team.get(ALICE).tokens == 3


def test_no_token_gives_a_member_more_than_the_team_does(world: World) -> None:
    owner = world.owner()
    owner.team.invite(ALICE, "user")
    fails_unrecorded(owner, Conflict, lambda: owner.tokens.create(human=ALICE, role="manager"))
    assert owner.tokens.create(human=ALICE, role="user").token.role is Role.USER


def test_one_address_has_one_spelling(world: World) -> None:
    owner = world.owner()
    owner.team.invite(ALICE, "user")
    for act in (
        lambda: owner.team.invite("Alice@Example.com", "admin"),
        lambda: owner.tokens.create(human="ALICE@example.com", role="viewer"),
    ):
        fails_unrecorded(owner, Conflict, act)
    fails_unrecorded(owner, AlreadyExists, lambda: owner.team.invite(ALICE, "admin"))
    fails_unrecorded(owner, InvalidInput, lambda: owner.team.invite("no address", "user"))
    fails_unrecorded(owner, NotFound, lambda: owner.team.get("Alice@Example.com"))


def test_a_team_keeps_an_admin_unless_whoever_runs_the_vault_decides_otherwise(world: World) -> None:
    owner = world.owner()
    alice = invited(world, ALICE, "admin")
    fails_unrecorded(owner, Conflict, lambda: alice.team.remove(ALICE))
    fails_unrecorded(owner, Conflict, lambda: alice.team.change_role(ALICE, "user"))
    bob = invited(world, BOB, "admin", alice)
    assert bob.team.change_role(ALICE, "user").role is Role.USER
    with pytest.raises(NotAllowed):
        alice.team.list()
    owner.team.remove(BOB)
    assert [member.id for member in owner.team.list()] == [ALICE]


@pytest.mark.parametrize("role", ["viewer", "user", "manager"])
def test_below_admin_nobody_sees_or_changes_the_team(world: World, role: str) -> None:
    owner = world.owner()
    owner.team.invite(BOB, "user")
    caller = invited(world, ALICE, role)
    for act in (
        caller.team.list,
        lambda: caller.team.get(BOB),
        lambda: caller.team.get("nobody@example.com"),
        lambda: caller.team.invite("new@example.com", "viewer"),
        lambda: caller.team.change_role(ALICE, "admin"),
        lambda: caller.team.remove(BOB),
    ):
        assert refused(owner, NotAllowed, act).rule == "role"


def test_an_agent_and_an_operator_have_nothing_to_do_with_a_team(world: World) -> None:
    owner = world.owner()
    agent = world.agent("deploy", "*")
    assert refused(owner, NotAllowed, lambda: agent.team.invite(ALICE, "admin")).rule == "role"
    with pytest.raises(NotAllowed):
        world.operator().team.list()
