"""A vault from an archive: the same tenants, credentials and logs, and nobody who holds anything of it.

The restored vault is another one than that which was archived: it has an id and a root key of its own, so that the two
can live side by side, and nothing that was handed out before counts for it. All tokens are revoked, all sessions ended
and all leases with them. The audit logs go on where they were, entry by entry, so that what an auditor kept of them
still verifies; but they do so under a new origin, the new vault's, since whatever the archived vault has written since
is missing here. The first entry under the new origin, ``vault.restored``, holds where the old one ended: its size and
its last checkpoint, which the tree under the new origin still agrees with.
"""

from collections import Counter
from typing import Any

from msgspec.structs import replace

from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain.errors import VerificationFailed
from vaultctl.domain.ids import RandomBytes, new_id
from vaultctl.domain.records import Event, Identity, LeaseState, SessionState
from vaultctl.domain.times import from_micros, rfc3339
from vaultctl.engine.archive import Archive, Manifest
from vaultctl.engine.keys import Keys
from vaultctl.engine.transaction import Transaction
from vaultctl.ledger.checkpoint import origin
from vaultctl.ledger.merkle import leaf_hash
from vaultctl.store.interface import Store, Where
from vaultctl.store.rows import (
    CheckpointRow,
    EntryRow,
    KeyRow,
    LeaseRow,
    LogRow,
    Row,
    SessionRow,
    TenantRow,
    TokenRow,
    VaultRow,
)

_REASON = "vault restored"
_CHUNK = 500


class Contents:
    """What an archive turned out to hold, once all of it was read and verified.

    Attributes:
        manifest: What it is of.
        counts: How many rows there are of each table.
    """

    def __init__(self, manifest: Manifest, counts: Counter[str]) -> None:
        self.manifest = manifest
        self.counts = counts


def verify_archive(archive: Archive, random: RandomBytes) -> Contents:
    """Read an archive to its end, and try its keys.

    Raises:
        VerificationFailed: It is not whole, or its root key does not open a tenant's key.
    """
    keys = Keys(archive.manifest.root, random)
    counts: Counter[str] = Counter()
    tenants: set[str] = set()
    for row in archive.rows():
        counts[row.table] += 1
        if isinstance(row, KeyRow):
            keys.unwrap(row)
        elif isinstance(row, TenantRow):
            tenants.add(row.tenant)
    if archive.manifest.default_tenant not in tenants:
        raise VerificationFailed(
            "The backup lacks the tenant that is its default one.", hint="Take an earlier one: it is not whole."
        )
    return Contents(archive.manifest, counts)


def restore_archive(
    store: Store,
    root: RootKey,
    archive: Archive,
    *,
    owner: Identity,
    random: RandomBytes,
) -> str:
    """Put what an archive holds into an empty store, in one transaction; answers the id of the vault that it is now.

    Args:
        store: Where to.
        root: The new vault's root key.
        archive: What; it was verified before.
        owner: Who does it.
        random: Where ids and nonces come from.
    """
    vault_id = new_id("vault", random)
    old, keys = Keys(archive.manifest.root, random), Keys(root, random)
    with store.write() as store_tx:
        tx = Transaction(store_tx, keys, random)
        store_tx.insert(VaultRow(vault_id, tx.now, root.id, keys.make_check(vault_id)))
        ended: dict[str, Counter[str]] = {}
        checkpoints: dict[str, CheckpointRow] = {}
        for number, row in enumerate(archive.rows(), start=1):
            if isinstance(row, CheckpointRow):  # signed in the name of the old vault: the last one is all that is told
                checkpoints[row.tenant] = row
            else:
                store_tx.insert(_restored(tx, old, keys, row, ended))
            if number % _CHUNK == 0:
                store_tx.flush()
        for log in store_tx.find(LogRow, order="tenant"):
            _begin_log(tx, log, archive.manifest, owner, ended.get(log.tenant, Counter()), checkpoints.get(log.tenant))
        tx.finish()
    return vault_id


def _restored(tx: Transaction, old: Keys, keys: Keys, row: Row, ended: dict[str, Counter[str]]) -> Row:
    """A row as the restored vault has it. One that something else had changed stays as it was, and grants nothing."""
    changes: dict[str, Any] = {}
    match row:
        case KeyRow():
            return keys.rewrap(row, old)
        case TokenRow(revoked_at=None):
            changes = {"revoked_at": tx.now}
        case SessionRow(state=SessionState.ACTIVE.value):
            changes = {"state": SessionState.ENDED.value, "ended_at": tx.now, "end_reason": _REASON}
        case LeaseRow(state=LeaseState.ACTIVE.value):
            changes = {"state": LeaseState.REVOKED.value, "ended_at": tx.now, "end_reason": _REASON}
        case LogRow(mac=bytes()):
            changes = {"checkpoints": 0, "unsigned_entries": row.size, "checkpoint_time": tx.now}
    if not changes or not tx.is_authentic(row):
        return row
    tenant: str = row.tenant  # type: ignore[attr-defined]
    ended.setdefault(tenant, Counter())[row.table] += 1
    return tx.signed(replace(row, **changes))


def _begin_log(
    tx: Transaction,
    log: LogRow,
    manifest: Manifest,
    owner: Identity,
    ended: Counter[str],
    checkpoint: CheckpointRow | None,
) -> None:
    """Let a log go on under its new origin, with an entry that says where the old one ended."""
    tx.hold({log.tenant})
    details = {
        "backup": manifest.id,
        "backedUpAt": rfc3339(from_micros(manifest.created_at)),
        "origin": origin(manifest.vault_id, log.tenant),
        "size": log.size,
        "lastEntryHash": _last_hash(tx, log),
        "checkpoint": None if checkpoint is None else checkpoint.note.decode(),
        **{table: ended[table] for table in ("tokens", "sessions", "leases")},
    }
    tx.audit(log.tenant, Event.VAULT_RESTORED, owner, details)


def _last_hash(tx: Transaction, log: LogRow) -> str | None:
    """The leaf hash (RFC 6962) of a log's last entry; None of a log without one."""
    last = tx.find(EntryRow, Where("tenant", "=", log.tenant), Where("seq", "=", log.size - 1))
    return leaf_hash(last[0].body).hex() if last else None
