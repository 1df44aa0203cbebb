"""Rule 6: expiry is checked at use. Here the reaper is always late, until the test lets it run."""

from collections import Counter
from datetime import timedelta

import pytest

from tests.contract.checks import Trail, refused
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import Conflict, NotAuthenticated
from vaultctl.domain.records import LeaseState, SessionState, TokenState

ALMOST = timedelta(minutes=15) - timedelta(microseconds=1)


@pytest.fixture
def owner(late_world: World) -> Vault:
    owner = late_world.owner()
    owner.credentials.create("api", "api-key", "key-0123456789")
    return owner


class TestWithoutTheReaper:
    """A late reaper never extends access."""

    def test_a_lease_ends_at_its_very_microsecond(self, late_world: World, owner: Vault) -> None:
        lease = owner.leases.create("api", ttl="10m").lease
        late_world.clock.advance(timedelta(minutes=10) - timedelta(microseconds=1))
        assert owner.leases.get(lease.id).state is LeaseState.ACTIVE
        assert owner.leases.renew(lease.id, "1m").state is LeaseState.ACTIVE
        late_world.clock.advance("1m")
        assert owner.leases.get(lease.id).state is LeaseState.EXPIRED
        refusal = refused(owner, Conflict, lambda: owner.leases.renew(lease.id))
        assert refusal.rule == "lease-ended"
        assert "expired" in str(refusal.error)

    def test_a_lease_that_ran_out_is_not_revoked_any_more(self, late_world: World, owner: Vault) -> None:
        id = owner.leases.create("api", ttl="1m").id
        late_world.clock.advance("1m")
        trail = Trail(owner)
        assert owner.leases.revoke(id).state is LeaseState.EXPIRED
        assert trail.gained() == []

    def test_a_lease_that_ran_out_is_listed_as_expired_and_not_as_active(self, late_world: World, owner: Vault) -> None:
        brief = owner.leases.create("api", ttl="1m").id
        running = owner.leases.create("api", ttl="2m").id
        late_world.clock.advance("1m")
        assert [lease.id for lease in owner.leases.list(state="active")] == [running]
        assert [lease.id for lease in owner.leases.list(state="expired")] == [brief]
        assert owner.leases.list(state="revoked") == []

    def test_a_revocation_counts_what_it_ended_and_not_what_ran_out_before(
        self, late_world: World, owner: Vault
    ) -> None:
        owner.leases.create("api", ttl="1m")
        owner.leases.create("api", ttl="2m")
        late_world.clock.advance("1m")
        trail = Trail(owner)
        ended = owner.leases.revoke_where(credential="api")
        assert trail.events() == Counter(["lease.revoked", "lease.expired"])
        assert ended.leases == 1

    def test_what_ran_out_is_recorded_as_expired_when_something_else_ends_it_first(
        self, late_world: World, owner: Vault
    ) -> None:
        id = owner.leases.create("api", ttl="1m").id
        late_world.clock.advance("5m")
        owner.credentials.revoke("api")
        lease = owner.leases.get(id)
        assert (lease.state, lease.end_reason) == (LeaseState.EXPIRED, "expired")
        (entry,) = owner.audit_log.query(events=["lease.expired"])
        assert entry.details["expiredAt"].startswith(lease.expires_at.strftime("%Y-%m-%dT%H:%M:%S"))

    def test_a_session_dies_after_fifteen_silent_minutes(self, late_world: World, owner: Vault) -> None:
        agent = late_world.agent("ours", "*")
        session = late_world.session(agent, "cortex_sess_1")
        lease = session.leases.create("api", ttl="4h")
        late_world.clock.advance(ALMOST)
        session.leases.renew(lease.id, "4h")
        late_world.clock.advance("15m")
        refusal = refused(owner, NotAuthenticated, session.whoami)
        assert refusal.rule == "session-ended"
        assert refusal.entry.identity.session_id == "cortex_sess_1"
        refused(owner, NotAuthenticated, lambda: session.leases.create("api"))
        refused(owner, NotAuthenticated, session.sessions.touch)

    def test_the_lease_of_a_silent_session_is_renewed_by_nobody(self, late_world: World, owner: Vault) -> None:
        agent = late_world.agent("ours", "*")
        lease = late_world.session(agent, "cortex_sess_1").leases.create("api", ttl="4h")
        late_world.clock.advance("15m")
        for caller in (agent, owner):
            assert refused(owner, Conflict, lambda caller=caller: caller.leases.renew(lease.id)).rule == "session-ended"

    def test_the_lease_of_a_silent_session_is_not_active(self, late_world: World, owner: Vault) -> None:
        agent = late_world.agent("ours", "*")
        lease = late_world.session(agent, "cortex_sess_1").leases.create("api", ttl="4h")
        late_world.clock.advance("15m")
        assert lease.id not in {active.id for active in owner.leases.list(state="active")}
        assert owner.leases.get(lease.id).state is not LeaseState.ACTIVE

    def test_each_lease_is_in_the_list_of_the_state_that_it_shows(self, late_world: World, owner: Vault) -> None:
        session = late_world.session(late_world.agent("ours", "*"), "cortex_sess_1")
        for holder in (owner, session):
            holder.leases.create("api", ttl="1m")
            holder.leases.create("api", ttl="1m").revoke()
            holder.leases.create("api", ttl="4h")
        for pause in ("30s", "30s", "14m", "4h"):
            late_world.clock.advance(pause)
            shown = {lease.id: lease.state for lease in owner.leases.list()}
            assert shown == {id: owner.leases.get(id).state for id in shown}
            for state in LeaseState:
                listed = {lease.id for lease in owner.leases.list(state=state)}
                assert listed == {id for id, its in shown.items() if its is state}, (pause, state)

    def test_a_silent_session_is_not_shown_as_active(self, late_world: World, owner: Vault) -> None:
        late_world.agent("ours", "*").sessions.open("cortex_sess_1")
        late_world.clock.advance("15m")
        assert owner.sessions.list(state="active") == []
        assert owner.sessions.get("cortex_sess_1").state is SessionState.ENDED

    def test_a_silent_session_does_not_reopen(self, late_world: World, owner: Vault) -> None:
        agent = late_world.agent("ours", "*")
        agent.sessions.open("cortex_sess_1")
        late_world.clock.advance("15m")
        assert refused(owner, Conflict, lambda: agent.sessions.open("cortex_sess_1")).rule == "session-ended"

    def test_a_token_dies_at_its_very_microsecond(self, late_world: World, owner: Vault) -> None:
        token = owner.tokens.create(agent="ours", credentials=["*"], ttl="10m")
        agent = late_world.connect(token)
        session = late_world.session(agent)
        late_world.clock.advance(timedelta(minutes=10) - timedelta(microseconds=1))
        agent.leases.create("api")
        session.leases.create("api")
        late_world.clock.advance(timedelta(microseconds=1))
        assert owner.tokens.get(token.token.id).state is TokenState.EXPIRED
        for caller in (agent, session):
            refusal = refused(owner, NotAuthenticated, lambda caller=caller: caller.leases.create("api"))
            assert refusal.rule == "token-expired"
            assert refusal.entry.identity.name == "ours"


class TestReaper:
    """It only records what has ended, in bounded batches."""

    def test_it_records_each_lease_that_ran_out_once_with_its_holder(self, late_world: World, owner: Vault) -> None:
        session = late_world.session(late_world.agent("ours", "*"), "cortex_sess_1")
        lease = session.leases.create("api", ttl="5m", purpose="Deploying").lease
        late_world.clock.advance("7m")
        trail = Trail(owner)
        assert late_world.reap() == 1
        assert late_world.reap() == 0
        (entry,) = trail.gained()
        assert entry.event == "lease.expired"
        assert entry.identity == lease.identity
        assert (entry.lease_id, entry.credential_name) == (lease.id, "api")
        assert entry.timestamp == late_world.clock.now
        assert entry.details["expiredAt"].startswith(lease.expires_at.strftime("%Y-%m-%dT%H:%M:%S"))
        recorded = owner.leases.get(lease.id)
        assert (recorded.state, recorded.end_reason) == (LeaseState.EXPIRED, "expired")

    def test_it_ends_a_silent_session_with_its_leases(self, late_world: World, owner: Vault) -> None:
        session = late_world.session(late_world.agent("ours", "*"), "cortex_sess_1")
        running = session.leases.create("api", ttl="4h").id
        brief = session.leases.create("api", ttl="5m").id
        late_world.clock.advance("16m")
        trail = Trail(owner)
        late_world.reap()
        assert trail.events() == Counter(["lease.expired", "lease.revoked", "session.ended"])
        assert owner.leases.get(running).state is LeaseState.REVOKED
        assert owner.leases.get(brief).state is LeaseState.EXPIRED
        ended = owner.sessions.get("cortex_sess_1")
        assert (ended.state, ended.end_reason) == (SessionState.ENDED, "idle")
        assert ended.ended_at == late_world.clock.now
        assert late_world.reap() == 0

    def test_it_ends_the_sessions_of_a_token_that_ran_out(self, late_world: World, owner: Vault) -> None:
        token = owner.tokens.create(agent="ours", credentials=["*"], ttl="10m")
        late_world.connect(token).sessions.open("cortex_sess_1")
        late_world.clock.advance("10m")
        late_world.reap()
        ended = owner.sessions.get("cortex_sess_1")
        assert (ended.state, ended.end_reason) == (SessionState.ENDED, "token expired")

    def test_it_works_in_batches_and_comes_to_an_end(self, late_world: World, owner: Vault) -> None:
        for _ in range(45):
            owner.leases.create("api", ttl="1m")
        late_world.clock.advance("1m")
        trail = Trail(owner)
        batches = []
        while recorded := late_world.reap(20):
            batches.append(recorded)
            assert trail.events() == Counter({"lease.expired": recorded})
        assert batches == [20, 20, 5]
        assert owner.leases.list(state="active") == []

    def test_it_serves_all_tenants_each_in_its_own_log(self, late_world: World, owner: Vault) -> None:
        other = late_world.owner("other")
        other.credentials.create("api", "api-key", "key-9876543210")
        for vault in (owner, other):
            vault.leases.create("api", ttl="1m")
        late_world.clock.advance("2m")
        ours, theirs = Trail(owner), Trail(other)
        assert late_world.reap() == 2
        assert ours.events() == theirs.events() == Counter(["lease.expired"])

    def test_it_leaves_what_still_counts_alone(self, late_world: World, owner: Vault) -> None:
        session = late_world.session(late_world.agent("ours", "*"))
        session.leases.create("api", ttl="15m")
        late_world.clock.advance(ALMOST)
        trail = Trail(owner)
        assert late_world.reap() == 0
        assert trail.gained() == []

    def test_at_a_door_that_reaps_by_itself_the_record_is_there_with_the_next_answer(self, world: World) -> None:
        owner = world.owner()
        owner.credentials.create("api", "api-key", "key-0123456789")
        id = owner.leases.create("api", ttl="1m").id
        world.clock.advance("1m")
        assert [lease.id for lease in owner.leases.list(state="expired")] == [id]
        assert owner.audit_log.query(limit=1)[-1].event == "lease.expired"
