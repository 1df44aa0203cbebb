"""The tools of all servers of a run: what each is called before the model, and what happens when it is called.

What a model may try again or do without is told to it as a refusal, and the run goes on: a credential that it may not
have, a tool that fails. What it can't mend ends the run: a server that is gone, a tool that hangs.
"""

import asyncio
import base64
import hashlib
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mcp import Client, MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
)

from vaultctl.cortex.censor import Censor
from vaultctl.cortex.events import OnEvent, ToolAnswered, ToolCall, ToolCalled
from vaultctl.cortex.references import References, Withheld
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput, ToolServerFailed, ToolTimedOut
from vaultctl.domain.text import safe

_LONGEST_NAME = 64
"""Characters that every provider allows in the name of a tool, of these:"""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)


class Process(Protocol):
    """What the tools know of the process of a server."""

    name: str
    closed: bool
    """Whether it says nothing more."""

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""

    @property
    def last_words(self) -> str:
        """The last line that it wrote to stderr, safe to show."""

    async def stop(self) -> None:
        """End it."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is running.

    Attributes:
        name: Its name in the configuration.
        is_vault: Whether it is the vault's.
        client: Speaks to it.
        process: Is it.
        tools: What it offers.
    """

    name: str
    is_vault: bool
    client: Client
    process: Process
    tools: tuple[Tool, ...]


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool as the model knows it.

    Attributes:
        name: What the model calls it.
        server: Whose it is.
        tool: What the server says about it.
    """

    name: str
    server: Server
    tool: Tool

    @property
    def path(self) -> str:
        """``server.tool``, which is what people and configurations call it."""
        return f"{self.server.name}.{self.tool.name}"


@dataclass(frozen=True, slots=True)
class Binary:
    """A picture, a sound or a file in a tool's answer."""

    data: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model gets.

    Attributes:
        text: What the tool said, or why it did not.
        files: What else it answered.
        refused: It is a refusal or a failure.
    """

    text: str
    files: tuple[Binary, ...] = ()
    refused: bool = False


def named(servers: Iterable[Server]) -> dict[str, Offered]:
    """All tools by the name that the model knows them by, no two of them the same.

    The vault's have their own names, which nobody else can take; the others stand behind their server's.
    """
    offered: dict[str, Offered] = {}
    for server in sorted(servers, key=lambda server: not server.is_vault):
        for tool in server.tools:
            wanted = tool.name if server.is_vault else f"{server.name}_{tool.name}"
            name = _NOT_IN_NAMES.sub("_", wanted)
            if len(name) > _LONGEST_NAME or name in offered:
                mark = hashlib.sha256(f"{server.name}.{tool.name}".encode()).hexdigest()[:8]
                name = f"{name[: _LONGEST_NAME - 9]}_{mark}"
            if name in offered:
                continue  # a server that lists a tool twice has it once
            offered[name] = Offered(name, server, tool)
    return offered


class Tools:
    """The tools of one run at work."""

    def __init__(
        self,
        servers: Iterable[Server],
        references: References,
        shown: Censor,
        *,
        timeout: Duration,
        on_event: OnEvent,
    ) -> None:
        """Offer the tools of ``servers``.

        Args:
            servers: All of them.
            references: Puts values in place of references.
            shown: Masks leased values in what people see; is told of them here.
            timeout: How long a tool may take.
            on_event: Is told of each call.
        """
        self.offered = named(servers)
        self.calls: list[ToolCall] = []
        self._references = references
        self._shown = shown
        self._timeout = timeout
        self._on_event = on_event

    def require(self, listed: Mapping[str, Iterable[str]]) -> None:
        """Refuse if a tool is listed for a credential that no server offers: its value would never arrive.

        Raises:
            InvalidInput: One is.
        """
        known = {tool.path for tool in self.offered.values()}
        for credential, paths in listed.items():
            for path in paths:
                if path not in known:
                    server = path.partition(".")[0]
                    there = sorted(other for other in known if other.startswith(f"{server}."))
                    raise InvalidInput(
                        f"referenceTools of {credential} lists {safe(path)}, which is not offered.",
                        hint=f"The server {server} offers {safe(', '.join(there)) or 'nothing'}.",
                    )

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        """Call a tool for the model.

        Raises:
            ToolTimedOut: It did not answer in time.
            ToolServerFailed: Its server is gone.
        """
        offered = self.offered[name]
        began = time.monotonic()
        self._on_event(ToolCalled(offered.path, self._shown.json(arguments)))
        refusal = "It did not answer."
        try:
            answer = await self._call(offered, arguments)
            refusal = answer.text if answer.refused else ""
        finally:
            self.calls.append(ToolCall(tool=offered.path, refused=bool(refusal)))
            self._on_event(ToolAnswered(offered.path, self._shown.text(refusal), time.monotonic() - began))
        return answer

    async def _call(self, offered: Offered, arguments: dict[str, Any]) -> Answer:
        try:
            arguments = await self._references.resolve(offered.path, arguments)
            async with asyncio.timeout(self._timeout.total_seconds()):
                result = await offered.server.client.call_tool(offered.tool.name, arguments)
        except Withheld as withheld:
            return Answer(str(withheld), refused=True)
        except TimeoutError:
            raise ToolTimedOut(
                f"The tool {safe(offered.path)} did not answer within {self._timeout}.",
                hint="Give it longer with toolTimeout, or look at its server.",
            ) from None
        except MCPError as error:
            if error.code == CONNECTION_CLOSED and offered.server.process.closed:  # servers use that number too
                raise await gone(offered.server.process, "has ended") from None
            return Answer(f"The tool failed: {error.message}", refused=True)
        except Exception as error:  # the SDK's, about an answer that is not what the tool declares; it may quote it
            return Answer(f"The tool answered what it does not declare ({type(error).__name__}).", refused=True)
        if offered.server.is_vault and result.structured_content:
            self._note(result.structured_content)
        return _answer(result)

    def _note(self, answer: Mapping[str, Any]) -> None:
        self._references.note(answer)
        if isinstance(value := answer.get("value"), str):
            self._shown.add(value)


async def gone(process: Process, what: str) -> ToolServerFailed:
    """The error about a server that does not serve any more, once it is over and has had its last words."""
    await process.stop()
    status, words = process.status, process.last_words
    how = "" if status is None else f" with status {status}" if status >= 0 else f" by signal {-status}"
    return ToolServerFailed(
        f"The MCP server {process.name} {what}{how}.",
        hint=f"It said last: {words}" if words else f"Start mcpServers.{process.name} by hand to see what is wrong.",
    )


def _answer(result: CallToolResult) -> Answer:
    texts: list[str] = []
    files: list[Binary] = []

    def attach(data: str, media_type: str) -> None:
        try:
            files.append(Binary(base64.b64decode(data, validate=True), media_type))
        except ValueError:
            texts.append(f"[{safe(media_type)} that can't be read]")

    for part in result.content:
        match part:
            case TextContent(text=text):
                texts.append(text)
            case ImageContent() | AudioContent():
                attach(part.data, part.mime_type)
            case ResourceLink():
                texts.append(str(part.uri))
            case EmbeddedResource(resource=BlobResourceContents() as blob):
                attach(blob.blob, blob.mime_type or "application/octet-stream")
            case EmbeddedResource(resource=TextResourceContents() as resource):
                texts.append(resource.text)
    if not texts and not files and result.structured_content is not None:
        texts.append(json.dumps(result.structured_content, ensure_ascii=False))
    refused = bool(result.is_error)
    text = "\n".join(texts) or ("The tool failed and did not say why." if refused else "")
    return Answer(text, tuple(files), refused)
