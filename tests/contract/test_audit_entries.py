"""Rule 1: nothing leaves unaudited. Each operation leaves exactly its entries; a read leaves none."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.contract.checks import Trail, fails_unrecorded, state_of
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import AlreadyExists, Conflict, InvalidInput, NotFound, VaultError, VaultUnavailable
from vaultctl.domain.records import IssuedToken


@dataclass
class Stage:
    """A small tenant in which there is one of everything."""

    world: World
    owner: Vault
    token: IssuedToken
    agent: Vault
    session_id: str
    session: Vault
    lease_id: str


@pytest.fixture
def stage(world: World) -> Stage:
    owner = world.owner()
    owner.credentials.create("api", "api-key", "key-0123456789")
    owner.credentials.rotate("api", "key-9876543210")
    token = owner.tokens.create(agent="deploy-agent", credentials=["*"])
    agent = world.connect(token)
    opened = agent.sessions.open("cortex_sess_1")
    session = world.connect(opened)
    lease = session.leases.create("api", purpose="Deploying", ttl="10m")
    world.clock.advance("1m")
    return Stage(world, owner, token, agent, opened.session.id, session, lease.id)


CHANGES: dict[str, tuple[Callable[[Stage], object], list[str]]] = {
    "credential create": (
        lambda s: s.owner.credentials.create("new", "api-key", "key-1111111111"),
        ["credential.created"],
    ),
    "credential update of metadata": (
        lambda s: s.owner.credentials.update("api", metadata={"team": "shop"}),
        ["credential.updated"],
    ),
    "credential update of the policy": (lambda s: s.owner.credentials.update("api", max_ttl="2h"), ["acl.updated"]),
    "credential update of both": (
        lambda s: s.owner.credentials.update("api", metadata={}, allow=["agent:deploy-*"]),
        ["credential.updated", "acl.updated"],
    ),
    "credential rotate": (lambda s: s.owner.credentials.rotate("api", "key-2222222222"), ["credential.rotated"]),
    "credential rollback": (lambda s: s.owner.credentials.rollback("api", 1), ["credential.rotated"]),
    "credential revoke": (lambda s: s.owner.credentials.revoke("api"), ["lease.revoked", "credential.revoked"]),
    "credential delete": (lambda s: s.owner.credentials.delete("api"), ["lease.revoked", "credential.deleted"]),
    "lease create": (lambda s: s.session.leases.create("api", purpose="More"), ["lease.created"]),
    "lease create by the owner": (lambda s: s.owner.leases.create("api"), ["lease.created"]),
    "lease renew": (lambda s: s.session.leases.renew(s.lease_id), ["lease.renewed"]),
    "lease renew by a manager": (lambda s: s.owner.leases.renew(s.lease_id), ["lease.renewed"]),
    "lease revoke": (lambda s: s.session.leases.revoke(s.lease_id), ["lease.revoked"]),
    "lease revoke by filter": (lambda s: s.owner.leases.revoke_where(agent="deploy-agent"), ["lease.revoked"]),
    "token create for an agent": (lambda s: s.owner.tokens.create(agent="other"), ["token.created"]),
    "token create for a human": (
        lambda s: s.owner.tokens.create(human="ada@example.com", role="user"),
        ["token.created"],
    ),
    "token rotate": (lambda s: s.owner.tokens.rotate(s.token.token.id), ["token.rotated"]),
    "token revoke": (
        lambda s: s.owner.tokens.revoke(s.token.token.id),
        ["lease.revoked", "session.ended", "token.revoked"],
    ),
    "session open": (lambda s: s.agent.sessions.open(), ["session.started", "token.exchanged"]),
    "session reopen": (lambda s: s.agent.sessions.open(s.session_id), ["token.exchanged"]),
    "session end": (lambda s: s.session.sessions.end(s.session_id), ["lease.revoked", "session.ended"]),
    "tenant set": (lambda s: s.owner.tenants.update("my-org", max_lease_ttl="4h"), ["tenant.settings_updated"]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_leaves_exactly_its_entries(stage: Stage, name: str) -> None:
    act, events = CHANGES[name]
    trail = Trail(stage.owner)
    act(stage)
    assert trail.events() == Counter(events)


READS: dict[str, Callable[[Stage], object]] = {
    "credential list": lambda s: s.session.credentials.list(),
    "credential get": lambda s: s.session.credentials.get("api"),
    "credential versions": lambda s: s.session.credentials.versions("api"),
    "lease list": lambda s: s.session.leases.list(),
    "lease get": lambda s: s.session.leases.get(s.lease_id),
    "session list": lambda s: s.session.sessions.list(),
    "session get": lambda s: s.session.sessions.get(s.session_id),
    "session touch": lambda s: s.session.sessions.touch(),
    "token list": lambda s: s.owner.tokens.list(),
    "token get": lambda s: s.owner.tokens.get(s.token.token.id),
    "whoami": lambda s: s.session.whoami(),
    "tenant list": lambda s: s.owner.tenants.list(),
    "tenant get": lambda s: s.owner.tenants.get("my-org"),
    "audit": lambda s: s.session.audit_log.query(),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_leaves_no_entry(stage: Stage, name: str) -> None:
    trail = Trail(stage.owner)
    READS[name](stage)
    assert trail.gained() == []


NOTHING_TO_DO: dict[str, Callable[[Stage], object]] = {
    "a lease that was revoked": lambda s: s.session.leases.revoke(s.lease_id),
    "a session that ended": lambda s: s.agent.sessions.end(s.session_id),
    "a token that was revoked": lambda s: s.owner.tokens.revoke(s.token.token.id),
    "leases of a session without any": lambda s: s.owner.leases.revoke_where(session=s.session_id),
}


@pytest.mark.parametrize("name", NOTHING_TO_DO)
def test_ending_what_has_ended_changes_and_records_nothing(stage: Stage, name: str) -> None:
    match name:
        case "a lease that was revoked":
            stage.session.leases.revoke(stage.lease_id)
        case "a token that was revoked":
            stage.owner.tokens.revoke(stage.token.token.id)
        case _:
            stage.agent.sessions.end(stage.session_id)
    before, trail = state_of(stage.owner), Trail(stage.owner)
    stage.world.clock.advance("1s")
    NOTHING_TO_DO[name](stage)
    assert trail.gained() == []
    assert state_of(stage.owner) == before


FAILURES: dict[str, tuple[type[VaultError], Callable[[Stage], object]]] = {
    "a malformed name": (InvalidInput, lambda s: s.owner.credentials.create("Not A Name", "api-key", "key-1234567890")),
    "a taken name": (AlreadyExists, lambda s: s.owner.credentials.create("api", "api-key", "key-1234567890")),
    "a malformed value": (InvalidInput, lambda s: s.owner.credentials.create("db", "database-url", "nonsense")),
    "a malformed new value": (InvalidInput, lambda s: s.owner.credentials.rotate("api", "with spaces in it")),
    "a missing credential": (NotFound, lambda s: s.owner.credentials.rotate("nope", "key-1234567890")),
    "a missing version": (NotFound, lambda s: s.owner.credentials.rollback("api", 7)),
    "the current version": (Conflict, lambda s: s.owner.credentials.rollback("api", 2)),
    "an update of nothing": (InvalidInput, lambda s: s.owner.credentials.update("api")),
    "a default above the maximum": (
        InvalidInput,
        lambda s: s.owner.credentials.update("api", default_ttl="3h", max_ttl="1h"),
    ),
    "a malformed TTL": (InvalidInput, lambda s: s.session.leases.create("api", ttl="5x")),
    "a purpose of two lines": (InvalidInput, lambda s: s.session.leases.create("api", purpose="one\ntwo")),
    "a malformed session id": (InvalidInput, lambda s: s.agent.sessions.open("run 1")),
    "a token for nobody": (InvalidInput, lambda s: s.owner.tokens.create()),
    "a token for two": (InvalidInput, lambda s: s.owner.tokens.create(agent="a", human="a@b.example", role="user")),
    "a missing token": (NotFound, lambda s: s.owner.tokens.revoke("tok_nope")),
    "a taken tenant": (AlreadyExists, lambda s: s.owner.tenants.create("my-org")),
    "a missing tenant": (NotFound, lambda s: s.owner.tenants.update("nope", max_lease_ttl="1h")),
    "a revocation of whatever": (InvalidInput, lambda s: s.owner.leases.revoke_where()),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_request_that_fails_without_a_rule_refusing_it_changes_and_records_nothing(stage: Stage, name: str) -> None:
    error, act = FAILURES[name]
    message = str(fails_unrecorded(stage.owner, error, lambda: act(stage)))
    assert "key-1234567890" not in message


def test_a_new_tenant_is_recorded_in_its_own_log(world: World) -> None:
    trail = Trail(world.owner())
    other = world.owner("other")
    assert [entry.event for entry in other.audit_log.query()] == ["tenant.created"]
    assert trail.gained() == []


def test_a_lease_is_recorded_with_who_what_when_and_why(stage: Stage) -> None:
    (entry,) = stage.owner.audit_log.query(events=["lease.created"])
    lease = stage.owner.leases.get(stage.lease_id)
    assert entry.identity == lease.identity
    assert (entry.identity.name, entry.identity.session_id) == ("deploy-agent", "cortex_sess_1")
    assert entry.identity.purpose == "Deploying"
    assert (entry.credential_name, entry.lease_id, entry.timestamp) == ("api", lease.id, lease.issued_at)
    assert entry.details["credentialVersion"] == 2
    assert entry.details["ttl"] == "10m"
    assert entry.details["tokenId"] == stage.token.token.id
    assert entry.details["expiresAt"] < entry.details["maxExpiresAt"]


def test_the_log_is_numbered_without_gaps_and_its_time_never_decreases(stage: Stage) -> None:
    stage.world.owner("other").credentials.create("theirs", "api-key", "key-3333333333")
    for tenant in ("my-org", "other"):
        entries = stage.world.owner(tenant).audit_log.query(limit=None)
        assert [entry.seq for entry in entries] == list(range(len(entries)))
        assert {entry.tenant_id for entry in entries} == {tenant}
        times = [entry.timestamp for entry in entries]
        assert times == sorted(times)
        assert len({entry.id for entry in entries}) == len(entries)


def test_time_in_the_log_stands_still_while_the_clock_is_a_little_behind(stage: Stage) -> None:
    last = stage.owner.audit_log.query(limit=1)[-1].timestamp
    stage.world.clock.advance(timedelta(minutes=-4))
    stage.owner.credentials.update("api", metadata={"a": "b"})
    assert stage.owner.audit_log.query(limit=1)[-1].timestamp == last


def test_a_clock_that_is_far_behind_the_log_stops_the_vault(stage: Stage) -> None:
    stage.owner.credentials.update("api", metadata={"a": "b"})
    size = len(stage.owner.audit_log.query(limit=None))
    stage.world.clock.advance(timedelta(minutes=-6))
    with pytest.raises(VaultUnavailable):  # a server does not tell why
        stage.owner.credentials.update("api", metadata={"c": "d"})
    stage.world.clock.advance("6m")
    assert len(stage.owner.audit_log.query(limit=None)) == size
    assert stage.owner.credentials.get("api").metadata == {"a": "b"}
