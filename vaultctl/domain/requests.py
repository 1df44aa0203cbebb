"""What callers ask for: one record an operation. Its class is the operation's name at every door.

``vaultctl.client`` makes them, an adapter carries them, ``vaultctl.engine`` answers each with the type that its
docstring names. Who asks is never in the request: identity comes from the token.
"""

from datetime import datetime
from typing import Literal

from vaultctl.domain.durations import Duration
from vaultctl.domain.records import (
    AllowedIdentity,
    CredentialType,
    Delivery,
    Event,
    LeaseState,
    Policy,
    Record,
    Role,
    SessionState,
)
from vaultctl.domain.secrets import Secret

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000


class Request(Record, forbid_unknown_fields=True):
    """Base of all requests."""


class CreateCredential(Request):
    """Store a new credential. Answers ``Credential``."""

    name: str
    type: CredentialType
    value: Secret
    metadata: dict[str, str] = {}
    policy: Policy = Policy()


class ListCredentials(Request):
    """Credentials by name. Answers ``Page[Credential]``."""

    limit: int = PAGE_SIZE
    cursor: str | None = None


class GetCredential(Request):
    """One credential. Answers ``Credential``."""

    name: str


class UpdateCredential(Request):
    """Change metadata (manager) or policy (admin). What is None stays. Answers ``Credential``."""

    name: str
    metadata: dict[str, str] | None = None
    """Replaces all metadata."""
    default_lease_ttl: Duration | Literal["none"] | None = None
    max_lease_ttl: Duration | Literal["none"] | None = None
    allowed_identities: tuple[AllowedIdentity, ...] | None = None
    delivery: Delivery | None = None


class RotateCredential(Request):
    """Store a new version of the value. Answers ``Credential``."""

    name: str
    value: Secret


class ListVersions(Request):
    """Versions of a credential, newest first. Answers ``Page[CredentialVersion]``."""

    name: str
    limit: int = PAGE_SIZE
    cursor: str | None = None


class RollbackCredential(Request):
    """Make a new version from the value of version ``to``. Answers ``Credential``."""

    name: str
    to: int


class RevokeCredential(Request):
    """End all leases of a credential and lease it never again. Answers ``Revocation``."""

    name: str


class DeleteCredential(Request):
    """Destroy a credential and all its values; its leases end. Answers ``Revocation``."""

    name: str


class CreateLease(Request):
    """Lease a credential. Answers ``IssuedLease``."""

    credential_name: str
    ttl: Duration | None = None
    purpose: str | None = None
    claimed: dict[str, str] = {}
    """What the caller says of itself; kept apart in the audit entry, never believed."""


class LeaseFilter(Request):
    """Which leases. What is None does not matter."""

    agent: str | None = None
    session_id: str | None = None
    credential_name: str | None = None
    token_id: str | None = None
    state: LeaseState | None = None


class ListLeases(LeaseFilter):
    """Leases, newest first. Answers ``Page[Lease]``."""

    limit: int = PAGE_SIZE
    cursor: str | None = None


class GetLease(Request):
    """One lease. Answers ``Lease``."""

    id: str


class RenewLease(Request):
    """Extend a lease from now. Answers ``Lease``."""

    id: str
    ttl: Duration | None = None


class RevokeLease(Request):
    """End one lease. Answers ``Lease``."""

    id: str


class RevokeLeases(Request):
    """End all active leases of an agent, a session or a credential. Answers ``Revocation``."""

    agent: str | None = None
    session_id: str | None = None
    credential_name: str | None = None


class CreateToken(Request):
    """Mint a token for an agent, a human or an operator. Answers ``IssuedToken``."""

    agent: str | None = None
    email: str | None = None
    operator: bool = False
    role: Role | None = None
    credentials: tuple[str, ...] = ()
    ttl: Duration | None = None
    max_lease_ttl: Duration | None = None


class ListTokens(Request):
    """Tokens of the tenant, newest first, session tokens left out. Answers ``Page[Token]``."""

    limit: int = PAGE_SIZE
    cursor: str | None = None


class GetToken(Request):
    """One token. Answers ``Token``."""

    id: str


class RotateToken(Request):
    """Replace a token's secret; id, sessions and leases stay. Answers ``IssuedToken``."""

    id: str
    ttl: Duration | None = None
    """New time to live from now; None leaves the expiry as it was."""


class RevokeToken(Request):
    """End a token, its sessions and their leases. Answers ``Revocation``."""

    id: str


class GetSelf(Request):
    """Who the caller is. Answers ``WhoAmI``."""


class OpenSession(Request):
    """Exchange an agent's token for a session token. Answers ``OpenedSession``."""

    id: str | None = None
    """The session's id; None makes an ``mcp_sess_…``. An own active id reopens it."""
    claimed: dict[str, str] = {}


class ListSessions(Request):
    """Sessions, newest first. Answers ``Page[Session]``."""

    agent: str | None = None
    state: SessionState | None = None
    limit: int = PAGE_SIZE
    cursor: str | None = None


class GetSession(Request):
    """One session. Answers ``Session``."""

    id: str


class EndSession(Request):
    """End a session and its leases. Answers ``Revocation``."""

    id: str


class TouchSession(Request):
    """A sign of life of the caller's own session. Answers ``Session``."""


class QueryAudit(Request):
    """Entries of the audit log, oldest first. Answers ``Page[AuditEntry]``.

    ``agent`` and ``session_id`` find the whole trail, what others did to it included; the ``identity_*``
    fields match who acted, strictly.
    """

    agent: str | None = None
    session_id: str | None = None
    credential_name: str | None = None
    lease_id: str | None = None
    events: tuple[Event, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    identity_type: Literal["human", "agent"] | None = None
    identity_name: str | None = None
    identity_user_id: str | None = None
    identity_email: str | None = None
    identity_session_id: str | None = None
    after_seq: int | None = None
    """Only entries after this one, the oldest first of them; without it the page holds the newest."""
    cursor: str | None = None
    """Of the page before: the entries that come before it in the log."""
    limit: int = PAGE_SIZE


class CreateTenant(Request):
    """Create a tenant with its own keys and log. Answers ``Tenant``."""

    id: str
    default_lease_ttl: Duration | None = None
    max_lease_ttl: Duration | None = None


class ListTenants(Request):
    """Tenants by name. Answers ``Page[Tenant]``."""

    limit: int = PAGE_SIZE
    cursor: str | None = None


class GetTenant(Request):
    """One tenant. Answers ``Tenant``."""

    id: str


class UpdateTenant(Request):
    """Change a tenant's settings. What is None stays. Answers ``Tenant``."""

    id: str
    default_lease_ttl: Duration | None = None
    max_lease_ttl: Duration | None = None
