"""Rows that are as the vault wrote them once, and not as its audit log says they have become, for ``doctor``.

The code of a row proves that the vault wrote it, not when: whoever can write to the database can put one back as it
was before a revocation. The log tells, as long as it is whole itself, which ``audit verify`` looks at. Each change of
authority has its entry in the transaction of the change, so that in one snapshot the two agree exactly. A row may
grant less than the log says, after a restoration; never more.
"""

import heapq
from collections.abc import Iterator
from typing import Any, TypeVar

from vaultctl.domain.errors import VerificationFailed
from vaultctl.domain.records import AuditEntry, CredentialState, Event, LeaseState, Role, SessionState
from vaultctl.domain.times import from_micros, rfc3339
from vaultctl.engine import views
from vaultctl.engine.credentials import policy_details
from vaultctl.engine.tenants import settings_details
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import CredentialRow, EntryRow, LeaseRow, MemberRow, Row, SessionRow, TenantRow, TokenRow

_CHUNK = 1_000
_MOST = 1_000_000
_ROLES = [role.value for role in Role]

R = TypeVar("R", bound=Row)

_Details = dict[str, Any]


def superseded_rows(tx: Transaction, tenant: str) -> Iterator[Row]:
    """A tenant's rows that grant what the audit log says was withdrawn or replaced since."""
    yield from _tenants(tx, tenant)
    yield from _credentials(tx, tenant)
    roles = _roles(tx, tenant)
    yield from (row for row in _authentic(tx, MemberRow, tenant) if row.role != roles.get(row.email, row.role))
    yield from _tokens(tx, tenant, roles)
    yield from _sessions(tx, tenant)
    yield from _leases(tx, tenant)


def _tenants(tx: Transaction, tenant: str) -> Iterator[TenantRow]:
    told: _Details = {}
    for entry in _entries(tx, tenant, Event.TENANT_CREATED, Event.SETTINGS_UPDATED):
        told = entry.details
    for row in _authentic(tx, TenantRow, tenant):
        if told and any(told.get(name) != value for name, value in settings_details(row).items()):
            yield row


def _credentials(tx: Transaction, tenant: str) -> Iterator[CredentialRow]:
    versions: dict[str, int] = {}
    policies: dict[str, _Details] = {}
    ended: dict[str, Event] = {}
    for entry in _entries(
        tx,
        tenant,
        Event.CREDENTIAL_CREATED,
        Event.CREDENTIAL_ROTATED,
        Event.ACL_UPDATED,
        Event.CREDENTIAL_REVOKED,
        Event.CREDENTIAL_DELETED,
    ):
        id = str(entry.details.get("credentialId"))
        if entry.event in (Event.CREDENTIAL_REVOKED, Event.CREDENTIAL_DELETED):
            ended[id] = entry.event
        if entry.event in (Event.CREDENTIAL_CREATED, Event.CREDENTIAL_ROTATED):
            versions[id] = entry.details.get("version", 0)
        if entry.event in (Event.CREDENTIAL_CREATED, Event.ACL_UPDATED):
            policies[id] = entry.details
    for row in _authentic(tx, CredentialRow, tenant):
        is_revoked = row.state == CredentialState.REVOKED and ended.get(row.id) is Event.CREDENTIAL_REVOKED
        policy = policy_details(row)
        told = policies.get(row.id, policy)
        if (
            (row.id in ended and not is_revoked)
            or versions.get(row.id, row.version) != row.version
            or any(told.get(name) != value for name, value in policy.items())
        ):
            yield row


def _roles(tx: Transaction, tenant: str) -> dict[str, str | None]:
    """The role that each person has by the log; None for who was removed."""
    roles: dict[str, str | None] = {}
    for entry in _entries(tx, tenant, Event.TEAM_INVITED, Event.TEAM_ROLE_CHANGED, Event.TEAM_REMOVED):
        email = str(entry.details.get("email"))
        if entry.event is Event.TEAM_REMOVED:
            roles[email] = None
        else:
            roles[email] = entry.details.get("to" if entry.event is Event.TEAM_ROLE_CHANGED else "role")
    return roles


def _tokens(tx: Transaction, tenant: str, roles: dict[str, str | None]) -> Iterator[TokenRow]:
    revoked: set[str] = set()
    rotated: dict[str, str] = {}
    for entry in _entries(tx, tenant, Event.TOKEN_ROTATED, Event.TOKEN_REVOKED):
        id = str(entry.details.get("tokenId"))
        if entry.event is Event.TOKEN_REVOKED:
            revoked.add(id)
        else:
            rotated[id] = str(entry.details.get("expiresAt"))
    for row in _authentic(tx, TokenRow, tenant, Where("revoked_at", "is", None)):
        is_older = row.id in rotated and (
            row.rotated_at is None or rfc3339(from_micros(row.expires_at)) != rotated[row.id]
        )
        role = roles.get(row.email or "") if row.kind == "human" else None
        is_stronger = role in _ROLES and Role(row.role).rank > Role(role).rank  # an entry may hold anything
        if row.id in revoked or is_older or is_stronger:
            yield row


def _sessions(tx: Transaction, tenant: str) -> Iterator[SessionRow]:
    """An ended session's id is never used again."""
    for row in _authentic(tx, SessionRow, tenant, Where("state", "=", SessionState.ACTIVE.value)):
        ended = Where("event", "=", Event.SESSION_ENDED.value)
        if tx.find_unchecked(EntryRow, Where("tenant", "=", tenant), Where("session_id", "=", row.id), ended, limit=1):
            yield row


def _leases(tx: Transaction, tenant: str) -> Iterator[LeaseRow]:
    ended = Where("event", "in", [Event.LEASE_EXPIRED.value, Event.LEASE_REVOKED.value])
    for row in _authentic(tx, LeaseRow, tenant, Where("state", "=", LeaseState.ACTIVE.value)):
        if tx.find_unchecked(EntryRow, Where("tenant", "=", tenant), Where("lease_id", "=", row.id), ended, limit=1):
            yield row


def _authentic(tx: Transaction, row_type: type[R], tenant: str, *conditions: Where) -> Iterator[R]:
    """A tenant's rows; those that the vault never wrote are found elsewhere."""
    of_tenant = Where("tenant", "=", tenant)
    return filter(tx.is_authentic, tx.find_unchecked(row_type, of_tenant, *conditions, limit=_MOST))


def _entries(tx: Transaction, tenant: str, *events: Event) -> Iterator[AuditEntry]:
    """A tenant's entries of these events, oldest first.

    Each event is asked for alone: for several at once a database may look through the whole log, which is in order.
    """
    return heapq.merge(*(_of_event(tx, tenant, event) for event in events), key=lambda entry: entry.seq)


def _of_event(tx: Transaction, tenant: str, event: Event) -> Iterator[AuditEntry]:
    of_event = (Where("tenant", "=", tenant), Where("event", "=", event.value))
    beyond = -1
    while rows := tx.find_unchecked(EntryRow, *of_event, Where("seq", ">", beyond), order="seq", limit=_CHUNK):
        beyond = rows[-1].seq
        for row in rows:
            try:
                yield views.entry(row)
            except VerificationFailed:
                continue  # audit verify names it
