"""SSH private keys, in OpenSSH's own form (PROTOCOL.key) or in PEM (PKCS #1, PKCS #8, SEC 1)."""

import base64
import binascii
import hashlib
import struct
from typing import TYPE_CHECKING, Any

from vaultctl.domain.errors import InvalidInput
from vaultctl.engine.credential_types.pem import Block, parsed, scan

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_OPENSSH = "OPENSSH PRIVATE KEY"
_MAGIC = b"openssh-key-v1\0"
_LONGEST = 16_384  # characters of base64: an RSA key of 16,384 bits, the largest of OpenSSH, has 12,700
_SMALLEST_RSA = 2_048
_PUBLIC = ("ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-", "---- BEGIN SSH2 PUBLIC KEY")
_ALGORITHMS = frozenset({"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"})
_NEW_KEY = "Make a new one: ssh-keygen -t ed25519"


def read(value: str) -> dict[str, str]:
    """``algorithm``, ``bits`` (of RSA), ``fingerprint`` as ``ssh-keygen -l`` prints it, ``encrypted``.

    An encrypted key in OpenSSH's form shows its public half; one in PEM shows only that it is encrypted.

    Raises:
        InvalidInput: It is not one private key that OpenSSH would use today.
    """
    block = _private_block(value)
    if sum(map(len, block.lines)) > _LONGEST:
        raise InvalidInput("The SSH key is too large.", hint="RSA keys have at most 16384 bits.")
    if block.label == _OPENSSH:
        return _read_openssh(block)
    if block.is_encrypted:
        return _read_encrypted(block)
    return _describe(_public_line(_load_pem(block)))


def _private_block(value: str) -> Block:
    content = scan(value)
    private = [block for block in content.blocks if block.is_private_key]
    others = {block.label for block in content.blocks if not block.is_private_key}
    if not private:
        if value.lstrip().startswith(_PUBLIC) or any(label.endswith("PUBLIC KEY") for label in others):
            raise InvalidInput(
                "That is a public key alone.", hint="Store the private key: the file beside it, without .pub."
            )
        if value.lstrip().startswith("PuTTY-User-Key-File"):
            raise InvalidInput("That is a key in PuTTY's form.", hint="Convert it: puttygen KEY -O private-openssh")
    if not private or not content.is_complete or others - {"EC PARAMETERS"}:
        raise InvalidInput(
            "The value is not an SSH private key, or is cut short.",
            hint="Give the whole file, from its BEGIN line to its END line: --from-file ~/.ssh/id_ed25519",
        )
    if len(private) > 1 or content.has_other_text:
        raise InvalidInput("The value holds more than a private key.", hint="Give one key and nothing else.")
    return private[0]


def _read_openssh(block: Block) -> dict[str, str]:
    header = _openssh_header(block)
    if header is None:
        raise _damaged()
    encrypted, public = header
    attributes = _describe(public)
    if encrypted:
        return attributes | {"encrypted": "true"}

    def load() -> Any:
        from cryptography.hazmat.primitives.serialization import load_ssh_private_key

        return load_ssh_private_key(block.encode(), None, unsafe_skip_rsa_key_validation=True)

    # The public half in clear is what it claims to be; what the private key makes of it is what counts.
    if _public_line(parsed(load)) != public:
        raise _damaged()
    return attributes


def _openssh_header(block: Block) -> tuple[bool, bytes] | None:
    """Whether it is encrypted, and its public half as a line of ``authorized_keys``; None if it is malformed."""
    try:
        data = base64.b64decode("".join(block.lines), validate=True)
        if not data.startswith(_MAGIC):
            return None
        cipher, rest = _string(data[len(_MAGIC) :])
        kdf, rest = _string(rest)
        _, rest = _string(rest)
        (keys,) = struct.unpack(">I", rest[:4])
        public, rest = _string(rest[4:])
        secret, _ = _string(rest)
        algorithm, _ = _string(public)
    except (binascii.Error, ValueError, struct.error):
        return None
    if keys != 1 or not secret or (cipher == b"none") != (kdf == b"none"):
        return None
    return cipher != b"none", algorithm + b" " + base64.b64encode(public)


def _string(data: bytes) -> tuple[bytes, bytes]:
    """An RFC 4251 string at the start of ``data``, and what follows it."""
    (length,) = struct.unpack(">I", data[:4])
    if length > len(data) - 4:
        raise ValueError
    return data[4 : 4 + length], data[4 + length :]


def _read_encrypted(block: Block) -> dict[str, str]:
    def asks_for_a_password() -> bool:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            load_pem_private_key(block.encode(), None)
        except TypeError:
            return True
        return False

    if block.label == "DSA PRIVATE KEY":
        raise _dsa()
    if not parsed(asks_for_a_password):
        raise _damaged()
    return {"encrypted": "true"}


def _load_pem(block: Block) -> Any:
    def load() -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        # Its own validation tests primes: four seconds for 8,192 bits. See `_is_consistent`.
        return load_pem_private_key(block.encode(), None, unsafe_skip_rsa_key_validation=True)

    return parsed(load)


def _public_line(private_key: Any) -> bytes:
    """The public half of a loaded key as a line of ``authorized_keys``.

    Raises:
        InvalidInput: It is not loaded, inconsistent, or of a kind that SSH does not use.
    """
    from cryptography.hazmat.primitives.asymmetric.dsa import DSAPrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if private_key is None:
        raise _damaged()
    if isinstance(private_key, DSAPrivateKey):
        raise _dsa()
    if isinstance(private_key, RSAPrivateKey) and not parsed(lambda: _is_consistent(private_key)):
        raise _damaged()
    line: bytes | None = parsed(lambda: private_key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    if line is None:
        raise _unusable()
    return line


def _is_consistent(private_key: "RSAPrivateKey") -> bool:
    """Whether the numbers of an RSA key belong together (RFC 8017, section 3.2)."""
    numbers = private_key.private_numbers()
    p, q, d = numbers.p, numbers.q, numbers.d
    n, e = numbers.public_numbers.n, numbers.public_numbers.e
    return (
        min(p, q) > 1
        and p * q == n
        and e * d % (p - 1) == 1
        and e * d % (q - 1) == 1
        and (numbers.dmp1, numbers.dmq1) == (d % (p - 1), d % (q - 1))
        and numbers.iqmp * q % p == 1
    )


def _describe(public_line: bytes) -> dict[str, str]:
    """The attributes of a public key.

    Raises:
        InvalidInput: It is malformed, or OpenSSH would not use it today.
    """
    algorithm = public_line.partition(b" ")[0].decode("ascii", "replace")
    if algorithm == "ssh-dss":
        raise _dsa()
    if algorithm not in _ALGORITHMS:
        raise _unusable()

    def load() -> Any:
        from cryptography.hazmat.primitives.serialization import load_ssh_public_key

        return load_ssh_public_key(public_line)

    public_key = parsed(load)
    if public_key is None:
        raise _damaged()
    attributes = {"algorithm": algorithm}
    if algorithm == "ssh-rsa":
        if public_key.key_size < _SMALLEST_RSA:
            raise InvalidInput(f"RSA keys below {_SMALLEST_RSA} bits are not safe.", hint=_NEW_KEY)
        attributes["bits"] = str(public_key.key_size)
    digest = hashlib.sha256(base64.b64decode(public_line.partition(b" ")[2])).digest()
    return attributes | {"fingerprint": "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")}


def _damaged() -> InvalidInput:
    return InvalidInput("The SSH key is damaged or cut short.", hint="Give the whole file: --from-file PATH")


def _dsa() -> InvalidInput:
    return InvalidInput("DSA keys are not safe, and OpenSSH no longer takes them.", hint=_NEW_KEY)


def _unusable() -> InvalidInput:
    return InvalidInput("SSH keys are Ed25519, RSA or ECDSA over a NIST curve; that is another kind.", hint=_NEW_KEY)
