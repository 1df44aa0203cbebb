"""Messages over a :class:`~vaultctl.mcp.wire.Wire`, in the streams that the SDK's server wants.

The SDK's own stdio transport reads in a thread that can't be interrupted: a signal would wait for the client to
speak. Here reading and writing are in daemon threads.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, suppress
from functools import partial

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, jsonrpc_message_adapter

from vaultctl.mcp.logs import logger
from vaultctl.mcp.wire import Wire
from vaultctl.mcp.worker import Worker

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]

_DRAIN_BOUND = 0.2
"""Seconds that the last message may take to leave."""


@asynccontextmanager
async def messages(wire: Wire, gone: Callable[[], None]) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """Streams of messages from and to the client.

    Args:
        wire: Where the client is.
        gone: Called once the client has closed either direction.
    """
    arriving, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, leaving = anyio.create_memory_object_stream[SessionMessage](0)
    replies = outgoing.clone()
    loop = asyncio.get_running_loop()
    ignored = 0
    written = anyio.Event()

    async def receive(line: bytes) -> None:
        nonlocal ignored
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except Exception:  # whatever the parser makes of it
            ignored += 1
            if ignored == 1:
                logger.warning("Ignored a line on stdin that is no JSON-RPC message; more of them are ignored silently")
            request_id = _request_id(line)
            if request_id is not None:  # a lone surrogate, say: without an answer the client would wait for ever
                error = ErrorData(code=PARSE_ERROR, message="Parse error")
                await replies.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id=request_id, error=error)))
            return
        await arriving.send(SessionMessage(message))

    async def end() -> None:
        gone()
        arriving.close()
        replies.close()

    def read() -> None:
        try:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                for line in wire.lines():
                    if not _run(receive(line), loop):
                        break
        finally:
            _run(end(), loop)

    async def write() -> None:
        writer = Worker("mcp-stdout")
        try:
            with leaving:
                async for message in leaving:
                    if isinstance(message.message, JSONRPCError):
                        message.message.error.data = None  # the SDK repeats there what the client sent
                    line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    await asyncio.wrap_future(writer.submit(partial(wire.write, line)))
        except OSError:
            gone()
        finally:
            written.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        threading.Thread(target=read, name="mcp-stdin", daemon=True).start()
        try:
            yield incoming, outgoing
        finally:
            for stream in (arriving, incoming, outgoing, replies):
                stream.close()
            with anyio.move_on_after(_DRAIN_BOUND, shield=True):
                await written.wait()
            tasks.cancel_scope.cancel()


def _request_id(line: bytes) -> str | int | None:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    request_id = message.get("id") if isinstance(message, dict) and "method" in message else None
    return request_id if isinstance(request_id, str | int) and str(request_id).isprintable() else None


def _run(coroutine: Coroutine[None, None, None], loop: asyncio.AbstractEventLoop) -> bool:
    """Run ``coroutine`` in ``loop`` from another thread; False if the loop has ended."""
    try:
        asyncio.run_coroutine_threadsafe(coroutine, loop).result()
    except CancelledError:
        return False
    except RuntimeError:
        coroutine.close()
        return False
    return True
