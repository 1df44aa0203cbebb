r"""A file sealed under a passphrase, of any length in constant memory.

STREAM (Hoang, Reyhanitabar, Rogaway and Vizár 2015, as in age and Tink): chunks under AES-256-GCM whose nonces hold
the chunk's number and whether it is the last one. So a file that was cut, at a chunk's end even, lengthened or put in
another order does not open. The key is derived with Argon2id from the passphrase and a salt of the file's own, and the
header is associated data of every chunk.

Layout: ``vaultctl-backup-1\n ‖ header's length (4 bytes) ‖ header (JSON) ‖ tag (16 bytes) ‖ chunks``. The tag tells a
wrong passphrase from a damaged file. A chunk is 65,536 bytes, the last one at most, and 16 bytes of its own tag.
"""

import struct
from collections.abc import Iterator
from typing import Annotated, BinaryIO, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vaultctl.crypto import passphrases
from vaultctl.domain.errors import VerificationFailed
from vaultctl.domain.ids import RandomBytes
from vaultctl.domain.records import json_name
from vaultctl.domain.secrets import Secret

_MAGIC = b"vaultctl-backup-1\n"
_TAG_BYTES = 16
_PREFIX_BYTES = 7
_CHUNK = 65_536
_MOST_CHUNKS = 2**32 - 1
_LONGEST_HEADER = 4_096


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=json_name):
    """How the key is derived. The bounds keep a tampered file from taking all memory or time."""

    salt: Annotated[bytes, msgspec.Meta(min_length=passphrases.SALT_BYTES, max_length=passphrases.SALT_BYTES)]
    nonce_prefix: Annotated[bytes, msgspec.Meta(min_length=_PREFIX_BYTES, max_length=_PREFIX_BYTES)]
    kdf: Literal["argon2id"] = "argon2id"
    passes: Annotated[int, msgspec.Meta(ge=1, le=16)] = passphrases.PASSES
    lanes: Annotated[int, msgspec.Meta(ge=1, le=16)] = passphrases.LANES
    memory_kib: Annotated[int, msgspec.Meta(ge=8 * 16, le=1_048_576)] = passphrases.MEMORY_KIB
    cipher: Literal["aes-256-gcm-stream"] = "aes-256-gcm-stream"

    def cipher_for(self, passphrase: Secret) -> AESGCM:
        """What seals the chunks."""
        return AESGCM(
            passphrases.derive(passphrase, self.salt, passes=self.passes, lanes=self.lanes, memory_kib=self.memory_kib)
        )

    def nonce(self, number: int, *, last: bool) -> bytes:
        """The nonce of a chunk, which no other chunk of the file has."""
        return self.nonce_prefix + struct.pack(">IB", number, last)


class SealedWriter:
    """Seals what is written to it. Without :meth:`finish` the file does not open."""

    def __init__(self, file: BinaryIO, passphrase: Secret, random: RandomBytes) -> None:
        """Begin ``file``."""
        self._file = file
        self._header = _Header(salt=random(passphrases.SALT_BYTES), nonce_prefix=random(_PREFIX_BYTES))
        encoded = msgspec.json.encode(self._header)
        self._beginning = _MAGIC + struct.pack(">I", len(encoded)) + encoded
        self._cipher = self._header.cipher_for(passphrase)
        self._buffer = bytearray()
        self._number = 0
        file.write(self._beginning + self._cipher.encrypt(_check_nonce(self._header), b"", self._beginning))

    def write(self, data: bytes) -> None:
        """Add ``data``."""
        self._buffer += data
        while len(self._buffer) > _CHUNK:  # the last one is only known at the end
            self._seal(bytes(self._buffer[:_CHUNK]), last=False)
            del self._buffer[:_CHUNK]

    def finish(self) -> None:
        """Add the last chunk, which says that it is the last."""
        self._seal(bytes(self._buffer), last=True)

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        if self._number >= _MOST_CHUNKS:
            raise OverflowError("too many chunks")
        self._file.write(self._cipher.encrypt(self._header.nonce(self._number, last=last), chunk, self._beginning))
        self._number += 1


class SealedReader:
    """Opens a sealed file. It may be read several times with the key that was derived once."""

    def __init__(self, file: BinaryIO, passphrase: Secret) -> None:
        """Read the beginning of ``file``.

        Raises:
            VerificationFailed: It is no such file, or the passphrase is wrong.
        """
        self._file = file
        beginning = file.read(len(_MAGIC) + 4)
        (length,) = struct.unpack(">I", beginning[-4:].rjust(4, b"\xff"))
        if beginning[:-4] != _MAGIC or length > _LONGEST_HEADER:
            raise VerificationFailed("That is not a backup of vaultctl.", hint="Name the file that backup made.")
        encoded = file.read(length)
        try:
            self._header = msgspec.json.decode(encoded, type=_Header)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _damaged() from None
        self._beginning = beginning + encoded
        self._cipher = self._header.cipher_for(passphrase)
        try:
            self._cipher.decrypt(_check_nonce(self._header), file.read(_TAG_BYTES), self._beginning)
        except (InvalidTag, ValueError):
            raise VerificationFailed(
                "The passphrase of the backup is wrong, or the beginning of the file was changed.", hint="Try again."
            ) from None

    def chunks(self) -> Iterator[bytes]:
        """What was written, piece by piece, from the start.

        Raises:
            VerificationFailed: It was changed, cut or lengthened. What came before is as it was written.
        """
        self._file.seek(len(self._beginning) + _TAG_BYTES)
        sealed = self._file.read(_CHUNK + _TAG_BYTES)
        number = 0
        while True:
            following = self._file.read(_CHUNK + _TAG_BYTES)
            try:
                nonce = self._header.nonce(number, last=not following)
                yield self._cipher.decrypt(nonce, sealed, self._beginning)
            except (InvalidTag, ValueError, struct.error):
                raise _damaged() from None
            if not following:
                return
            sealed = following
            number += 1


def _check_nonce(header: _Header) -> bytes:
    return header.nonce(_MOST_CHUNKS, last=False)


def _damaged() -> VerificationFailed:
    return VerificationFailed(
        "The backup is damaged, cut short or was changed.", hint="Take another copy of it, or an earlier backup."
    )
