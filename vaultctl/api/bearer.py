"""Who asks, as far as the request says: the token itself goes no further."""

import re
from hashlib import sha256

from vaultctl.api.exchange import Exchange
from vaultctl.crypto.tokens import token_hash
from vaultctl.domain.errors import NotAuthenticated
from vaultctl.domain.secrets import Secret
from vaultctl.engine.authentication import Bearer

IDEMPOTENCY_KEY = b"idempotency-key"
_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/=-]+) *", re.ASCII | re.IGNORECASE)
_MOST_KNOWN = 4_096


_known: dict[bytes, bytes] = {}
"""Hashes of tokens by hashes of the headers that they were read from, so that they are read once."""


def bearer_of(exchange: Exchange) -> Bearer:
    """The principal that the headers name.

    Raises:
        NotAuthenticated: There is no bearer token, or one that was mistyped.
        InvalidInput: A header is there twice.
    """
    header = exchange.header(b"authorization") or ""
    tenant = exchange.header(b"x-vault-tenant")
    if exchange.header(IDEMPOTENCY_KEY) is not None:
        return Bearer.of(_token(header), tenant)  # with the key that seals answers to repeated requests
    digest = sha256(header.encode("latin-1")).digest()
    known = _known.get(digest)
    if known is None:
        known = token_hash(_token(header))
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[digest] = known
    return Bearer(known, tenant)


def token_of(exchange: Exchange) -> Secret:
    """The token that the headers hold, for whoever has to pass it on.

    Raises:
        NotAuthenticated: There is none.
        InvalidInput: The header is there twice.
    """
    return _token(exchange.header(b"authorization") or "")


def _token(header: str) -> Secret:
    match = _BEARER.fullmatch(header)
    if match is None:
        raise NotAuthenticated(
            "The request carries no bearer token.", hint="Send it as: Authorization: Bearer vault_token_..."
        )
    return Secret(match[1])
