"""The ASGI application of a server that speaks MCP and nothing else."""

from http import HTTPStatus

from vaultctl.api.answers import Answer, Problem
from vaultctl.api.exchange import Exchange
from vaultctl.api.front import Front
from vaultctl.api.limits import Limits
from vaultctl.api.logs import Log
from vaultctl.api.mcp import MCPPath
from vaultctl.api.throttle import FailedAuthentications
from vaultctl.domain.errors import InvalidInput


class MCPApplication(Front):
    """MCP on one path."""

    def __init__(
        self, path: str, mcp: MCPPath, *, log: Log, limits: Limits, failures: FailedAuthentications | None = None
    ) -> None:
        super().__init__(log, limits, failures)
        self._path = path
        self._mcp = mcp

    def stop(self) -> None:
        """Begin to end all runs, and let go answers that were delayed."""
        self._mcp.stop()
        super().stop()

    async def ended(self) -> None:
        """Wait until all runs have ended."""
        await self._mcp.ended()

    async def _answer(self, exchange: Exchange) -> Answer | None:
        if "/" + "/".join(exchange.segments() or ()) != self._path:
            raise Problem(InvalidInput("There is no such path.", hint="This server speaks MCP."), HTTPStatus.NOT_FOUND)
        exchange.template = self._path
        return await self._mcp.answer(exchange)
