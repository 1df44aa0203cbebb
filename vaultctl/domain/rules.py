"""The rules, as pure functions. A rule answers None, or a :class:`Refusal` with its reason.

The refusal, the audit entry and the error message come from one place: here.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import Conflict, LeaseAtMaximum, NotAllowed, NotFound, VaultError
from vaultctl.domain.names import matches, matches_one
from vaultctl.domain.records import AllowedIdentity, CredentialState, Delivery, Identity, Policy, Role

SESSION_IDLE_LIMIT = timedelta(minutes=15)
"""A session ends when it has given no sign of life for so long."""

TOUCH_INTERVAL = timedelta(minutes=1)
"""How old the last recorded sign of life may be before a use of the session records a new one."""

IDEMPOTENCY_KEPT = timedelta(hours=24)
"""For how long a repeated request with the same ``Idempotency-Key`` is known."""

ANSWER_KEPT = timedelta(minutes=10)
"""For how long an answer with a token in it is kept for that, sealed."""

SHORTEST_REFERENCED = 8
"""Characters of the shortest value that a reference stands for: a shorter one can't be kept out of other text."""

DEFAULT_TOKEN_TTL = Duration(days=90)
DEFAULT_LEASE_TTL = Duration(hours=1)
DEFAULT_MAX_LEASE_TTL = Duration(hours=24)


class Refusal(NamedTuple):
    """Why a known caller may not do something.

    ``rule`` goes to the audit log alone; ``error`` goes to the caller, and to an agent it is the same for every
    rule about one credential.
    """

    rule: str
    error: VaultError


class Caller(NamedTuple):
    """Who asks, as the vault established it from the token.

    Attributes:
        tenant: The tenant within which the caller acts.
        identity: Who acts, without a purpose.
        role: The strongest thing it may do.
        scopes: Ceilings of globs along token and session, all of which bind; empty for the owner. One without globs
            binds agents only: to what names them.
        max_lease_ttl: The smallest lease maximum along token and session.
        token_id: The agent's or human's token (a session's parent, not the session token); None for the owner.
        session_id: The attested session.
        expires_at: When its authority ends; None for the owner.
        is_operator: May administer tenants and the vault itself.
        session_last_seen: The last recorded sign of life of the session.
        requests_per_minute: How many requests its token may make; None: as many as the server lets any token make.
        redeems: It redeems references of its session, and does nothing else. Nobody else does.
    """

    tenant: str
    identity: Identity
    role: Role
    scopes: tuple[tuple[str, ...], ...] = ()
    max_lease_ttl: Duration | None = None
    token_id: str | None = None
    session_id: str | None = None
    expires_at: datetime | None = None
    is_operator: bool = False
    session_last_seen: datetime | None = None
    requests_per_minute: int | None = None
    redeems: bool = False

    @property
    def is_agent(self) -> bool:
        """Whether what it may not lease does not exist for it."""
        return self.identity.type == "agent"


class Grant(NamedTuple):
    """The time that a lease gets."""

    ttl: Duration
    maximum: Duration


def require_role(caller: Caller, minimum: Role) -> Refusal | None:
    """Whether the caller's role is at least ``minimum``."""
    if caller.role.rank >= minimum.rank:
        return None
    return Refusal(
        "role",
        NotAllowed(
            f"This needs the role {minimum.value}; the caller has {caller.role.value}.",
            hint="Ask an admin of the tenant.",
        ),
    )


def require_operator(caller: Caller) -> Refusal | None:
    """Whether the caller runs the vault itself."""
    if caller.is_operator:
        return None
    return Refusal("operator", NotAllowed("Only the vault's owner or an operator may do this."))


def require_redeem_token(caller: Caller, *, redeems: bool) -> Refusal | None:
    """Whether the caller's token is of the kind for this: one kind redeems references, all others do all else."""
    if caller.redeems is redeems:
        return None
    if redeems:
        error = NotAllowed(
            "Only a session's redeem token redeems references.", hint="It is in the answer that opened the session."
        )
    else:
        error = NotAllowed("A redeem token only redeems references.", hint="Use the session's own token for this.")
    return Refusal("redeem-token", error)


def names(allowed: Iterable[AllowedIdentity], identity: Identity) -> bool:
    """Whether one of the ``allowed`` identities is this one."""
    subject = identity.name if identity.type == "agent" else identity.email
    return subject is not None and any(a.type == identity.type and matches(a.glob, subject) for a in allowed)


def within_scope(caller: Caller, name: str, policy: Policy) -> str | None:
    """The rule by which the credential is out of the caller's reach, or None (DESIGN section 3, rule 2)."""
    named = bool(policy.allowed_identities) and names(policy.allowed_identities, caller.identity)
    if policy.allowed_identities and not named:
        return "allowed-identities"
    for globs in caller.scopes:
        if globs and not matches_one(globs, name):
            return "token-scope"
        if not globs and caller.is_agent and not named:
            return "token-without-scope"
    return None


def no_such_credential(name: str) -> NotFound:
    """The one answer about a credential that is not there, or not there for the caller."""
    return NotFound(
        f"There is no credential {name!r} that you can use.",
        hint="List what you can use, or ask an operator for access.",
    )


def judge_lease(
    caller: Caller, name: str, policy: Policy | None, state: CredentialState | None, *, delivers_value: bool = True
) -> Refusal | None:
    """Whether the caller may lease (or go on leasing) the credential ``name``; ``policy`` None: there is none.

    The role is judged first and tells nothing about the name. What follows looks alike to an agent that may not know
    of it. ``delivers_value``: it would be given the value, or keep it; by reference only, an agent may not. People may:
    the policy is there to keep values from models.
    """
    if refusal := require_role(caller, Role.USER):
        return refusal
    if policy is None:
        return Refusal("no-such-credential", no_such_credential(name))
    if rule := within_scope(caller, name, policy):
        if caller.is_agent:
            return Refusal(rule, no_such_credential(name))
        return Refusal(
            rule,
            NotAllowed(f"You are not allowed to lease {name!r}.", hint="An admin can change its allowed identities."),
        )
    if state is not CredentialState.ACTIVE:
        if caller.is_agent:
            return Refusal("credential-revoked", no_such_credential(name))
        return Refusal("credential-revoked", revoked_credential(name))
    if delivers_value and caller.is_agent and policy.delivery is Delivery.REFERENCE:
        return Refusal(
            "delivery-reference",
            NotAllowed(
                f"{name!r} is delivered by reference only; its value is not handed out.",
                hint="Request a new lease: a reference will be the answer.",
            ),
        )
    return None


def can_be_referenced(value: str) -> bool:
    """Whether a reference can stand for ``value``."""
    return len(value.strip()) >= SHORTEST_REFERENCED


def judge_reference(caller: Caller, name: str, value: str) -> Refusal | None:
    """Whether the caller, who may lease the credential, can be given a reference to its ``value``."""
    if not caller.is_agent:
        return Refusal(
            "reference-for-agents",
            NotAllowed("References are for agents: they keep values from models.", hint="Ask for the value instead."),
        )
    if caller.session_id is None:
        return Refusal(
            "reference-without-session",
            NotAllowed(
                f"{name!r} is delivered by reference, which only an agent's session can redeem.",
                hint="Open a session and ask with its token, as the MCP server and Cortex do.",
            ),
        )
    if not can_be_referenced(value):
        return Refusal(
            "value-too-short",
            NotAllowed(
                f"The value of {name!r} is too short to be delivered by reference.",
                hint=f"Ask an operator to store a value of at least {SHORTEST_REFERENCED} characters.",
            ),
        )
    return None


def revoked_credential(name: str) -> Conflict:
    """The error of every change to a revoked credential."""
    return Conflict(
        f"The credential {name!r} is revoked.", hint=f"Delete it and create it anew: vaultctl credential delete {name}"
    )


def cap(durations: Iterable[Duration | None]) -> Duration:
    """The smallest of the durations that are set; at least one must be."""
    return min(d for d in durations if d is not None)


@lru_cache(1024)
def grant_ttl(
    requested: Duration | None, policy: Policy, caller_maximum: Duration | None, default: Duration, maximum: Duration
) -> Grant:
    """The TTL that a lease gets: requested, else the credential's, else the tenant's default; capped, not refused.

    Args:
        requested: What the caller asked for.
        policy: The credential's policy.
        caller_maximum: The smallest maximum along the caller's token and session.
        default: The tenant's default.
        maximum: The tenant's maximum.
    """
    most = cap((policy.max_lease_ttl, caller_maximum, maximum))
    return Grant(min(requested or policy.default_lease_ttl or default, most), most)


def renewed_expiry(
    now: datetime, expires_at: datetime, max_expires_at: datetime, ttl: Duration
) -> datetime | LeaseAtMaximum:
    """When a lease renewed ``now`` for ``ttl`` ends: counted from now, never past its maximum."""
    if expires_at >= max_expires_at:
        return LeaseAtMaximum("The lease has reached its maximum and can't be renewed.", hint="Request a new lease.")
    return min(now + ttl, max_expires_at)
