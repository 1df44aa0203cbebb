"""``vaultctl mcp``: the MCP server that agents talk to."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli.base import invocation, looked_up, noun, verb
from vaultctl.cli.invocation import passphrase_prompt
from vaultctl.cli.listening import (
    AllowHost,
    AllowOrigin,
    AllowPlainHTTP,
    ConnectionsPerSource,
    Grace,
    Idle,
    LogFormat,
    TLSCert,
    TLSKey,
    address,
    require_extra,
    require_pair,
)
from vaultctl.cli.mcp_clients import add_client_verbs
from vaultctl.cli.placeholders import PROFILES
from vaultctl.domain.errors import InvalidInput

_TRANSPORTS = ("stdio", "http")

app = noun("mcp", 'VAULT_TOKEN="$(vaultctl token create --agent deploy-agent -q)" vaultctl mcp serve')


def _transport(text: str) -> str:
    if text not in _TRANSPORTS:
        raise InvalidInput("There is no such transport.", hint=f"One of: {', '.join(_TRANSPORTS)}.")
    return text


def _path(text: str) -> str:
    parts = text.split("/")
    if parts[0] or len(parts) < 2 or not all(part.isascii() and part.isalnum() for part in parts[1:]):
        raise InvalidInput("That is not a path to serve at.", hint="For example /mcp.")
    return text


@verb(
    app,
    "serve",
    'VAULT_TOKEN="$(vaultctl token create --agent deploy-agent -q)" vaultctl mcp serve',
    "vaultctl mcp serve --transport http --listen 127.0.0.1:8201",
)
def serve(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        opt.option("--config", metavar="FILE", help="Its configuration; else .vault-mcp.json in this directory."),
    ] = None,
    profile: Annotated[
        str | None,
        opt.option(
            "--profile",
            metavar="NAME",
            help="The agent and vault that mcp install noted under this name.",
            autocompletion=looked_up(PROFILES),
        ),
    ] = None,
    transport: Annotated[
        Any,
        opt.option(
            "--transport",
            metavar="NAME",
            help="stdio, for one client; http, for many. Else stdio.",
            parser=_transport,
            autocompletion=lambda: list(_TRANSPORTS),
        ),
    ] = "stdio",
    listen: Annotated[
        Any,
        opt.option("--listen", metavar="HOST:PORT", help="Where to serve http; else 127.0.0.1:8201.", parser=address),
    ] = None,
    path: Annotated[
        Any, opt.option("--path", metavar="PATH", help="The path of http; else /mcp.", parser=_path)
    ] = None,
    tls_cert: TLSCert = None,
    tls_key: TLSKey = None,
    allow_plain_http: AllowPlainHTTP = False,
    connections_per_source: ConnectionsPerSource = None,
    grace: Grace = None,
    log_format: LogFormat = None,
    idle: Idle = None,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
) -> None:
    """Serve MCP clients: one on stdin and stdout as the agent of VAULT_TOKEN, or many over HTTP.

    On stdio an MCP client starts this. It ends when the client goes away, and takes its leases with it.

    Over HTTP it serves until it is told to stop. Each client brings its own token as Authorization: Bearer; each has
    a session of its own, which ends with the client. The server has no token.
    """
    run = invocation(ctx)
    of_http: list[object] = [listen, path, tls_cert, tls_key, allow_plain_http, connections_per_source]
    of_http += [grace, log_format, idle, allow_host, allow_origin]
    if transport == "stdio":
        if any(value is not None and value is not False for value in of_http):
            raise InvalidInput("On stdio nothing is listened to.", hint="Add --transport http, or leave that out.")
        from vaultctl.mcp.main import serve as serve_mcp

        raise typer.Exit(
            serve_mcp(
                config=config,
                tenant=run.tenant,
                context=run.context,
                base_url=run.base_url,
                database=run.database,
                profile=profile,
            )
        )
    if profile:
        raise InvalidInput("Over HTTP each client brings a token of its own.", hint="Leave --profile out.")
    require_pair(tls_cert, tls_key, allow_plain_http=allow_plain_http)
    require_extra()
    from vaultctl.api.mcp_main import serve as serve_http
    from vaultctl.api.options import (
        DEFAULT_GRACE,
        DEFAULT_HOST,
        DEFAULT_IDLE,
        DEFAULT_MCP_PORT,
        MCP_PATH,
        ServerOptions,
    )
    from vaultctl.mcp.settings import load

    host, port = listen or (DEFAULT_HOST, DEFAULT_MCP_PORT)
    serve_http(
        ServerOptions(
            listen_host=host,
            listen_port=port,
            tls_cert=None if tls_cert is None else str(tls_cert),
            tls_key=None if tls_key is None else str(tls_key),
            allow_plain_http=allow_plain_http,
            connections_of_source=connections_per_source or None,
            grace_seconds=DEFAULT_GRACE if grace is None else grace,
            log_format=log_format or ("text" if sys.stderr.isatty() else "json"),
            idle_seconds=idle.total_seconds() if idle else DEFAULT_IDLE,
            hosts=tuple(allow_host or ()),
            origins=tuple(allow_origin or ()),
        ),
        load(
            config=config,
            tenant=run.tenant,
            context=run.context,
            base_url=run.base_url,
            database=run.database,
            for_many=True,
        ),
        path or MCP_PATH,
        ask_passphrase=passphrase_prompt(),
    )


add_client_verbs(app)
