"""The audit log answers which run of which agent used what, when, and why."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.checks import refused
from tests.contract.world import World, pages, perform
from vaultctl.client.vault import Vault
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput, NotAllowed, VaultError
from vaultctl.domain.records import AuditEntry, Event


@dataclass
class Stage:
    """A log in which everybody did something, a minute apart."""

    world: World
    owner: Vault
    agent: Vault
    session: Vault
    entries: list[AuditEntry]
    lease_id: str


@pytest.fixture(scope="module")
def stage(shared_world: World) -> Stage:
    """For all tests that add nothing to the log."""
    return make_stage(shared_world)


@pytest.fixture
def own_stage(world: World) -> Stage:
    """For one test."""
    return make_stage(world)


def make_stage(world: World) -> Stage:
    owner, clock = world.owner(), world.clock

    def minute_by_minute(*acts: Callable[[], Any]) -> None:
        for act in acts:
            with suppress(VaultError):
                act()
            clock.advance("1m")

    clock.advance("1m")
    for name in ("api", "mail", "hidden"):
        owner.credentials.create(name, "api-key", f"key-of-{name}-1")
    agent, other = world.agent("ours", "api", "mail"), world.agent("other", "*")
    session, sibling = world.session(agent, "cortex_sess_1"), world.session(agent, "cortex_sess_2")
    ada = world.human("ada@example.com", "manager")
    lease = session.leases.create("api", purpose="Deploying").id
    minute_by_minute(
        lambda: session.leases.create("mail", claimed={"name": "other"}),
        lambda: session.leases.create("hidden"),
        lambda: sibling.leases.create("api"),
        lambda: agent.leases.renew(lease),
        lambda: other.leases.create("hidden"),
        lambda: other.leases.get(lease),
        lambda: ada.leases.renew(lease),
        lambda: ada.leases.create("mail"),
        lambda: ada.tokens.list(),
        lambda: ada.credentials.rotate("mail", "key-of-mail-2"),
        lambda: owner.credentials.update("api", allow=["agent:ours"]),
        lambda: owner.leases.revoke(lease),
        lambda: agent.sessions.end("cortex_sess_2"),
    )
    world.owner("elsewhere").credentials.create("api", "api-key", "key-elsewhere-1")
    entries = [entry for page in reversed(pages(owner, lambda c: ask.QueryAudit(cursor=c))) for entry in page]
    return Stage(world, owner, agent, session, entries, lease)


def seqs(entries: list[AuditEntry]) -> list[int]:
    return [entry.seq for entry in entries]


def _acted(entry: AuditEntry, field: str) -> str | None:
    return getattr(entry.identity, field)


def trail_agent(entry: AuditEntry) -> str | None:
    """Whose trail an entry belongs to: the actor's, or the one acted upon."""
    return entry.identity.name or entry.details.get("agent")


def trail_session(entry: AuditEntry) -> str | None:
    return entry.identity.session_id or entry.details.get("sessionId")


Matches = Callable[[AuditEntry], bool]
FILTERS: dict[str, tuple[dict[str, Any], Matches]] = {
    "nothing": ({}, lambda e: True),
    "agent": ({"agent": "ours"}, lambda e: trail_agent(e) == "ours"),
    "session": ({"session": "cortex_sess_1"}, lambda e: trail_session(e) == "cortex_sess_1"),
    "credential": ({"credential": "mail"}, lambda e: e.credential_name == "mail"),
    "event": ({"events": ["lease.denied"]}, lambda e: e.event == "lease.denied"),
    "events": (
        {"events": [Event.LEASE_CREATED, "acl.updated"]},
        lambda e: e.event in ("lease.created", "acl.updated"),
    ),
    "identity.type": ({"filter": {"identity.type": "human"}}, lambda e: _acted(e, "type") == "human"),
    "identity.name": ({"filter": {"identity.name": "ours"}}, lambda e: _acted(e, "name") == "ours"),
    "identity.userId": ({"filter": {"identity.userId": "owner"}}, lambda e: _acted(e, "user_id") == "owner"),
    "identity.email": (
        {"filter": {"identity.email": "ada@example.com"}},
        lambda e: _acted(e, "email") == "ada@example.com",
    ),
    "identity.sessionId": (
        {"filter": {"identity.sessionId": "cortex_sess_2"}},
        lambda e: _acted(e, "session_id") == "cortex_sess_2",
    ),
    "the guide's": (
        {"filter": {"identity.name": "ours", "identity.sessionId": "cortex_sess_1"}},
        lambda e: (_acted(e, "name"), _acted(e, "session_id")) == ("ours", "cortex_sess_1"),
    ),
    "credentialName": ({"filter": {"credentialName": "api"}}, lambda e: e.credential_name == "api"),
    "event in the filter": ({"filter": {"event": "lease.renewed"}}, lambda e: e.event == "lease.renewed"),
    "an agent's trail that humans made": (
        {"agent": "ours", "filter": {"identity.type": "human"}},
        lambda e: trail_agent(e) == "ours" and _acted(e, "type") == "human",
    ),
    "a session's trail outside of the session": (
        {"session": "cortex_sess_1", "filter": {"identity.email": "ada@example.com"}},
        lambda e: trail_session(e) == "cortex_sess_1" and _acted(e, "email") == "ada@example.com",
    ),
    "all at once": (
        {
            "agent": "ours",
            "session": "cortex_sess_1",
            "credential": "api",
            "events": ["lease.created"],
            "filter": {"identity.type": "agent"},
        },
        lambda e: trail_session(e) == "cortex_sess_1" and e.event == "lease.created" and e.credential_name == "api",
    ),
    "a trail and another's identity": (
        {"agent": "ours", "filter": {"identity.name": "other"}},
        lambda e: False,
    ),
    "a session and another's identity": (
        {"session": "cortex_sess_1", "filter": {"identity.sessionId": "cortex_sess_2"}},
        lambda e: False,
    ),
    "several events that take turns": (
        {"events": ["lease.created", "lease.denied", "lease.revoked", "session.ended"]},
        lambda e: e.event in ("lease.created", "lease.denied", "lease.revoked", "session.ended"),
    ),
    "nobody": ({"agent": "nobody"}, lambda e: False),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_finds_exactly_what_it_says(stage: Stage, name: str) -> None:
    options, matches = FILTERS[name]
    expected = [entry.seq for entry in stage.entries if matches(entry)]
    assert seqs(stage.owner.audit_log.query(**options, limit=None)) == expected
    assert seqs(list(stage.owner.audit_log.after(-1, **options))) == expected
    assert seqs(stage.owner.audit_log.query(**options, limit=3)) == expected[-3:]
    middle = len(stage.entries) // 2
    assert seqs(list(stage.owner.audit_log.after(middle, **options))) == [seq for seq in expected if seq > middle]


def test_the_filters_are_worth_trying(stage: Stage) -> None:
    empty = {name for name, (_, matches) in FILTERS.items() if not any(map(matches, stage.entries))}
    assert empty == {"a trail and another's identity", "a session and another's identity", "nobody"}


def test_one_leases_whole_life_is_found_by_its_id(stage: Stage) -> None:
    entries = stage.owner.audit_log.query(lease=stage.lease_id)
    assert [entry.event for entry in entries] == ["lease.created", "lease.renewed", "lease.renewed", "lease.revoked"]
    assert [entry.identity.label for entry in entries] == ["ours", "ours", "ada@example.com", "owner@localhost"]
    assert stage.owner.audit_log.query({"leaseId": stage.lease_id}) == entries


def test_a_runs_trail_has_what_others_did_to_it_and_a_strict_filter_has_not(stage: Stage) -> None:
    trail = stage.owner.audit_log.query(session="cortex_sess_1")
    strict = stage.owner.audit_log.query({"identity.sessionId": "cortex_sess_1"})
    assert {entry.identity.label for entry in trail} == {"ours", "ada@example.com", "owner@localhost"}
    assert {entry.identity.label for entry in strict} == {"ours"}
    assert set(seqs(strict)) < set(seqs(trail))


def test_a_filter_that_is_asked_for_twice_or_does_not_exist_is_refused(stage: Stage) -> None:
    with pytest.raises(InvalidInput):
        stage.owner.audit_log.query({"credentialName": "api"}, credential="mail")
    with pytest.raises(InvalidInput):
        stage.owner.audit_log.query({"identity.password": "x"})
    with pytest.raises(InvalidInput):
        stage.owner.audit_log.query({"event": "lease.borrowed"})
    assert stage.owner.audit_log.query({"credentialName": "api"}, credential="api")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_since_is_not_before_and_until_is_before(stage: Stage, data: st.DataObject) -> None:
    moments = sorted({entry.timestamp for entry in stage.entries})
    around = [moment + timedelta(microseconds=shift) for moment in moments for shift in (-1, 0, 1)]
    since: datetime | None = data.draw(st.none() | st.sampled_from(around))
    until: datetime | None = data.draw(st.none() | st.sampled_from(around))
    options, matches = FILTERS[data.draw(st.sampled_from(sorted(FILTERS)))]
    expected = [
        entry.seq
        for entry in stage.entries
        if matches(entry) and (since is None or entry.timestamp >= since) and (until is None or entry.timestamp < until)
    ]
    assert seqs(stage.owner.audit_log.query(**options, since=since, until=until, limit=None)) == expected
    assert seqs(list(stage.owner.audit_log.after(-1, **options, since=since, until=until))) == expected


STRICT = {
    "identity.type": "identity_type",
    "identity.name": "identity_name",
    "identity.userId": "identity_user_id",
    "identity.email": "identity_email",
    "identity.sessionId": "identity_session_id",
    "credentialName": "credential_name",
}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(set(FILTERS) - {"event in the filter"})), size=st.integers(1, 7))
def test_pages_are_complete_and_without_repeats(stage: Stage, name: str, size: int) -> None:
    options, matches = FILTERS[name]
    fields: dict[str, Any] = {STRICT[key]: value for key, value in options.get("filter", {}).items()}
    fields |= {"agent": options.get("agent"), "session_id": options.get("session")}
    fields |= {"events": tuple(Event(event) for event in options.get("events", ()))}
    if "credential" in options:
        fields["credential_name"] = options["credential"]
    found = pages(stage.owner, lambda cursor: ask.QueryAudit(**fields, cursor=cursor, limit=size))
    assert all(len(page) <= size for page in found)
    # The newest page comes first; each is in the order of the log.
    joined = [entry.seq for page in reversed(found) for entry in page]
    assert joined == [entry.seq for entry in stage.entries if matches(entry)]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(after=st.integers(-1, 60), size=st.integers(1, 7))
def test_after_a_number_come_the_next_ones(stage: Stage, after: int, size: int) -> None:
    page = perform(stage.owner, ask.QueryAudit(after_seq=after, limit=size))
    assert [entry.seq for entry in page.items] == [seq for seq in seqs(stage.entries) if seq > after][:size]


def test_what_comes_while_it_is_paged_disturbs_no_page(own_stage: Stage) -> None:
    before = seqs(own_stage.entries)
    cursor, joined = None, []
    while True:
        page = perform(own_stage.owner, ask.QueryAudit(cursor=cursor, limit=5))
        joined = [entry.seq for entry in page.items] + joined
        own_stage.owner.leases.create("mail")
        if (cursor := page.next_cursor) is None:
            break
    assert joined == before


@pytest.mark.parametrize("cursor", ["x", "AAAA", "W251bGxd", "WzEuNV0", "é", "W10", "Wzk5OTk5OTk5OTk5OTk5OTk5OV0"])
def test_a_cursor_that_is_none_is_refused(stage: Stage, cursor: str) -> None:
    for request in (ask.QueryAudit(cursor=cursor), ask.ListLeases(cursor=cursor), ask.ListTokens(cursor=cursor)):
        with pytest.raises(InvalidInput):
            perform(stage.owner, request)


@pytest.mark.parametrize("limit", [0, -1, 1001, 10**30])
def test_a_limit_that_is_none_is_refused(stage: Stage, limit: int) -> None:
    for request in (ask.QueryAudit(limit=limit), ask.ListLeases(limit=limit), ask.ListCredentials(limit=limit)):
        with pytest.raises(InvalidInput):
            perform(stage.owner, request)


@pytest.mark.parametrize("limit", [0, -1])
def test_asking_for_no_entries_gives_none(stage: Stage, limit: int) -> None:
    try:
        assert stage.owner.audit_log.query(limit=limit) == []
        assert stage.owner.leases.list(limit=limit) == []
    except InvalidInput:
        pass


class TestWhoMayRead:
    """Admins all of the tenant's; an agent its own session's."""

    def test_a_session_reads_its_own_trail_and_nothing_else(self, own_stage: Stage) -> None:
        own = [entry.seq for entry in own_stage.entries if trail_session(entry) == "cortex_sess_1"]
        assert seqs(own_stage.session.audit_log.query()) == own
        assert seqs(list(own_stage.session.audit_log.after(-1))) == own
        assert seqs(own_stage.session.audit_log.query(session="cortex_sess_1")) == own
        assert own_stage.session.audit_log.query(agent="other") == []
        for options in (
            {"session": "cortex_sess_2"},
            {"filter": {"identity.sessionId": "cortex_sess_2"}},
            {"session": "cortex_sess_nobody"},
        ):
            refusal = refused(own_stage.owner, NotAllowed, lambda o=options: own_stage.session.audit_log.query(**o))
            assert refusal.rule == "own-session"
        mixed = own_stage.session.audit_log.query({"identity.sessionId": "cortex_sess_2"}, session="cortex_sess_1")
        assert mixed == []

    def test_an_agents_token_reads_the_trail_of_a_session_of_its_own_by_name(self, own_stage: Stage) -> None:
        own = [entry.seq for entry in own_stage.entries if trail_session(entry) == "cortex_sess_2"]
        assert seqs(own_stage.agent.audit_log.query(session="cortex_sess_2")) == own
        refused(own_stage.owner, NotAllowed, own_stage.agent.audit_log.query)
        other = own_stage.world.agent("other", "*")
        refused(own_stage.owner, NotAllowed, lambda: other.audit_log.query(session="cortex_sess_1"))

    @pytest.mark.parametrize("role", ["viewer", "user", "manager"])
    def test_a_human_below_admin_reads_nothing(self, own_stage: Stage, role: str) -> None:
        human = own_stage.world.human("somebody@example.com", role)
        for act in (human.audit_log.query, lambda: list(human.audit_log.after(-1))):
            assert refused(own_stage.owner, NotAllowed, act).rule == "role"

    def test_an_admin_reads_everything_of_its_tenant(self, own_stage: Stage) -> None:
        admin = own_stage.world.human("admin@example.com", "admin")
        assert seqs(admin.audit_log.query(limit=None))[: len(own_stage.entries)] == seqs(own_stage.entries)
        assert {entry.tenant_id for entry in admin.audit_log.query(limit=None)} == {"my-org"}
