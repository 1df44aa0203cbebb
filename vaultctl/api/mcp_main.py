"""``vaultctl mcp serve --transport http``: MCP for many, before the vault of this machine or of another server."""

import os
from collections.abc import Callable
from contextlib import ExitStack, closing

from vaultctl.api.logs import Log
from vaultctl.api.mcp import Callers, MCPPath, RemoteCallers, ServiceCallers
from vaultctl.api.mcp_app import MCPApplication
from vaultctl.api.operations import Operations
from vaultctl.api.options import ServerOptions
from vaultctl.api.running import limits, listening, run, terms, url_of
from vaultctl.api.server import Node
from vaultctl.api.throttle import TokenRates
from vaultctl.client.embedded import open_engine
from vaultctl.client.home import load_settings, locate
from vaultctl.domain.secrets import Secret
from vaultctl.engine.service import Service
from vaultctl.mcp.settings import Settings


def serve(
    options: ServerOptions, settings: Settings, path: str, *, ask_passphrase: Callable[[], Secret] | None = None
) -> None:
    """Serve MCP at ``path`` until a signal says to stop.

    Raises:
        VaultError: It can't start: the address, the TLS files or the vault is not as it must be.
        VaultUnavailable: Not all that was accepted could be finished within the grace.
    """
    os.environ.pop("VAULT_TOKEN", None)  # whoever has none of its own does not get this one
    with listening(options) as (sockets, tls), ExitStack() as stack:
        engine = None
        if settings.base_url is None:
            place = locate(settings.home)
            _, engine = open_engine(place, load_settings(place), settings.database, ask_passphrase)
            stack.enter_context(closing(engine))
        log = Log(options.log_format)

        def node() -> Node:
            bounds = limits(options.connections_of_source)
            service: Service | None = None
            callers: Callers
            if engine is not None:
                service = Service(engine, report=log.unexpected)
                operations = Operations(service, bounds, TokenRates(None))
                callers = ServiceCallers(service, operations, settings.tenant, settings.agent_name)
            else:
                callers = RemoteCallers(settings.base_url or "", settings.tenant, settings.agent_name)
            mcp = MCPPath(callers, terms(options, settings, sockets), bounds)
            mcp.load()
            application = MCPApplication(path, mcp, log=log, limits=bounds)
            return Node(application, service, log=log, sockets=sockets, tls=tls)

        run(options, node, log, url_of(options.listen_host, sockets, tls) + path)
