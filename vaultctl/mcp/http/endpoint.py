"""Streamable HTTP, in both eras that clients speak. Importing this loads the SDK.

Up to revision 2025-11-25 a client shakes hands first: that opens a run, and the ``Mcp-Session-Id`` in the answer leads
back to it, for requests with a token of the same owner. From 2026-07-28 on each request stands alone and finds its run
by its owner. Which is which, and the wire formats, is the SDK's business; whose a run is and how long it lasts is ours.
Answers are JSON, never streams; a client of the handshake may open an event stream, which tells that it is still there.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, NamedTuple

import anyio
import msgspec
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER, StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    jsonrpc_message_adapter,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers
from starlette.responses import Response

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import NotAuthenticated, NotFound, VaultError, VaultUnavailable
from vaultctl.mcp.http.runs import Run, Runs, Visitor
from vaultctl.mcp.http.terms import Terms
from vaultctl.mcp.logs import logger
from vaultctl.mcp.server import Context, build, build_for
from vaultctl.mcp.session import AgentSession

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_STOP_BOUND = 2.0
"""Seconds that conversations may take to end once their runs have."""

_VISITOR = "vaultctl.visitor"
"""Where in its scope a request says who it comes from."""


class _Handshaken(NamedTuple):
    """What an ``Mcp-Session-Id`` leads to; ``asked`` are the ids of the requests that have no answer yet."""

    run: Run
    transport: StreamableHTTPServerTransport
    asked: set[str]


class Endpoint:
    """All that speak MCP to this server. Lives in the event loop that starts it."""

    def __init__(self, runs: Runs, terms: Terms) -> None:
        self._runs = runs
        self._terms = terms
        self._by_id: dict[str, _Handshaken] = {}
        self._alone = StreamableHTTPSessionManager(build_for(self._sole), json_response=True, stateless=True)
        self._stopped = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Serve from now on."""
        ready = asyncio.Event()

        async def manage() -> None:
            async with self._alone.run():
                ready.set()
                await self._stopped.wait()

        self._spawn(manage())
        await ready.wait()

    async def stop(self) -> None:
        """Serve no longer; all runs have ended."""
        self._stopped.set()
        if self._serving:
            _, stuck = await asyncio.wait(self._serving, timeout=_STOP_BOUND)
            for task in stuck:
                task.cancel()

    async def serve(self, visitor: Visitor, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whose ``body`` has been read.

        Raises:
            VaultError: There is no such session, no room for another, or the vault refused to open one. Nothing has
                been answered then.
        """
        headers = Headers(scope=scope)
        version, session_id = headers.get(MCP_PROTOCOL_VERSION_HEADER), headers.get(MCP_SESSION_ID_HEADER)
        scope = {**scope, _VISITOR: visitor}
        is_post = scope["method"] == "POST"
        receive = _with_body(body, receive) if is_post else receive
        if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            await _while_connected(self._alone.handle_request, scope, receive, send)
        elif session_id is not None:
            await self._continue(self._handshaken(session_id, visitor), body, scope, receive, send)
        else:
            message = _message(body) if is_post else None
            if isinstance(message, JSONRPCRequest) and message.method == "initialize":
                await self._open(visitor, scope, receive, send)
            else:
                refusal = message if isinstance(message, Response) else _error("Bad Request: Missing session ID")
                await refusal(scope, receive, send)

    # The revision without sessions

    async def _sole(self, context: Context) -> AgentSession:
        scope: Scope = context.request.scope if context.request else {}
        visitor: Visitor = scope[_VISITOR]
        return (await self._runs.sole(visitor)).session

    # The revisions with a handshake

    def _handshaken(self, session_id: str, visitor: Visitor) -> _Handshaken:
        found = self._by_id.get(session_id)
        if found is None or found.run.is_over or not found.run.owner.is_same(visitor.owner):
            raise NotFound("There is no such MCP session.", hint="Initialize a new one.")
        if found.run.session.is_over:
            self._runs.end_soon(found.run)
            raise NotFound("The session of the vault has ended.", hint="Initialize a new one.")
        return found

    async def _open(self, visitor: Visitor, scope: Scope, receive: Receive, send: Send) -> None:
        run = await self._runs.open(visitor)
        is_open = False
        try:
            session_id = secrets.token_hex(16)
            transport = StreamableHTTPServerTransport(session_id, is_json_response_enabled=True)
            self._by_id[session_id] = _Handshaken(run, transport, set())
            ready = asyncio.Event()

            async def let_go() -> None:
                self._by_id.pop(session_id, None)
                await transport.terminate()

            run.on_end = let_go
            self._spawn(self._converse(run, transport, ready))
            await ready.wait()
            status = await self._within_bounds(transport, scope, receive, send)
            is_open = status < HTTPStatus.BAD_REQUEST
        finally:
            if not is_open:
                await self._runs.end(run)

    async def _converse(self, run: Run, transport: StreamableHTTPServerTransport, ready: asyncio.Event) -> None:
        server = build(run.session)
        try:
            async with transport.connect() as (incoming, outgoing):
                ready.set()
                await server.run(incoming, outgoing, server.create_initialization_options())
        except Exception as error:  # its text may hold anything
            logger.error("Unexpected in session %s: %s", run.session.id, type(error).__name__)
        finally:
            ready.set()
            self._runs.end_soon(run)

    async def _continue(self, found: _Handshaken, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        run, transport, asked = found
        self._runs.use(run)
        if scope["method"] == "DELETE":
            await self._runs.end(run)
            await Response(status_code=HTTPStatus.NO_CONTENT)(scope, receive, send)
        elif scope["method"] == "GET":
            await self._stream(run, transport, scope, receive, send)
        elif isinstance(message := _message(body), Response):
            await message(scope, receive, send)
        elif isinstance(message, JSONRPCRequest):
            if str(message.id) in asked:  # the SDK would leave the earlier one without an answer, for ever
                await _error("Invalid Request: the id is that of another request")(scope, receive, send)
                return
            asked.add(str(message.id))
            try:
                await self._within_bounds(transport, scope, receive, send)
            finally:
                asked.discard(str(message.id))
        else:
            await self._within_bounds(transport, scope, receive, send)

    async def _stream(
        self, run: Run, transport: StreamableHTTPServerTransport, scope: Scope, receive: Receive, send: Send
    ) -> None:
        judging = asyncio.create_task(self._judge(run, transport, scope[_VISITOR]))
        run.streams += 1
        try:
            await transport.handle_request(scope, receive, send)
        finally:
            run.streams -= 1
            self._runs.use(run)
            judging.cancel()
            await asyncio.gather(judging, return_exceptions=True)

    async def _judge(self, run: Run, transport: StreamableHTTPServerTransport, visitor: Visitor) -> None:
        """Close the event stream once its token does not count any more."""
        while not run.session.is_over:
            await asyncio.sleep(self._terms.judge_seconds)
            try:
                await visitor.door.perform(ask.GetSession(id=run.session.id))
            except NotAuthenticated:
                break
            except VaultError:
                continue  # it may pass
        transport.close_standalone_sse_stream()

    async def _within_bounds(
        self, transport: StreamableHTTPServerTransport, scope: Scope, receive: Receive, send: Send
    ) -> int:
        """Let the transport answer; the status."""
        status = 0

        async def note(part: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = part.get("status", status)
            await send(part)

        with anyio.move_on_after(self._terms.call_seconds):
            await transport.handle_request(scope, receive, note)
        if not status:
            raise VaultUnavailable("The message was not answered in time.", hint="Try again.")
        return status

    def _spawn(self, coroutine: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(coroutine)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)


def _with_body(body: bytes, receive: Receive) -> Receive:
    """``receive`` from the start on, of a request whose body was read already."""
    parts: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> MutableMapping[str, Any]:
        return parts.pop() if parts else await receive()

    return replay


async def _while_connected(
    app: Callable[[Scope, Receive, Send], Awaitable[None]], scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve as long as the client is there: a lease whose value nobody waits for is not kept."""
    body = await receive()
    parts = [body]
    has_gone = asyncio.Event()

    async def replay() -> MutableMapping[str, Any]:
        if parts:
            return parts.pop()
        await has_gone.wait()
        return {"type": "http.disconnect"}

    serving = asyncio.ensure_future(app(scope, replay, send))

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        has_gone.set()
        serving.cancel()

    watching = asyncio.create_task(watch())
    try:
        await serving
    except asyncio.CancelledError:
        if not has_gone.is_set():
            raise
    finally:
        serving.cancel()
        watching.cancel()
        await asyncio.gather(serving, watching, return_exceptions=True)


def _message(body: bytes) -> "JSONRPCMessage | Response":
    """The message in ``body``, or the answer to what is none, without a word of it."""
    try:
        decoded = msgspec.json.decode(body)
    except Exception:  # not even JSON, or nested too deep for it
        return _error("Parse error", PARSE_ERROR)
    try:
        message = jsonrpc_message_adapter.validate_json(body, by_name=False)
    except Exception:  # whatever the parser makes of it
        return _error("Invalid Request")
    if isinstance(message, JSONRPCNotification) and "id" in decoded:
        return _error("Invalid Request")  # it waits for an answer, under an id that can be none
    return message


def _error(text: str, code: int = INVALID_REQUEST) -> Response:
    error = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=code, message=text))
    return Response(
        error.model_dump_json(by_alias=True, exclude_unset=True), HTTPStatus.BAD_REQUEST, media_type="application/json"
    )
