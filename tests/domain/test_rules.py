"""The rules as pure functions: a verdict with its reason."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import Conflict, LeaseAtMaximum, NotAllowed, NotFound
from vaultctl.domain.records import AllowedIdentity, CredentialState, Delivery, Identity, Policy, Role
from vaultctl.domain.rules import (
    Caller,
    cap,
    grant_ttl,
    judge_lease,
    names,
    no_such_credential,
    renewed_expiry,
    require_operator,
    require_role,
    within_scope,
)

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
AGENT = Identity(type="agent", name="ours")
HUMAN = Identity(type="human", user_id="u1", email="ada@example.com")
DURATIONS = st.integers(1, 10_000).map(Duration.of)


def agent(*scopes: tuple[str, ...], role: Role = Role.USER) -> Caller:
    return Caller("my-org", AGENT, role, scopes)


def human(*scopes: tuple[str, ...], role: Role = Role.USER) -> Caller:
    return Caller("my-org", HUMAN, role, scopes)


@pytest.mark.parametrize(("has", "needs"), list(product(Role, Role)))
def test_a_role_includes_those_before_it(has: Role, needs: Role) -> None:
    order = ["viewer", "user", "manager", "admin"]
    refusal = require_role(human(role=has), needs)
    assert (refusal is None) == (order.index(has) >= order.index(needs))
    if refusal:
        assert refusal.rule == "role"
        assert type(refusal.error) is NotAllowed
        assert needs.value in str(refusal.error)
        assert refusal.error.hint


def test_only_operators_run_the_vault() -> None:
    assert require_operator(human(role=Role.ADMIN)) is not None
    assert require_operator(human(role=Role.VIEWER)._replace(is_operator=True)) is None


def test_an_identity_is_named_by_its_own_kind_of_glob() -> None:
    by_agent = AllowedIdentity(type="agent", name="*")
    by_human = AllowedIdentity(type="human", email="*")
    assert names([by_agent], AGENT)
    assert not names([by_human], AGENT)
    assert names([by_human], HUMAN)
    assert not names([by_agent], HUMAN)
    assert names([by_human, by_agent], AGENT)
    assert not names([], AGENT)
    assert not names([by_human], Identity(type="human", user_id="u1"))


@pytest.mark.parametrize(
    ("caller", "allowed", "rule"),
    [
        (agent(("*",)), [], None),
        (agent(("api-?",)), [], None),
        (agent(("x", "api-*")), [], None),
        (agent(("other-*",)), [], "token-scope"),
        (agent(()), [], "token-without-scope"),
        (agent(()), ["o*"], None),
        (agent(()), ["other"], "allowed-identities"),
        (agent(("*",)), ["other"], "allowed-identities"),
        (agent(("x",)), ["ours"], "token-scope"),
        (agent(("*",), ("other-*",)), [], "token-scope"),
        (agent(("api-*",), ("*-1",)), [], None),
        (human(()), [], None),
        (human(()), ["ours"], "allowed-identities"),
        (human(("other-*",)), [], "token-scope"),
        (human(), [], None),
    ],
)
def test_scope_is_policy_and_every_glob_list_at_once(caller: Caller, allowed: list[str], rule: str | None) -> None:
    policy = Policy(allowed_identities=tuple(AllowedIdentity(type="agent", name=name) for name in allowed))
    assert within_scope(caller, "api-1", policy) == rule


OPEN, CLOSED = Policy(), Policy(allowed_identities=(AllowedIdentity(type="agent", name="other"),))
ACTIVE, REVOKED = CredentialState.ACTIVE, CredentialState.REVOKED


@pytest.mark.parametrize(
    ("policy", "state", "rule"),
    [
        (None, None, "no-such-credential"),
        (CLOSED, ACTIVE, "allowed-identities"),
        (CLOSED, REVOKED, "allowed-identities"),
        (OPEN, REVOKED, "credential-revoked"),
    ],
)
def test_to_an_agent_every_refusal_is_the_same_error(
    policy: Policy | None, state: CredentialState | None, rule: str
) -> None:
    refusal = judge_lease(agent(("*",)), "api", policy, state)
    assert refusal is not None
    assert refusal.rule == rule
    same = no_such_credential("api")
    assert type(refusal.error) is NotFound
    assert (refusal.error.message, refusal.error.hint) == (same.message, same.hint)


@pytest.mark.parametrize(
    ("policy", "state", "rule", "error"),
    [
        (None, None, "no-such-credential", NotFound),
        (CLOSED, ACTIVE, "allowed-identities", NotAllowed),
        (CLOSED, REVOKED, "allowed-identities", NotAllowed),
        (OPEN, REVOKED, "credential-revoked", Conflict),
    ],
)
def test_a_human_is_told_what_it_is(
    policy: Policy | None, state: CredentialState | None, rule: str, error: type[Exception]
) -> None:
    refusal = judge_lease(human(), "api", policy, state)
    assert refusal is not None
    assert (refusal.rule, type(refusal.error)) == (rule, error)


def test_the_role_is_judged_before_anything_that_tells_of_the_name() -> None:
    for policy, state in ((None, None), (CLOSED, ACTIVE), (OPEN, REVOKED), (OPEN, ACTIVE)):
        refusal = judge_lease(agent(("*",), role=Role.VIEWER), "api", policy, state)
        assert refusal is not None
        assert refusal.rule == "role"


def test_what_is_delivered_by_reference_is_refused_only_where_an_agent_would_be_given_the_value() -> None:
    policy = Policy(delivery=Delivery.REFERENCE)
    refusal = judge_lease(agent(("*",)), "api", policy, ACTIVE)
    assert refusal is not None
    assert refusal.rule == "delivery-reference"
    assert judge_lease(agent(("*",)), "api", policy, ACTIVE, delivers_value=False) is None
    assert judge_lease(human(), "api", policy, ACTIVE) is None


@given(st.lists(st.none() | DURATIONS, min_size=1).filter(any))
def test_a_cap_is_the_smallest_that_is_set(durations: list[Duration | None]) -> None:
    assert cap(durations) == min(d for d in durations if d is not None)


@given(
    requested=st.none() | DURATIONS,
    own=st.none() | DURATIONS,
    default=DURATIONS,
    credential=st.none() | DURATIONS,
    token=st.none() | DURATIONS,
    tenant=DURATIONS,
)
def test_a_ttl_is_the_most_particular_wish_capped_at_the_smallest_maximum(
    requested: Duration | None,
    own: Duration | None,
    default: Duration,
    credential: Duration | None,
    token: Duration | None,
    tenant: Duration,
) -> None:
    grant = grant_ttl(requested, Policy(default_lease_ttl=own, max_lease_ttl=credential), token, default, tenant)
    wish = next(d for d in (requested, own, default) if d is not None)
    most = min(d.seconds_total for d in (credential, token, tenant) if d is not None)
    assert grant.maximum.seconds_total == most
    assert grant.ttl.seconds_total == min(wish.seconds_total, most)


@given(left=st.integers(1, 5_000), until_maximum=st.integers(0, 5_000), ttl=DURATIONS)
def test_a_renewal_counts_from_now_and_stops_at_the_maximum(left: int, until_maximum: int, ttl: Duration) -> None:
    expires, maximum = NOW + timedelta(seconds=left), NOW + timedelta(seconds=left + until_maximum)
    renewed = renewed_expiry(NOW, expires, maximum, ttl)
    if until_maximum == 0:
        assert isinstance(renewed, LeaseAtMaximum)
        assert "new lease" in renewed.hint
    else:
        assert renewed == min(NOW + ttl, maximum)
