"""``vaultctl server``: the vault of this machine, or of a database, for a team."""

import sys
from typing import Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli.base import invocation, noun, verb
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
from vaultctl.domain.errors import InvalidInput

app = noun("server", "vaultctl server start")


@verb(
    app,
    "start",
    "vaultctl server start --listen 127.0.0.1:8200",
    "vaultctl server start --listen 0.0.0.0:8200 --tls-cert server.crt --tls-key server.key",
)
def start(
    ctx: typer.Context,
    listen: Annotated[
        Any, opt.option("--listen", metavar="HOST:PORT", help="Where; else 127.0.0.1:8200.", parser=address)
    ] = ("127.0.0.1", 8200),
    tls_cert: TLSCert = None,
    tls_key: TLSKey = None,
    allow_plain_http: AllowPlainHTTP = False,
    token_rate: Annotated[
        Any,
        opt.option(
            "--token-rate",
            metavar="N",
            help="Requests a minute for a token without a limit of its own; 0, or left out: no limit.",
            parser=opt.whole_number("The token rate"),
        ),
    ] = 0,
    connections_per_source: ConnectionsPerSource = None,
    grace: Grace = 10,
    log_format: LogFormat = None,
    idle: Idle = None,
    allow_host: AllowHost = None,
    allow_origin: AllowOrigin = None,
) -> None:
    """Serve the vault over HTTP until it is told to stop (Ctrl-C, SIGTERM).

    Several servers may share one PostgreSQL database. Clients are people and agents with tokens; nobody is the owner.
    Agents can speak MCP at /mcp.
    """
    run = invocation(ctx)
    if run.context or run.base_url:
        raise InvalidInput(
            "A server serves the vault of this machine, or of --database.", hint="Leave --context and --base-url out."
        )
    require_pair(tls_cert, tls_key, allow_plain_http=allow_plain_http)
    require_extra()
    from vaultctl.api.main import serve
    from vaultctl.api.options import DEFAULT_IDLE, ServerOptions

    host, port = listen
    serve(
        ServerOptions(
            listen_host=host,
            listen_port=port,
            database=run.database,
            tls_cert=None if tls_cert is None else str(tls_cert),
            tls_key=None if tls_key is None else str(tls_key),
            allow_plain_http=allow_plain_http,
            token_rate=token_rate or None,
            connections_of_source=connections_per_source or None,
            grace_seconds=grace,
            log_format=log_format or ("text" if sys.stderr.isatty() else "json"),
            idle_seconds=idle.total_seconds() if idle else DEFAULT_IDLE,
            hosts=tuple(allow_host or ()),
            origins=tuple(allow_origin or ()),
        ),
        ask_passphrase=passphrase_prompt(),
    )
