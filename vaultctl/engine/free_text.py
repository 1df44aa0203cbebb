"""No secret in free text: purposes, claims and metadata end up in the audit log, which must not leak."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from vaultctl.domain.disclosure import discloses
from vaultctl.domain.errors import InvalidInput, VerificationFailed
from vaultctl.domain.records import CredentialType, Event, LeaseState
from vaultctl.domain.rules import Caller, Refusal
from vaultctl.domain.text import check_claims, check_free_text
from vaultctl.engine.credential_types import fragments
from vaultctl.engine.refusals import Refused
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import CredentialRow, LeaseRow, VersionRow

_MOST_VALUES = 100

_SHORTEST = 4
"""Characters of the shortest text that can hold a value."""


def check_texts(purpose: str | None, claimed: Mapping[str, str]) -> None:
    """Raise InvalidInput if a purpose or a claim is malformed."""
    if purpose is not None:
        check_free_text(purpose, "purpose")
    check_claims(claimed)


def refuse_disclosure(tx: Transaction, caller: Caller, texts: Iterable[str], event: Event) -> None:
    """Refuse if one of ``texts`` holds a value that was leased in the caller's session.

    The entry says that it happened and keeps none of the texts.

    Raises:
        Refused: One does.
    """
    text = "\n".join(texts)
    if len(text) < _SHORTEST:
        return
    if discloses(text, _leased_fragments(tx, caller)):
        raise Refused(Refusal("secret-in-text", disclosed()), caller.tenant, caller.identity, event=event)


def disclosed() -> InvalidInput:
    """The error that names no text."""
    return InvalidInput(
        "The request holds the value of a credential where free text or a name belongs.",
        hint="Describe the purpose in words; never repeat a secret.",
    )


def value_fragments(tx: Transaction, type: str, version: VersionRow) -> tuple[str, ...]:
    """What must not appear in free text once this version was leased."""
    return fragments(CredentialType(type), tx.unseal_value(version))


def _leased_fragments(tx: Transaction, caller: Caller) -> list[str]:
    conditions: list[Where] = [Where("tenant", "=", caller.tenant)]
    if caller.session_id is not None:
        conditions.append(Where("session_id", "=", caller.session_id))
    elif caller.token_id is not None:
        conditions += [Where("token_id", "=", caller.token_id), Where("state", "=", LeaseState.ACTIVE.value)]
    else:
        conditions += [Where("token_id", "is", None), Where("state", "=", LeaseState.ACTIVE.value)]
    found: list[str] = []
    for lease in _one_lease_of_each_value(tx, conditions):
        # What does not open can't be compared with; it must not keep its holder from all else, revocations included.
        with suppress(VerificationFailed):
            credential = tx.get(CredentialRow, lease.tenant, lease.credential_name)
            version = tx.get(VersionRow, lease.tenant, lease.credential_id, lease.credential_version)
            if credential is not None and version is not None:
                found += value_fragments(tx, credential.type, version)
    return found


def _one_lease_of_each_value(tx: Transaction, conditions: list[Where]) -> Iterator[LeaseRow]:
    """Sought from value to value: a long session has many leases of few values."""
    key = ("credential_id", "credential_version")
    beyond: tuple[Where, ...] = ()
    for _ in range(_MOST_VALUES):
        rows = tx.find_unchecked(LeaseRow, *conditions, *beyond, order=", ".join(key), limit=1)
        if not rows:
            return
        yield rows[0]
        beyond = (Where(key, ">", (rows[0].credential_id, rows[0].credential_version)),)
