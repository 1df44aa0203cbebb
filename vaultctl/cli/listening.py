"""What the commands that serve over HTTP share: where to listen, and whom to let in."""

from pathlib import Path
from typing import Annotated, Any

from vaultctl.cli import options as opt
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput, VaultUnavailable

_LOG_FORMATS = ("json", "text")
_EXTRA = ("starlette", "uvicorn", "httptools", "uvloop", "prometheus_client")
"""What only the server needs, and a plain installation does not have."""


def address(text: Any) -> tuple[str, int]:
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


def log_format(text: str) -> str:
    """A log format, if there is one of that name."""
    if text not in _LOG_FORMATS:
        raise InvalidInput("There is no such log format.", hint=f"One of: {', '.join(_LOG_FORMATS)}.")
    return text


def require_extra() -> None:
    """Say what to install if the server's packages are missing.

    Raises:
        VaultUnavailable: They are.
    """
    from importlib.util import find_spec

    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        raise VaultUnavailable(
            f"The server needs packages that are not installed: {', '.join(missing)}.",
            hint="Install them: pip install 'vaultctl[server]'",
        )


def require_pair(tls_cert: Path | None, tls_key: Path | None, *, allow_plain_http: bool) -> None:
    """Refuse half of a TLS configuration, or one that contradicts itself.

    Raises:
        InvalidInput: It is.
    """
    if (tls_cert is None) != (tls_key is None):
        raise InvalidInput("TLS needs both a certificate and its key.", hint="Name --tls-cert and --tls-key.")
    if allow_plain_http and tls_cert is not None:
        raise InvalidInput("--allow-plain-http and --tls-cert exclude each other.", hint="Leave one out.")


TLSCert = Annotated[Path | None, opt.option("--tls-cert", metavar="FILE", help="The certificate chain, in PEM.")]
TLSKey = Annotated[Path | None, opt.option("--tls-key", metavar="FILE", help="Its private key, in PEM.")]
AllowPlainHTTP = Annotated[
    bool, opt.option("--allow-plain-http", help="Serve plain HTTP to other machines, behind a TLS proxy.")
]
ConnectionsPerSource = Annotated[
    Any,
    opt.option(
        "--connections-per-source",
        metavar="N",
        help="Most connections from one address, or one IPv6 network of 64 bits; else half of all.",
        parser=opt.whole_number("The number of connections"),
    ),
]
Grace = Annotated[
    Any,
    opt.option(
        "--grace",
        metavar="SECONDS",
        help="How long the end waits for what was accepted; else 10.",
        parser=opt.whole_number("The grace"),
    ),
]
LogFormat = Annotated[
    Any,
    opt.option(
        "--log-format",
        metavar="FORMAT",
        help="json or text; else text on a terminal, json off it.",
        parser=log_format,
        autocompletion=lambda: list(_LOG_FORMATS),
    ),
]
Idle = Annotated[
    Duration | None,
    opt.option(
        "--idle",
        metavar="DURATION",
        help="How long an agent that speaks MCP may be silent before its leases end; else 15m.",
        parser=opt.duration("The idle time"),
    ),
]
AllowHost = Annotated[
    list[str] | None,
    opt.option("--allow-host", metavar="NAME", help="A name that agents call the server by, without a port."),
]
AllowOrigin = Annotated[
    list[str] | None,
    opt.option("--allow-origin", metavar="ORIGIN", help="Web pages that may speak MCP, like https://app.example.com."),
]
