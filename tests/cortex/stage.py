"""What the tests of Cortex play with: a vault, servers in this process, scripted models, and a provider over HTTP.

The servers are the real ones, spoken to in real messages; only the pipes between two processes are left out.
"""

import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
from mcp.server import MCPServer
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic_ai import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.messages import ModelMessagesTypeAdapter, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from vaultctl.client import Vault
from vaultctl.cortex import CortexAgent, RunResult
from vaultctl.cortex.censor import Censor
from vaultctl.cortex.configuration import ServerConfig
from vaultctl.cortex.events import Event
from vaultctl.cortex.run import perform
from vaultctl.domain.records import AuditEntry
from vaultctl.mcp.opening import open_session
from vaultctl.mcp.renewal import keep
from vaultctl.mcp.server import build
from vaultctl.mcp.settings import load
from vaultctl.mcp.worker import Worker

SHOPIFY = "shpat_CANARY7f3c9a1e5b2d4860Qz"
ORDERS_DB = "postgresql://readonly:s3cr3t-w0rd@db.internal:5432/orders"

GET = "vault_get_credential"

Call = tuple[str, dict[str, Any]]
Step = str | Call | list[Call] | Callable[["Seen"], Any]


class Seen:
    """What a model was sent: all of it as text, and what the tools answered."""

    def __init__(self, messages: list[ModelMessage], info: AgentInfo | None = None) -> None:
        self.info = info
        self.text = ModelMessagesTypeAdapter.dump_json(messages).decode() + (str(info) if info else "")
        self.returns = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]

    @property
    def told(self) -> str:
        """The last answer of a tool, as text."""
        return str(self.returns[-1].content)

    @property
    def answer(self) -> dict[str, Any]:
        """The last answer of a tool, as what the vault's server says."""
        answer: dict[str, Any] = json.loads(self.told)
        return answer


class Script(FunctionModel):
    """A model that does what it was told beforehand, one step for each request, and remembers what it was sent."""

    def __init__(self, *steps: Step) -> None:
        super().__init__(self._act)
        self.steps = list(steps)
        self.seen: list[Seen] = []

    async def _act(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen = Seen(messages, info)
        self.seen.append(seen)
        step = self.steps[len(self.seen) - 1]
        wanted = step(seen) if callable(step) else step
        if isinstance(wanted, Awaitable):
            wanted = await wanted
        if isinstance(wanted, str):
            return ModelResponse(parts=[TextPart(wanted)])
        calls = wanted if isinstance(wanted, list) else [wanted]
        return ModelResponse(parts=[ToolCallPart(name, arguments) for name, arguments in calls])


def get(name: str, purpose: str = "Fetch the latest orders", **more: str) -> Call:
    """The call that asks the vault for a credential."""
    return GET, {"name": name, "purpose": purpose, **more}


class InProcess:
    """A server of a run that is not a process: the same messages, cleansed in the same place."""

    closed = False
    status = None
    last_words = ""

    def __init__(self, config: ServerConfig, environment: Mapping[str, str], censor: Censor) -> None:
        self.name = config.name
        self.directory = Path(config.cwd) if config.cwd else None
        self.environment = dict(environment)
        self.censor = censor
        self.stopped = False

    async def start(self) -> None:
        """Nothing is to be done."""

    async def stop(self) -> None:
        """Note it."""
        self.stopped = True

    async def serve(self, incoming: Any, outgoing: Any) -> None:
        """Serve until the client goes away."""
        raise NotImplementedError

    @asynccontextmanager
    async def messages(self) -> AsyncIterator[tuple[Any, Any]]:
        arriving, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        asked, asking = anyio.create_memory_object_stream[SessionMessage](0)
        answered, answers = anyio.create_memory_object_stream[SessionMessage](0)

        async def carry() -> None:
            with answers, arriving, suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                async for message in answers:
                    content = json.loads(message.message.model_dump_json(by_alias=True, exclude_unset=True))
                    clean = jsonrpc_message_adapter.validate_python(self.censor.message(content), by_name=False)
                    await arriving.send(SessionMessage(clean))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carry)
            tasks.start_soon(self.serve, asking, answered)
            try:
                yield incoming, asked
            finally:
                asked.close()
                incoming.close()
                tasks.cancel_scope.cancel()


class VaultInProcess(InProcess):
    """``vaultctl mcp serve``, with the variables that the process would have been given."""

    async def serve(self, incoming: Any, outgoing: Any) -> None:
        worker = Worker("vault")
        settings = load(environment=self.environment, directory=self.directory)
        session = worker.submit(lambda: open_session(settings, worker)).result()
        server = build(session)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(keep, session)
                await server.run(incoming, outgoing, server.create_initialization_options())
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await session.close()


class ToolsInProcess(InProcess):
    """A server of somebody else's."""

    server: MCPServer

    async def serve(self, incoming: Any, outgoing: Any) -> None:
        server = self.server._lowlevel_server
        server.middleware.clear()  # its telemetry would be another process's
        await server.run(incoming, outgoing, server.create_initialization_options())


@dataclass
class Stage:
    """A vault, its owner, and what else a run needs."""

    home: Path
    owner: Vault
    tools: dict[str, MCPServer] = field(default_factory=dict)
    launched: dict[str, InProcess] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def token(self, agent: str, *globs: str, **options: Any) -> str:
        """A new token."""
        return self.owner.tokens.create(agent=agent, credentials=globs, **options).secret.reveal()

    def servers(self, token: str, **variables: str) -> dict[str, Any]:
        """The agent's servers: the vault's, and one for each of ``tools``."""
        env = {"VAULT_TOKEN": token, "VAULTCTL_HOME": str(self.home), **variables}
        vault = {"command": "vaultctl", "args": ["mcp", "serve"], "env": env}
        return {"vault": vault, **{name: {"command": name} for name in self.tools}}

    def launch(self, config: ServerConfig, environment: Mapping[str, str], censor: Censor) -> InProcess:
        """Instead of a process."""
        kind = ToolsInProcess if config.name in self.tools else VaultInProcess
        server = kind(config, environment, censor)
        if isinstance(server, ToolsInProcess):
            server.server = self.tools[config.name]
        self.launched[config.name] = server
        return server

    async def run(self, agent: CortexAgent, task: str = "Fetch the latest orders.") -> RunResult:
        """Run ``agent`` with servers in this process."""
        return await perform(agent.plan(), task, self.events.append, self.launch)

    async def play(
        self, token: str, *steps: Step, agent: str = "deploy-agent", **options: Any
    ) -> tuple[RunResult, Script]:
        """Run an agent whose model is a script."""
        script = Script(*steps)
        servers = self.servers(token, **options.pop("variables", {}))
        return await self.run(CortexAgent(name=agent, model=script, mcp_servers=servers, **options)), script

    def audit(self, *events: str, **filters: str) -> list[AuditEntry]:
        """Entries of the tenant's log."""
        return self.owner.audit_log.query(events=events, limit=None, **filters)  # type: ignore[arg-type]


class Provider:
    """An OpenAI-compatible server of chat completions that says what it was told, and keeps all that it was sent."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.bodies: list[bytes] = []
        self.status = 200
        self.failure: dict[str, Any] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                provider.bodies.append(body)
                content = json.dumps(provider.failure if provider.status != 200 else provider.complete(body)).encode()
                self.send_response(provider.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> "Provider":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def sent(self) -> str:
        """Everything that any model was sent, as it went over the wire."""
        return b"\n".join(self.bodies).decode()

    def complete(self, body: bytes) -> dict[str, Any]:
        """The next answer."""
        messages = json.loads(body)["messages"]
        told = [str(message["content"]) for message in messages if message["role"] == "tool"]
        step = self.steps[len(self.bodies) - 1]
        wanted = step(WireSeen(told)) if callable(step) else step  # type: ignore[arg-type]
        message: dict[str, Any] = {"role": "assistant", "content": None}
        if isinstance(wanted, str):
            message["content"] = wanted
        else:
            message["tool_calls"] = [
                {
                    "id": f"call_{n}_{len(self.bodies)}",
                    "type": "function",
                    "function": {"name": name, "arguments": json.dumps(arguments)},
                }
                for n, (name, arguments) in enumerate(wanted if isinstance(wanted, list) else [wanted])
            ]
        finish = "stop" if isinstance(wanted, str) else "tool_calls"
        return {
            "id": f"chatcmpl-{len(self.bodies)}",
            "object": "chat.completion",
            "created": 1_800_000_000,
            "model": "local",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        }


@dataclass
class WireSeen:
    """What the tools answered, as a provider was sent it."""

    all_told: list[str]

    @property
    def told(self) -> str:
        """The last answer of a tool."""
        return self.all_told[-1]

    @property
    def answer(self) -> dict[str, Any]:
        """The same, as what the vault's server says."""
        answer: dict[str, Any] = json.loads(self.told)
        return answer


def ref(seen: Any, number: int = 0) -> str:
    """The reference that the vault answered."""
    told = seen.returns[number].content if isinstance(seen, Seen) else seen.all_told[number]
    text: str = json.loads(str(told))["credentialReference"]["ref"]
    return text


def exported(traces: InMemorySpanExporter) -> str:
    """All that was traced."""
    return "\n".join(span.to_json() for span in traces.get_finished_spans())
