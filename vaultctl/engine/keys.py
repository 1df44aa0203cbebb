"""The keys of a vault while it is open: the root key, and the tenants' keys that it unwraps.

Every tenant has a key-encryption key (purpose ``kek``), under which the credentials' data keys are wrapped, a key for
authentication codes (purpose ``mac``) over the rows that grant authority, and a key (purpose ``signing``) that signs
the checkpoints of its audit log.

Several processes may have one vault open while one of them rotates the root key. What is sealed names its key, so the
others notice, and have the new one looked up where it is kept.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from vaultctl.crypto.envelope import KEY_BYTES, Binding, Key, header_of, seal, unseal
from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain.errors import Conflict, VaultError, VaultLocked, VerificationFailed
from vaultctl.domain.ids import RandomBytes
from vaultctl.store.interface import StoreTransaction, Where
from vaultctl.store.rows import KeyRow, VaultRow

if TYPE_CHECKING:
    from vaultctl.ledger.note import SigningKey

KEK = "kek"
MAC = "mac"
SIGNING = "signing"
_PURPOSES = (KEK, MAC, SIGNING)
_CHECK = b"vaultctl root key"

_AT_ONCE = 100
"""Keys that are rewrapped before they are sent to the database."""

_LOOK_AGAIN = 5.0
"""Seconds before a root key that could not be had is looked for again."""

FindRootKey = Callable[[str], RootKey]
"""Looks up the root key of an id where it is kept, or raises VaultLocked."""


class _Unwrapped(NamedTuple):
    """A key that was unwrapped, and from what."""

    key: Key
    wrapped: bytes


class Keys:
    """Unwraps tenants' keys on demand and remembers them while the vault is open."""

    def __init__(self, root: RootKey, random: RandomBytes, find: FindRootKey | None = None) -> None:
        """``find`` is asked when another process has rotated the root key; without it the vault is then locked."""
        self._root = Key(root.id, 1, root.key)
        self._random = random
        self._find = find
        self._next_look = 0.0
        self._unwrapped: dict[tuple[str, str, int], _Unwrapped] = {}

    def make_check(self, vault_id: str) -> bytes:
        """A sealed constant by which the right root key is recognised."""
        return seal(self._root, _check_binding(vault_id), _CHECK, self._random)

    def require_root_of(self, vault: VaultRow) -> None:
        """Raise VaultLocked unless the root key is this vault's."""
        try:
            unseal(self._root_key, _check_binding(vault.id), vault.root_key_check)
        except VerificationFailed:
            raise _foreign() from None

    def opens_all(self, tx: StoreTransaction) -> bool:
        """Whether every key of every tenant is wrapped by the root key."""
        beginning = header_of(self._root.id, self._root.version)
        return all(row.wrapped[: len(beginning)] == beginning for row in tx.find(KeyRow))

    def rotate_root(self, tx: StoreTransaction, vault: VaultRow, root: RootKey) -> int:
        """Wrap all tenants' keys by another root key; answers how many. They are used once the transaction commits.

        Raises:
            Conflict: Another process has rotated the root key meanwhile.
            VerificationFailed: One of them does not unwrap.
        """
        self.require_newest(vault)
        keys = Keys(root, self._random)
        rows = tx.find(KeyRow)
        for number, row in enumerate(rows, start=1):
            tx.update(keys.rewrap(row, self))
            if number % _AT_ONCE == 0:
                tx.flush()
        tx.update(VaultRow(vault.id, vault.created_at, root.id, keys.make_check(vault.id)))
        return len(rows)

    def require_newest(self, vault: VaultRow) -> None:
        """Raise Conflict if another process has rotated the root key meanwhile."""
        if vault.root_key_id != self._root.id:
            raise Conflict(
                "The root key was rotated by another process meanwhile.", hint="Look at it: vaultctl root-key show"
            )

    @property
    def root(self) -> RootKey:
        """The root key."""
        return RootKey(self._root.id, self._root.secret)

    def unwrap(self, row: KeyRow) -> bytes:
        """A tenant's key.

        Raises:
            VerificationFailed: It does not unwrap.
            VaultLocked: Another root key wraps it.
        """
        return unseal(self._root_key, _binding(row.tenant, row.purpose, row.version), row.wrapped)

    def rewrap(self, row: KeyRow, old: "Keys") -> KeyRow:
        """A tenant's key that ``old`` unwraps, wrapped by this root key."""
        secret = old.unwrap(row)
        wrapped = seal(self._root, _binding(row.tenant, row.purpose, row.version), secret, self._random)
        return KeyRow(row.tenant, row.purpose, row.version, wrapped, row.created_at)

    def use(self, root: RootKey) -> None:
        """Go on with another root key, which all keys are wrapped by now."""
        self._root = Key(root.id, 1, root.key)

    def create(self, tx: StoreTransaction, tenant: str) -> None:
        """Make the first keys of a tenant."""
        for purpose in _PURPOSES:
            self._add(tx, tenant, purpose, 1)

    def create_signing_key(self, tx: StoreTransaction, tenant: str) -> None:
        """Make the signing key of a tenant from before there were any."""
        self._add(tx, tenant, SIGNING, 1)

    def has_signing_key(self, tx: StoreTransaction, tenant: str) -> bool:
        """Whether a tenant has a signing key."""
        return tx.get(KeyRow, tenant, SIGNING, 1) is not None

    def signing_key(self, tx: StoreTransaction, tenant: str) -> "SigningKey":
        """The key that signs a tenant's checkpoints; its name is the log's origin."""
        from vaultctl.ledger.checkpoint import origin
        from vaultctl.ledger.note import SigningKey

        (vault,) = tx.find(VaultRow, limit=1)
        self.require_root_of(vault)  # else it is not the vault's id
        return SigningKey(origin(vault.id, tenant), self.version(tx, tenant, SIGNING, 1).secret)

    def add_kek(self, tx: StoreTransaction, tenant: str) -> int:
        """Make a new version of a tenant's key-encryption key; answers its number."""
        version = self.newest_kek(tx, tenant).version + 1
        self._add(tx, tenant, KEK, version)
        return version

    def drop_keks_before(self, tx: StoreTransaction, tenant: str, version: int) -> None:
        """Destroy the versions of a tenant's key-encryption key before ``version``."""
        conditions = (Where("tenant", "=", tenant), Where("purpose", "=", KEK), Where("version", "<", version))
        tx.delete(KeyRow, *conditions)
        for key in [key for key in self._unwrapped if key[:2] == (tenant, KEK) and key[2] < version]:
            del self._unwrapped[key]

    @staticmethod
    def data_keys_before(tenant: str, version: int) -> tuple[Where, Where]:
        """Finds the versions of credentials whose data keys are wrapped by an earlier one than ``version``."""
        return Where("tenant", "=", tenant), Where("wrapped_dek", "<", header_of(f"{KEK}/{tenant}", version))

    def mac(self, tx: StoreTransaction, tenant: str) -> bytes:
        """The key for a tenant's authentication codes."""
        return self.version(tx, tenant, MAC, 1).secret

    def kek_versions(self, tx: StoreTransaction, tenant: str) -> list[int]:
        """The versions of a tenant's key-encryption key that are there, oldest first."""
        rows = tx.find(KeyRow, Where("tenant", "=", tenant), Where("purpose", "=", KEK), order="version")
        return [row.version for row in rows]

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
        known = self._unwrapped.get((tenant, KEK, rows[0].version))
        # A rotation that was rolled back may have left a key in memory that another one's is not.
        if known is None or known.wrapped != rows[0].wrapped:
            return self._unwrap(rows[0])
        return known.key

    def version(self, tx: StoreTransaction, tenant: str, purpose: str, version: int) -> Key:
        """One version of one of a tenant's keys.

        Raises:
            VerificationFailed: It is not there, or does not unwrap.
        """
        known = self._unwrapped.get((tenant, purpose, version))
        return self.look_up(tx, tenant, purpose, version) if known is None else known.key

    def look_up(self, tx: StoreTransaction, tenant: str, purpose: str, version: int) -> Key:
        """Like :meth:`version`, from the database whatever is remembered."""
        row = tx.get(KeyRow, tenant, purpose, version)
        if row is None:
            raise self._missing(tenant)
        return self._unwrap(row)

    def _add(self, tx: StoreTransaction, tenant: str, purpose: str, version: int) -> None:
        # Two are there while one is founded that another attempt has been quicker with.
        root_keys = [vault.root_key_id for vault in tx.find(VaultRow)]
        if root_keys and self._root.id not in root_keys:  # it would be lost with the root key that was
            self._root_key(root_keys[0], self._root.version)
        # A creation that was rolled back may have left its key in memory.
        self._unwrapped.pop((tenant, purpose, version), None)
        wrapped = seal(self._root, _binding(tenant, purpose, version), self._random(KEY_BYTES), self._random)
        tx.insert(KeyRow(tenant, purpose, version, wrapped, tx.now))

    def _unwrap(self, row: KeyRow) -> Key:
        key = Key(f"{row.purpose}/{row.tenant}", row.version, self.unwrap(row))
        self._unwrapped[row.tenant, row.purpose, row.version] = _Unwrapped(key, row.wrapped)
        return key

    def _root_key(self, key_id: str, version: int) -> Key:
        if (key_id, version) != (self._root.id, self._root.version):
            self._look_for(key_id)
        if (key_id, version) != (self._root.id, self._root.version):
            raise _foreign()
        return self._root

    def _look_for(self, key_id: str) -> None:
        """Take up the root key of that id, if it is where the vault's root key is kept."""
        if self._find is None or time.monotonic() < self._next_look:
            return
        try:
            self.use(self._find(key_id))
        except VaultError:
            self._next_look = time.monotonic() + _LOOK_AGAIN

    @staticmethod
    def _missing(tenant: str) -> VerificationFailed:
        return VerificationFailed(
            f"A key of tenant {tenant!r} is missing from the database.", hint="Restore it from a backup."
        )


def _binding(tenant: str, purpose: str, version: int) -> Binding:
    return Binding("tenant key", tenant, purpose, version)


def _check_binding(vault_id: str) -> Binding:
    return Binding("root key check", "", vault_id, 1)


def _foreign() -> VaultLocked:
    return VaultLocked(
        "The root key does not belong to this vault.",
        hint="If it was rotated on another machine, bring its copy here and start again. Else look at which database "
        "and which root key the configuration names: vaultctl doctor",
    )
