"""MCP servers as subprocesses: started, spoken to in lines, and gone at the end, with whatever they started.

The SDK has a transport of its own for this. Ours cleanses each message before the SDK or a log sees it, says with what
last words a server ended, and leaves no process behind even if it is cancelled twice.
"""

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCMessage, jsonrpc_message_adapter

from vaultctl.cortex.censor import Censor
from vaultctl.cortex.configuration import ServerConfig
from vaultctl.domain.errors import ToolServerFailed
from vaultctl.domain.text import safe

logger = logging.getLogger("vaultctl.cortex")

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of the longest message that is read."""

STOP_BOUND = 2.0
"""Seconds that a server has to end once its stdin is closed, and once more after SIGTERM."""

_LAST_WORDS = 300
_SHORTEST_SECRET = 8
"""Characters of a variable from which on it is masked in what a server says before it ends."""
_POLL = 0.01
_CHUNK = 65_536


class ServerProcess:
    """A server's process. It leads a group of its own, so that Ctrl-C is ours to deal with and none of it is left."""

    def __init__(self, config: ServerConfig, environment: Mapping[str, str], censor: Censor) -> None:
        """Prepare it. ``closed`` will tell that it says nothing more.

        Args:
            config: What is started.
            environment: All variables that it gets.
            censor: Cleanses what it says.
        """
        self.name = config.name
        self.closed = False
        self._config = config
        self._environment = environment
        self._censor = censor
        self._words = Censor()  # of its stderr: also what it was given
        self._words.add(*(value for value in config.env.values() if len(value) >= _SHORTEST_SECRET))
        self._last_words = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False
        self._process: asyncio.subprocess.Process | None = None

    @property
    def last_words(self) -> str:
        """The last line that it wrote to stderr, safe to show."""
        return safe(self._censor.text(self._words.text(self._last_words)))[:_LAST_WORDS]

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.returncode if self._process else None

    async def start(self) -> None:
        """Start it.

        Raises:
            ToolServerFailed: There is no such program, or it can't be started.
        """
        config = self._config
        program = _program(config.command, self._environment.get("PATH", os.defpath))
        try:
            self._process = await asyncio.create_subprocess_exec(
                program,
                *config.args,
                env=dict(self._environment),
                cwd=config.cwd,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LONGEST_LINE,
                start_new_session=True,
            )
        except OSError as error:
            why = "there is no such command" if isinstance(error, FileNotFoundError) else error.strerror
            raise ToolServerFailed(
                f"The MCP server {self.name} did not start: {why}.",
                hint=f"Check mcpServers.{self.name}: its command, its cwd, and the PATH.",
            ) from None
        self._tasks = [asyncio.create_task(self._listen())]

    @asynccontextmanager
    async def messages(self) -> AsyncIterator[tuple[Incoming, Outgoing]]:
        """Messages from and to it, as the SDK's client wants them."""
        arriving, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        outgoing, leaving = anyio.create_memory_object_stream[SessionMessage](0)
        self._tasks += [
            asyncio.create_task(self._read(arriving)),
            asyncio.create_task(self._write(leaving, arriving)),
        ]
        try:
            yield incoming, outgoing
        finally:
            for stream in (incoming, outgoing, arriving, leaving):
                stream.close()

    async def stop(self) -> None:
        """End it: close its stdin, wait, SIGTERM, wait, SIGKILL, each to all that it started."""
        process = self._process
        if process is None or self._stopped:
            return
        self._stopped = True
        try:
            assert process.stdin is not None  # noqa: S101  # it was started with pipes
            process.stdin.close()
            if not await self._has_ended():
                _signal(process.pid, signal.SIGTERM)
                await self._has_ended()
        finally:
            _signal(process.pid, signal.SIGKILL)  # what it started may have stayed
        await self._has_ended()
        await asyncio.wait(self._tasks[:1], timeout=STOP_BOUND)  # until its last words have arrived
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(PermissionError):
            process._transport.close()  # type: ignore[attr-defined]  # what left the group may hold the pipes open

    async def _has_ended(self) -> bool:
        """Whether it ended in time. Not by waiting for it: that would also wait for whoever shares its pipes."""
        with anyio.move_on_after(STOP_BOUND):
            while self.status is None:  # noqa: ASYNC110
                await asyncio.sleep(_POLL)
        return self.status is not None

    async def _read(self, arriving: MemoryObjectSendStream[SessionMessage | Exception]) -> None:
        assert self._process is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        ignored = False
        with arriving, self._closing(), suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                try:
                    line = await self._process.stdout.readline()
                except ValueError:
                    logger.warning("The MCP server %s sent a line that is too long: it is cut off", self.name)
                    return
                if not line:
                    return
                if not line.strip():
                    continue
                message = self._decoded(line)
                if message is not None:
                    await arriving.send(SessionMessage(message))
                elif not ignored:
                    ignored = True
                    logger.warning("The MCP server %s prints to stdout what is no message: it is ignored", self.name)

    @contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            self.closed = True

    def _decoded(self, line: bytes) -> JSONRPCMessage | None:
        """The message; None if it is none. What the parser makes of a line that is none may quote it: it is dropped.

        An answer that can't be read, such as one with half a character, becomes an error, so that nobody waits for it.
        """
        try:
            content = json.loads(line)
            if not isinstance(content, dict):
                return None
            try:
                clean = json.dumps(self._censor.message(content), ensure_ascii=False).encode()
                return jsonrpc_message_adapter.validate_json(clean, by_name=False)
            except (ValueError, RecursionError):
                id = content.get("id")
                if "method" in content or not isinstance(id, int | str):
                    return None
                error = ErrorData(code=PARSE_ERROR, message="The answer can't be read.")
                return JSONRPCError(jsonrpc="2.0", id=id, error=error)
        except (ValueError, RecursionError):
            return None

    async def _write(
        self,
        leaving: MemoryObjectReceiveStream[SessionMessage],
        arriving: MemoryObjectSendStream[SessionMessage | Exception],
    ) -> None:
        assert self._process is not None  # noqa: S101
        assert self._process.stdin is not None  # noqa: S101
        try:
            async with leaving:
                async for message in leaving:
                    line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    self._process.stdin.write(line.encode() + b"\n")
                    await self._process.stdin.drain()
        except OSError:
            self.closed = True
            arriving.close()  # so that nobody waits for an answer

    async def _listen(self) -> None:
        """Remember the last line of stderr."""
        assert self._process is not None  # noqa: S101
        assert self._process.stderr is not None  # noqa: S101
        rest = b""
        while chunk := await self._process.stderr.read(_CHUNK):
            *lines, rest = (rest + chunk)[-_CHUNK:].split(b"\n")
            for line in (*lines, rest):
                if line.strip():
                    self._last_words = line.decode("utf-8", "replace").strip()


def _program(command: str, path: str) -> str:
    """The program that ``command`` names: ours is found beside the interpreter too, if it is not on the path."""
    beside = Path(sys.executable).with_name("vaultctl")
    if command == "vaultctl" and shutil.which(command, path=path) is None and beside.exists():
        return str(beside)
    return command


def _signal(group: int, number: int) -> None:
    # While one of the group lives, no other process gets its number.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
