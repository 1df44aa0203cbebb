"""``vaultctl server``: the vault of this machine, or of a database, for a team."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli.base import invocation, noun, verb
from vaultctl.cli.invocation import passphrase_prompt
from vaultctl.domain.errors import InvalidInput, VaultUnavailable

app = noun("server", "vaultctl server start")

_LOG_FORMATS = ("json", "text")
_EXTRA = ("starlette", "uvicorn", "httptools", "uvloop", "prometheus_client")
"""What only the server needs, and a plain installation does not have."""


def _address(text: Any) -> tuple[str, int]:
    """``HOST:PORT`` as its two parts; an IPv6 address stands in brackets."""
    if isinstance(text, tuple):
        return text
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if (
        not colon
        or not (port.isascii() and port.isdigit() and int(port[:6]) < 65_536)
        or (":" in host and not bracketed)
        or not host.strip("[]")
    ):
        raise InvalidInput(
            "The address to listen on is not HOST:PORT.", hint="For example 127.0.0.1:8200, or [::]:8200."
        )
    return host[1:-1] if bracketed else host, int(port)


def _log_format(text: str) -> str:
    if text not in _LOG_FORMATS:
        raise InvalidInput("There is no such log format.", hint=f"One of: {', '.join(_LOG_FORMATS)}.")
    return text


@verb(
    app,
    "start",
    "vaultctl server start --listen 127.0.0.1:8200",
    "vaultctl server start --listen 0.0.0.0:8200 --tls-cert server.crt --tls-key server.key",
)
def start(
    ctx: typer.Context,
    listen: Annotated[
        Any, opt.option("--listen", metavar="HOST:PORT", help="Where; else 127.0.0.1:8200.", parser=_address)
    ] = ("127.0.0.1", 8200),
    tls_cert: Annotated[
        Path | None, opt.option("--tls-cert", metavar="FILE", help="The certificate chain, in PEM.")
    ] = None,
    tls_key: Annotated[Path | None, opt.option("--tls-key", metavar="FILE", help="Its private key, in PEM.")] = None,
    allow_plain_http: Annotated[
        bool, opt.option("--allow-plain-http", help="Serve plain HTTP to other machines, behind a TLS proxy.")
    ] = False,
    token_rate: Annotated[
        Any,
        opt.option(
            "--token-rate",
            metavar="N",
            help="Requests a minute for a token without a limit of its own; 0, or left out: no limit.",
            parser=opt.whole_number("The token rate"),
        ),
    ] = 0,
    grace: Annotated[
        Any,
        opt.option(
            "--grace",
            metavar="SECONDS",
            help="How long the end waits for what was accepted; else 10.",
            parser=opt.whole_number("The grace"),
        ),
    ] = 10,
    log_format: Annotated[
        Any,
        opt.option(
            "--log-format",
            metavar="FORMAT",
            help="json or text; else text on a terminal, json off it.",
            parser=_log_format,
            autocompletion=lambda: list(_LOG_FORMATS),
        ),
    ] = None,
) -> None:
    """Serve the vault over HTTP until it is told to stop (Ctrl-C, SIGTERM).

    Several servers may share one PostgreSQL database. Clients are people and agents with tokens; nobody is the owner.
    """
    run = invocation(ctx)
    if run.context or run.base_url:
        raise InvalidInput(
            "A server serves the vault of this machine, or of --database.", hint="Leave --context and --base-url out."
        )
    if (tls_cert is None) != (tls_key is None):
        raise InvalidInput("TLS needs both a certificate and its key.", hint="Name --tls-cert and --tls-key.")
    if allow_plain_http and tls_cert is not None:
        raise InvalidInput("--allow-plain-http and --tls-cert exclude each other.", hint="Leave one out.")
    _require_extra()
    from vaultctl.api.main import serve
    from vaultctl.api.options import ServerOptions

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
            grace_seconds=grace,
            log_format=log_format or ("text" if sys.stderr.isatty() else "json"),
        ),
        ask_passphrase=passphrase_prompt(),
    )


def _require_extra() -> None:
    from importlib.util import find_spec

    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise VaultUnavailable(
            f"The server needs packages that are not installed: {', '.join(missing)}.",
            hint="Install them: pip install 'vaultctl[server]'",
        )
