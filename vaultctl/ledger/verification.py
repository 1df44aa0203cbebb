"""Finds what in a log is not as the vault wrote it. It is given what is stored, piece by piece, and reads nothing.

Every entry is checked by itself, against the columns by which it is found, against its hash in the tree, and with all
before it against the checkpoints. Where an entry and its hash disagree, the tree above tells which of them was changed,
and it is gone on with the other: so what is reported is what was changed, not all that comes after it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from vaultctl.domain.errors import InternalError
from vaultctl.domain.times import from_micros, rfc3339
from vaultctl.ledger.canonical import canonical_json
from vaultctl.ledger.checkpoint import Checkpoint
from vaultctl.ledger.entry import Columns, columns_of
from vaultctl.ledger.merkle import HASH_BYTES, Frontier, leaf_hash, perfect_root, perfect_subtrees, split_hashes
from vaultctl.ledger.tiles import TILE_HEIGHT, TILE_WIDTH

Report = Callable[["Problem"], None]


class Problem(NamedTuple):
    """Something that is not as the vault wrote it.

    Attributes:
        what: A sentence.
        first: The first of the entries that it concerns; None if it concerns none.
        last: The last of them.
    """

    what: str
    first: int | None = None
    last: int | None = None


class Stored(Protocol):
    """An entry as it is stored. What a database has can be of any type, whatever is said here."""

    @property
    def seq(self) -> int: ...  # noqa: D102
    @property
    def time(self) -> int: ...  # noqa: D102
    @property
    def event(self) -> str: ...  # noqa: D102
    @property
    def agent(self) -> str | None: ...  # noqa: D102
    @property
    def session_id(self) -> str | None: ...  # noqa: D102
    @property
    def credential_name(self) -> str | None: ...  # noqa: D102
    @property
    def lease_id(self) -> str | None: ...  # noqa: D102
    @property
    def body(self) -> bytes: ...  # noqa: D102


def _no_float(text: str) -> Any:
    raise ValueError(text)


_decode = msgspec.json.Decoder(float_hook=_no_float).decode
_encode = msgspec.json.Encoder(order="sorted").encode


_OTHER_TIME = "its bytes say otherwise than the column time"


class EntryCheck:
    """Checks entries in the order of their numbers, each by itself and by the one before."""

    def __init__(self, tenant: str) -> None:
        """Of the log of ``tenant``."""
        self._tenant = tenant
        self._time = 0
        self._timestamp = ""
        self.last_time = 0
        """The time of the last entry."""

    def fault(self, row: Stored, seq: int) -> str:
        """What is wrong with the entry that should have the number ``seq``; empty if nothing."""
        time = row.time
        found = self._fault(row, seq)
        if type(time) is not int or found == _OTHER_TIME:
            return found or _OTHER_TIME
        if time < self.last_time:
            found = found or "it is earlier than the one before it"
        self.last_time = time
        return found

    def _fault(self, row: Stored, seq: int) -> str:
        body = row.body
        if type(body) is not bytes:
            return "its bytes are not stored as bytes"
        try:
            entry = _decode(body)
            if _encode(entry) != body and canonical_json(entry) != body:
                return "its bytes are not canonical JSON"
            columns = columns_of(entry)
            tenant, number, timestamp = entry["tenantId"], entry["seq"], entry["timestamp"]
        except (msgspec.MsgspecError, InternalError, ValueError, RecursionError):
            return "its bytes are not canonical JSON"
        except (AttributeError, KeyError, TypeError):
            return "its bytes are not an audit entry"
        if tenant != self._tenant or number != seq:
            return f"its bytes are those of entry {number} of {tenant}"
        if columns != (row.event, row.agent, row.session_id, row.credential_name, row.lease_id):
            found = (row.event, row.agent, row.session_id, row.credential_name, row.lease_id)
            differing = [name for name, one, other in zip(Columns._fields, columns, found, strict=True) if one != other]
            return f"its bytes say otherwise than the column {' and '.join(differing)}"
        return "" if type(row.time) is int and timestamp == self._shown(row.time) else _OTHER_TIME

    def _shown(self, time: int) -> str:
        if time != self._time or not self._timestamp:
            try:
                self._time, self._timestamp = time, rfc3339(from_micros(time))
            except OverflowError:
                return ""
        return self._timestamp


class Expected(NamedTuple):
    """A checkpoint that the log has to agree with, and what to call it."""

    checkpoint: Checkpoint
    name: str


class TreeCheck:
    """Checks the hashes of a log, tile by tile from left to right, against its tiles, checkpoints and head.

    Attributes:
        size: How many entries it has seen.
    """

    def __init__(self, expected: Iterator[Expected], report: Report, begin: Frontier | None = None) -> None:
        """Begin.

        Args:
            expected: Checkpoints by size, each larger than ``begin``.
            report: Is told of problems.
            begin: The tree over full tiles that are taken for verified.
        """
        self._expected = expected
        self._next = next(expected, None)
        self._report = report
        self._tree = begin or Frontier()
        self._agreed = self._before = self._tree.size
        self._disagreeing = 0
        self.size = self._tree.size
        self.roots: list[bytes] = []
        """The roots of the tiles, those of level 1."""

    def tile(self, leaves: Sequence[bytes | None], stored: bytes | None, root: bytes | None) -> None:
        """Take in a full tile.

        Args:
            leaves: The entries' hashes; None for an entry that is not there.
            stored: The tile.
            root: Its root, as the tile above has it.
        """
        whole = self._reconciled(leaves, stored, lambda hashes: perfect_root(hashes) == root)
        self._take(whole)
        self.roots.append(perfect_root(whole))
        self._tree.append_node(TILE_HEIGHT, self.roots[-1])

    def partial_tile(self, leaves: Sequence[bytes | None], stored: bytes | None, root: bytes) -> None:
        """Take in the tile behind the last full one; ``root`` is that of the whole log."""

        def are_right(hashes: Sequence[bytes]) -> bool:
            tree = Frontier(self._tree.size, self._tree.encoded)
            for leaf in hashes:
                tree.append(leaf)
            return tree.root() == root

        self.hashed(self._reconciled(leaves, stored, are_right))

    def _reconciled(
        self,
        leaves: Sequence[bytes | None],
        stored: bytes | None,
        are_right: Callable[[Sequence[bytes]], bool],
    ) -> list[bytes]:
        """The hashes to go on with: the entries', or where it was they that were changed, the tile's."""
        first, width = self.size, len(leaves)
        number = first // TILE_WIDTH
        hashes = split_hashes(stored) if type(stored) is bytes and len(stored) == width * HASH_BYTES else None
        if hashes is None:
            what = "is missing" if stored is None else f"is not of {width} hashes"
            self._report(Problem(f"The Merkle tile tile/0/{number} {what}.", first, first + width - 1))
        elif hashes != leaves:
            missing = [leaf is None for leaf in leaves]
            there = [old if gone else new for old, new, gone in zip(hashes, leaves, missing, strict=True)]
            differing = [at for at in range(width) if there[at] != hashes[at]]
            if not differing or are_right(hashes):
                for begin, end in _runs(differing):
                    what = f"{_entries(first + begin, first + end)} not what was hashed when written."
                    self._report(Problem(what, first + begin, first + end))
                leaves = hashes
            else:
                for begin, end in _runs(differing):
                    what = f"The Merkle tile tile/0/{number} disagrees with {_named(first + begin, first + end)}."
                    self._report(Problem(what, first + begin, first + end))
        return [leaf or b"" for leaf in leaves]

    def hashed(self, leaves: Sequence[bytes | None]) -> None:
        """Take in entries of which nothing is known but their hashes: a full tile's, or those behind the last one."""
        whole = [leaf or b"" for leaf in leaves]
        self._take(whole)
        for leaf in whole:
            self._tree.append(leaf)

    def rest(self, leaves: Sequence[bytes | None], frontier: bytes | None) -> None:
        """Take in the entries behind the last full tile, of which the head of the log knows the hashes."""
        first = self.size
        tree = Frontier(self._tree.size, self._tree.encoded)
        whole = [leaf or b"" for leaf in leaves]
        for leaf in whole:
            tree.append(leaf)
        self._take(whole)
        self._tree = tree
        nodes = perfect_subtrees(0, first + len(leaves))
        if type(frontier) is not bytes or len(frontier) != len(nodes) * HASH_BYTES:
            self._report(Problem("The head of the log has not the hashes that a log of its size has."))
            return
        for node, ours, theirs in zip(nodes, split_hashes(tree.encoded), split_hashes(frontier), strict=True):
            begin, end = node.number << node.level, (node.number + 1 << node.level) - 1
            if ours != theirs and None not in leaves[max(0, begin - first) : max(0, end + 1 - first)]:
                what = f"The head of the log has another hash for {_named(begin, end)} than their bytes."
                self._report(Problem(what, begin, end))

    @property
    def root(self) -> bytes:
        """The root over what it has seen."""
        return self._tree.root()

    def done(self) -> None:
        """Report the checkpoints that reach beyond the log, and how many more there are that do not agree."""
        while self._next is not None:
            checkpoint, name = self._next
            what = f"{name} is over {checkpoint.size} entries, and the log has {self.size}."
            self._report(Problem(what, self.size, checkpoint.size - 1))
            self._next = next(self._expected, None)
        if self._disagreeing > 1:
            self._report(Problem(f"{self._disagreeing - 1} later checkpoints do not agree with the entries either."))

    def _take(self, leaves: Sequence[bytes]) -> None:
        """Compare the checkpoints over some or all of the next entries."""
        end = self.size + len(leaves)
        if self._next is not None and self._next.checkpoint.size <= end:
            tree = Frontier(self._tree.size, self._tree.encoded)
            for leaf in leaves:
                tree.append(leaf)
                while self._next is not None and self._next.checkpoint.size == tree.size:
                    self._compare(self._next, tree)
                    self._next = next(self._expected, None)
        self.size = end

    def _compare(self, expected: Expected, tree: Frontier) -> None:
        if self._agreed < tree.size:
            self._before = self._agreed
        if tree.root() == expected.checkpoint.root:
            if not self._disagreeing:
                self._agreed = tree.size
            return
        self._disagreeing += 1
        if self._disagreeing == 1:
            what = f"{expected.name} does not agree with the entries that it is over."
            self._report(Problem(what, self._before, tree.size - 1))


def disagreeing_hashes(level: int, roots: Sequence[bytes], tiles: Sequence[bytes | None]) -> Iterator[Problem]:
    """What is wrong with the stored tiles of a level above 0.

    Args:
        level: Which level.
        roots: The hashes that its tiles have to hold.
        tiles: What is stored.
    """
    unit = TILE_WIDTH**level
    for number, tile in enumerate(tiles):
        hashes = roots[number * TILE_WIDTH : (number + 1) * TILE_WIDTH]
        first = number * TILE_WIDTH * unit
        name = f"The Merkle tile tile/{level}/{number}"
        if type(tile) is not bytes or len(tile) != len(hashes) * HASH_BYTES:
            what = "is missing" if tile is None else f"is not of {len(hashes)} hashes"
            yield Problem(f"{name} {what}.", first, first + len(hashes) * unit - 1)
            continue
        found = split_hashes(tile)
        for begin, end in _runs([at for at in range(len(hashes)) if hashes[at] != found[at]]):
            entries = first + begin * unit, first + (end + 1) * unit - 1
            yield Problem(f"{name} disagrees with {_named(*entries)}.", *entries)


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of each run of numbers without a gap."""
    begin = end = -2
    for number in numbers:
        if number != end + 1:
            if end >= 0:
                yield begin, end
            begin = number
        end = number
    if end >= 0:
        yield begin, end


def _named(first: int, last: int) -> str:
    return f"entry {first}" if first == last else f"the entries {first} to {last}"


def _entries(first: int, last: int) -> str:
    return f"Entry {first} is" if first == last else f"The entries {first} to {last} are"


def leaf_of(row: Stored) -> bytes | None:
    """The hash of a stored entry; None if what is stored has none."""
    return leaf_hash(row.body) if type(row.body) is bytes else None
