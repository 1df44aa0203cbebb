"""The Merkle tree over a log's entries, and proofs about it (RFC 6962 §2.1, verification as in RFC 9162 §2.1).

A tree of any size consists of perfect subtrees, whose hashes never change once their leaves are there. All that is
computed here is computed from those.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()
"""The root of the tree without entries."""


class Node(NamedTuple):
    """A perfect subtree: its leaves are those from ``number << level`` and before ``number + 1 << level``."""

    level: int
    number: int


ReadNode = Callable[[Node], bytes]
"""The hash of a perfect subtree."""

Range = tuple[int, int]
"""Leaves from the first number and before the second."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of what two hashes are below."""
    return sha256(b"\1" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """The root over hashes whose number is a power of two."""
    level = list(hashes)
    while len(level) > 1:
        pairs = iter(level)
        level = [sha256(b"\1" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return level[0]


class Frontier:
    """A tree that grows: the roots of its perfect subtrees from left to right, one for each bit of its size."""

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, encoded: bytes = b"") -> None:
        """The tree that :attr:`encoded` describes.

        Raises:
            ValueError: No tree of that size has as many of them.
        """
        if size < 0 or len(encoded) != size.bit_count() * HASH_BYTES:
            raise ValueError(f"a tree of {size} has {size.bit_count()} perfect subtrees")
        self.size = size
        self._hashes = split_hashes(encoded)

    @property
    def encoded(self) -> bytes:
        """The subtrees' hashes, one after the other."""
        return b"".join(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add a leaf by its hash."""
        self.append_node(0, leaf)

    def append_node(self, level: int, root: bytes) -> None:
        """Add the ``1 << level`` leaves below ``root`` to a tree whose size is a multiple of their number."""
        number, rest = divmod(self.size, 1 << level)
        if rest:
            raise ValueError(f"{self.size} leaves leave no room for a subtree of {1 << level}")
        while number & 1:
            root = node_hash(self._hashes.pop(), root)
            number >>= 1
        self._hashes.append(root)
        self.size += 1 << level

    def root(self) -> bytes:
        """The root."""
        return _fold(self._hashes) if self._hashes else EMPTY_ROOT


def split_hashes(data: bytes) -> list[bytes]:
    """The hashes that were written one after the other."""
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaves' hashes."""
    tree = Frontier()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def perfect_subtrees(begin: int, end: int) -> list[Node]:
    """The largest perfect subtrees that make up a range of leaves, from left to right."""
    nodes = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        if begin:
            level = min(level, (begin & -begin).bit_length() - 1)
        nodes.append(Node(level, begin >> level))
        begin += 1 << level
    return nodes


def root(size: int, read: ReadNode) -> bytes:
    """The root of the tree of the first ``size`` leaves."""
    return _range_hash((0, size), read) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: ReadNode) -> list[bytes]:
    """That leaf ``index`` is in the tree of ``size``: PATH of RFC 6962 §2.1.1.

    Raises:
        ValueError: That tree has no such leaf.
    """
    return [_range_hash(part, read) for part in inclusion_ranges(index, size)]


def consistency_proof(old: int, new: int, read: ReadNode) -> list[bytes]:
    """That the tree of ``new`` leaves begins with the tree of ``old``: PROOF of RFC 6962 §2.1.2.

    Raises:
        ValueError: The old tree is empty, or larger.
    """
    return [_range_hash(part, read) for part in consistency_ranges(old, new)]


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The leaves that each hash of an inclusion proof stands for."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} has no leaf {index}")
    begin, end = 0, size
    ranges = []
    while end - begin > 1:
        split = _split(begin, end)
        if index < split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((begin, split))
            begin = split
    ranges.reverse()
    return ranges


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The leaves that each hash of a consistency proof stands for."""
    if not 0 < old <= new:
        raise ValueError(f"there is no proof from a tree of {old} to one of {new}")
    begin, end = 0, new
    ranges = []
    while old != end:
        split = _split(begin, end)
        if old <= split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((begin, split))
            begin = split
    if begin:  # else this is the old tree itself, whose root the verifier has
        ranges.append((begin, end))
    ranges.reverse()
    return ranges


def proves_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows that ``leaf`` is at ``index`` of the tree of ``size`` (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size or any(len(part) != HASH_BYTES for part in (leaf, *proof)):
        return False
    place, last = index, size - 1
    computed = leaf
    for part in proof:
        if not last:
            return False
        if place & 1 or place == last:
            computed = node_hash(part, computed)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, part)
        place >>= 1
        last >>= 1
    return not last and computed == root


def proves_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether ``proof`` shows that the tree of ``new`` begins with the tree of ``old`` (RFC 9162 §2.1.4.2).

    Of a tree that was empty nothing can be shown.
    """
    if not 0 < old <= new or any(len(part) != HASH_BYTES for part in proof):
        return False
    if old == new:
        return not proof and old_root == new_root
    if not proof:
        return False
    parts = list(proof)
    if not old & (old - 1):  # a power of two: the old tree is a subtree of the new one
        parts.insert(0, old_root)
    place, last = old - 1, new - 1
    while place & 1:
        place >>= 1
        last >>= 1
    old_computed = new_computed = parts[0]
    for part in parts[1:]:
        if not last:
            return False
        if place & 1 or place == last:
            old_computed = node_hash(part, old_computed)
            new_computed = node_hash(part, new_computed)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            new_computed = node_hash(new_computed, part)
        place >>= 1
        last >>= 1
    return not last and old_computed == old_root and new_computed == new_root


def _split(begin: int, end: int) -> int:
    """Where the left subtree of a range ends: at the largest power of two that is smaller than the range."""
    return begin + (1 << (end - begin - 1).bit_length() - 1)


def _range_hash(part: Range, read: ReadNode) -> bytes:
    return _fold([read(node) for node in perfect_subtrees(*part)])


def _fold(hashes: Sequence[bytes]) -> bytes:
    computed = hashes[-1]
    for left in reversed(hashes[:-1]):
        computed = node_hash(left, computed)
    return computed
