"""Roles: viewer < user < manager < admin, each with what those before it may do. Agents carry at most user."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pytest

from tests.contract.checks import fails_unrecorded, refused
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import InvalidInput, NotAllowed
from vaultctl.domain.records import Event, Role


@dataclass
class Stage:
    """One of everything, for whoever comes."""

    world: World
    owner: Vault
    token_id: str
    caller: Vault


class Operation(NamedTuple):
    """What is done, as the log calls it, and the least role that may."""

    name: str
    least: Role
    act: Callable[[Stage], object]
    agents_may: bool = False


def _lease_then(act: Callable[[Vault, str], object]) -> Callable[[Stage], object]:
    def do(stage: Stage) -> object:
        return act(stage.caller, stage.caller.leases.create("api").id)

    return do


OPERATIONS = [
    Operation("credential.list", Role.VIEWER, lambda s: s.caller.credentials.list(), True),
    Operation("credential.get", Role.VIEWER, lambda s: s.caller.credentials.get("api"), True),
    Operation("credential.versions", Role.VIEWER, lambda s: s.caller.credentials.versions("api"), True),
    Operation("lease.list", Role.VIEWER, lambda s: s.caller.leases.list(), True),
    Operation("whoami", Role.VIEWER, lambda s: s.caller.whoami(), True),
    Operation("lease.create", Role.USER, lambda s: s.caller.leases.create("api"), True),
    Operation("lease.create", Role.USER, _lease_then(lambda caller, lease: caller.leases.renew(lease, "30m")), True),
    Operation("lease.create", Role.USER, _lease_then(lambda caller, lease: caller.leases.revoke(lease)), True),
    Operation(
        "credential.create",
        Role.MANAGER,
        lambda s: s.caller.credentials.create("new", "api-key", "key-0000000001", allow=["agent:a"], max_ttl="1h"),
    ),
    Operation("credential.update", Role.MANAGER, lambda s: s.caller.credentials.update("api", metadata={"a": "b"})),
    Operation("credential.rotate", Role.MANAGER, lambda s: s.caller.credentials.rotate("api", "key-0000000002")),
    Operation("credential.rollback", Role.MANAGER, lambda s: s.caller.credentials.rollback("api", 1)),
    Operation("credential.revoke", Role.MANAGER, lambda s: s.caller.credentials.revoke("api")),
    Operation("credential.delete", Role.MANAGER, lambda s: s.caller.credentials.delete("api")),
    Operation("credential.update", Role.ADMIN, lambda s: s.caller.credentials.update("api", allow=[])),
    Operation("credential.update", Role.ADMIN, lambda s: s.caller.credentials.update("api", max_ttl="1h")),
    Operation("credential.update", Role.ADMIN, lambda s: s.caller.credentials.update("api", default_ttl="none")),
    Operation("credential.update", Role.ADMIN, lambda s: s.caller.credentials.update("api", delivery="reference")),
    Operation("token.create", Role.ADMIN, lambda s: s.caller.tokens.create(agent="new")),
    Operation("token.create", Role.ADMIN, lambda s: s.caller.tokens.create(human="new@example.com", role="admin")),
    Operation("token.list", Role.ADMIN, lambda s: s.caller.tokens.list()),
    Operation("token.get", Role.ADMIN, lambda s: s.caller.tokens.get(s.token_id)),
    Operation("token.rotate", Role.ADMIN, lambda s: s.caller.tokens.rotate(s.token_id)),
    Operation("token.revoke", Role.ADMIN, lambda s: s.caller.tokens.revoke(s.token_id)),
    Operation("team.list", Role.ADMIN, lambda s: s.caller.team.list()),
    Operation("team.invite", Role.ADMIN, lambda s: s.caller.team.invite("new@example.com", "admin")),
    Operation("tenant.update", Role.ADMIN, lambda s: s.caller.tenants.update("my-org", max_lease_ttl="5h")),
    Operation("audit.query", Role.ADMIN, lambda s: s.caller.audit_log.query()),
]


def _stage(world: World, role: Role, *, agent: bool) -> Stage:
    owner = world.owner()
    owner.credentials.create("api", "api-key", "key-0123456789")
    owner.credentials.rotate("api", "key-9876543210")
    token = owner.tokens.create(agent="somebody", credentials=["api"])
    caller = world.agent("ours", "api", role=role) if agent else world.human("ours@example.com", role)
    return Stage(world, owner, token.token.id, caller)


@pytest.mark.parametrize("role", Role)
def test_a_human_may_do_what_the_role_and_those_below_it_may_and_nothing_else(world: World, role: Role) -> None:
    stage = _stage(world, role, agent=False)
    for operation in OPERATIONS:
        if role.rank < operation.least.rank:
            refusal = refused(stage.owner, NotAllowed, lambda do=operation.act: do(stage))
            assert refusal.rule == "role", operation
            assert refusal.entry.details["operation"] == operation.name
            assert refusal.entry.identity.email == "ours@example.com"
            expected = Event.LEASE_DENIED if operation.name == "lease.create" else Event.ACCESS_DENIED
            assert refusal.entry.event is expected


@pytest.mark.parametrize("operation", OPERATIONS, ids=[f"{i}-{op.name}" for i, op in enumerate(OPERATIONS)])
def test_the_least_role_that_may_can(world: World, operation: Operation) -> None:
    operation.act(_stage(world, operation.least, agent=False))


@pytest.mark.parametrize("role", [Role.VIEWER, Role.USER])
def test_an_agent_may_only_what_agents_may(world: World, role: Role) -> None:
    stage = _stage(world, role, agent=True)
    for operation in OPERATIONS:
        if operation.agents_may and role.rank >= operation.least.rank:
            operation.act(stage)
        else:
            refusal = refused(stage.owner, NotAllowed, lambda do=operation.act: do(stage))
            assert refusal.entry.details["operation"] == operation.name
            assert refusal.entry.identity.name == "ours"


def test_an_agent_token_carries_at_most_the_role_user(world: World) -> None:
    for role in (Role.MANAGER, Role.ADMIN):
        fails_unrecorded(
            world.owner(), InvalidInput, lambda role=role: world.owner().tokens.create(agent="ours", role=role)
        )
    assert world.owner().tokens.create(agent="ours").token.role is Role.USER


def test_a_human_token_needs_a_role(world: World) -> None:
    fails_unrecorded(world.owner(), InvalidInput, lambda: world.owner().tokens.create(human="ada@example.com"))


def test_only_who_runs_the_vault_makes_tenants_and_operators(world: World) -> None:
    admin = world.human("admin@example.com", "admin")
    assert refused(world.owner(), NotAllowed, lambda: admin.tenants.create("new")).rule == "operator"
    assert refused(world.owner(), NotAllowed, lambda: admin.tokens.create(operator=True)).rule == "operator"


def test_an_admin_sees_its_own_tenant_and_no_other(world: World) -> None:
    world.owner("other")
    admin = world.human("admin@example.com", "admin")
    assert [tenant.id for tenant in admin.tenants.list()] == ["my-org"]


def test_an_agent_sees_no_tenants(world: World) -> None:
    agent = world.agent("ours")
    for act in (lambda: agent.tenants.list(), lambda: agent.tenants.get("my-org"), lambda: agent.tenants.get("nope")):
        refused(world.owner(), NotAllowed, act)


class TestOperators:
    """An operator's token belongs to no tenant."""

    def test_it_cannot_lease_nor_see_what_is_in_a_tenant(self, world: World) -> None:
        world.owner().credentials.create("api", "api-key", "key-0123456789")
        operator = world.operator()
        for act in (
            lambda: operator.leases.create("api"),
            lambda: operator.leases.list(),
            lambda: operator.credentials.list(),
            lambda: operator.credentials.get("api"),
            lambda: operator.sessions.list(),
            lambda: operator.sessions.open(),
        ):
            with pytest.raises(NotAllowed):
                act()

    def test_it_makes_and_lists_tenants(self, world: World) -> None:
        operator = world.operator()
        operator.tenants.create("third", max_lease_ttl="2h")
        assert [tenant.id for tenant in operator.tenants.list()] == ["my-org", "third"]

    def test_it_mints_operators_but_nothing_for_a_tenant(self, world: World) -> None:
        operator = world.operator()
        assert operator.tokens.create(operator=True).token.kind == "operator"
        with pytest.raises(InvalidInput):
            operator.tokens.create(agent="ours")

    def test_what_it_is_refused_goes_into_the_vaults_own_log_and_into_no_tenants(self, world: World) -> None:
        operator = world.operator()
        size = len(world.owner().audit_log.query(limit=None))
        with pytest.raises(NotAllowed):
            operator.leases.create("api")
        assert len(world.owner().audit_log.query(limit=None)) == size
        (entry,) = operator.audit_log.query(events=["access.denied"])
        assert entry.details == {"operation": "lease.create", "rule": "operator-token"}

    def test_it_has_no_role_globs_or_lease_time_in_a_tenant(self, world: World) -> None:
        for options in ({"role": "user"}, {"credentials": ["*"]}, {"max_lease_ttl": "1h"}):
            with pytest.raises(InvalidInput):
                world.owner().tokens.create(operator=True, **options)
