"""References: a value that whoever leases it is not given, and that its session's redeem token is given once."""

import re
from typing import Any

import pytest

from tests.contract.checks import Trail, as_text, fails_unrecorded, refused, told
from tests.contract.world import World
from vaultctl.client.vault import LeaseHandle, Vault
from vaultctl.domain.errors import Conflict, InvalidInput, NotAllowed, NotAuthenticated, NotFound, VaultError
from vaultctl.domain.records import CredentialReference, Delivery, LeaseState, OpenedSession

VALUE = "shpat_0123456789abcdef1234"
REF = re.compile(r"vault:lease:[0-9A-Za-z]{22}")


PREVIEWS = [
    ("generic-secret", "x" * 16 + "5678", "****5678"),
    ("generic-secret", "x" * 15 + "5678", None),
    ("generic-secret", "eight-ch", None),
    ("generic-secret", "line one of several\nand the second", None),
    ("generic-secret", "an accent at the end: é", None),
    ("generic-secret", "spaces do not count:    ", "****unt:"),
    ("database-url", "postgresql://u@db.example.com/shop?password=abcd", None),
]


class Run:
    """One run of an agent: what its model can reach, and what its runtime keeps from it."""

    def __init__(self, world: World, agent: Vault, id: str | None = None) -> None:
        self.opened: OpenedSession = agent.sessions.open(id)
        self.session = world.connect(self.opened)
        self.runtime = world.connect(self.opened.redeem_token)

    def lease(self, name: str = "api", **options: Any) -> LeaseHandle:
        return self.session.leases.create(name, **options)

    def redeem(self, lease: LeaseHandle, ref: str | None = None) -> str:
        return self.runtime.leases.redeem(lease.id, ref_of(lease) if ref is None else ref).value.reveal()


def reference_of(lease: LeaseHandle) -> CredentialReference:
    assert lease.credential_reference is not None
    return lease.credential_reference


def ref_of(lease: LeaseHandle) -> str:
    return reference_of(lease).ref


@pytest.fixture
def owner(world: World) -> Vault:
    owner = world.owner()
    owner.credentials.create("api", "api-key", VALUE, delivery="reference")
    owner.credentials.create("open", "generic-secret", "an-open-value-0123456789")
    return owner


@pytest.fixture
def agent(world: World, owner: Vault) -> Vault:
    return world.agent("ours", "*")


@pytest.fixture
def run(world: World, agent: Vault) -> Run:
    return Run(world, agent, "cortex_sess_1")


class TestDelivery:
    """What the policy says holds for agents whatever they ask for."""

    def test_an_agent_is_given_a_reference_and_no_value(self, run: Run) -> None:
        for asked in (None, "value", "reference"):
            lease = run.lease(response_format=asked)
            assert lease.issued.value is None
            assert lease.lease.delivery is Delivery.REFERENCE
            reference = reference_of(lease)
            assert REF.fullmatch(reference.ref)
            assert reference.preview == "****1234"
            assert reference.metadata == {"credentialName": "api", "type": "api-key", "prefix": "shpat_"}
            assert VALUE not in as_text(lease.issued)
            with pytest.raises(Conflict):
                lease.value  # noqa: B018  # the property raises

    def test_an_agent_may_ask_for_a_reference_to_what_is_delivered_by_value(self, run: Run) -> None:
        assert run.redeem(run.lease("open", response_format="reference")) == "an-open-value-0123456789"
        assert run.lease("open").value.reveal() == "an-open-value-0123456789"

    def test_people_are_given_the_value(self, world: World, owner: Vault) -> None:
        for human in (owner, world.human("ada@example.com", "user")):
            lease = human.leases.create("api")
            assert (lease.value.reveal(), lease.lease.delivery) == (VALUE, Delivery.VALUE)
            assert human.leases.renew(lease.id).state is LeaseState.ACTIVE
            assert refused(
                owner, NotAllowed, lambda human=human: human.leases.create("api", response_format="reference")
            ).rule == "reference-for-agents"  # fmt: skip

    def test_outside_of_a_session_there_is_nobody_to_redeem_it_and_so_none(self, owner: Vault, agent: Vault) -> None:
        for name, asked in (("api", None), ("api", "value"), ("open", "reference")):
            denial = refused(
                owner, NotAllowed, lambda it=(name, asked): agent.leases.create(it[0], response_format=it[1])
            )
            assert denial.rule == "reference-without-session"
            assert "session" in denial.error.hint

    def test_what_an_agent_may_not_lease_looks_the_same_however_it_asks(self, world: World, owner: Vault) -> None:
        narrow = world.agent("narrow", "open")
        for vault in (narrow, world.session(narrow)):
            for name in ("api", "never"):
                with pytest.raises(NotFound) as raised:
                    vault.leases.create(name, response_format="reference")
                assert raised.value.message == f"There is no credential {name!r} that you can use."

    def test_a_preview_never_is_much_of_the_value(self, owner: Vault, run: Run) -> None:
        for number, (type, value, preview) in enumerate(PREVIEWS):
            name = f"it-{number}"
            owner.credentials.create(name, type, value, delivery="reference")
            lease = run.lease(name)
            assert reference_of(lease).preview == preview
            assert run.redeem(lease) == value

    @pytest.mark.parametrize("value", ["seven-c", "  seven-c  "])
    def test_a_short_value_has_no_reference(self, owner: Vault, run: Run, value: str) -> None:
        owner.credentials.create("short", "generic-secret", value)
        denial = refused(owner, NotAllowed, lambda: run.lease("short", response_format="reference"))
        assert denial.rule == "value-too-short"
        assert "8 characters" in denial.error.hint
        assert "seven-c" not in as_text(denial.entry) + told(denial.error)
        owner.credentials.create("long", "generic-secret", "first-long-value")
        owner.credentials.rotate("long", value)
        owner.credentials.rotate("long", "second-long-value")
        owner.credentials.update("long", delivery="reference")
        for act in (
            lambda: owner.credentials.create("new", "generic-secret", value, delivery="reference"),
            lambda: owner.credentials.update("short", delivery="reference"),
            lambda: owner.credentials.rotate("long", value),
            lambda: owner.credentials.rollback("long", 2),
        ):
            error = fails_unrecorded(owner, InvalidInput, act)
            assert "too short" in error.message
        assert run.redeem(run.lease("long")) == "second-long-value"

    def test_the_log_says_how_it_was_delivered(self, owner: Vault, run: Run) -> None:
        run.lease(purpose="Fetch orders")
        run.lease("open")
        first, second = owner.audit_log.query(events=["lease.created"])
        assert (first.details["delivery"], "delivery" in second.details) == ("reference", False)

    def test_a_policy_that_says_it_later_binds_what_was_leased_before(self, owner: Vault, run: Run) -> None:
        lease = run.lease("open", ttl="10m")
        owner.credentials.update("open", delivery="reference")
        assert refused(owner, NotAllowed, lambda: run.session.leases.renew(lease.id)).rule == "delivery-reference"
        by_reference = run.lease("open", ttl="10m")
        owner.credentials.update("open", delivery="value")
        assert run.session.leases.renew(by_reference.id).delivery is Delivery.REFERENCE
        assert run.redeem(by_reference) == "an-open-value-0123456789"


class TestRedemption:
    """Once, while the lease lives, by the runtime of its session."""

    def test_it_gives_the_value_of_the_version_that_was_leased(self, world: World, owner: Vault, run: Run) -> None:
        lease = run.lease(purpose="Fetch orders")
        owner.credentials.rotate("api", "shpat_rotated-0123456789")
        trail = Trail(owner)
        redeemed = run.runtime.leases.redeem(lease.id, ref_of(lease))
        assert (redeemed.value.reveal(), redeemed.type, redeemed.attributes) == (VALUE, "api-key", {"prefix": "shpat_"})
        assert redeemed.lease == owner.leases.get(lease.id)
        assert (redeemed.lease.redeemed_at, redeemed.lease.credential_version) == (world.clock.now, 1)
        (entry,) = trail.gained()
        assert (entry.event, entry.lease_id, entry.credential_name) == ("lease.redeemed", lease.id, "api")
        assert (entry.identity.name, entry.identity.session_id) == ("ours", "cortex_sess_1")
        assert entry.identity.purpose == "Fetch orders"
        assert entry.details["credentialVersion"] == 1
        assert VALUE not in as_text(entry)
        assert ref_of(lease) not in as_text(entry)

    def test_a_second_time_is_a_conflict(self, owner: Vault, run: Run) -> None:
        lease, other = run.lease(), run.lease()
        run.redeem(lease)
        denial = refused(owner, Conflict, lambda: run.redeem(lease))
        assert (denial.rule, denial.entry.lease_id) == ("redeemed", lease.id)
        assert run.redeem(other) == VALUE

    def test_a_ref_that_is_not_the_leases_gives_nothing(self, owner: Vault, run: Run) -> None:
        lease, other = run.lease(), run.lease()
        bare = ref_of(lease).removeprefix("vault:lease:")
        for ref in (ref_of(other), f"vault:lease:{'0' * 22}", bare, f"{ref_of(lease)}0", "", "vault:lease:\0\x1b"):
            denial = refused(owner, NotFound, lambda ref=ref: run.redeem(lease, ref))
            assert (denial.rule, denial.entry.event) == ("no-such-reference", "lease.denied")
        assert run.redeem(lease) == VALUE

    def test_a_lease_that_was_delivered_by_value_has_no_reference(self, owner: Vault, run: Run) -> None:
        lease, other = run.lease("open"), run.lease()
        assert refused(owner, NotFound, lambda: run.redeem(lease, ref_of(other))).rule == "no-such-reference"

    def test_renewing_the_lease_keeps_its_reference(self, world: World, run: Run) -> None:
        lease = run.lease(ttl="10m")
        world.clock.advance("9m")
        run.session.leases.renew(lease.id)
        world.clock.advance("9m")
        assert run.redeem(lease) == VALUE

    @pytest.mark.parametrize("end", ["expired", "revoked", "credential revoked", "credential deleted"])
    def test_with_its_lease_a_reference_ends(self, world: World, owner: Vault, run: Run, end: str) -> None:
        lease = run.lease(ttl="10m")
        match end:
            case "expired":
                world.clock.advance("10m")
            case "revoked":
                run.session.leases.revoke(lease.id)
            case "credential revoked":
                owner.credentials.revoke("api")
            case _:
                owner.credentials.delete("api")
                owner.credentials.create("api", "api-key", "shpat_another-0123456789", delivery="reference")
        owner.leases.get(lease.id)  # its end is recorded before the refusal
        assert refused(owner, Conflict, lambda: run.redeem(lease)).rule == "lease-ended"

    def test_the_policy_is_judged_anew(self, owner: Vault, run: Run) -> None:
        lease = run.lease()
        owner.credentials.update("api", allow=["agent:other"])
        denial = refused(owner, NotFound, lambda: run.redeem(lease))
        assert (denial.rule, denial.error.message) == (
            "allowed-identities",
            "There is no credential 'api' that you can use.",
        )
        owner.credentials.update("api", allow=["agent:ours"])
        assert run.redeem(lease) == VALUE

    def test_the_token_that_it_was_issued_to_is_judged_anew(self, world: World, owner: Vault, agent: Vault) -> None:
        """The session goes on under another token of the agent, and that one is what the lease was not issued to."""
        wide = owner.tokens.create(agent="ours", credentials=["*"])
        run = Run(world, world.connect(wide), "cortex_sess_1")
        lease = run.lease()
        narrow = Run(world, world.agent("ours", "open"), "cortex_sess_1")
        assert refused(owner, NotFound, lambda: narrow.redeem(lease)).rule == "token-scope"
        later = Run(world, agent, "cortex_sess_1")
        assert later.redeem(lease) == VALUE
        second = Run(world, agent, "cortex_sess_1").lease()
        owner.tokens.revoke(wide.token.id)  # ends what was issued to it
        assert owner.leases.get(lease.id).state is LeaseState.REVOKED
        assert owner.leases.get(second.id).state is LeaseState.ACTIVE


class TestRedeemToken:
    """It redeems the references of its session, and does nothing else; nothing else does."""

    def test_no_other_token_redeems(self, world: World, owner: Vault, agent: Vault, run: Run) -> None:
        lease = run.lease()
        human = world.human("ada@example.com", "admin")
        for caller in (run.session, agent, world.session(agent), human, owner):
            for id in (lease.id, "lease_" + "0" * 22):
                denial = refused(
                    owner, NotAllowed, lambda caller=caller, it=id: caller.leases.redeem(it, ref_of(lease))
                )
                assert (denial.rule, denial.entry.event) == ("redeem-token", "access.denied")
        assert run.redeem(lease) == VALUE

    @pytest.mark.parametrize("whose", ["another session", "another agent"])
    def test_one_of_another_session_finds_no_such_lease(
        self, world: World, owner: Vault, agent: Vault, run: Run, whose: str
    ) -> None:
        lease = run.lease()
        other = Run(world, agent if whose == "another session" else world.agent("other", "*"))
        assert refused(owner, NotFound, lambda: other.redeem(lease)).rule == "lease-owner"
        never = refused(owner, NotFound, lambda: other.runtime.leases.redeem("lease_" + "0" * 22, ref_of(lease)))
        assert never.rule == "no-such-lease"

    def test_one_of_another_tenant_finds_no_such_lease(self, world: World, run: Run) -> None:
        lease = run.lease()
        stranger = world.agent("ours", "*", tenant="elsewhere")
        other = Run(world, stranger, "cortex_sess_1")
        assert refused(world.owner("elsewhere"), NotFound, lambda: other.redeem(lease)).rule == "no-such-lease"

    def test_it_does_nothing_else(self, owner: Vault, run: Run) -> None:
        vault = run.runtime
        for act in (
            vault.whoami,
            vault.leases.list,
            vault.credentials.list,
            vault.sessions.touch,
            vault.sessions.open,
            lambda: vault.leases.create("open"),
            lambda: vault.leases.revoke("lease_x"),
            lambda: vault.sessions.end("cortex_sess_1"),
            lambda: vault.audit_log.query(session="cortex_sess_1"),
            lambda: vault.tokens.create(agent="ours"),
        ):
            denial = refused(owner, NotAllowed, act)
            assert denial.rule == "redeem-token"
            assert denial.entry.identity.session_id == "cortex_sess_1"

    @pytest.mark.parametrize("end", ["ended", "reopened", "parent revoked", "itself revoked", "silent", "expired"])
    def test_it_ends_as_the_sessions_token_does(self, world: World, owner: Vault, end: str) -> None:
        parent = owner.tokens.create(agent="ours", credentials=["*"], ttl="10m" if end == "expired" else "2h")
        agent = world.connect(parent)
        run = Run(world, agent, "cortex_sess_1")
        lease = run.lease(ttl="1h")
        match end:
            case "ended":
                run.session.sessions.end("cortex_sess_1")
            case "reopened":
                agent.sessions.open("cortex_sess_1")
            case "parent revoked":
                owner.tokens.revoke(parent.token.id)
            case "itself revoked":
                (exchanged,) = owner.audit_log.query(events=["token.exchanged"])
                owner.tokens.revoke(exchanged.details["redeemTokenId"])
            case "silent":
                world.clock.advance("15m")
            case _:
                world.clock.advance("10m")
        owner.leases.list()
        refused(owner, NotAuthenticated, lambda: run.redeem(lease))
        if end == "itself revoked":
            assert run.session.whoami().identity.name == "ours"

    def test_it_goes_on_with_a_parent_that_is_given_more_time(self, world: World, owner: Vault) -> None:
        parent = owner.tokens.create(agent="ours", credentials=["*"], ttl="10m")
        run = Run(world, world.connect(parent))
        owner.tokens.rotate(parent.token.id, ttl="1h")
        world.clock.advance("11m")
        assert run.redeem(run.lease()) == VALUE

    def test_redeeming_is_a_sign_of_life(self, world: World, owner: Vault, run: Run) -> None:
        leases = [run.lease(ttl="1h") for _ in range(3)]
        for lease in leases:
            world.clock.advance("10m")
            assert run.redeem(lease) == VALUE
        assert owner.sessions.get("cortex_sess_1").last_seen_at == world.clock.now

    def test_it_is_listed_nowhere_and_not_rotated(self, owner: Vault, run: Run) -> None:
        (exchanged,) = owner.audit_log.query(events=["token.exchanged"])
        id = exchanged.details["redeemTokenId"]
        assert {token.kind for token in owner.tokens.list()} == {"agent"}
        assert owner.tokens.get(id).kind == "redeem"
        with pytest.raises(Conflict):
            owner.tokens.rotate(id)
        assert run.opened.redeem_token.reveal() not in as_text([*owner.tokens.list(), owner.tokens.get(id)])

    def test_a_viewers_session_redeems_nothing(self, world: World, owner: Vault, run: Run) -> None:
        lease = run.lease()
        viewer = Run(world, world.agent("ours", "*", role="viewer"), "cortex_sess_1")
        assert refused(owner, NotAllowed, lambda: viewer.redeem(lease)).rule == "role"


def test_free_text_holds_no_value_that_was_leased_by_reference(owner: Vault, run: Run) -> None:
    run.lease()
    for text in (VALUE, VALUE.encode().hex()):
        with pytest.raises(VaultError) as raised:
            run.lease("open", purpose=f"with {text}")
        assert raised.value.code == "invalid_input"
        assert VALUE not in as_text(owner.audit_log.query(limit=None))


def test_two_leases_have_two_references(run: Run) -> None:
    leases = [run.lease() for _ in range(3)]
    assert len({ref_of(lease) for lease in leases}) == 3
    assert all(lease.id.removeprefix("lease_") not in ref_of(lease) for lease in leases)
