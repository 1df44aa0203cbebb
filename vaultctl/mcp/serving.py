"""Serving one client until it goes away. Importing this loads the SDK."""

import signal

import anyio

from vaultctl.mcp.renewal import keep
from vaultctl.mcp.server import build
from vaultctl.mcp.session import AgentSession
from vaultctl.mcp.transport import messages
from vaultctl.mcp.wire import Wire

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


async def run(session: AgentSession, wire: Wire) -> bool:
    """Serve ``session`` on ``wire`` until the client goes away or a signal comes, then release what it holds.

    Returns:
        Whether the vault released all of it.
    """
    ending = anyio.Event()

    async def listen() -> None:
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            async for _ in signals:
                ending.set()

    async def converse() -> None:
        server = build(session)
        try:
            async with messages(wire, ending.set) as (incoming, outgoing):
                await server.run(incoming, outgoing, server.create_initialization_options())
        finally:
            ending.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        tasks.start_soon(keep, session)
        tasks.start_soon(converse)
        try:
            await ending.wait()
        finally:
            released = await session.close()
            tasks.cancel_scope.cancel()
    return released
