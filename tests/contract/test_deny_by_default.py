"""Rule 2: leasing needs the role, the policy and, for an agent, the token's globs. All combinations, by a model."""

import fnmatch
from collections import Counter
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import pytest

from tests.contract.checks import Trail
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import Conflict, NotAllowed, NotFound, VaultError

ALLOWED = {
    "anybody": [],
    "ours": ["agent:ours"],
    "ours-by-glob": ["human:nobody@*", "agent:o?r*"],
    "other-agent": ["agent:other", "agent:our", "agent:ours-2"],
    "human-by-glob": ["human:*@example.com"],
    "other-human": ["human:ours@example.org"],
    "human-called-so": ["human:ours"],
}
STATES = ["active", "revoked", "deleted"]
SCOPES = {"none": [], "exact": ["{}"], "glob": ["zzz-*", "c-*"], "other": ["d-*", "c"]}


class Case(NamedTuple):
    """One credential, as one caller finds it."""

    allowed: str
    state: str

    @property
    def name(self) -> str:
        return f"c-{self.allowed}-{self.state}"


CASES = [Case(*case) for case in product(ALLOWED, STATES)]


def may_lease(case: Case, *, agent: str | None, email: str | None, role: str, scope: Sequence[str]) -> bool:
    """The rule, said once more and in other words."""
    if role == "viewer" or case.state != "active":
        return False
    subject = f"agent:{agent}" if agent else f"human:{email}"
    named = any(fnmatch.fnmatchcase(subject, pattern) for pattern in ALLOWED[case.allowed])
    by_policy = named or not ALLOWED[case.allowed]
    in_scope = any(fnmatch.fnmatchcase(case.name, glob) for glob in scope)
    if agent:
        return by_policy and (in_scope if scope else named)
    return by_policy and (in_scope if scope else True)


@pytest.fixture(scope="module")
def tenant(shared_world: World) -> World:
    world = shared_world
    owner = world.owner()
    for case in CASES:
        owner.credentials.create(case.name, "api-key", f"key-{case.name}", allow=ALLOWED[case.allowed])
        if case.state == "revoked":
            owner.credentials.revoke(case.name)
        if case.state == "deleted":
            owner.credentials.delete(case.name)
    return world


def attempt(caller: Vault, name: str) -> type[VaultError] | str:
    try:
        return caller.leases.create(name).value.reveal()
    except VaultError as error:
        return type(error)


@pytest.mark.parametrize("role", ["viewer", "user"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("by", ["agent token", "session token"])
def test_an_agent_leases_exactly_what_role_policy_and_globs_all_give(
    tenant: World, is_fastest_door: bool, by: str, scope: str, role: str
) -> None:
    trail = Trail(tenant.owner())
    exact = CASES if is_fastest_door else CASES[:: len(STATES) + 1]  # each policy, and each state
    for case in exact if scope == "exact" else [None]:
        globs = [glob.format(case.name if case else "") for glob in SCOPES[scope]]
        caller = tenant.agent("ours", *globs, role=role)
        caller = tenant.session(caller) if by == "session token" else caller
        reached = set()
        trail.gained()
        for each in CASES:
            expected = may_lease(each, agent="ours", email=None, role=role, scope=globs)
            outcome = attempt(caller, each.name)
            if expected:
                assert outcome == f"key-{each.name}", (each, globs)
                reached.add(each.name)
            else:
                assert outcome is (NotAllowed if role == "viewer" else NotFound), (each, globs)
            assert trail.events() == Counter(["lease.created" if expected else "lease.denied"])
        assert set(caller.whoami().reaches) == reached
        if role == "user":  # a viewer sees what it may not lease
            assert {credential.name for credential in caller.credentials.list()} == reached


@pytest.mark.parametrize("role", ["viewer", "user", "manager", "admin"])
@pytest.mark.parametrize("scope", ["none", "glob", "other"])
def test_a_human_leases_exactly_what_role_and_policy_both_give_and_sees_all_metadata(
    tenant: World, scope: str, role: str
) -> None:
    caller = tenant.human("ours@example.com", role, *SCOPES[scope])
    trail = Trail(tenant.owner())
    for case in CASES:
        expected = may_lease(case, agent=None, email="ours@example.com", role=role, scope=SCOPES[scope])
        outcome = attempt(caller, case.name)
        if expected:
            assert outcome == f"key-{case.name}", case
        elif role == "viewer":
            assert outcome is NotAllowed, case
        else:
            within = may_lease(
                case._replace(state="active"), agent=None, email="ours@example.com", role=role, scope=SCOPES[scope]
            )
            known = {"active": NotAllowed, "revoked": Conflict if within else NotAllowed, "deleted": NotFound}
            assert outcome is known[case.state], case
        assert trail.events() == Counter(["lease.created" if expected else "lease.denied"])
    there = {case.name for case in CASES if case.state != "deleted"}
    assert {credential.name for credential in caller.credentials.list()} == there
    assert all(caller.credentials.get(name).name == name for name in there)


def test_the_owner_too_leases_only_what_the_policy_gives(world: World) -> None:
    owner = world.owner()
    owner.credentials.create("ours-alone", "api-key", "key-0123456789", allow=["agent:ours"])
    assert attempt(owner, "ours-alone") is NotAllowed


def test_globs_are_case_sensitive_and_match_the_whole_name(world: World) -> None:
    owner = world.owner()
    for name in ("deploy-key", "my-deploy-key", "deploy-key-2"):
        owner.credentials.create(name, "api-key", f"key-{name}")
    owner.credentials.create("mail", "api-key", "key-mail-0000", allow=["human:Ada@example.com"])
    assert world.agent("ours", "deploy-key").whoami().reaches == ("deploy-key",)
    assert world.agent("ours", "deploy-*").whoami().reaches == ("deploy-key", "deploy-key-2")
    assert world.agent("ours", "deploy-key-?").whoami().reaches == ("deploy-key-2",)
    assert "mail" in world.human("Ada@example.com", "user").whoami().reaches
    assert "mail" not in world.human("ada@example.com", "user").whoami().reaches


def test_a_token_without_globs_reaches_only_what_names_its_agent(world: World) -> None:
    owner = world.owner()
    owner.credentials.create("open", "api-key", "key-0123456789")
    owner.credentials.create("named", "api-key", "key-0123456780", allow=["agent:ours"])
    assert owner.tokens.create(agent="ours").reaches == ("named",)


def test_globs_are_a_ceiling_even_for_what_names_the_agent(world: World) -> None:
    owner = world.owner()
    owner.credentials.create("named", "api-key", "key-0123456780", allow=["agent:ours"])
    assert owner.tokens.create(agent="ours", credentials=["other-*"]).reaches == ()


def test_a_policy_counts_from_the_moment_it_changes(world: World) -> None:
    owner = world.owner()
    owner.credentials.create("api", "api-key", "key-0123456789")
    agent = world.agent("ours", "api")
    session = world.session(agent)
    session.leases.create("api")
    owner.credentials.update("api", allow=["agent:other"])
    assert attempt(session, "api") is NotFound
    assert agent.credentials.list() == []
    owner.credentials.update("api", allow=[])
    assert attempt(session, "api") == "key-0123456789"


def test_a_human_who_is_refused_is_told_not_allowed_and_one_who_mistypes_what_was_meant(world: World) -> None:
    owner = world.owner()
    owner.credentials.create("shopify-api-key", "api-key", "key-0123456789", allow=["agent:ours"])
    human = world.human("ada@example.com", "user")
    with pytest.raises(NotAllowed, match="not allowed"):
        human.leases.create("shopify-api-key")
    with pytest.raises(NotFound) as raised:
        human.leases.create("shopify-api-kay")
    assert "shopify-api-key" in raised.value.hint
