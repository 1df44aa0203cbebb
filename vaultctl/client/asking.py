"""From the friendly arguments of ``Vault`` and ``AsyncVault`` to the requests that adapters carry.

What an argument means, and what is wrong with one, is decided here once for both.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar, cast

from msgspec import UNSET, UnsetType

from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.names import check_glob
from vaultctl.domain.records import (
    AllowedIdentity,
    CredentialType,
    Delivery,
    Event,
    ExportFormat,
    LeaseState,
    Policy,
    ResponseFormat,
    Role,
    SessionState,
)
from vaultctl.domain.secrets import Secret

E = TypeVar("E", bound=StrEnum)
AnyDuration = str | timedelta

_COUNTED = ("agent", "credential", "event", "day")
_FILTER_FIELDS = {
    "identity.type": "identity_type",
    "identity.name": "identity_name",
    "identity.userId": "identity_user_id",
    "identity.email": "identity_email",
    "identity.sessionId": "identity_session_id",
    "credentialName": "credential_name",
    "leaseId": "lease_id",
}


def create_credential(
    name: str,
    type: CredentialType | str,
    value: str | Secret,
    metadata: Mapping[str, str] | None,
    default_ttl: AnyDuration | None,
    max_ttl: AnyDuration | None,
    allow: Sequence[str],
    delivery: Delivery | str,
) -> ask.CreateCredential:
    """The request of ``credentials.create``."""
    return ask.CreateCredential(
        name=name,
        type=_enum(CredentialType, type, "credential type"),
        value=_secret(value),
        metadata=dict(metadata or {}),
        policy=Policy(
            default_lease_ttl=_duration(default_ttl, "default TTL"),
            max_lease_ttl=_duration(max_ttl, "maximum TTL"),
            allowed_identities=allowed_identities(allow),
            delivery=_enum(Delivery, delivery, "delivery"),
        ),
    )


def update_credential(
    name: str,
    metadata: Mapping[str, str] | None,
    default_ttl: AnyDuration | None,
    max_ttl: AnyDuration | None,
    allow: Sequence[str] | None,
    delivery: Delivery | str | None,
) -> ask.UpdateCredential:
    """The request of ``credentials.update``."""
    return ask.UpdateCredential(
        name=name,
        metadata=None if metadata is None else dict(metadata),
        default_lease_ttl=_changed_duration(default_ttl, "default TTL"),
        max_lease_ttl=_changed_duration(max_ttl, "maximum TTL"),
        allowed_identities=None if allow is None else allowed_identities(allow),
        delivery=_enum_or_none(Delivery, delivery, "delivery"),
    )


def import_credentials(
    values: Mapping[str, tuple[CredentialType | str, str | Secret]], dry_run: bool
) -> ask.ImportCredentials:
    """The request of ``credentials.import_values``."""
    named = (
        ask.NamedValue(
            name=name,
            type=_enum(CredentialType, type, "credential type"),
            value=value if isinstance(value, Secret) else Secret(value),
        )
        for name, (type, value) in values.items()
    )
    return ask.ImportCredentials(values=tuple(named), dry_run=dry_run)


def rotate_credential(name: str, value: str | Secret) -> ask.RotateCredential:
    """The request of ``credentials.rotate``."""
    return ask.RotateCredential(name=name, value=_secret(value))


def create_lease(
    credential_name: str,
    ttl: AnyDuration | None,
    purpose: str | None,
    claimed: Mapping[str, str] | None,
    response_format: ResponseFormat | str | None,
) -> ask.CreateLease:
    """The request of ``leases.create``."""
    return ask.CreateLease(
        credential_name=credential_name,
        ttl=_duration(ttl, "TTL"),
        purpose=purpose,
        response_format=_enum_or_none(ResponseFormat, response_format, "response format"),
        claimed=dict(claimed or {}),
    )


def list_leases(
    agent: str | None,
    session: str | None,
    credential: str | None,
    token: str | None,
    state: LeaseState | str | None,
    limit: int | None,
    active_at: datetime | None,
) -> ask.ListLeases:
    """The first request of ``leases.list``."""
    return ask.ListLeases(
        agent=agent,
        session_id=session,
        credential_name=credential,
        token_id=token,
        state=_enum_or_none(LeaseState, state, "lease state"),
        active_at=active_at,
        limit=page_size(limit),
    )


def renew_lease(id: str, ttl: AnyDuration | None) -> ask.RenewLease:
    """The request of ``leases.renew``."""
    return ask.RenewLease(id=id, ttl=_duration(ttl, "TTL"))


def revoke_leases(agent: str | None, session: str | None, credential: str | None) -> ask.RevokeLeases:
    """The request of ``leases.revoke_where``."""
    return ask.RevokeLeases(agent=agent, session_id=session, credential_name=credential)


def create_token(
    agent: str | None,
    human: str | None,
    operator: bool,
    role: Role | str | None,
    credentials: Sequence[str],
    ttl: AnyDuration | None,
    max_lease_ttl: AnyDuration | None,
    requests_per_minute: int | None,
) -> ask.CreateToken:
    """The request of ``tokens.create``."""
    return ask.CreateToken(
        agent=agent,
        email=human,
        operator=operator,
        role=_enum_or_none(Role, role, "role"),
        credentials=tuple(credentials),
        ttl=_duration(ttl, "TTL"),
        max_lease_ttl=_duration(max_lease_ttl, "maximum lease TTL"),
        requests_per_minute=requests_per_minute,
    )


def invite_member(email: str, role: Role | str, ttl: AnyDuration | None) -> ask.InviteMember:
    """The request of ``team.invite``."""
    return ask.InviteMember(email=email, role=_enum(Role, role, "role"), ttl=_duration(ttl, "TTL"))


def change_role(email: str, role: Role | str) -> ask.ChangeMemberRole:
    """The request of ``team.change_role``."""
    return ask.ChangeMemberRole(email=email, role=_enum(Role, role, "role"))


def rotate_token(id: str, ttl: AnyDuration | None) -> ask.RotateToken:
    """The request of ``tokens.rotate``."""
    return ask.RotateToken(id=id, ttl=_duration(ttl, "TTL"))


def open_session(id: str | None, claimed: Mapping[str, str] | None) -> ask.OpenSession:
    """The request of ``sessions.open``."""
    return ask.OpenSession(id=id, claimed=dict(claimed or {}))


def list_sessions(agent: str | None, state: SessionState | str | None, limit: int | None) -> ask.ListSessions:
    """The first request of ``sessions.list``."""
    return ask.ListSessions(
        agent=agent, state=_enum_or_none(SessionState, state, "session state"), limit=page_size(limit)
    )


def query_audit(
    filter: Mapping[str, str] | None,
    agent: str | None,
    session: str | None,
    credential: str | None,
    lease: str | None,
    events: Sequence[Event | str],
    since: datetime | None,
    until: datetime | None,
) -> ask.QueryAudit:
    """Which entries the methods of ``audit_log`` mean, without saying from where on or how many."""
    fields: dict[str, Any] = {
        "agent": agent,
        "session_id": session,
        "credential_name": credential,
        "lease_id": lease,
        "since": since,
        "until": until,
    }
    wanted = [_enum(Event, event, "event") for event in events]
    for key, value in (filter or {}).items():
        if key == "event":
            wanted.append(_enum(Event, value, "event"))
            continue
        field = _FILTER_FIELDS.get(key)
        if field is None:
            known = ", ".join([*_FILTER_FIELDS, "event"])
            raise InvalidInput("The audit log has no such field to filter by.", hint=f"Fields: {known}.")
        if fields.get(field) not in (None, value):
            raise InvalidInput(f"{key} is asked for twice, with two values.", hint="Name it once.")
        fields[field] = value
    return ask.QueryAudit(**fields, events=tuple(wanted))


def count_audit(by: str, request: ask.QueryAudit) -> ask.CountAudit:
    """The request of ``audit_log.stats``, about the entries that ``request`` means."""
    if by not in _COUNTED:
        raise InvalidInput("Entries are not counted by that.", hint=f"By one of: {', '.join(_COUNTED)}.")
    names = [name for name in ask.CountAudit.__struct_fields__ if name != "by"]
    return ask.CountAudit(by=cast("Any", by), **{name: getattr(request, name) for name in names})


def begin_export(request: ask.QueryAudit, format: ExportFormat | str) -> ask.BeginExport:
    """The request of ``audit_log.begin_export``, about the entries that ``request`` means."""
    fields = {name: getattr(request, name) for name in ask.AuditQuestion.__struct_fields__}
    return ask.BeginExport(**fields, format=_enum(ExportFormat, format, "export format"))


def create_tenant(
    id: str, default_lease_ttl: AnyDuration | None, max_lease_ttl: AnyDuration | None
) -> ask.CreateTenant:
    """The request of ``tenants.create``."""
    return ask.CreateTenant(
        id=id,
        default_lease_ttl=_duration(default_lease_ttl, "default lease TTL"),
        max_lease_ttl=_duration(max_lease_ttl, "maximum lease TTL"),
    )


def update_tenant(
    id: str, default_lease_ttl: AnyDuration | None, max_lease_ttl: AnyDuration | None
) -> ask.UpdateTenant:
    """The request of ``tenants.update``."""
    return ask.UpdateTenant(
        id=id,
        default_lease_ttl=_duration(default_lease_ttl, "default lease TTL"),
        max_lease_ttl=_duration(max_lease_ttl, "maximum lease TTL"),
    )


def allowed_identities(allow: Sequence[str]) -> tuple[AllowedIdentity, ...]:
    """``agent:GLOB`` and ``human:GLOB`` as allowed identities.

    Raises:
        InvalidInput: One is neither.
    """
    result = []
    for text in allow:
        kind, _, glob = text.partition(":")
        match kind:
            case "agent":
                result.append(AllowedIdentity(type="agent", name=check_glob(glob, "agent")))
            case "human":
                result.append(AllowedIdentity(type="human", email=check_glob(glob, "human")))
            case _:
                raise InvalidInput(
                    "An allowed identity is agent:GLOB or human:GLOB.", hint="For example agent:deploy-*"
                )
    return tuple(result)


def page_size(wanted: int | None) -> int:
    """How many items one page should have, if ``wanted`` are wanted in all; None for all there are.

    Raises:
        InvalidInput: Fewer than one is wanted.
    """
    if wanted is None:
        return ask.MAX_PAGE_SIZE
    if wanted < 1:
        raise InvalidInput("The limit must be at least 1.", hint="Leave it out for the default.")
    return min(wanted, ask.MAX_PAGE_SIZE)


def _secret(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _duration(value: AnyDuration | None, what: str) -> Duration | None:
    return None if value is None else Duration.parse(value, what=what)


def _changed_duration(value: AnyDuration | None, what: str) -> "Duration | UnsetType | None":
    return UNSET if value is None else None if value == "none" else _duration(value, what)


def _enum_or_none(kind: type[E], value: str | None, what: str) -> E | None:
    return None if value is None else _enum(kind, value, what)


def _enum(kind: type[E], value: str, what: str) -> E:
    for member in kind:  # the enumeration's own error would quote the value
        if member.value == value:
            return member
    from difflib import get_close_matches

    known = [str(member.value) for member in kind]
    near = get_close_matches(value[:_LONGEST_VALUE], known, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    raise InvalidInput(f"There is no such {what}.", hint=f"{meant}One of: {', '.join(known)}.")


_LONGEST_VALUE = 64
"""Characters of a word that are compared with those that are known."""
