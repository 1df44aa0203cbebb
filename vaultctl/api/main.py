"""``vaultctl server start``: from the options to a clean end."""

import asyncio
import gc
import os
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Sequence

import uvloop

from vaultctl import __version__
from vaultctl.api.limits import USUAL
from vaultctl.api.logs import Log, take_over
from vaultctl.api.options import ServerOptions
from vaultctl.api.server import Server
from vaultctl.api.serving import bind, tls_context
from vaultctl.api.throttle import TokenRates
from vaultctl.client.embedded import open_engine
from vaultctl.client.home import load_settings, locate
from vaultctl.domain.errors import ExitStatus, InvalidInput, VaultUnavailable
from vaultctl.domain.secrets import Secret
from vaultctl.engine.engine import require_vault
from vaultctl.engine.service import Service
from vaultctl.store.interface import Store

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_FILES = 8_192
_OWN_FILES = 128
"""Descriptors that are not connections of clients."""


def serve(options: ServerOptions, *, ask_passphrase: Callable[[], Secret] | None = None) -> None:
    """Serve the vault of this machine's home until a signal says to stop. A second signal ends the process at once.

    Raises:
        VaultError: It can't start: the address, the TLS files or the vault is not as it must be.
        VaultUnavailable: Not all that was accepted could be finished within the grace.
    """
    if (options.tls_cert is None) != (options.tls_key is None):
        raise InvalidInput("TLS needs both a certificate and its key.", hint="Name --tls-cert and --tls-key.")
    tls = None
    if options.tls_cert is not None and options.tls_key is not None:
        tls = tls_context(options.tls_cert, options.tls_key)
    sockets = bind(options.listen_host, options.listen_port, may_leave=tls is not None or options.allow_plain_http)
    try:
        place = locate()
        store, engine = open_engine(place, load_settings(place), options.database, ask_passphrase)
        log = Log(options.log_format)
        take_over(log)
        try:
            finished = uvloop.run(_serve(options, Service(engine, report=log.unexpected), store, log, sockets, tls))
        finally:
            engine.close()
    finally:
        for listener in sockets:
            listener.close()
    if not finished:
        raise VaultUnavailable(
            "Not all requests were finished when the time for it was over.", hint="Clients will ask again; see --grace."
        )


async def _serve(
    options: ServerOptions,
    service: Service,
    store: Store,
    log: Log,
    sockets: Sequence[socket.socket],
    tls: ssl.SSLContext | None,
) -> bool:
    server = Server(
        service,
        read=lambda: _read(store),
        log=log,
        sockets=sockets,
        tls=tls,
        limits=USUAL._replace(connections=_connections()),
        rates=TokenRates(options.token_rate),
    )
    told = asyncio.Event()

    def on_signal() -> None:
        if told.is_set():
            log.info("ended", reason="second signal")
            log.stop()
            os._exit(ExitStatus.INTERRUPTED)
        told.set()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    await server.start()
    log.info("listening", url=url_of(options.listen_host, sockets, tls), version=__version__, pid=os.getpid())
    # What is there now stays; the collector need not look at it again.
    gc.collect()
    gc.freeze()
    await told.wait()
    log.info("stopping", grace=options.grace_seconds)
    finished = await server.stop(options.grace_seconds)
    log.info("stopped", finished=finished)
    return finished


def url_of(host: str, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None) -> str:
    """The base URL of a server."""
    port = sockets[0].getsockname()[1]
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def _read(store: Store) -> None:
    with store.read() as tx:
        require_vault(tx)


def _connections() -> int:
    """How many connections the process may have files for, having asked for more if few are usual here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(1, min(USUAL.connections, soft - _OWN_FILES))
