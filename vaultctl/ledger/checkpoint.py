"""What a log signs: how long it is, and the root of its tree (C2SP tlog-checkpoint)."""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import NamedTuple

from vaultctl.domain.errors import VerificationFailed
from vaultctl.ledger.merkle import HASH_BYTES
from vaultctl.ledger.note import SigningKey, VerifierKey, open_note, sign_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


def origin(vault_id: str, tenant: str) -> str:
    """The name of a tenant's log, and of its signing key."""
    return f"vaultctl/{vault_id}/{tenant}"


class Checkpoint(NamedTuple):
    """The head of a log.

    Attributes:
        origin: Which log.
        size: How many entries it has.
        root: The root of the tree over them.
        extensions: Lines that mean nothing here.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint that a note's text is.

    Raises:
        VerificationFailed: It is none.
    """
    lines = text.split("\n")
    if len(lines) >= 4 and not lines.pop() and all(lines) and _SIZE.fullmatch(lines[1]):
        try:
            root = base64.b64decode(lines[2], validate=True)
        except (binascii.Error, ValueError):
            root = b""
        found = Checkpoint(lines[0], int(lines[1]), root, tuple(lines[3:]))
        if len(root) == HASH_BYTES and found.text == text:
            return found
    raise VerificationFailed("This is not the checkpoint of a log.", hint="It was cut off or changed on its way.")


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> bytes:
    """The signed note of a checkpoint."""
    return sign_note(checkpoint.text, key)


def open_checkpoint(note: bytes, key: VerifierKey) -> Checkpoint:
    """The checkpoint in a note that the log's own key signed: the key whose name is the checkpoint's origin.

    Raises:
        VerificationFailed: It is no checkpoint, of another log, or not signed by ``key``.
    """
    checkpoint = parse_checkpoint(open_note(note, [key]))
    if checkpoint.origin != key.name:
        raise VerificationFailed(
            f"The checkpoint is of the log {checkpoint.origin}, not of {key.name}.", hint="Name that log's own."
        )
    return checkpoint


class EarlierLog(NamedTuple):
    """A log that goes on in another one, since its vault was restored from a backup.

    Attributes:
        origin: Its name.
        size: How many entries of it the other one has.
    """

    origin: str
    size: int


def open_kept_checkpoint(note: bytes, key: VerifierKey, earlier: Iterable[EarlierLog]) -> Checkpoint:
    """The checkpoint in a note that was kept elsewhere: of the log itself, or of one that goes on in it.

    The key is the same one under each of the names.

    Raises:
        VerificationFailed: It is no checkpoint, of another log, over more than went on, or not signed by ``key``.
    """
    name = note.partition(b"\n")[0]
    for log in earlier:
        if log.origin.encode() == name:
            checkpoint = open_checkpoint(note, VerifierKey(log.origin, key.public))
            if checkpoint.size > log.size:
                raise VerificationFailed(
                    f"The checkpoint is over {checkpoint.size} entries, and the log was restored with {log.size}.",
                    hint="What it is over besides was written after the backup: only the vault of then has it.",
                )
            return checkpoint
    return open_checkpoint(note, key)


def key_now(key: VerifierKey, origin: str, earlier: Iterable[EarlierLog]) -> VerifierKey:
    """A key that was kept elsewhere, under the name that the log has by now."""
    return VerifierKey(origin, key.public) if any(key.name == log.origin for log in earlier) else key
