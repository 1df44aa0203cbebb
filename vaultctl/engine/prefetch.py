"""What a group of calls is going to read, read at once: a database beyond a network takes a round trip for each."""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from vaultctl.domain.errors import VaultError
from vaultctl.engine.authentication import Bearer
from vaultctl.engine.dispatch import Call
from vaultctl.engine.transaction import Transaction
from vaultctl.store.rows import IdempotencyRow, Row, SessionRow, TokenRow


class _Keys(NamedTuple):
    """Primary keys that differ in their last column only, by all but that."""

    row_type: type[Row]
    beginning: tuple[str, ...]


def prefetch(tx: Transaction, calls: Iterable[Call]) -> None:
    """Read the tokens and sessions of ``calls``, and the records of their idempotency keys."""
    by_token: dict[bytes, list[tuple[str, str]]] = {}  # and the kinds and keys of its requests that can be repeated
    for call in calls:
        if isinstance(call.principal, Bearer):
            repeatable = by_token.setdefault(call.principal.token_hash, [])
            if call.idempotency is not None and call.idempotency.is_valid:
                repeatable.append((type(call.request).__name__, call.idempotency.key))
    tx.prefetch_tokens(by_token.keys())
    wanted: dict[_Keys, set[str]] = defaultdict(set)
    for token_hash, repeatable in by_token.items():
        token = None
        with suppress(VaultError):  # which the call itself will meet again
            token = tx.token(token_hash)
        if token is None:
            continue
        if token.parent is not None:
            wanted[_Keys(TokenRow, (token.tenant,))].add(token.parent)
        if token.session_id is not None:
            wanted[_Keys(SessionRow, (token.tenant,))].add(token.session_id)
        for kind, key in repeatable:
            from vaultctl.engine.idempotency import whose

            caller = whose(token.parent or token.id, token.session_id)
            wanted[_Keys(IdempotencyRow, (token.tenant, caller, kind))].add(key)
    for keys, last in wanted.items():
        tx.prefetch(keys.row_type, keys.beginning, last)
