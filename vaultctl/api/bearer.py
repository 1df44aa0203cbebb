"""Who asks, as far as the request says: the token itself goes no further."""

import re

from vaultctl.api.exchange import Exchange
from vaultctl.domain.errors import NotAuthenticated
from vaultctl.domain.secrets import Secret
from vaultctl.engine.authentication import Bearer

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/=-]+) *", re.ASCII | re.IGNORECASE)


def bearer_of(exchange: Exchange) -> Bearer:
    """The principal that the headers name.

    Raises:
        NotAuthenticated: There is no bearer token, or one that was mistyped.
        InvalidInput: A header is there twice.
    """
    header = exchange.header(b"authorization")
    match = None if header is None else _BEARER.fullmatch(header)
    if match is None:
        raise NotAuthenticated(
            "The request carries no bearer token.", hint="Send it as: Authorization: Bearer vault_token_..."
        )
    return Bearer.of(Secret(match[1]), exchange.header(b"x-vault-tenant"))
