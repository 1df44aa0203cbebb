"""Many values at once: which of them are new, which differ from what is there, and storing them all or none.

Telling whether a value is the one that is there answers a guess. Whoever gives a long value has it already; a short one
is compared only for those who could lease it, and counts as changed for others. Every comparison leaves an entry.
"""

import hmac
import json
from typing import NamedTuple

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import (
    Change,
    CredentialState,
    CredentialType,
    Event,
    ImportedCredential,
    ImportResult,
    Role,
)
from vaultctl.domain.rules import Caller, judge_lease, require_role, revoked_credential
from vaultctl.engine import credentials, views
from vaultctl.engine.refusals import refuse_if
from vaultctl.engine.transaction import Transaction
from vaultctl.store.rows import CredentialRow, VersionRow

_LONG = 16
"""Characters from which on nobody guesses a value."""


class _Planned(NamedTuple):
    value: ask.NamedValue
    row: CredentialRow | None
    change: Change
    compared: bool


def import_credentials(tx: Transaction, caller: Caller, request: ask.ImportCredentials) -> ImportResult:
    """Store values under their names: as new credentials, or as new versions where they differ. Types stay."""
    refuse_if(caller, require_role(caller, Role.MANAGER))
    if not 1 <= len(request.values) <= ask.MOST_IMPORTED:
        raise InvalidInput(f"An import has 1 to {ask.MOST_IMPORTED} values.", hint="Import them in several steps.")
    if len({value.name for value in request.values}) < len(request.values):
        raise InvalidInput("Two of the values have the same name.", hint="Rename one of them.")
    planned = [_plan(tx, caller, value) for value in request.values]  # all refusals come before the first change
    return ImportResult(items=tuple(_carried_out(tx, caller, it, dry_run=request.dry_run) for it in planned))


def _plan(tx: Transaction, caller: Caller, value: ask.NamedValue) -> _Planned:
    row = credentials.named(tx, caller, value.name)
    type = value.type if row is None else CredentialType(row.type)
    metadata = {} if row is None else json.loads(row.metadata)
    try:
        text, _ = credentials.checked_value(caller, value.name, type, value.value, metadata)
    except InvalidInput as error:  # the name says which one it is
        raise InvalidInput(f"{value.name}: {error.message}", hint=error.hint) from None
    if row is None:
        return _Planned(value, None, "new", compared=False)
    if row.state != CredentialState.ACTIVE:
        raise revoked_credential(row.name)
    version = tx.get(VersionRow, row.tenant, row.id, row.version)
    if version is None or not _may_compare(caller, row, text):
        return _Planned(value, row, "changed", compared=False)
    same = hmac.compare_digest(tx.unseal_value(version).encode(), text.encode())
    return _Planned(value, row, "unchanged" if same else "changed", compared=True)


def _may_compare(caller: Caller, row: CredentialRow, text: str) -> bool:
    if len(text) >= _LONG:
        return True
    return judge_lease(caller, row.name, views.policy_of(row), CredentialState(row.state)) is None


def _carried_out(tx: Transaction, caller: Caller, planned: _Planned, *, dry_run: bool) -> ImportedCredential:
    value, row, change, compared = planned
    version = 0 if row is None else row.version
    if compared and (dry_run or change == "unchanged"):
        details = {"version": version, "change": change}
        tx.audit(caller.tenant, Event.CREDENTIAL_COMPARED, caller.identity, details, credential_name=value.name)
    type = value.type if row is None else CredentialType(row.type)
    if not dry_run and change == "new":
        request = ask.CreateCredential(name=value.name, type=type, value=value.value)
        version = credentials.create_credential(tx, caller, request).version
    elif not dry_run and change == "changed":
        rotation = ask.RotateCredential(name=value.name, value=value.value)
        version = credentials.rotate_credential(tx, caller, rotation).version
    return ImportedCredential(name=value.name, type=type, change=change, version=version)
