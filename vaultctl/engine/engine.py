"""The engine of one open vault: runs requests, each in a transaction of its own."""

import os
from contextlib import suppress
from typing import Any, TypeVar, cast

from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultUnavailable
from vaultctl.domain.ids import RandomBytes
from vaultctl.engine import reaper
from vaultctl.engine.authentication import Principal, needs_touch
from vaultctl.engine.dispatch import OPERATIONS, apply
from vaultctl.engine.keys import Keys
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Store, StoreTransaction
from vaultctl.store.rows import VaultRow

T = TypeVar("T")

REAP_BATCH = 200

BRIEFLY = 0.1
"""Seconds to wait for other writers where nothing depends on it."""


class Engine:
    """A vault that is open: its store and its root key."""

    def __init__(self, store: Store, root: RootKey, *, random: RandomBytes = os.urandom) -> None:
        """Open the vault in ``store``.

        Raises:
            VaultLocked: ``root`` is not its root key.
            VaultUnavailable: The store holds no vault, or can't be read.
        """
        self._store = store
        self._keys = Keys(root, random)
        self._random = random
        with store.read() as tx:
            vault = require_vault(tx)
            self._keys.require_root_of(vault)
        self.vault_id = vault.id

    def perform(self, principal: Principal, request: ask.Request[T]) -> T:
        """The answer to ``request``. Its audit entries are committed before this returns or raises a refusal.

        Raises:
            VaultError: The request was refused or failed.
        """
        operation = OPERATIONS[type(request)]
        if not operation.writes:
            with self._store.read() as store_tx:
                tx = self._transaction(store_tx)
                outcome = apply(tx, principal, request)
                is_sign_of_life = outcome.caller is not None and needs_touch(outcome.caller, tx)
            if is_sign_of_life:
                self._touch(principal)
            if outcome.refused is None:
                return cast("T", outcome.answer)
            # A refusal is judged again where it can be recorded.
        with self._store.write() as store_tx:
            tx = self._transaction(store_tx)
            outcome = apply(tx, principal, request)
            tx.finish()
        if outcome.refused is not None:
            raise outcome.refused.refusal.error
        return cast("T", outcome.answer)

    def reap(self, limit: int = REAP_BATCH, *, patience: float | None = None) -> int:
        """Record what has ended by itself, at most ``limit`` of each kind; answers how many records.

        ``patience`` is how many seconds to wait for other writers, if not the store's own.
        """
        with self._store.read() as store_tx:
            if not reaper.is_due(self._transaction(store_tx)):
                return 0
        with self._store.write(patience) as store_tx:
            tx = self._transaction(store_tx)
            count = reaper.reap(tx, limit)
            tx.finish()
        return count

    def inspect(self) -> tuple[list[str], list[str]]:
        """What :mod:`vaultctl.engine.inspection` finds: changed rows, and tenants with incomplete logs."""
        from vaultctl.engine import inspection

        with self._store.read() as store_tx:
            tx = self._transaction(store_tx)
            return inspection.changed_rows(tx), inspection.incomplete_logs(tx)

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _touch(self, principal: Principal) -> None:
        """Record a sign of life, unless another writer is busy for long: who reads does not wait for that."""
        with suppress(VaultUnavailable), self._store.write(BRIEFLY) as store_tx:
            tx = self._transaction(store_tx)
            apply(tx, principal, ask.TouchSession())
            tx.finish()

    def _transaction(self, store_tx: StoreTransaction) -> Transaction:
        return Transaction(store_tx, self._keys, self._random)


def require_vault(tx: StoreTransaction) -> VaultRow:
    """The vault that a store holds.

    Raises:
        VaultUnavailable: It holds none.
    """
    rows: list[Any] = tx.find(VaultRow, limit=1)
    if not rows:
        raise VaultUnavailable("The database holds no vault.", hint="Restore it from a backup, or run: vaultctl init")
    vault: VaultRow = rows[0]
    return vault
