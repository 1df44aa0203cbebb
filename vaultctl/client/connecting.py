"""Which vault ``connect`` means, with which token, and the adapter that leads there."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from vaultctl.client.location import locate
from vaultctl.domain.errors import NotAuthenticated
from vaultctl.domain.secrets import Secret

if TYPE_CHECKING:
    from vaultctl.client.adapters import Adapter, AsyncAdapter
    from vaultctl.client.contexts import Server


class Wanted(NamedTuple):
    """What ``connect`` was told; see ``Vault.connect``."""

    base_url: str | None
    context: str | None
    tenant: str | None
    token: str | Secret | None
    home: str | os.PathLike[str] | None
    database: str | None
    ca_file: str | os.PathLike[str] | None
    timeout: float | None
    ask_passphrase: Callable[[], Secret] | None

    def __repr__(self) -> str:
        return "Wanted(****)"  # the token may be plain text


def open_adapter(wanted: Wanted) -> "Adapter":
    """The adapter to what is wanted."""
    server = _server(wanted)
    if server is None:
        return _embedded(wanted)
    from vaultctl.client.remote.adapter import RemoteAdapter

    token, tenant = _at_server(wanted, server)
    return RemoteAdapter(server.base_url, token, tenant, ca_file=wanted.ca_file, timeout=wanted.timeout)


def open_async_adapter(wanted: Wanted) -> "AsyncAdapter":
    """The adapter to what is wanted, for an event loop."""
    server = _server(wanted)
    if server is None:
        from vaultctl.client.threaded import ThreadedAdapter

        return ThreadedAdapter(_embedded(wanted))
    from vaultctl.client.remote.async_adapter import AsyncRemoteAdapter

    token, tenant = _at_server(wanted, server)
    return AsyncRemoteAdapter(server.base_url, token, tenant, ca_file=wanted.ca_file, timeout=wanted.timeout)


def _server(wanted: Wanted) -> "Server | None":
    """The server that is meant; None means the vault of this machine."""
    named = wanted.base_url or wanted.context or os.environ.get("VAULT_BASE_URL")
    if not named and not locate(wanted.home).contexts_path.exists():
        return None  # which spares the vault of this machine some imports
    from vaultctl.client.contexts import chosen_server

    return chosen_server(base_url=wanted.base_url, context=wanted.context, database=wanted.database, home=wanted.home)


def _embedded(wanted: Wanted) -> "Adapter":
    token = _named_token(wanted) or Secret(os.environ.get("VAULT_TOKEN", ""))
    if not token.reveal():
        raise _no_token()
    from vaultctl.client.embedded import open_embedded

    return open_embedded(
        tenant=wanted.tenant,
        token=token,
        home=wanted.home,
        database=wanted.database,
        ask_passphrase=wanted.ask_passphrase,
    )


def _at_server(wanted: Wanted, server: "Server") -> tuple[Secret, str | None]:
    """The token for ``server``, and the tenant."""
    from vaultctl.client.logins import token_for

    tenant = wanted.tenant or os.environ.get("VAULT_TENANT") or server.tenant
    return _named_token(wanted) or token_for(server, tenant, home=wanted.home), tenant


def _named_token(wanted: Wanted) -> Secret | None:
    """The token that the caller named; None if there is none.

    Raises:
        NotAuthenticated: It is empty. Whoever has an empty one does not mean another.
    """
    if wanted.token is None:
        return None
    token = wanted.token if isinstance(wanted.token, Secret) else Secret(wanted.token)
    if not token.reveal():
        raise _no_token()
    return token


def _no_token() -> NotAuthenticated:
    return NotAuthenticated(
        "No token was given.", hint="Set VAULT_TOKEN, or mint one: vaultctl token create --agent NAME"
    )
