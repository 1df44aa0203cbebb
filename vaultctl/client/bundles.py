"""An audit log in a directory that stands alone: written from a vault, verified years later without one.

The directory has the layout of C2SP tlog-tiles, so that any verifier of that format reads it: ``checkpoint``, the hash
tiles under ``tile/LEVEL``, the entries under ``tile/entries``; and beside them ``verifier-key``. It is for its owner
alone, since entries tell of people.
"""

import base64
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vaultctl.client.private_files import sync_directory
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import AlreadyExists, InvalidInput, VaultUnavailable
from vaultctl.domain.records import Event, ExportFormat, LogCheckpoint, LogProblem, LogVerification
from vaultctl.ledger.bundle import check_pieces, entries_of
from vaultctl.ledger.checkpoint import Checkpoint, EarlierLog, key_now, open_checkpoint, open_kept_checkpoint
from vaultctl.ledger.note import VerifierKey, parse_verifier_key
from vaultctl.ledger.tiles import Tile, entry_bundles, hash_tiles
from vaultctl.ledger.verification import Expected, Problem

CHECKPOINT = "checkpoint"
VERIFIER_KEY = "verifier-key"

_MOST_PROBLEMS = 100
_MOST_BYTES = 256 * (2 + 65_535)
"""Bytes of the largest piece: a bundle of the longest entries."""

Progress = Callable[[int, int], None]
"""Says how many entries are done of how many."""


def export_bundle(vault: Vault, directory: Path, progress: Progress = lambda _done, _size: None) -> LogCheckpoint:
    """Write all entries that there are into a new directory, with what proves them. Needs the role admin.

    Raises:
        AlreadyExists: There is something of this name.
        VaultUnavailable: It can't be written there.
    """
    path = directory.absolute()
    if os.path.lexists(path):
        raise _taken(path)
    aside = path.with_name(f".{path.name}.new-{os.urandom(8).hex()}")
    try:
        aside.mkdir(mode=0o700)
        try:
            end = vault.audit_log.begin_export(format=ExportFormat.BUNDLE)
            for tile in hash_tiles(end.size):
                _write(aside / tile.path, vault.audit_log.tile(_behind(tile)))
            for bundle in entry_bundles(end.size):
                _write(aside / bundle.path, vault.audit_log.tile(_behind(bundle)))
                progress(bundle.leaves[1], end.size)
            _write(aside / VERIFIER_KEY, f"{end.verifier_key}\n".encode())
            _write(aside / CHECKPOINT, end.note.encode())
            if os.path.lexists(path):  # a rename would replace an empty directory
                raise _taken(path)
            aside.rename(path)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise VaultUnavailable(
            f"The bundle {path} can't be written: {error.strerror}.", hint="Name a place with space that is yours."
        ) from None
    return end


def verify_bundle(
    directory: Path,
    *,
    key: str | None = None,
    against: Sequence[str] = (),
    progress: Progress = lambda _done, _size: None,
) -> LogVerification:
    """Check all of a bundle, without any vault: each entry, each tile, and the checkpoint over them.

    Args:
        directory: The bundle.
        key: The log's verifier key; if None, the one in the bundle, which whoever made the bundle has put there.
        against: Notes of checkpoints that were kept elsewhere, with which the log has to agree.
        progress: Is told how many entries were looked at, and how many there are.

    Raises:
        InvalidInput: There is no bundle.
        VerificationFailed: A checkpoint is none, or of another log, or of another key.
    """
    pieces = _Pieces(directory)
    note = pieces.required(CHECKPOINT)
    verifier = parse_verifier_key(key or pieces.required(VERIFIER_KEY).decode("utf-8", "replace"))
    origin = note.partition(b"\n")[0].decode("utf-8", "replace")
    earlier: list[EarlierLog] = []
    if verifier.name != origin or not all(text.startswith(f"{origin}\n") for text in against):
        earlier = _earlier_logs(pieces, note, VerifierKey(origin, verifier.public))
        verifier = key_now(verifier, origin, earlier)
    end = open_checkpoint(note, verifier)
    kept = [
        Expected(open_kept_checkpoint(text.encode(), verifier, earlier), "The checkpoint that was kept elsewhere")
        for text in against
    ]
    problems: list[Problem] = []
    count = 0

    def report(problem: Problem) -> None:
        nonlocal count
        count += 1
        if len(problems) < _MOST_PROBLEMS:
            problems.append(problem)

    check_pieces(end, kept, pieces.tile, report, progress)
    return LogVerification(
        verified=not count,
        origin=end.origin,
        size=end.size,
        root_hash=base64.b64encode(end.root).decode(),
        entries=end.size,
        checkpoints=1 + len(kept),
        problem_count=count,
        problems=tuple(LogProblem(message=what, first_entry=first, last_entry=last) for what, first, last in problems),
    )


class _Pieces:
    """The files of a bundle."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def required(self, name: str) -> bytes:
        """A file that every bundle has.

        Raises:
            InvalidInput: It is not there.
        """
        data = self._read(self._directory / name)
        if data is None:
            raise InvalidInput(
                f"{self._directory} is no bundle: it has no file {name}.",
                hint="Make one: vaultctl audit export --bundle DIR",
            )
        return data

    def tile(self, tile: Tile) -> bytes | None:
        """The bytes of a tile; None if it is not there."""
        return self._read(self._directory / tile.path)

    def _read(self, path: Path) -> bytes | None:
        try:
            if not path.is_file():  # a pipe would keep us for ever
                return None
            with path.open("rb") as file:
                # No more is asked for than there is: the room for it would be taken each time.
                return file.read(min(os.fstat(file.fileno()).st_size, _MOST_BYTES + 1))
        except FileNotFoundError:
            return None
        except OSError as error:
            reason = error.strerror
        raise InvalidInput(f"{path} can't be read: {reason}.", hint="Verify a bundle that you may read.")


def _earlier_logs(pieces: _Pieces, note: bytes, key: VerifierKey) -> list[EarlierLog]:
    """The logs that go on in this one, since its vault was restored from a backup."""
    end: Checkpoint = open_checkpoint(note, key)
    found = []
    for seq, body in entries_of(end.size, pieces.tile):
        if Event.VAULT_RESTORED.value.encode() not in body:
            continue
        try:
            entry: Any = msgspec.json.decode(body)
            if entry["event"] == Event.VAULT_RESTORED:
                found.append(EarlierLog(str(entry["details"]["origin"]), seq))
        except (msgspec.MsgspecError, RecursionError, KeyError, TypeError):
            continue
    return found


def _behind(tile: Tile) -> str:
    return tile.path.removeprefix("tile/")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with os.fdopen(file, "wb") as stream:
        stream.write(data)


def _taken(path: Path) -> AlreadyExists:
    return AlreadyExists(f"{path} is there already.", hint="Name a new directory; nothing is overwritten.")
