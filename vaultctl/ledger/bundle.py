"""Verifies a log that is there as a checkpoint, tiles and bundles of entries, and nothing else (C2SP tlog-tiles).

Whoever calls it reads the pieces, from wherever they are, one at a time. Each entry is checked by itself and compared
with the tile above it, each tile with those below it, and all of them together have to give the root that was signed.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from vaultctl.domain.errors import VerificationFailed
from vaultctl.domain.times import to_micros
from vaultctl.ledger.checkpoint import Checkpoint
from vaultctl.ledger.entry import columns_of
from vaultctl.ledger.merkle import HASH_BYTES, leaf_hash, perfect_root
from vaultctl.ledger.tiles import TILE_WIDTH, Tile, decode_bundle, entry_bundles
from vaultctl.ledger.verification import EntryCheck, Expected, Problem, Report, TreeCheck, disagreeing_hashes

ReadTile = Callable[[Tile], bytes | None]
"""The bytes of a tile or of a bundle of entries; None if it is not there."""


class _Entry(NamedTuple):
    """An entry from a bundle, which has no columns but those that its own bytes say."""

    seq: int
    time: int
    event: str
    agent: str | None
    session_id: str | None
    credential_name: str | None
    lease_id: str | None
    body: bytes


def check_pieces(
    end: Checkpoint,
    kept: Iterable[Expected],
    read: ReadTile,
    report: Report,
    progress: Callable[[int, int], None],
) -> None:
    """Check all entries and tiles of a log.

    Args:
        end: The checkpoint over the whole log, whose signature is verified.
        kept: Other checkpoints that the log has to agree with, whose signatures are verified.
        read: Reads the pieces.
        report: Is told of problems.
        progress: Is told how many entries were looked at, and how many there are.
    """
    expected = sorted([*kept, Expected(end, "The checkpoint")], key=lambda one: one.checkpoint.size)
    tree = TreeCheck(iter(expected), report)
    entries = EntryCheck(end.origin.rpartition("/")[2])
    above: tuple[int, bytes | None] = (-1, None)
    for bundle in entry_bundles(end.size):
        leaves = _leaves(bundle, read(bundle), entries, report)
        stored = read(Tile(0, bundle.number, bundle.width))
        if bundle.full:
            number, offset = divmod(bundle.number, TILE_WIDTH)
            if above[0] != number:
                hashes = end.size // TILE_WIDTH - number * TILE_WIDTH
                above = number, read(Tile(1, number, min(hashes, TILE_WIDTH)))
            root = above[1] and above[1][offset * HASH_BYTES : (offset + 1) * HASH_BYTES]
            tree.tile(leaves, stored, root)
        else:
            tree.partial_tile(leaves, stored, end.root)
        progress(tree.size, end.size)
    tree.done()
    level, roots = 1, tree.roots
    while roots:
        tiles = [
            read(Tile(level, at // TILE_WIDTH, min(TILE_WIDTH, len(roots) - at)))
            for at in range(0, len(roots), TILE_WIDTH)
        ]
        for problem in disagreeing_hashes(level, roots, tiles):
            report(problem)
        full = len(roots) // TILE_WIDTH * TILE_WIDTH
        roots = [perfect_root(roots[at : at + TILE_WIDTH]) for at in range(0, full, TILE_WIDTH)]
        level += 1


def entries_of(size: int, read: ReadTile) -> Iterator[tuple[int, bytes]]:
    """The entries of a log with their numbers, as far as they are there."""
    for bundle in entry_bundles(size):
        data = read(bundle)
        if data is not None:
            try:
                yield from enumerate(decode_bundle(data, bundle.width), bundle.leaves[0])
            except VerificationFailed:
                continue


def _leaves(bundle: Tile, data: bytes | None, check: EntryCheck, report: Report) -> list[bytes | None]:
    """The hashes of the entries in a bundle, each of which is checked; None for each that is not there."""
    first, beyond = bundle.leaves
    if data is None:
        report(Problem(f"The bundle {bundle.path} is missing.", first, beyond - 1))
        return [None] * bundle.width
    try:
        bodies = decode_bundle(data, bundle.width)
    except VerificationFailed:
        report(Problem(f"{bundle.path} does not hold exactly {bundle.width} entries.", first, beyond - 1))
        return [None] * bundle.width
    for seq, body in enumerate(bodies, first):
        fault = check.fault(_entry(seq, body, check.last_time), seq)
        if fault:
            report(Problem(f"Entry {seq}: {fault}.", seq, seq))
    return [leaf_hash(body) for body in bodies]


def _entry(seq: int, body: bytes, time: int) -> _Entry:
    """An entry by its bytes; ``time`` is what counts as its time if they say none."""
    try:
        content: Any = msgspec.json.decode(body)
        return _Entry(seq, to_micros(datetime.fromisoformat(content["timestamp"])), *columns_of(content), body)
    except (msgspec.MsgspecError, ValueError, RecursionError, AttributeError, KeyError, TypeError):
        return _Entry(seq, time, "", None, None, None, None, body)  # the check finds what is wrong with the bytes
