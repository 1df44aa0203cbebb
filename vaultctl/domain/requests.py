"""What callers ask for: one record an operation. Its class is the operation's name at every door.

``vaultctl.client`` makes them, an adapter carries them, ``vaultctl.engine`` answers each with the type that it
is generic in. Who asks is never in the request: identity comes from the token.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from vaultctl.domain.durations import Duration
from vaultctl.domain.records import (
    AllowedIdentity,
    AuditCounts,
    AuditEntry,
    Credential,
    CredentialType,
    CredentialVersion,
    Delivery,
    Event,
    ExportFormat,
    ImportResult,
    IssuedLease,
    IssuedToken,
    KekRotation,
    Lease,
    LeaseState,
    LogCheckpoint,
    LogVerification,
    Member,
    OpenedSession,
    Page,
    Policy,
    Record,
    RedeemedLease,
    ResponseFormat,
    Revocation,
    Role,
    Session,
    SessionState,
    Tenant,
    Token,
    WhoAmI,
)
from vaultctl.domain.secrets import Secret

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1_000
MOST_IMPORTED = 100


Answer = TypeVar("Answer", covariant=True)
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A point in time that says its offset."""


class Request(Record, Generic[Answer], forbid_unknown_fields=True):
    """Base of all requests, generic in what answers it."""


class CreateCredential(Request[Credential]):
    """Store a new credential."""

    name: str
    type: CredentialType
    value: Secret
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    policy: Policy = Policy()


class NamedValue(Record):
    """A value that is imported, with the name and the type that it gets."""

    name: str
    type: CredentialType
    value: Secret


class ImportCredentials(Request[ImportResult]):
    """Store many values at once, all or none: as new credentials, or as new versions where they differ."""

    values: tuple[NamedValue, ...]
    dry_run: bool = False
    """Only say what would change."""


class ListCredentials(Request[Page[Credential]]):
    """Credentials by name."""

    limit: int = PAGE_SIZE
    cursor: str | None = None


class GetCredential(Request[Credential]):
    """One credential."""

    name: str


class UpdateCredential(Request[Credential]):
    """Change metadata (manager) or policy (admin). What is left out stays; a TTL that is None is taken away."""

    name: str
    metadata: dict[str, str] | None = None
    """Replaces all metadata."""
    default_lease_ttl: Duration | UnsetType | None = UNSET
    max_lease_ttl: Duration | UnsetType | None = UNSET
    allowed_identities: tuple[AllowedIdentity, ...] | None = None
    delivery: Delivery | None = None


class RotateCredential(Request[Credential]):
    """Store a new version of the value."""

    name: str
    value: Secret


class ListVersions(Request[Page[CredentialVersion]]):
    """Versions of a credential, newest first."""

    name: str
    limit: int = PAGE_SIZE
    cursor: str | None = None


class RollbackCredential(Request[Credential]):
    """Make a new version from the value of version ``to``."""

    name: str
    to: int


class RevokeCredential(Request[Revocation]):
    """End all leases of a credential and lease it never again."""

    name: str


class DeleteCredential(Request[Revocation]):
    """Destroy a credential and all its values; its leases end."""

    name: str


class CreateLease(Request[IssuedLease]):
    """Lease a credential."""

    credential_name: str
    ttl: Duration | None = None
    purpose: str | None = None
    response_format: ResponseFormat | None = None
    """``reference`` asks for a reference; an agent gets one also where the credential's policy says so."""
    claimed: dict[str, str] = msgspec.field(default_factory=dict)
    """What the caller says of itself; kept apart in the audit entry, never believed."""


class ListLeases(Request[Page[Lease]]):
    """Leases, newest first. A filter that is None does not matter."""

    agent: str | None = None
    session_id: str | None = None
    credential_name: str | None = None
    token_id: str | None = None
    state: LeaseState | None = None
    active_at: Moment | None = None
    """Only those that were active at that moment, whatever became of them. Needs a ``credential_name``."""
    limit: int = PAGE_SIZE
    cursor: str | None = None


class GetLease(Request[Lease]):
    """One lease."""

    id: str


class RenewLease(Request[Lease]):
    """Extend a lease from now."""

    id: str
    ttl: Duration | None = None


class RedeemLease(Request[RedeemedLease]):
    """Exchange the reference of a lease for the value, once. Only the session's redeem token can."""

    id: str
    ref: str


class RevokeLease(Request[Lease]):
    """End one lease."""

    id: str


class RevokeLeases(Request[Revocation]):
    """End all active leases of an agent, a session or a credential."""

    agent: str | None = None
    session_id: str | None = None
    credential_name: str | None = None


class CreateToken(Request[IssuedToken]):
    """Mint a token for an agent, a human or an operator."""

    agent: str | None = None
    email: str | None = None
    operator: bool = False
    role: Role | None = None
    credentials: tuple[str, ...] = ()
    ttl: Duration | None = None
    max_lease_ttl: Duration | None = None
    requests_per_minute: int | None = None
    """How many requests a server takes from it; None: as many as the server lets any token make."""


class ListTokens(Request[Page[Token]]):
    """Tokens of the tenant, newest first, those of sessions left out."""

    limit: int = PAGE_SIZE
    cursor: str | None = None


class GetToken(Request[Token]):
    """One token."""

    id: str


class RotateToken(Request[IssuedToken]):
    """Replace a token's secret; id, sessions and leases stay."""

    id: str
    ttl: Duration | None = None
    """New time to live from now; None leaves the expiry as it was."""


class RevokeToken(Request[Revocation]):
    """End a token, its sessions and their leases."""

    id: str


class GetSelf(Request[WhoAmI]):
    """Who the caller is."""


class OpenSession(Request[OpenedSession]):
    """Exchange an agent's token for a session's tokens."""

    id: str | None = None
    """The session's id; None makes an ``mcp_sess_…``. An own active id reopens it."""
    claimed: dict[str, str] = msgspec.field(default_factory=dict)


class ListSessions(Request[Page[Session]]):
    """Sessions, newest first."""

    agent: str | None = None
    state: SessionState | None = None
    limit: int = PAGE_SIZE
    cursor: str | None = None


class GetSession(Request[Session]):
    """One session."""

    id: str


class EndSession(Request[Revocation]):
    """End a session and its leases."""

    id: str


class TouchSession(Request[Session]):
    """A sign of life of the caller's own session."""


class AuditQuestion(Request[Answer], Generic[Answer]):
    """Which entries of the audit log are meant.

    ``agent`` and ``session_id`` find the whole trail, what others did to it included; the ``identity_*``
    fields match who acted, strictly.
    """

    agent: str | None = None
    session_id: str | None = None
    credential_name: str | None = None
    lease_id: str | None = None
    events: tuple[Event, ...] = ()
    since: Moment | None = None
    until: Moment | None = None
    identity_type: Literal["human", "agent"] | None = None
    identity_name: str | None = None
    identity_user_id: str | None = None
    identity_email: str | None = None
    identity_session_id: str | None = None


class QueryAudit(AuditQuestion[Page[AuditEntry]]):
    """Entries of the audit log, oldest first.

    ``agent`` and ``session_id`` find the whole trail, what others did to it included; the ``identity_*``
    fields match who acted, strictly.
    """

    after_seq: int | None = None
    """Only entries after this one, the oldest first of them; without it the page holds the newest."""
    cursor: str | None = None
    """Of the page before: the entries that come before it in the log."""
    limit: int = PAGE_SIZE


class CountAudit(Request[AuditCounts]):
    """How many entries there are of each agent, credential, event or day."""

    by: Literal["agent", "credential", "event", "day"]
    agent: str | None = None
    session_id: str | None = None
    credential_name: str | None = None
    lease_id: str | None = None
    events: tuple[Event, ...] = ()
    since: Moment | None = None
    until: Moment | None = None


class BeginExport(AuditQuestion[LogCheckpoint]):
    """Record that entries of the audit log are about to leave, and answer with the checkpoint up to which they do.

    Who exports, what and how long the log was is in the log before the first entry is asked for.
    """

    format: ExportFormat = ExportFormat.JSONL


class GetTile(Request[bytes]):
    """A piece of the audit log's Merkle tree, or of its entries, as C2SP tlog-tiles lays them out.

    Hash tiles say nothing of what is in the log; entries need the role admin.
    """

    path: str
    """Like ``0/x001/067`` or ``entries/000.p/12``: what comes behind ``tile/``."""


class GetCheckpoint(Request[LogCheckpoint]):
    """The newest checkpoint of the audit log. One is made at least every second while entries come."""


class CreateCheckpoint(Request[LogCheckpoint]):
    """A checkpoint over all entries of the audit log that there are."""


class VerifyLog(Request[LogVerification]):
    """Check all that is stored of the audit log. It travels to no server: there the client does it by itself."""

    since: str | None = None
    """A checkpoint, as a note: what it covers is taken for verified."""
    against: tuple[str, ...] = ()
    """Checkpoints that were kept elsewhere, as notes."""
    key: str | None = None
    """The log's verifier key, if it is known; else the one that the vault has."""
    progress: Callable[[int, int], None] | None = None
    """Called now and then with how many entries were looked at, and how many there are."""


class CreateTenant(Request[Tenant]):
    """Create a tenant with its own keys and log."""

    id: str
    default_lease_ttl: Duration | None = None
    max_lease_ttl: Duration | None = None


class ListTenants(Request[Page[Tenant]]):
    """Tenants by name."""

    limit: int = PAGE_SIZE
    cursor: str | None = None


class GetTenant(Request[Tenant]):
    """One tenant."""

    id: str


class UpdateTenant(Request[Tenant]):
    """Change a tenant's settings. What is None stays."""

    id: str
    default_lease_ttl: Duration | None = None
    max_lease_ttl: Duration | None = None


class RotateKek(Request[KekRotation]):
    """Bring a tenant's data keys under a new key-encryption key, one bounded step at a time.

    Without a ``version`` a new one is made, unless the step before last was never reached: then that rotation goes on.
    """

    id: str
    version: int | None = None
    """The version that the first step named, so that a step which comes late begins nothing anew."""
    limit: int = PAGE_SIZE
    """How many data keys this step may rewrap."""


class InviteMember(Request[IssuedToken]):
    """Take a person into the tenant's team, and mint their first personal token."""

    email: str
    role: Role
    ttl: Duration | None = None


class ListMembers(Request[Page[Member]]):
    """The tenant's team by e-mail address."""

    limit: int = PAGE_SIZE
    cursor: str | None = None


class GetMember(Request[Member]):
    """One person of the team."""

    email: str


class ChangeMemberRole(Request[Member]):
    """Give a person another role, at once."""

    email: str
    role: Role


class RemoveMember(Request[Revocation]):
    """Take a person out of the team; their tokens and leases end."""

    email: str
