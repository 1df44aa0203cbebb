"""Rule 5: the TTL of a lease, and what a renewal adds to it."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.checks import refused
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import Conflict, InvalidInput, LeaseAtMaximum, NotAllowed, NotFound
from vaultctl.domain.records import Lease, LeaseState


def minutes(count: int) -> timedelta:
    return timedelta(minutes=count)


def make(world: World, **policy: str) -> Vault:
    world.owner().credentials.create("api", "api-key", "key-0123456789", **policy)
    return world.owner()


class TestGranted:
    """What a new lease gets: requested, else the credential's default, else the tenant's; capped, not refused."""

    @pytest.mark.parametrize(
        ("requested", "credential", "tenant", "granted"),
        [
            (None, None, None, "1h"),
            (None, None, "20m", "20m"),
            (None, "30m", "20m", "30m"),
            ("5m", "30m", "20m", "5m"),
            ("2h", "30m", "20m", "2h"),
        ],
    )
    def test_the_most_particular_wish_counts(
        self, world: World, requested: str | None, credential: str | None, tenant: str | None, granted: str
    ) -> None:
        owner = make(world, **({"default_ttl": credential} if credential else {}))
        if tenant:
            owner.tenants.update("my-org", default_lease_ttl=tenant)
        lease = owner.leases.create("api", ttl=requested).lease
        assert str(lease.ttl) == granted
        assert lease.expires_at == world.clock.now + Duration.parse(granted)

    @pytest.mark.parametrize(
        ("credential", "token", "tenant", "maximum"),
        [
            (None, None, None, "24h"),
            ("2h", None, None, "2h"),
            (None, "3h", None, "3h"),
            (None, None, "4h", "4h"),
            ("2h", "3h", "4h", "2h"),
            ("3h", "2h", "4h", "2h"),
            ("4h", "3h", "2h", "2h"),
            ("90d", "90d", None, "24h"),
        ],
    )
    @pytest.mark.parametrize("through", ["agent token", "session token"])
    def test_the_smallest_maximum_caps_it(
        self,
        world: World,
        through: str,
        credential: str | None,
        token: str | None,
        tenant: str | None,
        maximum: str,
    ) -> None:
        owner = make(world, **({"max_ttl": credential} if credential else {}))
        if tenant:
            owner.tenants.update("my-org", max_lease_ttl=tenant)
        caller = world.agent("ours", "*", **({"max_lease_ttl": token} if token else {}))
        if through == "session token":
            caller = world.session(caller)
        lease = caller.leases.create("api", ttl="60d").lease
        assert lease.ttl == Duration.parse(maximum)
        assert lease.expires_at == lease.max_expires_at == world.clock.now + Duration.parse(maximum)
        brief = caller.leases.create("api", ttl="1m").lease
        assert brief.max_expires_at == world.clock.now + Duration.parse(maximum)
        assert brief.expires_at == world.clock.now + minutes(1)

    def test_a_default_is_capped_too(self, world: World) -> None:
        owner = make(world, default_ttl="20h")
        owner.tenants.update("my-org", max_lease_ttl="2h")
        assert str(owner.leases.create("api").lease.ttl) == "2h"

    def test_a_lease_does_not_outlive_the_token_that_it_was_issued_to(self, world: World) -> None:
        make(world)
        agent = world.agent("ours", "*", ttl="30m")
        lease = agent.leases.create("api", ttl="2h").lease
        assert lease.expires_at == lease.max_expires_at == world.clock.now + minutes(30)
        assert str(lease.ttl) == "30m"

    def test_the_answer_and_the_log_state_what_was_asked_and_what_was_granted(self, world: World) -> None:
        owner = make(world, max_ttl="2h")
        lease = owner.leases.create("api", ttl="8h").lease
        (entry,) = owner.audit_log.query(lease=lease.id)
        assert (entry.details["requestedTTL"], entry.details["ttl"]) == ("8h", "2h")

    @pytest.mark.parametrize("ttl", ["", "5x", "0s", "-5m", "1.5h", "5m ", "101y", "99999999d", "1m1h"])
    def test_what_is_no_duration_is_refused(self, world: World, ttl: str) -> None:
        owner = make(world)
        with pytest.raises(InvalidInput):
            owner.leases.create("api", ttl=ttl)
        assert owner.leases.list() == []


class TestRenewal:
    """A renewal counts from now and never passes the maximum."""

    def test_it_counts_from_now(self, world: World) -> None:
        owner = make(world, max_ttl="4h")
        lease = owner.leases.create("api", ttl="30m").lease
        world.clock.advance("20m")
        renewed = owner.leases.renew(lease.id)
        assert renewed.expires_at == world.clock.now + minutes(30)
        assert renewed.renewed_at == world.clock.now
        assert renewed.renewals == 1
        assert (renewed.issued_at, renewed.max_expires_at) == (lease.issued_at, lease.max_expires_at)
        assert owner.leases.get(lease.id) == renewed

    def test_it_asks_for_as_much_as_was_granted_unless_told_otherwise(self, world: World) -> None:
        owner = make(world, max_ttl="4h")
        id = owner.leases.create("api", ttl="30m").id
        assert owner.leases.renew(id, "45m").expires_at == world.clock.now + minutes(45)
        world.clock.advance("10m")
        assert owner.leases.renew(id).expires_at == world.clock.now + minutes(45)

    def test_it_never_passes_the_maximum_and_then_says_to_request_a_new_lease(self, world: World) -> None:
        owner = make(world, max_ttl="1h")
        lease = owner.leases.create("api", ttl="30m").lease
        world.clock.advance("25m")
        assert owner.leases.renew(lease.id).expires_at == lease.issued_at + minutes(55)
        world.clock.advance("25m")
        assert owner.leases.renew(lease.id).expires_at == lease.max_expires_at == lease.issued_at + minutes(60)
        world.clock.advance("5m")
        refusal = refused(owner, LeaseAtMaximum, lambda: owner.leases.renew(lease.id))
        assert "new lease" in refusal.error.hint
        assert (refusal.rule, refusal.entry.event) == ("maximum-ttl", "lease.denied")
        assert (refusal.entry.lease_id, refusal.entry.credential_name) == (lease.id, "api")
        assert owner.leases.get(lease.id).renewals == 2

    def test_the_last_renewal_states_the_ttl_that_was_really_granted(self, world: World) -> None:
        owner = make(world, max_ttl="1h")
        id = owner.leases.create("api", ttl="40m").id
        world.clock.advance("30m")
        renewed = owner.leases.renew(id, "40m")
        assert renewed.expires_at == world.clock.now + minutes(30)
        assert str(renewed.ttl) == "30m"
        assert owner.audit_log.query(events=["lease.renewed"])[-1].details["ttl"] == "30m"

    def test_a_lease_that_was_issued_for_the_maximum_cannot_be_renewed_at_all(self, world: World) -> None:
        owner = make(world, max_ttl="1h")
        id = owner.leases.create("api", ttl="1h").id
        refused(owner, LeaseAtMaximum, lambda: owner.leases.renew(id))

    def test_a_policy_that_was_tightened_meanwhile_caps_it(self, world: World) -> None:
        owner = make(world, max_ttl="4h")
        lease = owner.leases.create("api", ttl="2h").lease
        owner.credentials.update("api", max_ttl="30m")
        assert owner.leases.get(lease.id) == lease
        world.clock.advance("110m")
        renewed = owner.leases.renew(lease.id)
        assert renewed.expires_at == world.clock.now + minutes(30)
        assert str(renewed.ttl) == "30m"

    def test_a_tenant_that_was_tightened_meanwhile_caps_it(self, world: World) -> None:
        owner = make(world)
        id = owner.leases.create("api", ttl="2h").id
        owner.tenants.update("my-org", max_lease_ttl="10m")
        world.clock.advance("119m")
        assert owner.leases.renew(id).expires_at == world.clock.now + minutes(10)

    def test_a_policy_that_was_loosened_meanwhile_does_not_move_the_maximum(self, world: World) -> None:
        owner = make(world, max_ttl="1h")
        lease = owner.leases.create("api", ttl="30m").lease
        owner.credentials.update("api", max_ttl="20h")
        renewed = owner.leases.renew(lease.id, "10h")
        assert renewed.max_expires_at == lease.max_expires_at
        assert renewed.expires_at == lease.issued_at + minutes(60)

    def test_a_renewal_never_lasts_longer_than_the_token(self, world: World) -> None:
        owner = make(world)
        token = owner.tokens.create(agent="ours", credentials=["*"])
        agent = world.connect(token)
        id = agent.leases.create("api", ttl="1h").id
        rotated = owner.tokens.rotate(token.token.id, ttl="90m")
        world.clock.advance("50m")
        assert world.connect(rotated).leases.renew(id, "1h").expires_at <= rotated.token.expires_at

    def test_nobody_renews_the_lease_of_a_token_that_ran_out(self, world: World) -> None:
        owner = make(world)
        token = owner.tokens.create(agent="ours", credentials=["*"])
        id = world.connect(token).leases.create("api", ttl="1h").id
        owner.tokens.rotate(token.token.id, ttl="1m")
        world.clock.advance("2m")
        manager = world.human("mia@example.com", "manager")
        refusal = refused(owner, Conflict, lambda: manager.leases.renew(id))
        # It is the manager who asked, and whose own token is in order.
        assert refusal.entry.identity.email == "mia@example.com"
        assert (refusal.entry.event, refusal.entry.lease_id) == ("lease.denied", id)

    def test_rule_2_is_judged_anew_on_renewal(self, world: World) -> None:
        owner = make(world)
        agent = world.agent("ours", "*")
        id = agent.leases.create("api").id
        owner.credentials.update("api", allow=["agent:other"])
        refusal = refused(owner, NotFound, lambda: agent.leases.renew(id))
        assert refusal.rule == "allowed-identities"
        owner.credentials.update("api", allow=[])
        assert agent.leases.renew(id).renewals == 1

    def test_delivery_is_judged_anew_on_renewal(self, world: World) -> None:
        owner = make(world)
        agent = world.agent("ours", "*")
        id = agent.leases.create("api").id
        owner.credentials.update("api", delivery="reference")
        for caller in (agent, owner):
            refusal = refused(owner, NotAllowed, lambda caller=caller: caller.leases.renew(id))
            assert refusal.rule == "delivery-reference"

    def test_who_renews_for_another_is_judged_by_what_the_holder_may(self, world: World) -> None:
        make(world, allow=["agent:ours"])
        agent = world.agent("ours", "api", max_lease_ttl="2h")
        id = agent.leases.create("api", ttl="30m").id
        manager = world.human("mia@example.com", "manager")
        world.clock.advance("10m")
        assert manager.leases.renew(id, "5h").expires_at == world.clock.now + minutes(110)

    def test_a_lease_goes_on_with_the_version_that_it_was_issued_for(self, world: World) -> None:
        owner = make(world)
        lease = owner.leases.create("api").lease
        owner.credentials.rotate("api", "key-9876543210")
        assert owner.leases.renew(lease.id).credential_version == 1
        assert owner.leases.create("api").lease.credential_version == 2

    def test_a_lease_that_was_revoked_is_not_renewed(self, world: World) -> None:
        owner = make(world)
        id = owner.leases.create("api").id
        owner.leases.revoke(id)
        refusal = refused(owner, Conflict, lambda: owner.leases.renew(id))
        assert "revoked" in str(refusal.error)

    def test_a_lease_that_ran_out_is_not_renewed(self, world: World) -> None:
        owner = make(world)
        id = owner.leases.create("api", ttl="1m").id
        world.clock.advance("1m")
        owner.leases.list()  # the reaper records it
        refusal = refused(owner, Conflict, lambda: owner.leases.renew(id))
        assert "expired" in str(refusal.error)

    def test_with_releases_the_lease_on_exit(self, world: World) -> None:
        owner = make(world)
        with owner.leases.create("api") as lease:
            assert lease.value.reveal() == "key-0123456789"
            assert owner.leases.get(lease.id).state is LeaseState.ACTIVE
        assert lease.lease.state is LeaseState.REVOKED
        assert lease.lease.end_reason == "revoked"


SPAN = st.integers(1, 300)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    maximum=SPAN,
    first=SPAN,
    steps=st.lists(st.tuples(st.integers(0, 120), st.none() | SPAN), max_size=6),
)
def test_any_run_of_renewals_adds_up(
    world: World, maximum: int, first: int, steps: list[tuple[int, int | None]]
) -> None:
    owner = world.owner()
    if owner.credentials.list():
        owner.credentials.delete("api")
    owner.credentials.create("api", "api-key", "key-0123456789", max_ttl=f"{maximum}s")
    lease = owner.leases.create("api", ttl=f"{first}s").lease
    start = now = 0
    end, ttl = min(first, maximum), min(first, maximum)
    renewals = 0
    for pause, wish in steps:
        if pause:
            world.clock.advance(f"{pause}s")
        now += pause
        if now >= end:
            with pytest.raises(Conflict):
                owner.leases.renew(lease.id)
            break
        if end >= start + maximum:
            with pytest.raises(LeaseAtMaximum):
                owner.leases.renew(lease.id)
            continue
        ttl = min(wish or ttl, maximum)
        end = min(now + ttl, maximum)
        renewals += 1
        renewed = owner.leases.renew(lease.id, f"{wish}s" if wish else None)
        assert _seconds(lease, renewed) == end
        assert renewed.renewals == renewals


def _seconds(lease: Lease, renewed: Lease) -> int:
    return int((renewed.expires_at - lease.issued_at).total_seconds())
