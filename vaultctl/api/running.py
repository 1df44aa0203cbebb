"""A process that serves: from its sockets to a clean end, whatever it serves."""

import asyncio
import gc
import os
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

import uvloop

from vaultctl import __version__
from vaultctl.api.limits import USUAL, Limits
from vaultctl.api.logs import Log, take_over
from vaultctl.api.options import ServerOptions
from vaultctl.api.server import Node
from vaultctl.api.serving import bind, tls_context
from vaultctl.domain.errors import ExitStatus, InvalidInput, VaultUnavailable
from vaultctl.mcp.http.guard import Guard
from vaultctl.mcp.http.terms import Terms
from vaultctl.mcp.settings import Settings

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_FILES = 8_192
_OWN_FILES = 128
"""Descriptors that are not connections of clients."""


@contextmanager
def listening(options: ServerOptions) -> Iterator[tuple[Sequence[socket.socket], ssl.SSLContext | None]]:
    """The sockets, which listen until the context ends, and how TLS is spoken on them.

    Raises:
        InvalidInput: The options contradict each other.
        VaultUnavailable: The address or the TLS files can't be used.
    """
    if (options.tls_cert is None) != (options.tls_key is None):
        raise InvalidInput("TLS needs both a certificate and its key.", hint="Name --tls-cert and --tls-key.")
    tls = None
    if options.tls_cert is not None and options.tls_key is not None:
        tls = tls_context(options.tls_cert, options.tls_key)
    sockets = bind(options.listen_host, options.listen_port, may_leave=tls is not None or options.allow_plain_http)
    try:
        yield sockets, tls
    finally:
        for listener in sockets:
            listener.close()


def terms(options: ServerOptions, settings: Settings, sockets: Sequence[socket.socket]) -> Terms:
    """How MCP is served on ``sockets``."""
    local = all(ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback for listener in sockets)
    guard = Guard(options.hosts, options.origins, is_loopback=local)
    return Terms(settings=settings, guard=guard, idle_seconds=options.idle_seconds)


def run(options: ServerOptions, node: Callable[[], Node], log: Log, url: str) -> None:
    """Serve what ``node`` makes until a signal says to stop. A second signal ends the process at once.

    Raises:
        VaultUnavailable: Not all that was accepted could be finished within the grace.
    """
    take_over(log)
    if not uvloop.run(_until_told(options, node, log, url)):
        raise VaultUnavailable(
            "Not all requests were finished when the time for it was over.", hint="Clients will ask again; see --grace."
        )


async def _until_told(options: ServerOptions, make: Callable[[], Node], log: Log, url: str) -> bool:
    node = make()
    told = asyncio.Event()

    def on_signal() -> None:
        if told.is_set():
            log.info("ended", reason="second signal")
            log.stop()
            os._exit(ExitStatus.INTERRUPTED)
        told.set()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    await node.start()
    log.info("listening", url=url, version=__version__, pid=os.getpid())
    # What is there now stays; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    await told.wait()
    log.info("stopping", grace=options.grace_seconds)
    finished = await node.stop(options.grace_seconds)
    log.info("stopped", finished=finished)
    return finished


def url_of(host: str, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> str:
    """The base URL of a server."""
    port = sockets[0].getsockname()[1]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def limits(connections_of_source: int | None = None) -> Limits:
    """The usual limits, with as many connections as there may be; half of them for one source, unless it is said."""
    most = _connections()
    return USUAL._replace(connections=most, connections_of_source=connections_of_source or max(1, most // 2))


def _connections() -> int:
    """How many connections the process may have files for, having asked for more if few are usual here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(1, min(USUAL.connections, soft - _OWN_FILES))
