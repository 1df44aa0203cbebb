"""Rows as the records that callers see."""

import json
from datetime import datetime
from functools import lru_cache
from typing import Literal, cast

import msgspec

from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import VerificationFailed
from vaultctl.domain.records import (
    AllowedIdentity,
    AuditEntry,
    Credential,
    CredentialState,
    CredentialType,
    CredentialVersion,
    Delivery,
    Identity,
    Lease,
    LeaseState,
    Member,
    Policy,
    Role,
    Session,
    SessionState,
    Tenant,
    Token,
    TokenState,
)
from vaultctl.domain.times import from_micros
from vaultctl.store.rows import (
    CredentialRow,
    EntryRow,
    LeaseRow,
    MemberRow,
    SessionRow,
    TenantRow,
    TokenRow,
    VersionRow,
)

CREDENTIAL_TYPES = {type.value: type for type in CredentialType}
CREDENTIAL_STATES = {state.value: state for state in CredentialState}
_LEASE_STATES = {state.value: state for state in LeaseState}
_DELIVERIES: dict[str | None, Delivery] = {None: Delivery.VALUE} | {delivery.value: delivery for delivery in Delivery}

_POLICY_IDENTITIES = msgspec.json.Decoder(tuple[AllowedIdentity, ...])
_ENTRY = msgspec.json.Decoder(AuditEntry)


def policy_of(row: CredentialRow) -> Policy:
    """The policy of a credential."""
    return _policy(row.default_lease_ttl, row.max_lease_ttl, row.allowed_identities, row.delivery)


@lru_cache
def _policy(default_lease_ttl: int | None, max_lease_ttl: int | None, allowed_identities: str, delivery: str) -> Policy:
    return Policy(
        default_lease_ttl=_duration(default_lease_ttl),
        max_lease_ttl=_duration(max_lease_ttl),
        allowed_identities=_POLICY_IDENTITIES.decode(allowed_identities),
        delivery=Delivery(delivery),
    )


def credential(row: CredentialRow) -> Credential:
    """A credential, without its value."""
    return Credential(
        id=row.id,
        name=row.name,
        type=CREDENTIAL_TYPES[row.type],
        state=CREDENTIAL_STATES[row.state],
        version=row.version,
        metadata=json.loads(row.metadata),
        attributes=json.loads(row.attributes),
        policy=policy_of(row),
        created_at=from_micros(row.created_at),
        created_by=row.created_by,
        updated_at=from_micros(row.updated_at),
    )


def attributes_of(row: VersionRow) -> dict[str, str]:
    """What one version of a credential shows of its value."""
    return dict(_attributes(row.attributes))


@lru_cache
def _attributes(text: str) -> dict[str, str]:
    attributes: dict[str, str] = json.loads(text)
    return attributes


def credential_version(row: VersionRow, current: int) -> CredentialVersion:
    """One version of a credential, without its value."""
    return CredentialVersion(
        version=row.version,
        current=row.version == current,
        attributes=attributes_of(row),
        created_at=from_micros(row.created_at),
        created_by=row.created_by,
        restored_from=row.restored_from,
    )


def lease_identity(row: LeaseRow) -> Identity:
    """Who holds a lease, with the purpose that was declared."""
    return Identity(
        type=cast("Literal['human', 'agent']", row.identity_type),
        name=row.agent,
        user_id=row.user_id,
        email=row.email,
        session_id=row.session_id,
        purpose=row.purpose,
    )


def lease(row: LeaseRow, now: int) -> Lease:
    """A lease as it is ``now``: one that ran out is expired, whether or not that was recorded yet."""
    state = _LEASE_STATES[row.state]
    if state is LeaseState.ACTIVE and row.expires_at <= now:
        state = LeaseState.EXPIRED
    return Lease(
        id=row.id,
        credential_id=row.credential_id,
        credential_name=row.credential_name,
        credential_version=row.credential_version,
        identity=lease_identity(row),
        ttl=Duration.of(row.ttl),
        issued_at=from_micros(row.issued_at),
        expires_at=from_micros(row.expires_at),
        max_expires_at=from_micros(row.max_expires_at),
        renewals=row.renewals,
        state=state,
        delivery=_DELIVERIES[row.delivery],
        redeemed_at=_moment(row.redeemed_at),
        renewed_at=_moment(row.renewed_at),
        ended_at=_moment(row.ended_at),
        end_reason=row.end_reason,
        token_id=row.token_id,
    )


def token(row: TokenRow, now: int) -> Token:
    """A token as it is ``now``, without its secret."""
    if row.revoked_at is not None:
        state = TokenState.REVOKED
    else:
        state = TokenState.EXPIRED if row.expires_at <= now else TokenState.ACTIVE
    return Token(
        id=row.id,
        kind=cast("Literal['agent', 'human', 'operator', 'session', 'redeem']", row.kind),
        role=Role(row.role),
        state=state,
        credentials=tuple(json.loads(row.credentials)),
        created_at=from_micros(row.created_at),
        created_by=row.created_by,
        expires_at=from_micros(row.expires_at),
        agent=row.agent,
        email=row.email,
        user_id=row.user_id,
        max_lease_ttl=_duration(row.max_lease_ttl),
        requests_per_minute=row.requests_per_minute,
        parent=row.parent,
        session_id=row.session_id,
        rotated_at=_moment(row.rotated_at),
        revoked_at=_moment(row.revoked_at),
    )


def session(row: SessionRow, *, is_live: bool, active_leases: int | None = None) -> Session:
    """A session; one that is not live any more has ended, whether or not that was recorded yet."""
    return Session(
        id=row.id,
        agent=row.agent,
        state=SessionState.ACTIVE if is_live else SessionState.ENDED,
        token_id=row.token_id,
        started_at=from_micros(row.started_at),
        last_seen_at=from_micros(row.last_seen_at),
        expires_at=from_micros(row.expires_at),
        ended_at=_moment(row.ended_at),
        end_reason=row.end_reason,
        active_leases=active_leases,
    )


def tenant(row: TenantRow) -> Tenant:
    """A tenant's settings."""
    return Tenant(
        id=row.tenant,
        default_lease_ttl=Duration.of(row.default_lease_ttl),
        max_lease_ttl=Duration.of(row.max_lease_ttl),
        created_at=from_micros(row.created_at),
    )


def member(row: MemberRow, tokens: int) -> Member:
    """A person of the team, with the number of tokens that count."""
    return Member(
        id=row.email,
        role=Role(row.role),
        created_at=from_micros(row.created_at),
        created_by=row.created_by,
        tokens=tokens,
    )


def entry(row: EntryRow) -> AuditEntry:
    """An audit entry, from its bytes."""
    try:
        return _ENTRY.decode(row.body)
    except (msgspec.MsgspecError, RecursionError, TypeError):  # a database may hold anything
        raise VerificationFailed(
            f"Entry {row.seq} of the audit log of tenant {row.tenant!r} is not what the vault wrote.",
            hint="Restore the database from a backup, and find out who can write to it.",
        ) from None


def allowed_identities_json(policy: Policy) -> str:
    """A policy's allowed identities as they are stored."""
    return msgspec.json.encode(policy.allowed_identities).decode()


def _moment(micros: int | None) -> datetime | None:
    return None if micros is None else from_micros(micros)


def _duration(seconds: int | None) -> Duration | None:
    return None if seconds is None else Duration.of(seconds)
