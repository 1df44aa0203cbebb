"""Rule 2: to an agent, what it may not lease does not exist, on every operation; only the audit log knows why."""

import json
import re
from collections.abc import Callable

import pytest

from tests.contract.checks import as_text, refused, told
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import Conflict, NotAllowed, NotFound, VaultError
from vaultctl.domain.records import AuditEntry

# Names as long as the name that never was, so that no length differs.
HIDDEN = {
    "beyond-its-globs": "token-scope",
    "ours-of-others-01": "allowed-identities",
    "ours-for-humans-1": "allowed-identities",
    "ours-thats-revoked": "credential-revoked",
    "ours-thats-deleted": "no-such-credential",
}
NEVER = "ours-never-there-"
REACHED = "ours-within-reach"

OPERATIONS: dict[str, tuple[type[VaultError], Callable[[Vault, str], object]]] = {
    "get": (NotFound, lambda v, name: v.credentials.get(name)),
    "versions": (NotFound, lambda v, name: v.credentials.versions(name)),
    "lease": (NotFound, lambda v, name: v.leases.create(name)),
    "lease with everything": (
        NotFound,
        lambda v, name: v.leases.create(name, ttl="90d", purpose="Deploying", claimed={"client": "test"}),
    ),
    "update of metadata": (NotAllowed, lambda v, name: v.credentials.update(name, metadata={"a": "b"})),
    "update of policy": (NotAllowed, lambda v, name: v.credentials.update(name, allow=[])),
    "rotate": (NotAllowed, lambda v, name: v.credentials.rotate(name, "key-0123456789")),
    "rollback": (NotAllowed, lambda v, name: v.credentials.rollback(name, 1)),
    "revoke": (NotAllowed, lambda v, name: v.credentials.revoke(name)),
    "delete": (NotAllowed, lambda v, name: v.credentials.delete(name)),
    "create": (NotAllowed, lambda v, name: v.credentials.create(name, "api-key", "key-0123456789")),
}


@pytest.fixture
def owner(world: World) -> Vault:
    return fill(world)


@pytest.fixture(scope="module")
def shared_owner(shared_world: World) -> Vault:
    return fill(shared_world)


def fill(world: World) -> Vault:
    owner = world.owner()
    allowed = {"ours-of-others-01": ["agent:other"], "ours-for-humans-1": ["human:*"]}
    for name in (*HIDDEN, REACHED):
        owner.credentials.create(name, "api-key", f"key-{name}", allow=allowed.get(name, []))
    owner.credentials.revoke("ours-thats-revoked")
    owner.credentials.delete("ours-thats-deleted")
    return owner


def caller(world: World, kind: str) -> Vault:
    agent = world.agent("ours", "ours-*")
    return world.session(agent, "cortex_sess_1") if kind == "session token" else agent


def without_what_always_differs(entry: AuditEntry, name: str) -> str:
    fields = json.loads(as_text(entry)) | {"id": "", "seq": 0}
    fields["details"].pop("rule", None)
    return json.dumps(fields, sort_keys=True).replace(name, "NAME")


@pytest.mark.parametrize("kind", ["agent token", "session token"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_hidden_answers_like_a_name_that_never_was(
    shared_world: World, shared_owner: Vault, operation: str, kind: str
) -> None:
    error, act = OPERATIONS[operation]
    agent, owner = caller(shared_world, kind), shared_owner
    never = refused(owner, error, lambda: act(agent, NEVER))
    for name, rule in HIDDEN.items():
        refusal = refused(owner, error, lambda name=name: act(agent, name))
        assert told(refusal.error, name) == told(never.error, NEVER)
        assert without_what_always_differs(refusal.entry, name) == without_what_always_differs(never.entry, NEVER)
        if operation.startswith("lease"):
            assert refusal.rule == rule
            assert never.rule == "no-such-credential"


@pytest.mark.parametrize("kind", ["agent token", "session token"])
def test_what_is_hidden_is_in_no_list_and_no_suggestion(world: World, owner: Vault, kind: str) -> None:
    agent = caller(world, kind)
    assert [credential.name for credential in agent.credentials.list()] == [REACHED]
    assert agent.whoami().reaches == (REACHED,)
    owner.leases.create("beyond-its-globs")
    assert agent.leases.list(credential="beyond-its-globs") == []
    for mistyped in ("beyond-its-glob", "ours-within-reac", "ours-of-others-0"):
        for act in (agent.credentials.get, agent.leases.create):
            with pytest.raises(NotFound) as raised:
                act(mistyped)
            assert told(raised.value, mistyped) == re.sub(NEVER, "NAME", told(_never(agent), NEVER))


def _never(agent: Vault) -> VaultError:
    with pytest.raises(NotFound) as raised:
        agent.credentials.get(NEVER)
    return raised.value


def test_an_agent_reads_of_its_refusals_but_not_which_rule_refused(world: World, owner: Vault) -> None:
    session = caller(world, "session token")
    for name in (*HIDDEN, NEVER):
        for act in (session.leases.create, session.credentials.get):
            with pytest.raises(NotFound):
                act(name)
    own = session.audit_log.query(events=["lease.denied", "access.denied"])
    assert len(own) == 2 * (len(HIDDEN) + 1)
    assert all("rule" not in entry.details for entry in own)
    for event in ("lease.denied", "access.denied"):
        shown = {
            without_what_always_differs(entry, entry.credential_name or "?") for entry in own if entry.event == event
        }
        assert len(shown) == 1
    rules = {entry.details["rule"] for entry in owner.audit_log.query(events=["lease.denied"])}
    assert rules == {*HIDDEN.values(), "no-such-credential"}


def test_the_trail_shows_an_agent_no_rule_through_any_filter(world: World, owner: Vault) -> None:
    agent = world.agent("ours", "ours-*")
    session = world.session(agent, "cortex_sess_1")
    with pytest.raises(NotFound):
        session.leases.create("beyond-its-globs")
    queries = (
        session.audit_log.query(credential="beyond-its-globs"),
        session.audit_log.query({"identity.name": "ours"}),
        session.audit_log.query({"event": "lease.denied"}),
        agent.audit_log.query(session="cortex_sess_1"),
        list(session.audit_log.after(-1)),
    )
    for entries in queries:
        assert entries
        assert "token-scope" not in as_text(entries)


def test_renewing_what_went_out_of_reach_answers_like_a_name_that_never_was(world: World, owner: Vault) -> None:
    session = caller(world, "session token")
    lease = session.leases.create(REACHED)
    owner.credentials.update(REACHED, allow=["agent:other"])
    renewal = refused(owner, NotFound, lambda: session.leases.renew(lease.id))
    never = refused(owner, NotFound, lambda: session.leases.create(NEVER))
    assert told(renewal.error, REACHED) == told(never.error, NEVER)
    assert renewal.rule == "allowed-identities"
    assert (renewal.entry.credential_name, renewal.entry.lease_id) == (REACHED, lease.id)


def test_a_lease_of_another_answers_like_one_that_never_was(world: World, owner: Vault) -> None:
    session = caller(world, "session token")
    theirs = world.agent("other", "*").leases.create("ours-of-others-01").id
    for act in (session.leases.get, session.leases.renew, session.leases.revoke):
        other = refused(owner, NotFound, lambda act=act: act(theirs))
        never = refused(owner, NotFound, lambda act=act: act("lease_0000000000000000000000"))
        assert told(other.error) == told(never.error)
        assert without_what_always_differs(other.entry, "?") == without_what_always_differs(never.entry, "?")
        assert (other.rule, never.rule) == ("lease-owner", "no-such-lease")


def test_a_session_of_another_answers_like_one_that_never_was(world: World, owner: Vault) -> None:
    session = caller(world, "session token")
    world.agent("other", "*").sessions.open("cortex_sess_theirs")
    for act in (session.sessions.get, session.sessions.end):
        other = refused(owner, NotFound, lambda act=act: act("cortex_sess_theirs"))
        never = refused(owner, NotFound, lambda act=act: act("cortex_sess_nobody"))
        assert told(other.error) == told(never.error)
        assert without_what_always_differs(other.entry, "?") == without_what_always_differs(never.entry, "?")


def test_an_id_that_ended_and_one_of_another_agent_are_refused_alike(world: World, owner: Vault) -> None:
    agent = world.agent("ours", "ours-*")
    agent.sessions.open("cortex_sess_ended")
    agent.sessions.end("cortex_sess_ended")
    world.agent("other", "*").sessions.open("cortex_sess_other")
    ended = refused(owner, Conflict, lambda: agent.sessions.open("cortex_sess_ended"))
    other = refused(owner, Conflict, lambda: agent.sessions.open("cortex_sess_other"))
    assert told(ended.error) == told(other.error)
    assert (ended.rule, other.rule) == ("session-ended", "session-owner")


def test_another_tenant_answers_like_one_that_never_was(world: World, owner: Vault) -> None:
    world.owner("theirs")
    admin = world.human("admin@example.com", "admin")
    for act in (admin.tenants.get, lambda name: admin.tenants.update(name, max_lease_ttl="1h")):
        there = refused(owner, NotFound, lambda act=act: act("theirs"))
        never = refused(owner, NotFound, lambda act=act: act("nobody"))
        assert told(there.error) == told(never.error)
