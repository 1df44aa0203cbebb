"""Text with signatures (C2SP signed-note), of which Ed25519 (signature type 0x01) is made and verified here."""

import base64
import binascii
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from vaultctl.domain.errors import InvalidInput, VerificationFailed

SEED_BYTES = 32
_ED25519 = b"\x01"
_ID_BYTES = 4
_DASH = "— "
_MOST_SIGNATURES = 100
_MOST_BYTES = 1_000_000
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NAME = re.compile(r"[^\s+\x00-\x1f]+")


class VerifierKey(NamedTuple):
    """A public key and whose it is. As text it is ``name+id+base64``, the form of Go's ``sumdb/note``."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """By which a signature says that it is this key's."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether ``signature`` is this key's over ``text``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


def parse_verifier_key(text: str) -> VerifierKey:
    """The key that ``name+id+base64`` is.

    Raises:
        InvalidInput: It is none, or not for Ed25519.
    """
    name, plus, rest = text.strip().partition("+")
    id, _, encoded = rest.partition("+")
    data = _unbase64(encoded)
    if plus and _NAME.fullmatch(name) and data is not None and len(data) == 33 and data[:1] == _ED25519:
        key = VerifierKey(name, data[1:])
        if key.id.hex() == id:
            return key
    raise InvalidInput(
        "This is not the verifier key of an Ed25519 signature.",
        hint="It looks like NAME+ID+BASE64; vaultctl audit checkpoint --key prints a log's.",
    )


class SigningKey:
    """An Ed25519 key and whose it is. It prints without the key."""

    __slots__ = ("_key", "name")

    def __init__(self, name: str, seed: bytes) -> None:
        """Of the ``SEED_BYTES`` that RFC 8032 calls the private key."""
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(seed)

    def __repr__(self) -> str:
        return f"SigningKey(name={self.name!r}, seed=****)"

    @property
    def verifier(self) -> VerifierKey:
        """The key that verifies its signatures."""
        return VerifierKey(self.name, self._key.public_key().public_bytes_raw())

    def sign(self, text: str) -> "Signature":
        """Its signature over ``text``."""
        return Signature(self.name, self.verifier.id, self._key.sign(text.encode()))


class Signature(NamedTuple):
    """One line of signature, of whatever type: ``key_id`` says."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.signature).decode()}"


class Note(NamedTuple):
    """Text and its signatures, none of them verified."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """Its bytes."""
        return "".join((self.text, "\n", *(f"{signature}\n" for signature in self.signatures))).encode()


def sign_note(text: str, *keys: SigningKey) -> bytes:
    """The bytes of a note that these keys sign.

    Raises:
        ValueError: The text does not end in a newline, or holds other control characters.
    """
    if not text.endswith("\n") or _CONTROL.search(text):
        raise ValueError("the text of a note ends in a newline and holds no other control characters")
    return Note(text, tuple(key.sign(text) for key in keys)).encode()


def parse_note(data: bytes) -> Note:
    """The text and the signatures that a note consists of; they mean nothing yet.

    Raises:
        VerificationFailed: It is no note.
    """
    try:
        whole = data.decode() if len(data) <= _MOST_BYTES else ""
    except UnicodeDecodeError:
        whole = ""
    text, blank, lines = whole.rpartition("\n\n")
    if not blank or not lines.endswith("\n") or _CONTROL.search(whole):
        raise _malformed()
    signatures = [_signature(line) for line in lines[:-1].split("\n")]
    if len(signatures) > _MOST_SIGNATURES:
        raise _malformed()
    return Note(text + "\n", tuple(signatures))


def open_note(data: bytes, keys: Iterable[VerifierKey]) -> str:
    """The text of a note that at least one of these keys signed. Signatures of other keys are passed over.

    Raises:
        VerificationFailed: It is no note, none of the keys signed it, or a signature that says to be one of theirs
            is not.
    """
    note = parse_note(data)
    known = {(key.name, key.id): key for key in keys}
    verified = False
    for signature in note.signatures:
        key = known.pop((signature.name, signature.key_id), None)  # of a repeated one the first counts
        if key is None:
            continue
        if not key.verifies(note.text, signature.signature):
            raise VerificationFailed(
                f"The signature of {signature.name} does not verify.", hint="The note was changed, or forged."
            )
        verified = True
    if not verified:
        raise VerificationFailed(
            "No key that is known signed this note.",
            hint="Is it another log's, or has the log another key? vaultctl audit checkpoint --key prints a log's.",
        )
    return note.text


def _signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    data = _unbase64(encoded)
    if not line.startswith(_DASH) or not space or not _NAME.fullmatch(name) or data is None or len(data) <= _ID_BYTES:
        raise _malformed()
    return Signature(name, data[:_ID_BYTES], data[_ID_BYTES:])


def _unbase64(text: str) -> bytes | None:
    """What standard base64 stands for; None if it is not, or not in the one way that there is."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


def _malformed() -> VerificationFailed:
    return VerificationFailed("This is not a signed note.", hint="It was cut off or changed on its way.")
