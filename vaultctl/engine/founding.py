"""Founding a vault: what a new database gets before anyone can use it."""

import os
from typing import NamedTuple

from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain.ids import RandomBytes, new_id
from vaultctl.domain.names import check_name
from vaultctl.domain.records import Event, Identity
from vaultctl.domain.rules import DEFAULT_LEASE_TTL, DEFAULT_MAX_LEASE_TTL
from vaultctl.engine.authentication import VAULT_TENANT
from vaultctl.engine.keys import Keys
from vaultctl.engine.tenants import settings_details
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Store
from vaultctl.store.rows import VaultRow


class Founded(NamedTuple):
    """A vault that was just founded.

    Attributes:
        vault_id: Its id.
        verifier_key: Verifies the checkpoints of the first tenant's log.
    """

    vault_id: str
    verifier_key: str


def found_vault(
    store: Store, root: RootKey, *, tenant: str, owner: Identity, random: RandomBytes = os.urandom
) -> Founded:
    """Put a vault with its first tenant into an empty store.

    Raises:
        InvalidInput: ``tenant`` is no legal name.
    """
    check_name(tenant, "tenant")
    keys = Keys(root, random)
    vault_id = new_id("vault", random)
    with store.write() as store_tx:
        tx = Transaction(store_tx, keys, random)
        store_tx.insert(VaultRow(vault_id, tx.now, root.id, keys.make_check(vault_id)))
        for name in (VAULT_TENANT, tenant):
            row = tx.create_tenant(name, DEFAULT_LEASE_TTL.seconds_total, DEFAULT_MAX_LEASE_TTL.seconds_total)
            tx.audit(name, Event.TENANT_CREATED, owner, settings_details(row))
        tx.finish()
        return Founded(vault_id, str(tx.verifier_key(tenant)))
