"""A witness of an audit log: keeps its newest checkpoint here, and moves on only to one that provably continues it.

Whoever runs the vault can rewrite its log and sign it anew, but not change what a witness on another machine has seen.
The log's key is pinned: it is the one that is given, else the one of the first look.
"""

import base64
from pathlib import Path
from typing import NamedTuple

import msgspec

from vaultctl.client import private_files
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import InvalidInput, NotFound, VaultUnavailable, VerificationFailed
from vaultctl.domain.records import LogCheckpoint, Record
from vaultctl.domain.wire import decode_json, to_json
from vaultctl.ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from vaultctl.ledger.merkle import consistency_proof, proves_consistency
from vaultctl.ledger.note import VerifierKey, parse_note, parse_verifier_key
from vaultctl.ledger.tiles import Tile, Tiles

_MOST_BYTES = 100_000


class Witnessed(Record):
    """What a witness has seen of a log, and keeps in its state file."""

    origin: str
    size: int
    root_hash: str
    verifier_key: str
    """The pinned key."""
    note: str
    """The checkpoint, as the log's key signed it."""

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint that the note is."""
        return parse_checkpoint(parse_note(self.note.encode()).text)


class Observation(NamedTuple):
    """What a look at a log came to.

    Attributes:
        before: What had been seen before; None at the first look.
        now: What is seen now; no less than before.
    """

    before: Witnessed | None
    now: Witnessed


def look(vault: Vault, state: Path, key: str | None = None) -> Observation:
    """Take in the newest checkpoint of a log, if it continues what was seen before.

    Args:
        vault: The vault, as somebody who sees its metadata.
        state: The file with what was seen; it is made at the first look.
        key: The log's verifier key, if it is known.

    Raises:
        VerificationFailed: The log does not continue what was seen: it was shortened, rewritten or forked, or is signed
            by another key. The state stays as it is.
        NotFound: The log has no checkpoint yet.
        InvalidInput: The state file is none, or for another key than the one that is given.
    """
    before = load(state)
    known = None if key is None else parse_verifier_key(key)
    if before is not None and known is not None and str(known) != before.verifier_key:
        raise InvalidInput(
            f"The state file {state} was begun with another key.", hint="Name that key, or begin a new state file."
        )
    found = vault.audit_log.newest_checkpoint()
    pinned = known or parse_verifier_key(before.verifier_key if before else found.verifier_key)
    _require_same_log(found, pinned)
    now = _witnessed(found.note, pinned)
    if before is not None:
        _require_continuation(vault, before.checkpoint, now.checkpoint)
        if before.size == now.size:
            return Observation(before, before)
    _save(state, now)
    return Observation(before, now)


def load(state: Path) -> Witnessed | None:
    """What a state file says; None if there is no such file.

    Raises:
        InvalidInput: It is no state file. It is not begun anew: what was seen would be forgotten.
    """
    try:
        with open(state, "rb", opener=private_files.without_waiting) as file:
            data = file.read(_MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = error.strerror
    else:
        try:
            seen = decode_json(data, Witnessed)
            if seen == _witnessed(seen.note, parse_verifier_key(seen.verifier_key)):
                return seen
        except (InvalidInput, VerificationFailed):
            pass  # said below
        reason = "it is no state of a witness, or was changed"
    raise InvalidInput(f"The state file {state} can't be used: {reason}.", hint="Restore it, or begin a new one.")


def _witnessed(note: str, key: VerifierKey) -> Witnessed:
    """What a note says that the log's key signed."""
    found = open_checkpoint(note.encode(), key)
    root = base64.b64encode(found.root).decode()
    return Witnessed(origin=found.origin, size=found.size, root_hash=root, verifier_key=str(key), note=note)


def _require_same_log(found: LogCheckpoint, pinned: VerifierKey) -> None:
    """Raise VerificationFailed if a checkpoint is said to be of another log or by another key than the pinned one."""
    if found.origin != pinned.name:
        raise VerificationFailed(
            f"This is another log than the one that is watched: {found.origin}.",
            hint=f"Watched is {pinned.name}. A vault restored from a backup has a new log; begin a new state file.",
        )
    if found.verifier_key != str(pinned):
        raise VerificationFailed(
            "The vault signs its log with another key than before.",
            hint="Somebody replaced the vault, or its database. Keep the state file: it proves what was there.",
        )


def _require_continuation(vault: Vault, before: Checkpoint, now: Checkpoint) -> None:
    """Raise VerificationFailed unless the log of ``now`` begins with all of the log of ``before``."""
    if now.size < before.size:
        raise VerificationFailed(
            f"The log shrank: it had {before.size} entries, and has {now.size}.", hint=_KEEP.format(before.size)
        )
    if now.size == before.size:
        if now.root != before.root:
            raise _forked(before)
        return

    def read(tile: Tile) -> bytes:
        try:
            return vault.audit_log.tile(tile.path.removeprefix("tile/"))
        except NotFound:
            return b""

    proof = consistency_proof(before.size, now.size, Tiles(now.size, read))
    if not proves_consistency(before.size, now.size, proof, before.root, now.root):
        raise _forked(before)


def _forked(before: Checkpoint) -> VerificationFailed:
    return VerificationFailed(
        f"The log was rewritten: it does not begin with the {before.size} entries that it had.",
        hint=_KEEP.format(before.size),
    )


_KEEP = "The state file proves what its first {} entries were: keep it, and compare a backup by audit verify --against."


def _save(state: Path, seen: Witnessed) -> None:
    current = load(state)
    if current is not None and current.size > seen.size:
        return  # another watcher has come further
    try:
        private_files.replace_bytes(state, msgspec.json.format(to_json(seen), indent=2) + b"\n", 0o600)
    except OSError as error:
        raise VaultUnavailable(
            f"The state file {state} can't be written: {error.strerror}.", hint="Name a file in a directory of yours."
        ) from None
