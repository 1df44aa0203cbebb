"""The tree and the entries in pieces of 256 (C2SP tlog-tiles): what they are called, which ones a log has, their bytes.

A hash tile of level L holds the roots of perfect subtrees of 256**L leaves; an entry bundle holds the entries that are
below a tile of level 0. The last tile of a level, and the last bundle, are narrower (partial) until they are full.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from vaultctl.domain.errors import VerificationFailed
from vaultctl.ledger.merkle import HASH_BYTES, Node, Range, perfect_root, split_hashes

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
ENTRIES = "entries"
MAX_LEVEL = 63

_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?", re.ASCII)
_MOST_GROUPS = 7
"""Groups of three digits that a tile's number can have: 63 bits have 19 digits."""


class Tile(NamedTuple):
    """A hash tile, or with ``level`` None an entry bundle: its place, and how many hashes or entries it holds."""

    level: int | None
    number: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Its path below the log's prefix, such as ``tile/0/x001/x234/067.p/12``."""
        digits = f"{self.number:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{ENTRIES if self.level is None else self.level}/{name}{partial}"

    @property
    def full(self) -> bool:
        """Whether it will never grow."""
        return self.width == TILE_WIDTH

    @property
    def leaves(self) -> Range:
        """The entries that it is about."""
        unit = TILE_WIDTH ** (self.level or 0)
        first = self.number * TILE_WIDTH
        return first * unit, (first + self.width) * unit


def parse_path(path: str) -> Tile | None:
    """The tile that a path below a log's prefix names; None if it names none, or not in the one way that there is."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    level, name, width = found.groups()
    groups = name.split("/")
    if len(groups) > _MOST_GROUPS or (len(groups) > 1 and groups[0] == "x000"):
        return None
    tile = Tile(
        None if level == ENTRIES else int(level),
        int("".join(group.removeprefix("x") for group in groups)),
        TILE_WIDTH if width is None else int(width),
    )
    if (tile.level or 0) > MAX_LEVEL or (width is not None and tile.width >= TILE_WIDTH):
        return None
    return tile


def is_in_tree(tile: Tile, size: int) -> bool:
    """Whether a tree of ``size`` leaves has it, or had it when it was smaller."""
    return tile.leaves[1] <= size


def hash_tiles(size: int, since: int = 0) -> Iterator[Tile]:
    """The hash tiles of a tree of ``size``, partial ones last in their level; of each level from the bottom.

    Args:
        size: The tree's size.
        since: Leave out those that a tree of this size had already.
    """
    level = 0
    while size >> TILE_HEIGHT * level:
        yield from _row(level, size >> TILE_HEIGHT * level, since >> TILE_HEIGHT * level)
        level += 1


def entry_bundles(size: int, since: int = 0) -> Iterator[Tile]:
    """The entry bundles of a log of ``size``, the partial one last; without those that one of ``since`` had."""
    yield from _row(None, size, since)


def _row(level: int | None, size: int, since: int) -> Iterator[Tile]:
    for number in range(since // TILE_WIDTH, size // TILE_WIDTH):
        yield Tile(level, number)
    if size % TILE_WIDTH and size > since:
        yield Tile(level, size // TILE_WIDTH, size % TILE_WIDTH)


class Tiles:
    """Hashes of perfect subtrees, from tiles; each tile is read once.

    An instance is what :mod:`vaultctl.ledger.merkle` calls ``read``.
    """

    def __init__(self, size: int, read: Callable[[Tile], bytes]) -> None:
        """Of a tree of ``size``; ``read`` answers a tile's bytes, and may answer more than its width."""
        self._size = size
        self._read = read
        self._tiles: dict[Tile, list[bytes]] = {}

    def __call__(self, node: Node) -> bytes:
        """The hash of a perfect subtree of the tree.

        Raises:
            VerificationFailed: The tile holds fewer hashes than it should.
        """
        tile, inside = self._place(node)
        if tile not in self._tiles:
            data = self._read(tile)[: tile.width * HASH_BYTES]
            if len(data) != tile.width * HASH_BYTES:
                raise VerificationFailed(f"The Merkle tile {tile.path} is incomplete.", hint="vaultctl audit verify")
            self._tiles[tile] = split_hashes(data)
        return perfect_root(self._tiles[tile][slice(*inside)])

    def _place(self, node: Node) -> tuple[Tile, Range]:
        """The tile that a node is in, and below which of its hashes."""
        level, height = divmod(node.level, TILE_HEIGHT)
        first = node.number << height
        number, offset = divmod(first, TILE_WIDTH)
        width = min(TILE_WIDTH, (self._size >> TILE_HEIGHT * level) - number * TILE_WIDTH)
        return Tile(level, number, width), (offset, offset + (1 << height))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries as a bundle holds them, each behind its length in 16 bits.

    Raises:
        ValueError: One is longer than that.
    """
    try:
        return b"".join(part for entry in entries for part in (struct.pack(">H", len(entry)), entry))
    except struct.error:
        raise ValueError("an entry of a bundle has at most 65,535 bytes") from None


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The entries of a bundle.

    Raises:
        VerificationFailed: It does not hold exactly ``width`` entries.
    """
    entries: list[bytes] = []
    at = 0
    while at + 2 <= len(data) and len(entries) < width:
        (length,) = struct.unpack_from(">H", data, at)
        at += 2 + length
        entries.append(data[at - length : at])
    if len(entries) != width or at != len(data):
        raise VerificationFailed(f"An entry bundle does not hold exactly {width} entries.")
    return entries
