"""TLS certificates: PEM with the certificate first, then its chain, and perhaps its private key."""

from collections.abc import Iterator
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.text import MAX_FREE_TEXT, safe
from vaultctl.domain.times import rfc3339
from vaultctl.engine.credential_types.pem import Block, Pem, parsed, scan
from vaultctl.engine.credential_types.shape import attribute

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_CERTIFICATES = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})
_KEYS = frozenset({"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"})
_PARAMETERS = frozenset({"EC PARAMETERS", "DH PARAMETERS"})
_LONGEST_KEY = 16_384
_WHOLE = "Give PEM: the certificate, then its chain, and its private key if you want it kept with them."


def read(value: str) -> dict[str, str]:
    """What the first certificate says, and whether its private key is there.

    ``subject``, ``issuer`` (RFC 4514), ``serial`` (hexadecimal), ``notBefore``, ``expiresAt``, ``sans``,
    ``fingerprint`` (SHA-256, hexadecimal), ``hasPrivateKey``. An expired certificate is taken; it shows.

    Raises:
        InvalidInput: There is no certificate, one is damaged, or the private key is another's.
    """
    content = scan(value)
    certificate = _first_certificate(content)
    key = _private_key(content)
    if key is not None and not _belongs(key, certificate):
        raise InvalidInput(
            "The private key does not belong to the first certificate.",
            hint="Put the certificate that the key was made for first, and its chain after it.",
        )
    attributes = parsed(lambda: _describe(certificate))
    if attributes is None:
        raise _damaged()
    return attributes | {"hasPrivateKey": "true" if key is not None else "false"}


def _first_certificate(content: Pem) -> "Certificate":
    certificates = [block for block in content.blocks if block.label in _CERTIFICATES]
    if not certificates:
        raise InvalidInput("The value holds no certificate in PEM.", hint=_WHOLE)
    if not content.is_complete:
        raise _damaged()
    known = _CERTIFICATES | _KEYS | _PARAMETERS | {"ENCRYPTED PRIVATE KEY"}
    if any(block.label not in known for block in content.blocks):
        raise InvalidInput("The value holds something besides certificates and a private key.", hint=_WHOLE)

    def load(block: Block) -> "Certificate":
        from cryptography.x509 import load_pem_x509_certificate

        return load_pem_x509_certificate(block.encode())

    first, *chain = (parsed(partial(load, block)) for block in certificates)
    if first is None or None in chain:
        raise _damaged()
    return first


def _private_key(content: Pem) -> Any:
    """The private key; None if there is none."""
    keys = [block for block in content.blocks if block.is_private_key]
    if not keys:
        return None
    if len(keys) > 1:
        raise InvalidInput("The value holds more than one private key.", hint=_WHOLE)
    block = keys[0]
    if block.is_encrypted:
        raise InvalidInput(
            "The private key is encrypted, so that nobody can tell whether it belongs to the certificate.",
            hint="The vault encrypts what it stores. Decrypt the key first: openssl pkey -in KEY",
        )

    def load() -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        # Whether it belongs to the certificate is what is asked; testing the primes takes seconds.
        return load_pem_private_key(block.encode(), None, unsafe_skip_rsa_key_validation=True)

    key = parsed(load) if sum(map(len, block.lines)) <= _LONGEST_KEY else None
    if key is None:
        raise InvalidInput("The private key is damaged, too large, or of an unknown kind.", hint=_WHOLE)
    return key


def _belongs(key: Any, certificate: "Certificate") -> bool:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    def same() -> bool:
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return bool(key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form))

    return bool(parsed(same))


def _describe(certificate: "Certificate") -> dict[str, str]:
    from cryptography.hazmat.primitives.hashes import SHA256

    return {
        "subject": attribute(certificate.subject.rfc4514_string()),
        "issuer": attribute(certificate.issuer.rfc4514_string()),
        "serial": attribute(f"{certificate.serial_number:x}"),
        "notBefore": rfc3339(certificate.not_valid_before_utc),
        "expiresAt": rfc3339(certificate.not_valid_after_utc),
        "sans": _as_many_as_fit(safe(name) for name in _alternative_names(certificate)),
        "fingerprint": certificate.fingerprint(SHA256()).hex(),
    }


def _alternative_names(certificate: "Certificate") -> Iterator[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for name in names:
        if isinstance(name, x509.DNSName | x509.IPAddress | x509.RFC822Name | x509.UniformResourceIdentifier):
            yield str(name.value)


def _as_many_as_fit(names: Iterator[str]) -> str:
    length = -1

    def fits(name: str) -> bool:
        nonlocal length
        length += 1 + len(name)
        return length <= MAX_FREE_TEXT

    return ",".join(takewhile(fits, names))


def _damaged() -> InvalidInput:
    return InvalidInput("A certificate is damaged or cut short.", hint="Give the whole file: --from-file PATH")
