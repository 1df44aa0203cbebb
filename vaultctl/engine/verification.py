"""The operation that verifies a tenant's audit log, in one consistent state of the store and in constant memory."""

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from heapq import merge
from typing import TypeVar

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import NotAllowed, VerificationFailed
from vaultctl.domain.records import Event, LogProblem, LogVerification, Role
from vaultctl.domain.rules import Caller, Refusal
from vaultctl.engine import views
from vaultctl.engine.checkpoints import refuse_agents
from vaultctl.engine.refusals import refuse_if
from vaultctl.engine.transaction import Transaction
from vaultctl.ledger.checkpoint import Checkpoint, EarlierLog, key_now, open_checkpoint, open_kept_checkpoint
from vaultctl.ledger.merkle import EMPTY_ROOT, HASH_BYTES, Frontier, perfect_root, perfect_subtrees, split_hashes
from vaultctl.ledger.note import VerifierKey, parse_note, parse_verifier_key
from vaultctl.ledger.tiles import TILE_WIDTH, Tile, Tiles
from vaultctl.ledger.verification import EntryCheck, Expected, Problem, TreeCheck, disagreeing_hashes, leaf_of
from vaultctl.store.interface import Where
from vaultctl.store.rows import CheckpointRow, EntryRow, LogRow, Row, TileRow

R = TypeVar("R", bound=Row)

_MOST_PROBLEMS = 100
"""How many problems are told one by one."""

_TILES_AT_ONCE = 10
_ROWS_AT_ONCE = 500


def verify_log(tx: Transaction, caller: Caller, request: ask.VerifyLog) -> LogVerification:
    """Everything that is stored of the log, checked against all that is known of it."""
    refuse_agents(caller)
    if not caller.is_operator and caller.role is not Role.ADMIN:
        needs_admin = NotAllowed("Verifying the audit log needs the role admin.", hint="Ask an admin of the tenant.")
        refuse_if(caller, Refusal("role", needs_admin))
    return _Verification(tx, caller.tenant, request).run()


class _Verification:
    """One run through a log."""

    def __init__(self, tx: Transaction, tenant: str, request: ask.VerifyLog) -> None:
        self._tx = tx
        self._tenant = tenant
        self._here = Where("tenant", "=", tenant)
        self._progress: Callable[[int, int], None] = request.progress or (lambda _done, _size: None)
        self._problems: list[Problem] = []
        self._count = 0
        self._checkpoints = 0
        self._key = self._verifier_key(request.key)
        self._since = None if request.since is None else self._kept(request.since)
        self._against = [self._kept(note) for note in request.against]

    def run(self) -> LogVerification:
        """What is found."""
        log = self._head()
        if log is None:
            return self._result(0, EMPTY_ROOT, 0)
        begin = self._begin(log)
        first = 0 if begin is None else begin.size
        expected = _in_order(self._made(log, self._since), self._kept_beyond(log, first))
        tree = TreeCheck(expected, self._report, begin)
        entries = EntryCheck(self._tenant)
        self._read_entries(log, entries, tree)
        tree.done()
        if entries.last_time != log.last_time and log.size > first:
            self._report(
                Problem("The head of the log has another time than its last entry.", log.size - 1, log.size - 1)
            )
        self._check_tiles_above([*self._roots_before(first // TILE_WIDTH), *tree.roots])
        self._find_strays(log)
        if begin is None and not self._count:  # else they are of entries that are not as they were
            for problem in self._tx.tally_disagreements(self._tenant, log.size):
                self._report(Problem(problem))
        return self._result(log.size, tree.root, log.size - first)

    # What there is to go by

    def _verifier_key(self, known: str | None) -> VerifierKey | None:
        given = None if known is None else parse_verifier_key(known)
        try:
            stored = self._tx.verifier_key(self._tenant)
        except VerificationFailed as error:
            self._report(Problem(f"The key that signs the checkpoints can't be had. {error.message}"))
            return given
        if given is not None:
            given = key_now(given, stored.name, self._earlier)
        if given not in (None, stored):
            self._report(Problem("The vault signs its checkpoints with another key than the one that was given."))
        return given or stored

    def _kept(self, note: str) -> Checkpoint:
        """A checkpoint that was kept elsewhere.

        Raises:
            VerificationFailed: This log's key did not sign it.
        """
        if self._key is None:
            raise VerificationFailed(
                "The checkpoint can't be verified: the log's key can't be had.", hint="Restore it from a backup."
            )
        return open_kept_checkpoint(note.encode(), self._key, self._earlier)

    @cached_property
    def _earlier(self) -> list[EarlierLog]:
        """The logs that go on in this one, since the vault was restored from a backup."""
        restored = Where("event", "=", Event.VAULT_RESTORED.value)
        earlier = []
        for row in self._tx.find_unchecked(EntryRow, self._here, restored, order="seq", limit=_MOST_PROBLEMS):
            with suppress(VerificationFailed):
                earlier.append(EarlierLog(str(views.entry(row).details.get("origin")), row.seq))
        return earlier

    def _head(self) -> LogRow | None:
        found = self._tx.find_unchecked(LogRow, self._here, limit=1)
        if not found:
            self._report(Problem("The head of the log is missing."))
            return None
        log = found[0]
        if not self._tx.is_authentic(log):
            self._report(Problem("The head of the log is not as the vault wrote it."))
        sizes = (log.size, log.last_time, log.checkpoints, log.unsigned_entries)
        if not all(type(size) is int and size >= 0 for size in sizes):
            return None
        return log

    def _begin(self, log: LogRow) -> Frontier | None:
        """The tree over the full tiles that the checkpoint to begin with covers, if the log begins as it says."""
        if self._since is None:
            return None
        size = self._since.size
        if size > log.size or not self._agrees(self._since, log):
            self._against.append(self._since)  # all is looked at, to find out why
            self._since = None
            return None
        tree, tiles = Frontier(), self._tiles(log)
        for node in perfect_subtrees(0, size - size % TILE_WIDTH):
            tree.append_node(node.level, tiles(node))
        return tree

    def _tree_of(self, size: int, log: LogRow) -> Frontier:
        """The tree of the first ``size`` entries, by the tiles and the entries behind them."""
        tree = Frontier()
        tiles = self._tiles(log)
        full = size // TILE_WIDTH * TILE_WIDTH
        for node in perfect_subtrees(0, full):
            tree.append_node(node.level, tiles(node))
        for leaf in self._leaves(full, size):
            tree.append(leaf or b"")
        return tree

    def _tiles(self, log: LogRow) -> Tiles:
        def read(tile: Tile) -> bytes:
            found = self._tx.find_unchecked(
                TileRow, self._here, Where("level", "=", tile.level), Where("number", "=", tile.number), limit=1
            )
            return found[0].hashes if found and type(found[0].hashes) is bytes else b""

        return Tiles(log.size, read)

    def _made(self, log: LogRow, since: Checkpoint | None) -> Iterator[Expected]:
        """The checkpoints that the vault made, each checked by itself; those that are in order."""
        before = -1
        size = 0 if since is None else since.size
        number = 0
        if since is not None:
            earlier = self._tx.count(CheckpointRow, self._here, Where("size", "<=", size))
            number = earlier
        for row in self._rows(CheckpointRow, "number", number):
            if type(row.number) is not int or row.number != number:
                last = row.number - 1 if type(row.number) is int and row.number > number else number
                names = f"Checkpoint {number} is" if last == number else f"The checkpoints {number} to {last} are"
                self._report(Problem(f"{names} missing."))
                number = row.number if type(row.number) is int else number
            name = f"Checkpoint {number}"
            number += 1
            self._checkpoints += 1
            checkpoint = self._opened(row, name)
            if checkpoint is None:
                continue
            what = f"{name} is over {checkpoint.size} entries"
            if checkpoint.size > log.size:
                missing = Problem(f"{what}, and the log has {log.size}.", log.size, checkpoint.size - 1)
                self._report(missing)
                continue
            if checkpoint.size <= before:
                self._report(Problem(f"{what}, not more than the one before it."))
                continue
            before = checkpoint.size
            if checkpoint.size > size:
                yield Expected(checkpoint, name)
        if number != log.checkpoints:
            self._report(Problem(f"There are {number} checkpoints, and the head of the log says {log.checkpoints}."))
        elif before >= 0 and before != log.size - (log.unsigned_entries or 0):
            self._report(Problem("The last checkpoint is not the one that the head of the log tells of."))

    def _opened(self, row: CheckpointRow, name: str) -> Checkpoint | None:
        if self._key is None:
            return None
        try:
            if type(row.note) is not bytes:
                raise VerificationFailed("It is not stored as bytes.")
            checkpoint = open_checkpoint(row.note, self._key)
        except VerificationFailed as error:
            self._report(Problem(f"{name} does not verify. {error.message}"))
            return None
        if len(parse_note(row.note).signatures) != 1 or parse_note(row.note).encode() != row.note:
            self._report(Problem(f"{name} has more signatures than the vault's."))
        if row.size != checkpoint.size:
            self._report(Problem(f"{name} is over {checkpoint.size} entries, and its column size says otherwise."))
        return checkpoint

    def _kept_beyond(self, log: LogRow, first: int) -> Iterator[Expected]:
        """The checkpoints that were kept elsewhere, by size; those before ``first`` are compared at once."""
        for checkpoint in sorted(self._against, key=lambda one: one.size):
            if checkpoint.size > first:
                yield Expected(checkpoint, "The checkpoint that was kept elsewhere")
            elif not self._agrees(checkpoint, log):
                what = "The checkpoint that was kept elsewhere does not agree with the log."
                self._report(Problem(what, 0, checkpoint.size - 1))

    def _agrees(self, checkpoint: Checkpoint, log: LogRow) -> bool:
        try:
            return self._tree_of(checkpoint.size, log).root() == checkpoint.root
        except VerificationFailed:
            return False

    # Reading

    def _read_entries(self, log: LogRow, entries: EntryCheck, tree: TreeCheck) -> None:
        full = log.size // TILE_WIDTH
        roots: dict[int, bytes] = {}
        for number in range(tree.size // TILE_WIDTH, full, _TILES_AT_ONCE):
            beyond = min(number + _TILES_AT_ONCE, full)
            leaves = self._checked(entries, number * TILE_WIDTH, beyond * TILE_WIDTH)
            stored = {row.number: row.hashes for row in self._tiles_between(0, number, beyond)}
            for tile in range(number, beyond):
                above, offset = divmod(tile, TILE_WIDTH)
                if above not in roots:
                    roots = {row.number: row.hashes for row in self._tiles_between(1, above, above + 1)}
                root = roots.get(above)
                begin = (tile - number) * TILE_WIDTH
                tree.tile(
                    leaves[begin : begin + TILE_WIDTH],
                    stored.get(tile),
                    root[offset * HASH_BYTES : (offset + 1) * HASH_BYTES] if type(root) is bytes else None,
                )
            self._progress(tree.size, log.size)
        tree.rest(self._checked(entries, full * TILE_WIDTH, log.size), log.frontier)
        self._progress(log.size, log.size)

    def _checked(self, check: EntryCheck, first: int, beyond: int) -> list[bytes | None]:
        """The hashes of the entries from ``first`` and before ``beyond``, each of which is checked."""
        leaves: list[bytes | None] = []
        seq = first
        for row in self._between(first, beyond):
            if type(row.seq) is not int or row.seq < seq:
                self._report(Problem(f"An entry has the number {row.seq!r}, which is none.", seq, seq))
                continue
            if row.seq > seq:
                self._report_missing(seq, row.seq - 1)
                leaves += [None] * (row.seq - seq)
                seq = row.seq
            fault = check.fault(row, seq)
            if fault:
                self._report(Problem(f"Entry {seq}: {fault}.", seq, seq))
            leaves.append(leaf_of(row))
            seq += 1
        if seq < beyond:
            self._report_missing(seq, beyond - 1)
            leaves += [None] * (beyond - seq)
        return leaves

    def _leaves(self, first: int, beyond: int) -> list[bytes | None]:
        return [leaf_of(row) for row in self._between(first, beyond)]

    def _between(self, first: int, beyond: int) -> list[EntryRow]:
        return self._tx.find_unchecked(
            EntryRow,
            self._here,
            Where("seq", ">=", first),
            Where("seq", "<", beyond),
            order="seq",
            limit=2 * (beyond - first) + 1,
        )

    def _tiles_between(self, level: int, first: int, beyond: int) -> list[TileRow]:
        return self._tx.find_unchecked(
            TileRow,
            self._here,
            Where("level", "=", level),
            Where("number", ">=", first),
            Where("number", "<", beyond),
            order="number",
            limit=beyond - first,
        )

    def _rows(self, row_type: type[R], column: str, first: int) -> Iterator[R]:
        position = Where(column, ">=", first)
        while rows := self._tx.find_unchecked(row_type, self._here, position, order=column, limit=_ROWS_AT_ONCE):
            yield from rows
            position = Where(column, ">", getattr(rows[-1], column))

    # What is above, and what should not be there

    def _roots_before(self, number: int) -> list[bytes]:
        """The roots of the first ``number`` tiles of level 0, which are taken for verified."""
        rows = self._tiles_between(1, 0, -(-number // TILE_WIDTH))
        stored = b"".join(row.hashes for row in rows if type(row.hashes) is bytes)
        return (split_hashes(stored) + [b""] * number)[:number]

    def _check_tiles_above(self, roots: Sequence[bytes]) -> None:
        level = 1
        while roots:
            count = -(-len(roots) // TILE_WIDTH)
            stored = {row.number: row.hashes for row in self._tiles_between(level, 0, count)}
            for problem in disagreeing_hashes(level, roots, [stored.get(number) for number in range(count)]):
                self._report(problem)
            full = len(roots) // TILE_WIDTH
            roots = [perfect_root(roots[at * TILE_WIDTH : (at + 1) * TILE_WIDTH]) for at in range(full)]
            level += 1

    def _find_strays(self, log: LogRow) -> None:
        for bounds in (Where("seq", "<", 0), Where("seq", ">=", log.size)):
            for row in self._tx.find_unchecked(EntryRow, self._here, bounds, order="seq", limit=_MOST_PROBLEMS):
                number = row.seq if type(row.seq) is int else None
                self._report(Problem(f"Entry {row.seq!r} is not one of the log's {log.size}.", number, number))
        hashes, level, tiles = log.size // TILE_WIDTH, 0, 0
        while hashes:
            tiles += hashes if not level else -(-hashes // TILE_WIDTH)
            hashes = hashes if not level else hashes // TILE_WIDTH
            level += 1
        found = self._tx.count(TileRow, self._here)
        if found > tiles:
            self._report(Problem(f"There are {found} Merkle tiles, and a log of this size has {tiles}."))
        strays = self._tx.find_unchecked(CheckpointRow, self._here, Where("number", "<", 0), limit=1)
        if strays:
            self._report(Problem("There is a checkpoint with a number below 0."))

    # The outcome

    def _report_missing(self, first: int, last: int) -> None:
        what = f"Entry {first} is missing." if first == last else f"The entries {first} to {last} are missing."
        self._report(Problem(what, first, last))

    def _report(self, problem: Problem) -> None:
        self._count += 1
        if len(self._problems) < _MOST_PROBLEMS:
            self._problems.append(problem)

    def _result(self, size: int, root: bytes, entries: int) -> LogVerification:
        return LogVerification(
            verified=not self._count,
            origin="" if self._key is None else self._key.name,
            size=size,
            root_hash=base64.b64encode(root).decode(),
            entries=entries,
            checkpoints=self._checkpoints,
            problem_count=self._count,
            problems=tuple(
                LogProblem(message=what, first_entry=first, last_entry=last)
                for what, first, last in sorted(self._problems, key=_place)
            ),
        )


def _place(problem: Problem) -> tuple[bool, int]:
    return problem.first is None, problem.first or 0


def _in_order(one: Iterator[Expected], other: Iterator[Expected]) -> Iterator[Expected]:
    return iter(merge(one, other, key=lambda expected: expected.checkpoint.size))
