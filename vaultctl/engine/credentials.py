"""Operations on credentials."""

import json
from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

from vaultctl.domain import requests as ask
from vaultctl.domain.disclosure import discloses
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import AlreadyExists, Conflict, InvalidInput, NotFound, VaultError
from vaultctl.domain.ids import new_id
from vaultctl.domain.names import check_glob, check_name
from vaultctl.domain.records import (
    AllowedIdentity,
    Credential,
    CredentialState,
    CredentialType,
    CredentialVersion,
    Delivery,
    Event,
    Page,
    Policy,
    Revocation,
    Role,
)
from vaultctl.domain.rules import (
    SHORTEST_REFERENCED,
    Caller,
    Refusal,
    can_be_referenced,
    no_such_credential,
    require_role,
    revoked_credential,
)
from vaultctl.domain.secrets import Secret
from vaultctl.domain.text import check_metadata
from vaultctl.engine import credential_types, leases, paging, views
from vaultctl.engine.catalogue import find_credential, is_reachable, near_names
from vaultctl.engine.free_text import disclosed, refuse_disclosure, value_fragments
from vaultctl.engine.refusals import Refused, refuse_if
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import CredentialRow, VersionRow

_SCAN = 1_000
_MOST_ALLOWED = 100


def create_credential(tx: Transaction, caller: Caller, request: ask.CreateCredential) -> Credential:
    """Store a new credential with its first version."""
    _require(tx, caller, Role.MANAGER, request.name)
    metadata = check_metadata(request.metadata)
    refuse_disclosure(tx, caller, (*metadata, *metadata.values()), Event.ACCESS_DENIED)
    _check_policy(request.policy)
    _refuse_identities(tx, caller, request.policy.allowed_identities)
    value, attributes = checked_value(caller, request.name, request.type, request.value, metadata)
    _check_delivery(request.policy.delivery, value)
    if tx.get(CredentialRow, caller.tenant, request.name) is not None:
        raise AlreadyExists(
            f"There is a credential {request.name!r} already.",
            hint=f"Store a new value with: vaultctl credential rotate {request.name}",
        )
    row = CredentialRow(
        tenant=caller.tenant,
        name=request.name,
        id=new_id("cred", tx.random),
        type=request.type.value,
        state=CredentialState.ACTIVE.value,
        version=1,
        metadata=_json(metadata),
        attributes=_json(attributes),
        default_lease_ttl=_seconds(request.policy.default_lease_ttl),
        max_lease_ttl=_seconds(request.policy.max_lease_ttl),
        allowed_identities=views.allowed_identities_json(request.policy),
        delivery=request.policy.delivery.value,
        created_at=tx.now,
        created_by=caller.identity.label,
        updated_at=tx.now,
    )
    row = tx.insert(row)
    _insert_version(tx, caller, row, value, attributes)
    _audit(tx, caller, Event.CREDENTIAL_CREATED, row, {"type": row.type, "version": 1} | policy_details(row))
    return views.credential(row)


def list_credentials(tx: Transaction, caller: Caller, request: ask.ListCredentials) -> Page[Credential]:
    """Credentials by name. An agent sees those that it could lease."""
    limit = paging.page_size(request.limit)
    after = paging.decode(request.cursor, str)[0] if request.cursor else ""
    found: list[CredentialRow] = []
    while len(found) <= limit:
        batch = tx.find(
            CredentialRow,
            Where("tenant", "=", caller.tenant),
            Where("name", ">", after),
            order="name",
            limit=_SCAN if caller.is_agent else limit + 1,
        )
        found += [row for row in batch if _is_visible(caller, row)]
        if not caller.is_agent or len(batch) < _SCAN:
            break
        after = batch[-1].name
    return paging.page(found, limit, views.credential, lambda row: (row.name,))


def get_credential(tx: Transaction, caller: Caller, request: ask.GetCredential) -> Credential:
    """One credential, without its value."""
    return views.credential(_visible(tx, caller, request.name))


def update_credential(tx: Transaction, caller: Caller, request: ask.UpdateCredential) -> Credential:
    """Change metadata, which a manager may, or policy, which only an admin may."""
    policy_changes = any(
        change is not nothing
        for change, nothing in (
            (request.default_lease_ttl, UNSET),
            (request.max_lease_ttl, UNSET),
            (request.allowed_identities, None),
            (request.delivery, None),
        )
    )
    _require(tx, caller, Role.ADMIN if policy_changes else Role.MANAGER, request.name)
    if not policy_changes and request.metadata is None:
        raise InvalidInput("Nothing to change was named.", hint="Give metadata or a part of the policy.")
    row = _visible(tx, caller, request.name)
    changes: dict[str, Any] = {}
    if request.metadata is not None:
        metadata = check_metadata(request.metadata)
        refuse_disclosure(tx, caller, (*metadata, *metadata.values()), Event.ACCESS_DENIED)
        _refuse_value_in_text(caller, "", metadata, _all_fragments(tx, row), credential_name=row.name)
        changes["metadata"] = _json(metadata)
    if policy_changes:
        _refuse_identities(tx, caller, request.allowed_identities or ())
        policy = _changed_policy(views.policy_of(row), request)
        _check_policy(policy)
        if request.delivery is Delivery.REFERENCE:
            version = tx.get(VersionRow, row.tenant, row.id, row.version)
            _check_delivery(request.delivery, "" if version is None else tx.unseal_value(version))
        changes |= {
            "default_lease_ttl": _seconds(policy.default_lease_ttl),
            "max_lease_ttl": _seconds(policy.max_lease_ttl),
            "allowed_identities": views.allowed_identities_json(policy),
            "delivery": policy.delivery.value,
        }
    row = tx.update(row, **changes, updated_at=tx.now)
    if request.metadata is not None:
        _audit(tx, caller, Event.CREDENTIAL_UPDATED, row, {"metadata": sorted(request.metadata)})
    if policy_changes:
        _audit(tx, caller, Event.ACL_UPDATED, row, policy_details(row))
    return views.credential(row)


def rotate_credential(tx: Transaction, caller: Caller, request: ask.RotateCredential) -> Credential:
    """Store a new version of the value."""
    _require(tx, caller, Role.MANAGER, request.name)
    row = _changeable(tx, caller, request.name)
    metadata = json.loads(row.metadata)
    value, attributes = checked_value(caller, row.name, CredentialType(row.type), request.value, metadata)
    return _add_version(tx, caller, row, value, attributes)


def list_versions(tx: Transaction, caller: Caller, request: ask.ListVersions) -> Page[CredentialVersion]:
    """Versions of a credential, newest first."""
    limit = paging.page_size(request.limit)
    row = _visible(tx, caller, request.name)
    conditions = [Where("tenant", "=", caller.tenant), Where("credential_id", "=", row.id)]
    if request.cursor:
        conditions.append(Where("version", "<", paging.decode(request.cursor, int)[0]))
    rows = tx.find(VersionRow, *conditions, order="version", descending=True, limit=limit + 1)
    return paging.page(rows, limit, lambda v: views.credential_version(v, row.version), lambda v: (v.version,))


def rollback_credential(tx: Transaction, caller: Caller, request: ask.RollbackCredential) -> Credential:
    """Make a new version that holds the value of an earlier one."""
    _require(tx, caller, Role.MANAGER, request.name)
    row = _changeable(tx, caller, request.name)
    source = tx.get(VersionRow, caller.tenant, row.id, request.to) if 0 < request.to <= row.version else None
    if source is None:
        raise NotFound(
            f"{request.name!r} has no version {request.to}.",
            hint=f"List them: vaultctl credential versions {request.name}",
        )
    if source.version == row.version:
        raise Conflict(f"Version {request.to} of {request.name!r} is the current one.", hint="Name an earlier one.")
    return _add_version(
        tx, caller, row, tx.unseal_value(source), json.loads(source.attributes), restored_from=source.version
    )


def revoke_credential(tx: Transaction, caller: Caller, request: ask.RevokeCredential) -> Revocation:
    """End all leases of a credential and lease it never again."""
    _require(tx, caller, Role.MANAGER, request.name)
    row = _changeable(tx, caller, request.name)
    # The row first: a lease that is issued meanwhile has read it, and is found below.
    row = tx.update(row, state=CredentialState.REVOKED.value, updated_at=tx.now)
    ended = leases.revoke_all(tx, caller.identity, "credential revoked", _leases_of(row))
    _audit(tx, caller, Event.CREDENTIAL_REVOKED, row, {"version": row.version, "leases": ended})
    return Revocation(leases=ended)


def delete_credential(tx: Transaction, caller: Caller, request: ask.DeleteCredential) -> Revocation:
    """Destroy a credential and all its values. Leases end; what the log says of it stays."""
    _require(tx, caller, Role.MANAGER, request.name)
    row = _visible(tx, caller, request.name)
    tx.delete(CredentialRow, row.tenant, Where("name", "=", row.name))
    tx.delete(VersionRow, row.tenant, Where("credential_id", "=", row.id))
    ended = leases.revoke_all(tx, caller.identity, "credential deleted", _leases_of(row))
    _audit(tx, caller, Event.CREDENTIAL_DELETED, row, {"version": row.version, "leases": ended})
    return Revocation(leases=ended)


def named(tx: Transaction, caller: Caller, name: str) -> CredentialRow | None:
    """The credential of a name that a human gives; None if there is none. Of agents nobody asks."""
    check_name(name, "credential")
    refuse_disclosure(tx, caller, (name,), Event.ACCESS_DENIED)
    return find_credential(tx, caller, name)


def checked_value(
    caller: Caller, name: str, type: CredentialType, value: Secret, metadata: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """A value as it is stored, and its attributes.

    Raises:
        InvalidInput: It is none of the type.
        Refused: It is in the name or in the metadata.
    """
    text = credential_types.clean(type, value.reveal())
    attributes = credential_types.validate(type, text)
    _refuse_value_in_text(caller, name, metadata, credential_types.fragments(type, text))
    return text, attributes


def _is_visible(caller: Caller, row: CredentialRow) -> bool:
    return not caller.is_agent or is_reachable(caller, row)


def _require(tx: Transaction, caller: Caller, role: Role, name: str) -> None:
    """Refuse unless the caller has ``role``. The name goes into the entry, unless it is a secret in the wrong place."""
    check_name(name, "credential")
    refuse_disclosure(tx, caller, (name,), Event.ACCESS_DENIED)
    refuse_if(caller, require_role(caller, role), credential_name=name)


def _visible(tx: Transaction, caller: Caller, name: str) -> CredentialRow:
    check_name(name, "credential")
    if caller.is_agent:
        refuse_disclosure(tx, caller, (name,), Event.ACCESS_DENIED)
    row = find_credential(tx, caller, name)
    if row is not None and _is_visible(caller, row):
        return row
    error: VaultError = no_such_credential(name)
    if caller.is_agent:
        rule = "no-such-credential" if row is None else "out-of-reach"
        raise Refused(Refusal(rule, error), caller.tenant, caller.identity, credential_name=name)
    raise NotFound(f"There is no credential {name!r}.", hint=near_names(tx, caller, name))


def _changeable(tx: Transaction, caller: Caller, name: str) -> CredentialRow:
    row = _visible(tx, caller, name)
    if row.state != CredentialState.ACTIVE:
        raise revoked_credential(name)
    return row


def _add_version(
    tx: Transaction,
    caller: Caller,
    row: CredentialRow,
    value: str,
    attributes: dict[str, str],
    *,
    restored_from: int | None = None,
) -> Credential:
    _check_delivery(Delivery(row.delivery), value)
    row = tx.update(row, version=row.version + 1, attributes=_json(attributes), updated_at=tx.now)
    _insert_version(tx, caller, row, value, attributes, restored_from)
    details = {"version": row.version, "restoredFrom": restored_from}
    _audit(tx, caller, Event.CREDENTIAL_ROTATED, row, details)
    return views.credential(row)


def _insert_version(
    tx: Transaction,
    caller: Caller,
    row: CredentialRow,
    value: str,
    attributes: dict[str, str],
    restored_from: int | None = None,
) -> None:
    wrapped, sealed = tx.seal_value(row.tenant, row.id, row.version, value)
    tx.insert(
        VersionRow(
            tenant=row.tenant,
            credential_id=row.id,
            version=row.version,
            wrapped_dek=wrapped,
            sealed_value=sealed,
            attributes=_json(attributes),
            created_at=tx.now,
            created_by=caller.identity.label,
            restored_from=restored_from,
        )
    )


def _all_fragments(tx: Transaction, row: CredentialRow) -> tuple[str, ...]:
    """What must not appear in its metadata: a rollback can bring back an earlier value."""
    conditions = (Where("tenant", "=", row.tenant), Where("credential_id", "=", row.id))
    versions = tx.find(VersionRow, *conditions, order="version", descending=True, limit=_SCAN)
    return tuple(fragment for version in versions for fragment in value_fragments(tx, row.type, version))


def _refuse_value_in_text(
    caller: Caller, name: str, metadata: dict[str, str], secrets: tuple[str, ...], **entry: Any
) -> None:
    """Refuse if the text holds the value. It is recorded: the refusal answers a guess."""
    if discloses("\n".join([name, *metadata, *metadata.values()]), secrets):
        refuse_if(caller, Refusal("secret-in-text", disclosed()), **entry)


def _changed_policy(policy: Policy, request: ask.UpdateCredential) -> Policy:
    def ttl(change: Any, current: Duration | None) -> Duration | None:
        return current if change is UNSET else change

    return Policy(
        default_lease_ttl=ttl(request.default_lease_ttl, policy.default_lease_ttl),
        max_lease_ttl=ttl(request.max_lease_ttl, policy.max_lease_ttl),
        allowed_identities=(
            policy.allowed_identities if request.allowed_identities is None else request.allowed_identities
        ),
        delivery=request.delivery or policy.delivery,
    )


def _refuse_identities(tx: Transaction, caller: Caller, allowed: Iterable[AllowedIdentity]) -> None:
    refuse_disclosure(tx, caller, (identity.glob for identity in allowed), Event.ACCESS_DENIED)


def _check_policy(policy: Policy) -> None:
    default, maximum = policy.default_lease_ttl, policy.max_lease_ttl
    if default and maximum and default > maximum:
        raise InvalidInput(f"The default TTL {default} is longer than the maximum {maximum}.")
    if len(policy.allowed_identities) > _MOST_ALLOWED:
        raise InvalidInput(f"More than {_MOST_ALLOWED} allowed identities.", hint="Use wider globs.")
    for allowed in policy.allowed_identities:
        other = allowed.email if allowed.type == "agent" else allowed.name
        if other is not None:
            raise InvalidInput("An allowed identity is an agent by name or a human by e-mail.", hint="Give one.")
        check_glob(allowed.glob, allowed.type)


def _check_delivery(delivery: Delivery, value: str) -> None:
    if delivery is Delivery.REFERENCE and not can_be_referenced(value):
        raise InvalidInput(
            "The value is too short to be delivered by reference.",
            hint=f"Use one of at least {SHORTEST_REFERENCED} characters, or deliver the value: --delivery value",
        )


def policy_details(row: CredentialRow) -> dict[str, Any]:
    """A credential's policy as its entries in the audit log have it."""
    policy = views.policy_of(row)
    return {
        "defaultLeaseTTL": policy.default_lease_ttl and str(policy.default_lease_ttl),
        "maxLeaseTTL": policy.max_lease_ttl and str(policy.max_lease_ttl),
        "allowedIdentities": [f"{allowed.type}:{allowed.glob}" for allowed in policy.allowed_identities],
        "delivery": row.delivery,
    }


def _leases_of(row: CredentialRow) -> tuple[Where, ...]:
    # By name as well, which is what the index knows; an earlier credential of this name has another id.
    return (
        Where("tenant", "=", row.tenant),
        Where("credential_name", "=", row.name),
        Where("credential_id", "=", row.id),
    )


def _audit(tx: Transaction, caller: Caller, event: Event, row: CredentialRow, details: dict[str, Any]) -> None:
    tx.audit(row.tenant, event, caller.identity, {"credentialId": row.id} | details, credential_name=row.name)


def _json(value: dict[str, str]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _seconds(duration: Duration | None) -> int | None:
    return None if duration is None else duration.seconds_total
