"""Envelope encryption with AES-256-GCM (NIST SP 800-38D).

A sealed blob names the key and version that sealed it. Its associated data binds it to what it is for, so that
a row copied elsewhere fails to open.

Layout: ``0x01 ‖ len(key id) ‖ key id ‖ key version (4 bytes) ‖ nonce (12 bytes) ‖ ciphertext ‖ tag (16 bytes)``.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vaultctl.domain.errors import VerificationFailed
from vaultctl.domain.ids import RandomBytes

KEY_BYTES = 32
_NONCE_BYTES = 12
_FORMAT = 1


class Key(NamedTuple):
    """A symmetric key with its name. It prints without the key."""

    id: str
    version: int
    secret: bytes

    def __repr__(self) -> str:
        return f"Key(id={self.id!r}, version={self.version}, secret=****)"


class Binding(NamedTuple):
    """What a sealed blob is for; part of its associated data."""

    purpose: str
    tenant: str
    id: str
    version: int


KeyLookup = Callable[[str, int], Key]
"""Finds a key by id and version."""


def seal(key: Key, binding: Binding, plaintext: bytes, random: RandomBytes) -> bytes:
    """``plaintext`` encrypted under ``key`` and bound to ``binding``."""
    header = header_of(key.id, key.version)
    nonce = random(_NONCE_BYTES)
    return header + nonce + AESGCM(key.secret).encrypt(nonce, plaintext, _associated_data(header, binding))


def header_of(key_id: str, version: int) -> bytes:
    """How all that a key has sealed begins. Those of one key sort by its version."""
    name = key_id.encode("ascii")
    return struct.pack(">BB", _FORMAT, len(name)) + name + struct.pack(">I", version)


def unseal(keys: KeyLookup, binding: Binding, blob: bytes) -> bytes:
    """What :func:`seal` was given.

    Args:
        keys: Finds the key that the blob names.
        binding: What the blob is expected to be for.
        blob: The sealed blob.

    Raises:
        VerificationFailed: The blob is malformed, was changed, or belongs elsewhere.
    """
    try:
        if not isinstance(blob, bytes) or blob[0] != _FORMAT:
            raise ValueError
        end = 2 + blob[1]
        key_id = blob[2:end].decode("ascii")
        (version,) = struct.unpack(">I", blob[end : end + 4])
        header, rest = blob[: end + 4], blob[end + 4 :]
        key = keys(key_id, version)
        return AESGCM(key.secret).decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _associated_data(header, binding))
    except (InvalidTag, ValueError, IndexError, struct.error):
        raise VerificationFailed(
            f"A stored {binding.purpose} of tenant {binding.tenant!r} does not decrypt: it was changed or moved.",
            hint="Restore the database from a backup, and find out who can write to it.",
        ) from None


def _associated_data(header: bytes, binding: Binding) -> bytes:
    parts = (header, *(part.encode() for part in binding[:3]), struct.pack(">Q", binding.version))
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)
