"""No secret in free text: purposes, claims and metadata end up in the audit log, which must not leak."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from vaultctl.domain.disclosure import Text
from vaultctl.domain.errors import InvalidInput, VerificationFailed
from vaultctl.domain.records import CredentialType, Event, LeaseState
from vaultctl.domain.rules import Caller, Refusal
from vaultctl.domain.text import check_claims, check_free_text
from vaultctl.engine.credential_types import fragments
from vaultctl.engine.memory import Value
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


def refuse_disclosure(tx: Transaction, caller: Caller, texts: Iterable[str], event: Event) -> Text:
    """Refuse if one of ``texts`` holds a value that was leased in the caller's session; answers them as one.

    The entry says that it happened and keeps none of the texts.

    Raises:
        Refused: One does.
    """
    joined = "\n".join(texts)
    text = Text(joined)
    if len(joined) >= _SHORTEST and text.discloses(_leased_fragments(tx, caller)):
        raise Refused(Refusal("secret-in-text", disclosed()), caller.tenant, caller.identity, event=event)
    return text


def disclosed() -> InvalidInput:
    """The error that names no text."""
    return InvalidInput(
        "The request holds the value of a credential where free text or a name belongs.",
        hint="Describe the purpose in words; never repeat a secret.",
    )


def value_fragments(tx: Transaction, type: str, version: VersionRow) -> tuple[str, ...]:
    """What must not appear in free text once this version was leased."""
    made = tx.made(version.tenant)
    key = ("fragments", version.credential_id, version.version, type)
    found: tuple[str, ...] | None = made.get(key)
    if found is None:
        found = made[key] = fragments(CredentialType(type), tx.unseal_value(version))
    return found


def _leased_fragments(tx: Transaction, caller: Caller) -> tuple[str, ...]:
    scope = ("token", caller.token_id) if caller.session_id is None else ("session", caller.session_id)

    def read(values: Iterable[Value]) -> Iterator[str]:
        for credential_id, number, name in values:
            # What does not open can't be compared with; it must not keep its holder from all else, revocations
            # included.
            with suppress(VerificationFailed):
                credential = tx.get(CredentialRow, caller.tenant, name)
                version = tx.get(VersionRow, caller.tenant, credential_id, number)
                if credential is not None and version is not None:
                    yield from value_fragments(tx, credential.type, version)

    return tx.leased(caller.tenant, scope, lambda: _values(tx, caller), read)


def _values(tx: Transaction, caller: Caller) -> Iterator[Value]:
    """The values leased in the caller's session, or being leased to its token."""
    conditions: list[Where] = [Where("tenant", "=", caller.tenant)]
    if caller.session_id is not None:
        conditions.append(Where("session_id", "=", caller.session_id))
    else:
        by_token = Where("token_id", "is" if caller.token_id is None else "=", caller.token_id)
        conditions += [by_token, Where("state", "=", LeaseState.ACTIVE.value)]
    # Sought from value to value: a long session has many leases of few values.
    key = ("credential_id", "credential_version")
    beyond: tuple[Where, ...] = ()
    for _ in range(_MOST_VALUES):
        rows = tx.find_unchecked(LeaseRow, *conditions, *beyond, order=", ".join(key), limit=1)
        if not rows:
            return
        yield rows[0].credential_id, rows[0].credential_version, rows[0].credential_name
        beyond = (Where(key, ">", (rows[0].credential_id, rows[0].credential_version)),)
