"""The HTTP server on its sockets: from listening to a stop that finishes what was accepted."""

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from email.utils import formatdate
from ipaddress import ip_address

from uvicorn.config import Config
from uvicorn.server import ServerState

from vaultctl.api.front import Front
from vaultctl.api.protocol import BoundedProtocol
from vaultctl.domain.errors import InvalidInput, VaultUnavailable

_BACKLOG = 2_048
_MOMENT = 0.002


class HTTPServer:
    """Serves an application on sockets. uvicorn's own server looks ten times a second whether to stop; this is told."""

    def __init__(self, application: Front, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> None:
        self._application = application
        self._sockets = sockets
        self._tls = tls
        self._state = ServerState()
        self._config = Config(
            application,
            loop="none",
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=int(application.limits.idle_seconds),
        )
        self._config.load()
        self._servers: list[asyncio.Server] = []
        self._dating: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        self._date()
        for listener in self._sockets:
            self._servers.append(
                await loop.create_server(
                    lambda: BoundedProtocol(self._config, self._state, {}, loop),
                    sock=listener,
                    ssl=self._tls,
                    backlog=_BACKLOG,
                    ssl_handshake_timeout=self._application.limits.head_seconds if self._tls else None,
                )
            )

    async def stop(self, grace: float) -> bool:
        """Accept nothing more, finish what was accepted within ``grace`` seconds, and close; whether that was all."""
        for server in self._servers:
            server.close()
        self._application.stop()
        deadline = time.monotonic() + grace
        for connection in list(self._state.connections):
            connection.shutdown()
        finished = await self._have_ended(deadline)
        for task in list(self._state.tasks):
            task.cancel()
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        if self._dating is not None:
            self._dating.cancel()
        return finished

    async def _have_ended(self, deadline: float) -> bool:
        """Wait for all tasks to end and for what they answered to be sent; whether they did in time."""
        while self._state.tasks:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            await asyncio.wait(self._state.tasks, timeout=left)
        while self._state.connections and time.monotonic() < deadline:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(_MOMENT)
        return not self._state.connections

    def _date(self) -> None:
        """The Date header, which is made once a second."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._dating = asyncio.get_running_loop().call_later(1, self._date)


def bind(host: str, port: int, *, may_leave: bool) -> list[socket.socket]:
    """Sockets that listen on all addresses of ``host``.

    Args:
        host: A name or an address.
        port: The port; 0 takes a free one, the same for all addresses.
        may_leave: Whether addresses may be reached from other machines.

    Raises:
        InvalidInput: An address can be reached from elsewhere, and must not.
        VaultUnavailable: There is no such address here, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        found = []
    if not found:
        raise VaultUnavailable("The address to listen on is not one of this machine.", hint="See --listen HOST:PORT.")
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    if not may_leave and not all(ip_address(str(address[0]).partition("%")[0]).is_loopback for _, address in addresses):
        raise InvalidInput(
            "Plain HTTP would let everybody on the way read tokens and values.",
            hint="Name --tls-cert and --tls-key, listen on 127.0.0.1, or, behind a proxy that does TLS, say "
            "--allow-plain-http.",
        )
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            chosen = port or (sockets[0].getsockname()[1] if sockets else 0)
            sockets.append(_listener(family, (address[0], chosen, *address[2:])))
    except OSError as error:
        for listener in sockets:
            listener.close()
        reason = error.strerror or "unknown"
    else:
        return sockets
    raise VaultUnavailable(
        f"Port {port} can't be listened on: {reason}.",
        hint="Stop what uses it, or name another one: --listen HOST:PORT",
    )


def _listener(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def tls_context(cert: str, key: str) -> ssl.SSLContext:
    """What TLS connections are made with: at least TLS 1.2.

    Raises:
        VaultUnavailable: The files can't be read, or don't belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for path, what in ((cert, "certificate"), (key, "key")):
        try:
            with open(path, "rb") as file:
                file.read(1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no path"
        else:
            continue
        raise VaultUnavailable(f"The TLS {what} can't be read: {reason}.", hint="Name a PEM file that you may read.")
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, _EncryptedError):
        pass
    else:
        return context
    raise VaultUnavailable(
        "The TLS certificate and key are not PEM, don't belong together, or the key has a passphrase.",
        hint="The certificate file begins with the server's own; the key is not encrypted.",
    )


class _EncryptedError(Exception):
    pass


def _no_password() -> str:
    # Else OpenSSL would ask for one on the terminal.
    raise _EncryptedError
