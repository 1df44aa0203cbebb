"""The secrets of tokens: ``vault_token_`` + 43 base62 digits (32 random bytes) + 6 base62 digits (CRC32).

The prefix lets secret scanners find one; the check digits catch a typo without asking the vault.
"""

import hashlib
import hmac
import re
import zlib

from vaultctl.domain.errors import NotAuthenticated
from vaultctl.domain.ids import RandomBytes, base62
from vaultctl.domain.secrets import Secret

PREFIX = "vault_token_"
_SHAPE = re.compile(PREFIX + r"([0-9A-Za-z]{43})([0-9A-Za-z]{6})", re.ASCII)


def new_token_secret(random: RandomBytes) -> Secret:
    """A new token secret with 256 random bits."""
    body = base62(random(32), 43)
    return Secret(f"{PREFIX}{body}{_check_digits(body)}")


def token_hash(secret: Secret) -> bytes:
    """The SHA-256 under which the vault knows a token.

    Raises:
        NotAuthenticated: The text is no token, or a mistyped one.
    """
    match = _SHAPE.fullmatch(secret.reveal())
    if match is None:
        raise NotAuthenticated(
            "That is not a vaultctl token.", hint=f"A token starts with {PREFIX} and has 61 characters."
        )
    if _check_digits(match[1]) != match[2]:
        raise NotAuthenticated("The token is mistyped or cut short.", hint="Copy it again, or rotate it.")
    return hash_of(secret)


def hash_of(secret: Secret) -> bytes:
    """The SHA-256 of a token secret."""
    return hashlib.sha256(secret.reveal().encode("ascii")).digest()


def answer_key(secret: Secret) -> bytes:
    """A key that only the bearer of the token has: for answers that are kept for nobody else."""
    return hmac.digest(secret.reveal().encode("ascii"), b"vaultctl idempotent answers", "sha256")


def _check_digits(body: str) -> str:
    return base62(zlib.crc32((PREFIX + body).encode("ascii")).to_bytes(4, "big"), 6)
