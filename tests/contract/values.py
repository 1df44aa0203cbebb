"""A real value for each type of credential, made anew for each run."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from functools import cache

from vaultctl.domain.records import CredentialType


@cache
def ssh_key(comment: str = "deploy") -> str:
    """An Ed25519 private key in OpenSSH's form. A key for each comment."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


@cache
def certificate(name: str = "api.example.com") -> str:
    """A self-signed certificate with its key, for half a year."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime(2027, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=180))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, None)
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (made.public_bytes(Encoding.PEM) + private).decode()


def api_key() -> str:
    """A key with a public prefix."""
    return f"shpat_{secrets.token_hex(16)}"


def oauth_token() -> str:
    """What a token endpoint answers."""
    grant = {"access_token": secrets.token_urlsafe(24), "token_type": "Bearer", "refresh_token": secrets.token_hex(20)}
    return json.dumps(grant)


def database_url() -> str:
    """A URL with a password."""
    return f"postgresql://reader:{secrets.token_hex(12)}@db.example.com:5432/orders"


def generic_secret() -> str:
    """Two lines."""
    return f"first {secrets.token_hex(12)}\nsecond {secrets.token_hex(12)}\n"


MAKERS = {
    CredentialType.API_KEY: api_key,
    CredentialType.OAUTH_TOKEN: oauth_token,
    CredentialType.SSH_KEY: ssh_key,
    CredentialType.TLS_CERTIFICATE: certificate,
    CredentialType.DATABASE_URL: database_url,
    CredentialType.GENERIC_SECRET: generic_secret,
}


def value_of(type: CredentialType | str) -> str:
    """A value of that type."""
    return MAKERS[CredentialType(type)]()
