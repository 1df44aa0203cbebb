"""``CortexAgent``: what an agent is, and the way to run it."""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from vaultctl.cortex import configuration as config
from vaultctl.cortex.events import OnEvent, RunResult
from vaultctl.domain.durations import Duration
from vaultctl.domain.names import check_name

if TYPE_CHECKING:
    from pydantic_ai.models import Model

    from vaultctl.cortex.run import Plan


class CortexAgent:
    """An agent: a name, a model, and the MCP servers whose tools it has, one of them the vault's.

    Every :meth:`run` is a session of its own in the vault, with its own trail. An agent may be run several times, also
    at once.
    """

    def __init__(
        self,
        *,
        name: str,
        mcp_servers: Mapping[str, Mapping[str, Any]],
        system_prompt: str | None = None,
        model: "Model | str | None" = None,
        reference_tools: Mapping[str, Sequence[str]] | None = None,
        tool_timeout: Duration | str = config.DEFAULT_TOOL_TIMEOUT,
        max_requests: int = config.DEFAULT_MAX_REQUESTS,
    ) -> None:
        """Describe an agent. Nothing is started.

        Args:
            name: Its name in the vault: the one that its token was minted for.
            mcp_servers: How its servers are started, each ``{"command": …, "args": […], "env": {…}, "cwd": …}``. The
                vault's is called ``vault``, or is ``vaultctl mcp serve``. The agent's token is in its ``env`` as
                ``VAULT_TOKEN``, or in this process's environment; the server itself gets the session's instead.
            system_prompt: What the model is told before the task.
            model: ``provider:name`` such as ``openai:gpt-5``, or one of pydantic-ai's; else ``CORTEX_MODEL``.
            reference_tools: For each credential the tools, as ``server.tool``, that its value may be put into where
                the model wrote its reference; none by default.
            tool_timeout: How long a tool may take before the run is given up.
            max_requests: How many answers the model may need.

        Raises:
            InvalidInput: Something of it is malformed.
        """
        self.name = check_name(config.check_text(name, "name"), "agent")
        self._system_prompt = None if system_prompt is None else config.check_text(system_prompt, "systemPrompt")
        self._model = model
        self._servers = config.check_servers(mcp_servers)
        self._vault = config.vault_server(self._servers)
        self._reference_tools = config.check_reference_tools(reference_tools or {}, self._servers, self._vault.name)
        self._tool_timeout = config.check_timeout(tool_timeout)
        self._max_requests = config.check_count(max_requests)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """The agent that a JSON file describes: ``name``, ``systemPrompt``, ``model``, ``mcpServers``,
        ``referenceTools``, ``toolTimeout``, ``maxRequests``; ``${VAR}`` stands for an environment variable.

        Raises:
            InvalidInput: The file, or something in it, is malformed, or a variable is not set.
        """
        return cls(**config.read_file(path))

    async def run(self, task: str, *, on_event: OnEvent | None = None) -> RunResult:
        """Have the agent do ``task``.

        A new session is opened with the agent's token, the servers are started, and the model is given the task and
        their tools until it answers. However that ends, the session is ended and no process is left.

        Args:
            task: What the model is to do.
            on_event: Is told of the session and of each call of a tool.

        Raises:
            InvalidInput: The task, the model or the configuration is not as it must be.
            NotAuthenticated: The agent's token does not count.
            NotAllowed: It is another agent's.
            VaultUnavailable: The vault can't be reached, or the packages of the extra ``cortex`` are not installed.
            ToolServerFailed: A server did not start, or ended.
            ToolTimedOut: A tool hung.
            ModelFailed: The model's provider refused, or the model did not come to an end.
        """
        config.check_text(task, "task")
        from vaultctl.cortex.run import perform

        return await perform(self.plan(), task, on_event or (lambda _: None))

    def plan(self) -> "Plan":
        """What a run of it is about, with the model that the environment names if it has none of its own."""
        from vaultctl.cortex.run import Plan

        return Plan(
            name=self.name,
            system_prompt=self._system_prompt,
            model=self._model or os.environ.get("CORTEX_MODEL") or None,
            servers=self._servers,
            vault=self._vault,
            reference_tools=self._reference_tools,
            tool_timeout=self._tool_timeout,
            max_requests=self._max_requests,
        )
