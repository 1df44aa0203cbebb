"""The tables' rows. They go as far as the engine, never to a caller.

Times are microseconds since 1970, durations whole seconds, lists and objects JSON text. ``mac`` authenticates the
columns before it; the engine writes and checks it.
"""

from typing import ClassVar

import msgspec


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all rows: the fields are the columns, in order.

    What a code authenticates is the row by its columns' names, without those that have their default: so a later
    migration can add a column that is NULL at first.
    """

    table: ClassVar[str]
    key: ClassVar[tuple[str, ...]]
    adds_to: ClassVar[str] = ""
    """The column that a row which is added adds to, where there is one of the same primary key."""


class VaultRow(Row, frozen=True):
    """The vault itself; one row."""

    table = "vault"
    key = ("id",)

    id: str
    created_at: int
    root_key_id: str
    root_key_check: bytes


class TenantRow(Row, frozen=True):
    """A tenant and its settings."""

    table = "tenants"
    key = ("tenant",)

    tenant: str
    default_lease_ttl: int
    max_lease_ttl: int
    created_at: int
    mac: bytes = b""


class KeyRow(Row, frozen=True):
    """A tenant's key, wrapped by the root key."""

    table = "tenant_keys"
    key = ("tenant", "purpose", "version")

    tenant: str
    purpose: str
    version: int
    wrapped: bytes
    created_at: int


class CredentialRow(Row, frozen=True):
    """A credential and its policy."""

    table = "credentials"
    key = ("tenant", "name")

    tenant: str
    name: str
    id: str
    type: str
    state: str
    version: int
    metadata: str
    attributes: str
    default_lease_ttl: int | None
    max_lease_ttl: int | None
    allowed_identities: str
    delivery: str
    created_at: int
    created_by: str
    updated_at: int
    mac: bytes = b""


class VersionRow(Row, frozen=True):
    """One version of a credential's value."""

    table = "credential_versions"
    key = ("tenant", "credential_id", "version")

    tenant: str
    credential_id: str
    version: int
    wrapped_dek: bytes
    sealed_value: bytes
    attributes: str
    created_at: int
    created_by: str
    restored_from: int | None
    mac: bytes = b""


class MemberRow(Row, frozen=True):
    """A person of a tenant's team."""

    table = "members"
    key = ("tenant", "email")

    tenant: str
    email: str
    role: str
    created_at: int
    created_by: str
    mac: bytes = b""


class TokenRow(Row, frozen=True):
    """A token; of its secret only the SHA-256."""

    table = "tokens"
    key = ("tenant", "id")

    tenant: str
    id: str
    hash: bytes
    kind: str
    role: str
    agent: str | None
    email: str | None
    user_id: str | None
    credentials: str
    max_lease_ttl: int | None
    expires_at: int
    parent: str | None
    session_id: str | None
    created_at: int
    created_by: str
    rotated_at: int | None
    revoked_at: int | None
    requests_per_minute: int | None = None
    mac: bytes = b""


class SessionRow(Row, frozen=True):
    """One run of one agent."""

    table = "sessions"
    key = ("tenant", "id")

    tenant: str
    id: str
    agent: str
    token_id: str
    state: str
    started_at: int
    last_seen_at: int
    expires_at: int
    ended_at: int | None
    end_reason: str | None
    mac: bytes = b""


class LeaseRow(Row, frozen=True):
    """One lease."""

    table = "leases"
    key = ("tenant", "id")

    tenant: str
    id: str
    credential_id: str
    credential_name: str
    credential_version: int
    token_id: str | None
    session_id: str | None
    identity_type: str
    agent: str | None
    email: str | None
    user_id: str | None
    purpose: str | None
    ttl: int
    issued_at: int
    expires_at: int
    max_expires_at: int
    renewed_at: int | None
    renewals: int
    state: str
    ended_at: int | None
    end_reason: str | None
    delivery: str | None = None
    redeemed_at: int | None = None
    mac: bytes = b""


class LogRow(Row, frozen=True):
    """The head of a tenant's audit log. What may be None is so in a log from before there were Merkle trees.

    Attributes:
        tenant: Whose log.
        size: How many entries it has.
        last_time: When the last of them was written.
        frontier: The roots of the perfect subtrees of its tree.
        checkpoints: How many checkpoints were made.
        unsigned_entries: How many entries the last checkpoint does not cover.
        checkpoint_time: When it was made; in a log without one, when the log was.
        authority: Random bytes that are others after each change to a row that never changes without an entry.
        mac: Authenticates the others.
    """

    table = "logs"
    key = ("tenant",)

    tenant: str
    size: int
    last_time: int
    frontier: bytes | None = None
    checkpoints: int | None = None
    unsigned_entries: int | None = None
    checkpoint_time: int | None = None
    authority: bytes | None = None
    mac: bytes | None = None


class TileRow(Row, frozen=True):
    """Hashes of a log's tree: of level 0 full tiles only, of those above what there is."""

    table = "tiles"
    key = ("tenant", "level", "number")

    tenant: str
    level: int
    number: int
    hashes: bytes


class CheckpointRow(Row, frozen=True):
    """A signed checkpoint of a log."""

    table = "checkpoints"
    key = ("tenant", "number")

    tenant: str
    number: int
    size: int
    note: bytes


class EntryRow(Row, frozen=True):
    """One audit entry: ``body`` is its canonical bytes, the other columns find it.

    ``agent`` and ``session_id`` are whose trail it belongs to: the actor's, or the one acted upon.
    """

    table = "entries"
    key = ("tenant", "seq")

    tenant: str
    seq: int
    time: int
    event: str
    agent: str | None
    session_id: str | None
    credential_name: str | None
    lease_id: str | None
    body: bytes


class TallyRow(Row, frozen=True):
    """How many entries of a log there are in a period of so many hours, by some aspects of theirs.

    See :mod:`vaultctl.engine.tallies`.
    """

    table = "tallies"
    key = ("tenant", "aspects", "hours", "period", "agent", "credential_name", "event")
    adds_to = "entries"

    tenant: str
    aspects: int
    hours: int
    period: int
    agent: str
    credential_name: str
    event: str
    entries: int


class TallyMarkRow(Row, frozen=True):
    """Up to which number, itself not included, a log's entries are tallied."""

    table = "tally_marks"
    key = ("tenant",)

    tenant: str
    seq: int


class IdempotencyRow(Row, frozen=True):
    """What a request with an ``Idempotency-Key`` made, for 24 hours.

    ``made`` is JSON and never holds a secret; ``answer`` is one that does, sealed under a key that only the caller's
    bearer token yields.
    """

    table = "idempotency_keys"
    key = ("tenant", "caller", "operation", "idempotency_key")

    tenant: str
    caller: str
    operation: str
    idempotency_key: str
    body_code: bytes
    made: str
    answer: bytes | None
    created_at: int
    mac: bytes = b""
