"""What callers see: small frozen records with the words of the design.

In Python they are snake_case with ``datetime`` and :class:`Duration`; in JSON camelCase with acronyms in
capitals (``maxTTL``), RFC 3339 times and ``1h30m`` (:mod:`vaultctl.domain.wire`). Optional fields that have
no value are left out of the JSON.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Literal, TypeVar, dataclass_transform

import msgspec

from vaultctl.domain.durations import Duration
from vaultctl.domain.secrets import Secret

T = TypeVar("T")


def json_name(field: str) -> str:
    """The JSON name of a Python field: ``max_ttl`` is ``maxTTL``, ``session_id`` is ``sessionId``."""
    head, *rest = field.split("_")
    return head + "".join("TTL" if word == "ttl" else word.capitalize() for word in rest)


# mypy reads `frozen` and `kw_only` of a msgspec base on the class itself only; this tells it of the subclasses.
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, frozen=True, kw_only=True, rename=json_name, omit_defaults=True):
    """Base of all records."""


class Role(StrEnum):
    """What a caller may do, weakest first. Each includes those before it."""

    VIEWER = "viewer"
    USER = "user"
    MANAGER = "manager"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Position in the order of strength, 0 for viewer."""
        return _RANKS[self]


_RANKS = {role: rank for rank, role in enumerate(Role)}


class CredentialType(StrEnum):
    """The kinds of credential. The type decides how a value is validated."""

    API_KEY = "api-key"
    OAUTH_TOKEN = "oauth-token"
    SSH_KEY = "ssh-key"
    TLS_CERTIFICATE = "tls-certificate"
    DATABASE_URL = "database-url"
    GENERIC_SECRET = "generic-secret"


class Delivery(StrEnum):
    """How an agent may receive a credential: its value, or only a reference to it."""

    VALUE = "value"
    REFERENCE = "reference"


class ResponseFormat(StrEnum):
    """How whoever leases would like the credential: as its value, or as a reference to it."""

    VALUE = "value"
    REFERENCE = "reference"


class CredentialState(StrEnum):
    """``revoked`` is final: the credential can't be leased again, only deleted."""

    ACTIVE = "active"
    REVOKED = "revoked"


class LeaseState(StrEnum):
    """Whether a lease still counts, and if not, why."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class SessionState(StrEnum):
    """A session that ended never becomes active again."""

    ACTIVE = "active"
    ENDED = "ended"


class TokenState(StrEnum):
    """Whether a token still authenticates."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Event(StrEnum):
    """What an audit entry records."""

    CREDENTIAL_CREATED = "credential.created"
    CREDENTIAL_UPDATED = "credential.updated"
    CREDENTIAL_ROTATED = "credential.rotated"
    CREDENTIAL_COMPARED = "credential.compared"
    CREDENTIAL_REVOKED = "credential.revoked"
    CREDENTIAL_DELETED = "credential.deleted"
    LEASE_CREATED = "lease.created"
    LEASE_RENEWED = "lease.renewed"
    LEASE_EXPIRED = "lease.expired"
    LEASE_REVOKED = "lease.revoked"
    LEASE_DENIED = "lease.denied"
    LEASE_REDEEMED = "lease.redeemed"
    LEASE_REPLAYED = "lease.replayed"
    ACCESS_DENIED = "access.denied"
    TOKEN_CREATED = "token.created"
    TOKEN_ROTATED = "token.rotated"
    TOKEN_REVOKED = "token.revoked"
    TOKEN_EXCHANGED = "token.exchanged"
    TOKEN_REPLAYED = "token.replayed"
    SESSION_STARTED = "session.started"
    SESSION_ENDED = "session.ended"
    ACL_UPDATED = "acl.updated"
    TENANT_CREATED = "tenant.created"
    SETTINGS_UPDATED = "tenant.settings_updated"
    KEK_ROTATED = "tenant.kek_rotated"
    TEAM_INVITED = "team.invited"
    TEAM_REMOVED = "team.removed"
    TEAM_ROLE_CHANGED = "team.role_changed"
    ROOT_KEY_ROTATED = "root_key.rotated"
    ROOT_KEY_MOVED = "root_key.moved"
    VAULT_BACKED_UP = "vault.backed_up"
    VAULT_RESTORED = "vault.restored"
    AUDIT_EXPORTED = "audit.exported"


class ExportFormat(StrEnum):
    """As what entries of the audit log are exported."""

    JSONL = "jsonl"
    CSV = "csv"
    BUNDLE = "bundle"


class Identity(Record):
    """Who acts. A human has ``user_id`` and perhaps ``email``; an agent has ``name``; both may have a session."""

    type: Literal["human", "agent"]
    name: str | None = None
    user_id: str | None = None
    email: str | None = None
    session_id: str | None = None
    purpose: str | None = None

    @property
    def label(self) -> str:
        """The short form for tables: the agent's name, or the human's e-mail address or id."""
        return self.name or self.email or self.user_id or self.type


class AllowedIdentity(Record):
    """One line of a credential's ``allowedIdentities``: a glob over agent names or human e-mail addresses."""

    type: Literal["human", "agent"]
    name: str | None = None
    email: str | None = None

    @property
    def glob(self) -> str:
        """The glob, whichever field holds it."""
        return (self.name if self.type == "agent" else self.email) or ""


class Policy(Record, omit_defaults=False):
    """Who may lease a credential, for how long, and how it is delivered. Its JSON has all fields."""

    default_lease_ttl: Duration | None = None
    max_lease_ttl: Duration | None = None
    allowed_identities: tuple[AllowedIdentity, ...] = ()
    delivery: Delivery = Delivery.VALUE


class Credential(Record):
    """A named, typed, versioned secret, without its value."""

    id: str
    name: str
    type: CredentialType
    state: CredentialState
    version: int
    metadata: dict[str, str]
    """What people wrote about it."""
    attributes: dict[str, str]
    """What the type read from the current value and is not secret: fingerprint, host, issuer, prefix…"""
    policy: Policy
    created_at: datetime
    created_by: str
    updated_at: datetime


class CredentialVersion(Record):
    """One version of a credential, without its value."""

    version: int
    current: bool
    attributes: dict[str, str]
    created_at: datetime
    created_by: str
    restored_from: int | None = None


class Lease(Record):
    """Time-limited access to one version of one credential. Never holds the value."""

    id: str
    credential_id: str
    credential_name: str
    credential_version: int
    identity: Identity
    ttl: Duration
    issued_at: datetime
    expires_at: datetime
    max_expires_at: datetime
    renewals: int
    state: LeaseState
    delivery: Delivery
    """What its holder was given: the value, or a reference to it."""
    redeemed_at: datetime | None = None
    """When the reference was redeemed."""
    renewed_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None
    token_id: str | None = None

    @property
    def renewable(self) -> bool:
        """Whether a renewal could move ``expires_at``."""
        return self.state is LeaseState.ACTIVE and self.expires_at < self.max_expires_at


class CredentialReference(Record):
    """Stands for a value, for whoever is not to see it. It holds no secret, and nothing to derive one from."""

    ref: str
    """``vault:lease:`` and a signed handle, good for this lease alone."""
    metadata: dict[str, str]
    """What is known of the credential and is not secret: its name, its type, and what the type read from the value."""
    preview: str | None = None
    """The value's last characters, by which people recognise it; none where they would be too much of it."""


class IssuedLease(Record):
    """The answer that creates a lease: with the value, or with a reference to it."""

    lease: Lease
    type: CredentialType
    attributes: dict[str, str]
    value: Secret | None = None
    credential_reference: CredentialReference | None = None


class RedeemedLease(Record):
    """The answer that redeems the reference of a lease: with the value."""

    lease: Lease
    type: CredentialType
    value: Secret
    attributes: dict[str, str]


class Token(Record):
    """What a caller authenticates with, without its secret."""

    id: str
    kind: Literal["agent", "human", "operator", "session", "redeem"]
    role: Role
    state: TokenState
    credentials: tuple[str, ...]
    """Globs: the ceiling of what it reaches. Empty on an agent's token: only what names the agent."""
    created_at: datetime
    created_by: str
    expires_at: datetime
    agent: str | None = None
    email: str | None = None
    user_id: str | None = None
    max_lease_ttl: Duration | None = None
    requests_per_minute: int | None = None
    parent: str | None = None
    session_id: str | None = None
    rotated_at: datetime | None = None
    revoked_at: datetime | None = None


class IssuedToken(Record):
    """The answer that creates or rotates a token: the only place where its secret is."""

    token: Token
    secret: Secret
    reaches: tuple[str, ...]
    """Names of the credentials that it can lease now."""


class Session(Record):
    """One run of one agent."""

    id: str
    agent: str
    state: SessionState
    token_id: str
    started_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    end_reason: str | None = None
    active_leases: int | None = None
    """Leases of the session that are active now, where they were counted."""


class OpenedSession(Record):
    """The answer that opens a session: the only place where its tokens are.

    ``token`` is for the agent. ``redeem_token`` redeems the references of the session's leases, which is all that it
    can do; whoever runs the agent keeps it from the agent.
    """

    session: Session
    token: Secret
    redeem_token: Secret


class AuditEntry(Record):
    """One entry of a tenant's audit log."""

    id: str
    seq: int
    event: Event
    timestamp: datetime
    tenant_id: str
    identity: Identity
    details: dict[str, Any]
    credential_name: str | None = None
    lease_id: str | None = None


class AuditCount(Record):
    """How many entries of the audit log have something in common."""

    name: str | None
    """The agent, credential, event or day (in UTC); None for the entries that are about none."""
    entries: int


class AuditCounts(Record, omit_defaults=False):
    """Entries of the audit log, counted: most first, days in their order."""

    items: tuple[AuditCount, ...]


class LogCheckpoint(Record):
    """A signed statement of how long a tenant's audit log is, and of the root of the Merkle tree over it.

    Whoever keeps one can show later that nothing before it was changed, removed or inserted.
    """

    origin: str
    """The log: ``vaultctl/<vault id>/<tenant>``."""
    size: int
    root_hash: str
    note: str
    """The checkpoint itself, a C2SP signed note."""
    verifier_key: str
    """The key that verifies the note."""


class LogProblem(Record):
    """Something in an audit log that is not as the vault wrote it."""

    message: str
    first_entry: int | None = None
    """The first of the entries that it concerns, if it concerns any."""
    last_entry: int | None = None


class LogVerification(Record):
    """What came of verifying a tenant's audit log."""

    verified: bool
    origin: str
    """The log: ``vaultctl/<vault id>/<tenant>``."""
    size: int
    root_hash: str
    entries: int
    """How many entries were looked at."""
    checkpoints: int
    """How many of its checkpoints were."""
    problem_count: int
    problems: tuple[LogProblem, ...]
    """The first of them."""


class Tenant(Record):
    """The isolation boundary, and its settings."""

    id: str
    default_lease_ttl: Duration
    max_lease_ttl: Duration
    created_at: datetime


Change = Literal["new", "changed", "unchanged"]


class ImportedCredential(Record, omit_defaults=False):
    """What an import did with a value, or would do."""

    name: str
    type: CredentialType
    change: Change
    version: int
    """The version that is current now; 0 of one that is not there yet."""


class ImportResult(Record, omit_defaults=False):
    """What an import came to, in the order of its values."""

    items: tuple[ImportedCredential, ...]


class Member(Record):
    """A person of a tenant's team. ``id`` is the e-mail address, which is also the ``user_id`` of all their tokens."""

    id: str
    role: Role
    created_at: datetime
    created_by: str
    tokens: int = 0
    """Tokens of theirs that authenticate now."""


class KekRotation(Record, omit_defaults=False):
    """How far a tenant's data keys have come on their way under its newest key-encryption key."""

    id: str
    """The tenant."""
    version: int
    """The version that they are wrapped by from now on."""
    remaining: int
    """How many still name an earlier version. At 0 the earlier versions are gone."""


class WhoAmI(Record):
    """Who the vault takes the caller for."""

    tenant: str
    identity: Identity
    role: Role
    reaches: tuple[str, ...]
    token: Token | None = None
    session: Session | None = None


class Page(Record, Generic[T]):
    """One page of a list. ``next_cursor`` asks for the next one; absent on the last."""

    items: tuple[T, ...]
    next_cursor: str | None = None


class Revocation(Record):
    """What a revocation ended."""

    leases: int
    sessions: int = 0
