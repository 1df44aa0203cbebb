"""One run: a session, the servers, the conversation, and the end of all of them, whatever happened."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import anyio
from mcp import Client, MCPError
from mcp.client.stdio import get_default_environment
from mcp_types import METHOD_NOT_FOUND, Implementation, Tool

from vaultctl.cortex import model as models
from vaultctl.cortex.censor import Censor
from vaultctl.cortex.configuration import ServerConfig
from vaultctl.cortex.events import OnEvent, RunResult, SessionOpened, Usage
from vaultctl.cortex.processes import Incoming, Outgoing, ServerProcess
from vaultctl.cortex.references import References
from vaultctl.cortex.session import RunSession, open_session
from vaultctl.cortex.tools import Process, Server, Tools, gone
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import ToolServerFailed
from vaultctl.version import __version__

if TYPE_CHECKING:
    from pydantic_ai.models import Model

logger = logging.getLogger("vaultctl.cortex")

START_BOUND = 30.0
"""Seconds that a server has to start and to say what it offers."""

_MOST_PAGES = 100
"""Of tools that a server may list."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is about; see :class:`~vaultctl.cortex.agent.CortexAgent`."""

    name: str
    system_prompt: str | None
    model: "Model | str | None"
    servers: Mapping[str, ServerConfig]
    vault: ServerConfig
    reference_tools: Mapping[str, frozenset[str]]
    tool_timeout: Duration
    max_requests: int


class Startable(Process, Protocol):
    """A server that a run starts, speaks to and stops; :class:`~vaultctl.cortex.processes.ServerProcess` is one."""

    async def start(self) -> None:
        """Start it."""

    def messages(self) -> AbstractAsyncContextManager[tuple[Incoming, Outgoing]]:
        """Messages from and to it."""


Launch = Callable[[ServerConfig, Mapping[str, str], Censor], Startable]
"""Makes a server of its configuration and all its variables; what it says has been cleansed by the censor."""


async def perform(plan: Plan, task: str, on_event: OnEvent, launch: Launch = ServerProcess) -> RunResult:
    """Perform a run to its end; cancelled, it still ends its session and its servers before it is over.

    The work is a task of its own, which is cancelled once and then waited for: who is impatient and cancels again
    does not interrupt the end.
    """
    work = asyncio.create_task(_perform(plan, task, on_event, launch))
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            with anyio.CancelScope(shield=cancelled is not None):
                await asyncio.wait([work])
        except asyncio.CancelledError as error:
            if cancelled is None:
                work.cancel()
            cancelled = error
    if cancelled is not None:
        if not work.cancelled():
            work.exception()  # seen; the cancellation outweighs it
        raise cancelled
    return work.result()


async def _perform(plan: Plan, task: str, on_event: OnEvent, launch: Launch) -> RunResult:
    models.require_extra()
    model = models.find(plan.model)
    others = [server for server in plan.servers.values() if server is not plan.vault]
    session = await open_session(plan.name, plan.vault, others)
    try:
        on_event(SessionOpened(session.id))
        output, usage, tools = await _work(plan, task, model, session, on_event, launch)
    finally:
        ended = await session.end()
    return RunResult(
        output=output,
        agent=plan.name,
        session_id=session.id,
        session_ended=ended,
        tool_calls=tuple(tools.calls),
        usage=usage,
    )


async def _work(
    plan: Plan, task: str, model: "Model", session: RunSession, on_event: OnEvent, launch: Launch
) -> tuple[str, Usage, Tools]:
    censor, shown = Censor(), Censor()
    censor.add(*session.secrets)
    bare = get_default_environment()
    processes: list[Startable] = []
    done: tuple[str, Usage, Tools] | None = None
    failure: Exception | None = None
    try:
        for config in plan.servers.values():
            variables = session.environment(config, bare) if config is plan.vault else {**bare, **config.env}
            processes.append(launch(config, variables, censor))
            await processes[-1].start()  # all before the first is spoken to, so that they get ready meanwhile
        async with AsyncExitStack() as stack:
            try:
                servers = [await _connect(process, plan, stack) for process in processes]
                references = References(session, plan.reference_tools, censor)
                tools = Tools(servers, references, shown, timeout=plan.tool_timeout, on_event=on_event)
                tools.require(plan.reference_tools)
                output, usage = await models.converse(
                    model,
                    task,
                    tools,
                    name=plan.name,
                    instructions=_instructions(plan, servers),
                    max_requests=plan.max_requests,
                )
                done = shown.text(censor.text(output)), usage, tools
            except Exception as error:  # on its way through the clients it would become a group of itself
                failure = error
    except Exception as error:
        if done is None and failure is None:
            raise
        logger.warning("The connection to an MCP server did not close well: %s", type(error).__name__)
    finally:
        await asyncio.gather(*(process.stop() for process in processes))
    if done is None:
        assert failure is not None  # noqa: S101  # one of the two is there
        raise failure
    return done


def _instructions(plan: Plan, servers: list[Server]) -> list[str]:
    """What the model is told before the task: by the agent, and by the vault. Other servers have no say."""
    said = [plan.system_prompt, *(server.client.instructions for server in servers if server.is_vault)]
    return [text for text in said if text]


async def _connect(process: Startable, plan: Plan, stack: AsyncExitStack) -> Server:
    """The server behind ``process``, spoken to until ``stack`` is left.

    Raises:
        ToolServerFailed: It did not say in time, or at all, what it offers.
    """
    client = Client(process.messages(), client_info=Implementation(name="cortex", version=__version__))
    try:
        async with asyncio.timeout(START_BOUND):
            await stack.enter_async_context(client)
            listed = await _listed(client)
    except TimeoutError:
        raise ToolServerFailed(
            f"The MCP server {process.name} did not answer within {START_BOUND:g} seconds.",
            hint=f"Start mcpServers.{process.name} by hand to see what it does.",
        ) from None
    except Exception:  # what it answered is no MCP, or nothing; the text may quote it
        raise await gone(process, "did not start") from None
    return Server(process.name, process.name == plan.vault.name, client, process, listed)


async def _listed(client: Client) -> tuple[Tool, ...]:
    """What the server offers."""
    listed: list[Tool] = []
    cursor = None
    try:
        for _ in range(_MOST_PAGES):
            page = await client.list_tools(cursor=cursor)
            listed += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
    except MCPError as error:
        if error.code != METHOD_NOT_FOUND:
            raise
    return tuple(listed)
