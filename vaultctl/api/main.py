"""``vaultctl server start``: from the options to a clean end."""

import os
from collections.abc import Callable
from contextlib import closing

from vaultctl.api.logs import Log
from vaultctl.api.options import ServerOptions
from vaultctl.api.running import limits, listening, run, terms, url_of
from vaultctl.api.server import Server
from vaultctl.api.throttle import TokenRates
from vaultctl.client.embedded import open_engine
from vaultctl.client.home import load_settings, locate
from vaultctl.domain.secrets import Secret
from vaultctl.engine.engine import require_vault
from vaultctl.engine.service import Service
from vaultctl.mcp.settings import lease_settings
from vaultctl.store.interface import Store


def serve(options: ServerOptions, *, ask_passphrase: Callable[[], Secret] | None = None) -> None:
    """Serve the vault of this machine's home until a signal says to stop. A second signal ends the process at once.

    Raises:
        VaultError: It can't start: the address, the TLS files or the vault is not as it must be.
        VaultUnavailable: Not all that was accepted could be finished within the grace.
    """
    settings = lease_settings(os.environ)
    with listening(options) as (sockets, tls):
        place = locate()
        store, engine = open_engine(place, load_settings(place), options.database, ask_passphrase)
        log = Log(options.log_format)
        engine.catch_up()

        def node() -> Server:
            return Server(
                Service(engine, report=log.unexpected),
                read=lambda: _read(store),
                log=log,
                sockets=sockets,
                tls=tls,
                limits=limits(options.connections_of_source),
                rates=TokenRates(options.token_rate),
                mcp=terms(options, settings, sockets),
            )

        with closing(engine):
            run(options, node, log, url_of(options.listen_host, sockets, tls))


def _read(store: Store) -> None:
    with store.read() as tx:
        require_vault(tx)
