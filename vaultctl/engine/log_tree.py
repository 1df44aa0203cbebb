"""The Merkle tree and the checkpoints of a tenant's audit log, as they are stored beside its entries.

The head has the roots of the tree's perfect subtrees, so that an entry costs two hashes and no row of its own. The
tiles of level 0 are written once, when they are full; until then their hashes are those of the entries. The tiles above
have each hash from when the tile below was full. The head is authenticated: whoever writes to the database can change
entries and tiles, but gets no checkpoint signed over them.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from vaultctl.domain.errors import VerificationFailed
from vaultctl.engine.keys import Keys
from vaultctl.ledger.merkle import HASH_BYTES, Frontier, leaf_hash, perfect_root, split_hashes
from vaultctl.ledger.tiles import TILE_WIDTH
from vaultctl.store.interface import StoreTransaction, Where
from vaultctl.store.rows import CheckpointRow, EntryRow, LogRow, TileRow

_CHUNK = 10 * TILE_WIDTH


def empty(tenant: str, now: int) -> LogRow:
    """The head of a log without entries. Its first checkpoint is due some time after ``now``, like all others."""
    return LogRow(tenant, size=0, last_time=0, frontier=b"", checkpoints=0, unsigned_entries=0, checkpoint_time=now)


def grown(
    store: StoreTransaction, log: LogRow, entries: Sequence[bytes], time: int, partial: Sequence[bytes] | None = None
) -> tuple[LogRow, list[bytes] | None]:
    """A log with so many more entries, the last of them at ``time``; writes the tiles that are full now.

    Args:
        store: The transaction.
        log: The head of the log.
        entries: The bytes of the entries that come to it.
        time: When the last of them was written.
        partial: The hashes of its entries behind the last full tile, if they are known.

    Returns:
        The new head, and the hashes of the entries that are behind the last full tile then, if they are known.

    Raises:
        VerificationFailed: Entries that are in no full tile yet are not those that the tree is over.
    """
    tree = frontier(log)
    leaves = [leaf_hash(entry) for entry in entries]
    for leaf in leaves:
        tree.append(leaf)
    number, begun = divmod(log.size, TILE_WIDTH)
    fills = begun + len(leaves) >= TILE_WIDTH
    if partial is None and (fills or not begun):
        partial = _leaves_of_partial_tile(store, log)
    behind = None if partial is None else [*partial, *leaves]
    while behind is not None and len(behind) >= TILE_WIDTH:
        tile, behind = behind[:TILE_WIDTH], behind[TILE_WIDTH:]
        store.insert(TileRow(log.tenant, 0, number, b"".join(tile)))
        _carry(store, log.tenant, 1, number, perfect_root(tile))
        number += 1
    head = msgspec.structs.replace(
        log,
        size=tree.size,
        last_time=time,
        frontier=tree.encoded,
        unsigned_entries=(log.unsigned_entries or 0) + len(entries),
    )
    return head, behind


def signed(store: StoreTransaction, keys: Keys, log: LogRow, now: int) -> LogRow:
    """The head of ``log`` with a checkpoint over it, which is written.

    ``log`` must be as it was when an earlier transaction had committed: what is signed is never taken back.
    """
    from vaultctl.ledger.checkpoint import Checkpoint, sign_checkpoint

    key = keys.signing_key(store, log.tenant)
    note = sign_checkpoint(Checkpoint(key.name, log.size, frontier(log).root()), key)
    number = log.checkpoints or 0
    store.insert(CheckpointRow(log.tenant, number, log.size, note))
    return msgspec.structs.replace(log, checkpoints=number + 1, unsigned_entries=0, checkpoint_time=now)


def built(store: StoreTransaction, keys: Keys, log: LogRow) -> LogRow:
    """The head of a log from before there were trees, with a tree over its entries and a signing key.

    Raises:
        VerificationFailed: The log had a tree, whose head something other than the vault removed; or entries are
            missing.
    """
    here = Where("tenant", "=", log.tenant)
    if keys.has_signing_key(store, log.tenant) or store.count(TileRow, here) or store.count(CheckpointRow, here):
        raise VerificationFailed(
            f"The head of the audit log of {log.tenant!r} was changed by something other than the vault.",
            hint="Restore the database from a backup, and find out who can write to it.",
        )
    keys.create_signing_key(store, log.tenant)
    head = empty(log.tenant, 0)
    rows = _entries(store, log)
    partial: list[bytes] | None = []
    while chunk := list(islice(rows, _CHUNK)):
        head, partial = grown(store, head, [row.body for row in chunk], chunk[-1].time, partial)
    return msgspec.structs.replace(head, last_time=max(head.last_time, log.last_time))


def frontier(log: LogRow) -> Frontier:
    """The tree of a log.

    Raises:
        VerificationFailed: Its head is not one that the vault wrote.
    """
    try:
        return Frontier(log.size, log.frontier or b"")
    except (TypeError, ValueError):
        raise VerificationFailed(
            f"The head of the audit log of {log.tenant!r} is damaged.", hint="Restore the database from a backup."
        ) from None


def _leaves_of_partial_tile(store: StoreTransaction, log: LogRow) -> list[bytes]:
    """The hashes of the entries behind the last full tile."""
    first = log.size - log.size % TILE_WIDTH
    if first == log.size:
        return []
    rows = store.find(
        EntryRow,
        Where("tenant", "=", log.tenant),
        Where("seq", ">=", first),
        Where("seq", "<", log.size),
        order="seq",
    )
    leaves = [leaf_hash(row.body) for row in rows if isinstance(row.body, bytes)]
    tree = Frontier()
    for leaf in leaves:
        tree.append(leaf)
    if tree.size != log.size - first or not (log.frontier or b"").endswith(tree.encoded):
        raise VerificationFailed(
            f"The last entries of the audit log of {log.tenant!r} were changed by something other than the vault.",
            hint="Find out which: vaultctl audit verify",
        )
    return leaves


def _carry(store: StoreTransaction, tenant: str, level: int, number: int, root: bytes) -> None:
    """Add the root of a tile that is full to the tile above it, and so on up."""
    above, offset = divmod(number, TILE_WIDTH)
    if not offset:
        store.insert(TileRow(tenant, level, above, root))
        return
    row = store.get(TileRow, tenant, level, above)
    if row is None or not isinstance(row.hashes, bytes) or len(row.hashes) != offset * HASH_BYTES:
        raise VerificationFailed(
            f"The Merkle tree of the audit log of {tenant!r} was changed by something other than the vault.",
            hint="Find out where: vaultctl audit verify",
        )
    hashes = row.hashes + root
    store.update(msgspec.structs.replace(row, hashes=hashes))
    if offset == TILE_WIDTH - 1:
        _carry(store, tenant, level + 1, above, perfect_root(split_hashes(hashes)))


def _entries(store: StoreTransaction, log: LogRow) -> Iterator[EntryRow]:
    for first in range(0, log.size, _CHUNK):
        rows = store.find(
            EntryRow,
            Where("tenant", "=", log.tenant),
            Where("seq", ">=", first),
            Where("seq", "<", min(first + _CHUNK, log.size)),
            order="seq",
        )
        if len(rows) != min(_CHUNK, log.size - first):
            raise VerificationFailed(
                f"Entries of the audit log of {log.tenant!r} are missing between {first} and {first + _CHUNK}.",
                hint="Restore the database from a backup.",
            )
        yield from rows
