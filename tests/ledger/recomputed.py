"""What a store must hold beside the entries of a log, computed from them by the definitions alone."""

from hashlib import sha256

from vaultctl.ledger.checkpoint import parse_checkpoint
from vaultctl.ledger.note import parse_note
from vaultctl.store.interface import Store, Where
from vaultctl.store.rows import CheckpointRow, EntryRow, LogRow, TileRow


def defined_root(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, as it is written there."""
    if not hashes:
        return sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return sha256(b"\1" + defined_root(hashes[:split]) + defined_root(hashes[split:])).digest()


def defined_frontier(hashes: list[bytes]) -> bytes:
    """The roots of the perfect subtrees, the largest first."""
    found, begin = b"", 0
    for bit in reversed(range(len(hashes).bit_length())):
        if len(hashes) >> bit & 1:
            found += defined_root(hashes[begin : begin + (1 << bit)])
            begin += 1 << bit
    return found


def defined_tiles(hashes: list[bytes]) -> dict[tuple[int, int], bytes]:
    """The tiles that are stored: full ones of level 0, and all above."""
    found, level = {}, 0
    while hashes:
        for at in range(0, len(hashes), 256):
            tile = hashes[at : at + 256]
            if level or len(tile) == 256:
                found[level, at // 256] = b"".join(tile)
        hashes = [defined_root(hashes[at : at + 256]) for at in range(0, len(hashes) // 256 * 256, 256)]
        level += 1
    return found


def sizes_of_checkpoints(store: Store, tenant: str = "my-org") -> list[int]:
    with store.read() as tx:
        return [row.size for row in tx.find(CheckpointRow, Where("tenant", "=", tenant), order="number")]


def assert_log_agrees(store: Store, tenant: str = "my-org") -> int:
    """Head, tiles and checkpoints are those of the entries; answers how many entries there are."""
    here = Where("tenant", "=", tenant)
    with store.read() as tx:
        (log,) = tx.find(LogRow, here)
        entries = tx.find(EntryRow, here, order="seq")
        tiles = tx.find(TileRow, here)
        checkpoints = tx.find(CheckpointRow, here, order="number")
    leaves = [sha256(b"\0" + entry.body).digest() for entry in entries]
    assert [entry.seq for entry in entries] == list(range(log.size))
    assert log.frontier == defined_frontier(leaves)
    assert {(tile.level, tile.number): tile.hashes for tile in tiles} == defined_tiles(leaves)
    assert [row.number for row in checkpoints] == list(range(log.checkpoints or 0))
    signed = 0
    for row in checkpoints:
        checkpoint = parse_checkpoint(parse_note(row.note).text)
        assert signed < checkpoint.size == row.size
        assert checkpoint.root == defined_root(leaves[: row.size])
        signed = row.size
    assert log.unsigned_entries == log.size - signed
    return log.size
