"""Agents that speak MCP over HTTP: the SDK's own client, and messages by hand."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

HANDSHAKE, ALONE = "2025-11-25", "2026-07-28"
LEGACY: Any = "legacy"
ERAS = [LEGACY, ALONE]
GET = {"name": "shopify-api-key", "purpose": "Fetch orders"}
GREETING = {
    "protocolVersion": HANDSHAKE,
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}


@asynccontextmanager
async def speaking(url: str, token: str, mode: Any = LEGACY, **headers: str) -> AsyncIterator[Client]:
    """The SDK's client at ``url``, in the era that ``mode`` says."""
    bearing = {"Authorization": f"Bearer {token}", **headers}
    async with (
        httpx2.AsyncClient(headers=bearing, timeout=20, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


class RawAgent:
    """An agent of the handshake's era without the SDK: requests out, responses in."""

    def __init__(self, client: httpx.Client, path: str = "/mcp") -> None:
        self.client = client
        self.path = path
        self.headers = {"Accept": "application/json, text/event-stream"}

    def post(self, message: Any, **headers: str) -> httpx.Response:
        content = message if isinstance(message, bytes) else json.dumps(message).encode()
        kept = {"Content-Type": "application/json", **self.headers, **headers}
        return self.client.post(self.path, content=content, headers=kept)

    def greet(self, **headers: str) -> httpx.Response:
        """Shake hands."""
        answer = self.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": GREETING}, **headers)
        if answer.status_code == 200:
            self.headers |= {"Mcp-Session-Id": answer.headers["mcp-session-id"], "Mcp-Protocol-Version": HANDSHAKE}
            assert self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}).status_code == 202
        return answer

    def call(self, tool: str, id: int = 1, **arguments: str) -> httpx.Response:
        """Call a tool."""
        return self.post(calling(tool, id, **arguments))


def calling(tool: str, id: int = 1, **arguments: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def alone(tool: str, id: int = 1, **arguments: str) -> tuple[dict[str, Any], dict[str, str]]:
    """A call that stands alone, with its headers."""
    message = calling(tool, id, **arguments)
    message["params"]["_meta"] = {
        "io.modelcontextprotocol/protocolVersion": ALONE,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return message, {"Mcp-Protocol-Version": ALONE, "Mcp-Method": "tools/call", "Mcp-Name": tool}
