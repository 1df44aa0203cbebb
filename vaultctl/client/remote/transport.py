"""What the two remote adapters need to know of httpx.

They use its transports, not its clients: a transport keeps connections alive and does nothing else. It follows no
redirect, keeps no cookie, reads neither proxies nor ``.netrc`` from the environment, and logs no URL.

httpx is imported by calling :func:`load_httpx`. Its exceptions are never chained to ours: they hold the request, and
that holds the token.
"""

import os
import socket
import ssl
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vaultctl.client.remote.exchange import Answer, Lost, Message
from vaultctl.domain.errors import InvalidInput, VaultUnavailable

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 30.0

_MOST_CONNECTIONS = 64
_KEPT_CONNECTIONS = 16
_KEEP_SECONDS = 30.0
"""Less than servers keep connections, so that it is seldom they who close one just as it is used."""


def load_httpx() -> ModuleType:
    """httpx, without what it loads for a command line of its own."""
    if "httpx" in sys.modules:
        return sys.modules["httpx"]
    sys.modules["httpx._main"] = None  # type: ignore[assignment]  # makes importing it fail
    try:
        import httpx
    finally:
        del sys.modules["httpx._main"]
    return httpx


def transport_settings(base_url: str, ca_file: str | os.PathLike[str] | None) -> dict[str, Any]:
    """The settings of a transport to ``base_url``.

    Raises:
        InvalidInput: The file of certificates can't be used.
    """
    limits = load_httpx().Limits(
        max_connections=_MOST_CONNECTIONS,
        max_keepalive_connections=_KEPT_CONNECTIONS,
        keepalive_expiry=_KEEP_SECONDS,
    )
    return {"verify": _tls(base_url, ca_file), "limits": limits}


def _tls(base_url: str, ca_file: str | os.PathLike[str] | None) -> ssl.SSLContext:
    if base_url.startswith("http:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody, and costs nothing
    authority = ca_file or os.environ.get("VAULT_CACERT")
    if not authority:
        context = ssl.create_default_context()
        places = ssl.get_default_verify_paths()
        if not (places.cafile or places.capath):
            import certifi  # this Python knows of no certificates on this machine

            context.load_verify_locations(certifi.where())
        return context
    try:
        return ssl.create_default_context(cafile=authority)
    except (OSError, ValueError):
        pass
    raise InvalidInput(
        "The file of trusted certificates can't be read, or holds none.",
        hint="ca_file and VAULT_CACERT name a file of certificates in PEM.",
    )


def http_request(message: Message, seconds_left: float, read_timeout: float = READ_TIMEOUT) -> "httpx.Request":
    """``message`` as httpx sends it, with the token."""
    timeout = {
        "connect": min(CONNECT_TIMEOUT, seconds_left),
        "read": min(read_timeout, seconds_left),
        "write": min(READ_TIMEOUT, seconds_left),
        "pool": seconds_left,
    }
    request: httpx.Request = load_httpx().Request(
        message.method,
        message.url,
        headers=message.headers | {"Authorization": f"Bearer {message.token.reveal()}"},
        content=message.body,
        extensions={"timeout": timeout},
    )
    return request


def answer_of(response: "httpx.Response", body: bytes = b"") -> Answer:
    """What a response says, with the ``body`` that was read of it."""
    headers = response.headers
    # A coding that was not asked for makes the body something else than its type says.
    coded = headers.get("Content-Encoding", "identity").lower() != "identity"
    content_type = "" if coded else headers.get("Content-Type", "")
    return Answer(
        response.status_code, content_type, headers.get("Retry-After", "").strip(), body, headers.get("Date", "")
    )


def socket_of(response: "httpx.Response") -> socket.socket:
    """The socket that a response comes from."""
    found: socket.socket = response.extensions["network_stream"].get_extra_info("socket")
    return found


def closed() -> VaultUnavailable:
    """The error of using what was closed."""
    return VaultUnavailable("This vault was closed.", hint="Connect again.")


TIMED_OUT = Lost("did not answer in time", sent=True, final=True)
TOO_LARGE = Lost("answered with more than is read", sent=True, final=True)
ENDED = Lost("ended the connection", sent=True)


def lost_by(error: "httpx.TransportError") -> Lost:
    """What an exception of httpx means. Its own text is not shown."""
    httpx = load_httpx()
    if isinstance(error, httpx.PoolTimeout):
        return Lost("has no connection free for this", sent=False, hint="Ask for less at once.")
    if isinstance(error, httpx.ConnectTimeout):
        return Lost("can't be reached: it does not answer", sent=False)
    if isinstance(error, httpx.ConnectError):
        return _not_connected(error)
    if isinstance(error, httpx.TimeoutException):
        return Lost("did not answer in time", sent=True)
    return Lost("broke the connection before it had answered", sent=True)


def _not_connected(error: BaseException) -> Lost:
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case ssl.SSLCertVerificationError():
                return Lost(
                    "can't be trusted: its certificate does not verify",
                    sent=False,
                    hint="If it is from an authority of your own, name its certificate in VAULT_CACERT.",
                    final=True,
                )
            case ssl.SSLError():
                return Lost("can't be reached: there is no TLS there, or an old one", sent=False, final=True)
            case socket.gaierror():
                return Lost("can't be reached: its name is not known", sent=False)
            case ConnectionRefusedError():
                return Lost("can't be reached: nothing listens there", sent=False)
        cause = cause.__cause__ or cause.__context__
    return Lost("can't be reached", sent=False)
