"""Cortex, the agent runtime of the guide: an agent whose model gets its credentials from the vault.

::

    from vaultctl.cortex import CortexAgent

    agent = CortexAgent(
        name="deploy-agent",
        model="openai:gpt-5",
        mcp_servers={"vault": {"command": "vaultctl", "args": ["mcp", "serve"], "env": {"VAULT_TENANT": "my-org"}}},
    )
    result = await agent.run("Deploy v2.1.0 to production.")

It knows the SDK, the settings of the MCP server that it starts, and MCP; the conversation with the model is that of
pydantic-ai, which is loaded when a run begins and not before.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaultctl.cortex.agent import CortexAgent as CortexAgent
    from vaultctl.cortex.events import RunResult as RunResult
    from vaultctl.cortex.events import ToolCall as ToolCall

_HOMES = {
    "CortexAgent": "vaultctl.cortex.agent",
    "RunResult": "vaultctl.cortex.events",
    "ToolCall": "vaultctl.cortex.events",
}

__all__ = ["CortexAgent", "RunResult", "ToolCall"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
