"""The keys of a vault while it is open: the root key, and the tenants' keys that it unwraps.

Every tenant has a key-encryption key (purpose ``kek``), under which the credentials' data keys are wrapped, and a
key for authentication codes (purpose ``mac``) over the rows that grant authority.
"""

from vaultctl.crypto.envelope import KEY_BYTES, Binding, Key, seal, unseal
from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain.errors import VaultLocked, VerificationFailed
from vaultctl.domain.ids import RandomBytes
from vaultctl.store.interface import StoreTransaction, Where
from vaultctl.store.rows import KeyRow, VaultRow

KEK = "kek"
MAC = "mac"
_PURPOSES = (KEK, MAC)
_CHECK = b"vaultctl root key"


class Keys:
    """Unwraps tenants' keys on demand and remembers them while the vault is open."""

    def __init__(self, root: RootKey, random: RandomBytes) -> None:
        self._root = Key(root.id, 1, root.key)
        self._random = random
        self._unwrapped: dict[tuple[str, str, int], Key] = {}

    def make_check(self, vault_id: str) -> bytes:
        """A sealed constant by which the right root key is recognised."""
        return seal(self._root, Binding("root key check", "", vault_id, 1), _CHECK, self._random)

    def require_root_of(self, vault: VaultRow) -> None:
        """Raise VaultLocked unless the root key is this vault's."""
        try:
            unseal(self._root_key, Binding("root key check", "", vault.id, 1), vault.root_key_check)
        except VerificationFailed:
            raise _foreign() from None

    def create(self, tx: StoreTransaction, tenant: str) -> None:
        """Make the first keys of a tenant."""
        for purpose in _PURPOSES:
            # A creation that was rolled back may have left its key in memory.
            self._unwrapped.pop((tenant, purpose, 1), None)
            wrapped = seal(self._root, self._binding(tenant, purpose, 1), self._random(KEY_BYTES), self._random)
            tx.insert(KeyRow(tenant, purpose, 1, wrapped, tx.now))

    def mac(self, tx: StoreTransaction, tenant: str) -> bytes:
        """The key for a tenant's authentication codes."""
        return self.version(tx, tenant, MAC, 1).secret

    def newest_kek(self, tx: StoreTransaction, tenant: str) -> Key:
        """The key under which a tenant's new data keys are wrapped."""
        rows = tx.find(
            KeyRow,
            Where("tenant", "=", tenant),
            Where("purpose", "=", KEK),
            order="version",
            descending=True,
            limit=1,
        )
        if not rows:
            raise self._missing(tenant)
        return self.version(tx, tenant, KEK, rows[0].version)

    def version(self, tx: StoreTransaction, tenant: str, purpose: str, version: int) -> Key:
        """One version of one of a tenant's keys.

        Raises:
            VerificationFailed: It is not there, or does not unwrap.
        """
        known = self._unwrapped.get((tenant, purpose, version))
        if known is None:
            row = tx.get(KeyRow, tenant, purpose, version)
            if row is None:
                raise self._missing(tenant)
            secret = unseal(self._root_key, self._binding(tenant, purpose, version), row.wrapped)
            known = self._unwrapped[tenant, purpose, version] = Key(f"{purpose}/{tenant}", version, secret)
        return known

    def _root_key(self, key_id: str, version: int) -> Key:
        if (key_id, version) != (self._root.id, self._root.version):
            raise _foreign()
        return self._root

    @staticmethod
    def _binding(tenant: str, purpose: str, version: int) -> Binding:
        return Binding("tenant key", tenant, purpose, version)

    @staticmethod
    def _missing(tenant: str) -> VerificationFailed:
        return VerificationFailed(
            f"A key of tenant {tenant!r} is missing from the database.", hint="Restore it from a backup."
        )


def _foreign() -> VaultLocked:
    return VaultLocked(
        "The root key does not belong to this vault.",
        hint="Look at which database and which root key the configuration names: vaultctl doctor",
    )
