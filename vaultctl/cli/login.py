"""``vaultctl login`` and ``logout``: the token that is kept for a server."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, plain_commands, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.invocation import Invocation
from vaultctl.domain.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from vaultctl.client.contexts import Server
    from vaultctl.domain.secrets import Secret

app = plain_commands()

_LONGEST_TOKEN = 4096

_LOGGED_IN = [
    Column("base url", lambda i: i.base_url),
    Column("context", lambda i: i.context),
    Column("tenant", lambda i: i.tenant),
    Column("you", lambda i: i.identity),
    Column("role", lambda i: i.role.value),
    Column("token", lambda i: i.token_id),
    Column("expires", lambda i: i.expires_at),
    Column("kept in", lambda i: i.kept_in),
]


@verb(
    app,
    "login",
    "vaultctl token create --human alice@example.com --role admin -q | vaultctl login --context prod --token-stdin",
)
def login(
    ctx: typer.Context,
    token_stdin: Annotated[
        bool, opt.option("--token-stdin", help="Read the token from stdin, rather than ask for it.")
    ] = False,
) -> None:
    """Keep a token for a server, in the OS keyring or where none works in a file.

    The server is asked first whether the token counts. The token is bound to the base URL, and to the tenant if one
    is named: it is sent nowhere else.
    """
    run = invocation(ctx)
    server = _server(run, "log in to")
    tenant = run.tenant_asked_for or server.tenant
    from vaultctl.cli.listings import LoggedIn
    from vaultctl.client import Vault, logins
    from vaultctl.crypto.tokens import token_hash

    if not token_stdin:
        run.tell(f"Logging in to {server.base_url}.")
    token = _read_token(from_stdin=token_stdin)
    token_hash(token)
    with Vault.connect(base_url=server.base_url, tenant=tenant, token=token) as vault:
        me = vault.whoami()
    kept, sentence = logins.keep(server.base_url, tenant, token, me.token.id if me.token else None)
    logged_in = LoggedIn(
        base_url=server.base_url,
        context=server.context,
        tenant=me.tenant,
        identity=me.identity.label,
        role=me.role,
        token_id=kept.token_id,
        expires_at=me.token.expires_at if me.token else None,
        kept_in=kept.kept_in,
    )
    output.one(run, logged_in, _LOGGED_IN, lambda i: i.identity)
    run.tell(sentence)
    if "VAULT_TOKEN" in os.environ:
        from vaultctl.cli.console import warn

        warn("VAULT_TOKEN is set, and outweighs this login.", "Unset VAULT_TOKEN to use the login.")
    if server.context is None and not os.environ.get("VAULT_BASE_URL"):
        run.tell(f"Next: vaultctl context add NAME --base-url {server.base_url} --use")


@verb(app, "logout", "vaultctl logout --context prod")
def logout(ctx: typer.Context) -> None:
    """Forget the token that is kept for a server. It goes on to authenticate until it is revoked there."""
    run = invocation(ctx)
    server = _server(run, "log out of")
    tenant = run.tenant_asked_for or server.tenant
    from vaultctl.client import logins

    # The login that would be used: that of the tenant, else the one for no tenant in particular.
    named = tenant if logins.has_login(server.base_url, tenant) else None
    try:
        forgotten = logins.forget(server.base_url, named)
    except NotFound as error:
        raise NotFound(error.message, hint="There is nothing to forget.") from None
    run.tell(f"Forgot the token for {server.base_url}.")
    id = forgotten.token_id if forgotten else None
    run.tell(f"It goes on to authenticate whoever has it. An admin ends it with: vaultctl token revoke {id or 'ID'}")
    if run.quiet:
        output.text_block(server.base_url)


def _server(run: Invocation, what: str) -> "Server":
    server = run.server()
    if server is None:
        raise InvalidInput(
            f"There is no server to {what}: the vault of this machine needs no login.",
            hint="Name one with --context or --base-url, or use one: vaultctl context use NAME",
        )
    return server


def _read_token(*, from_stdin: bool) -> "Secret":
    from vaultctl.domain.secrets import Secret

    if from_stdin:
        data = sys.stdin.buffer.read(_LONGEST_TOKEN)
        return Secret(data.decode("ascii", "replace").strip())
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInput(
            "There is no terminal to ask for the token on.",
            hint="Add --token-stdin to read it from stdin. A token is never an argument.",
        )
    from vaultctl.cli.console import ask_hidden

    return ask_hidden("Token")
