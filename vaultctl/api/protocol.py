"""uvicorn's HTTP protocol with the bounds that it lacks: on time, on size, and on what waits."""

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from vaultctl.api.answers import Problem, problem_answer
from vaultctl.api.exchange import source_of
from vaultctl.domain.errors import InvalidInput, TooManyRequests, VaultError

if TYPE_CHECKING:
    from vaultctl.api.front import Front

_LINGER = 10.0
"""Seconds that a connection which was closed may take to send what is left."""

_PROGRESS = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._application: Front = self.config.app  # type: ignore[assignment]
        self._limits = self._application.limits
        self._received = 0
        self._in_head = self._in_message = False
        self._turned_away = False
        self._source = "unknown"
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the first request's head is awaited from now on."""
        super().connection_made(transport)
        self._source = source_of(self.client[0]) if self.client else "unknown"
        if not self._application.sources.enter(self._source):
            # At once: one that waited for its request would take the place of another source's.
            self._turn_away(HTTPStatus.TOO_MANY_REQUESTS, "Too many connections.", kind=TooManyRequests)
            return
        if len(self.connections) > self._limits.connections:
            self.app = self._application.overloaded
        self._await_within(self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._application.sources.leave(self._source)
        self._set_deadline(None)
        self._unset_keepalive_if_required()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, within bounds."""
        if self._turned_away:
            return
        self._received += len(data)
        super().data_received(data)
        if self._in_head and self._received > self._limits.head_bytes:
            self._turn_away(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's headers are too large.")
        elif self._received > self._limits.message_bytes:
            self._turn_away(None)
        elif self._deadline is None and (self._in_message or self._received):
            self._await_within(self._limits.body_seconds if self._in_body else self._limits.head_seconds)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer what is no HTTP, in our own words."""
        self._turn_away(HTTPStatus.BAD_REQUEST, "That is not an HTTP request.")

    def shutdown(self) -> None:
        """Close now if nothing is under way, else after the answer."""
        if self.cycle is None or self.cycle.response_complete:
            self._close()
        else:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that nobody uses."""
        self._close()

    # The parser's callbacks

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = self._in_message = True

    def on_headers_complete(self) -> None:
        """The head is there; the body is awaited."""
        self._in_head = False
        if self._turned_away:
            return
        if self._received > self._limits.head_bytes and self._head_size > self._limits.head_bytes:
            self._turn_away(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's headers are too large.")
            return
        if len(self.pipeline) >= self._limits.pipelined:
            self._turn_away(None)
            return
        self._set_deadline(None)
        super().on_headers_complete()
        self.headers = []  # headers that follow a body are nobody's business

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if not self._turned_away:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there."""
        self._in_message = False
        self._received = 0
        self._set_deadline(None)
        if not self._turned_away:
            super().on_message_complete()

    # Writing

    def pause_writing(self) -> None:
        """The client does not take what it is sent; it has so long to go on."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """It went on."""
        super().resume_writing()
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    # Ends

    def _await_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._write_deadline = self.loop.call_later(self._limits.write_seconds, self._judge_reader, waiting)

    def _judge_reader(self, before: int) -> None:
        if before - self.transport.get_write_buffer_size() < _PROGRESS:
            self._note(0)
            self.transport.abort()
        else:
            self._await_reader()

    def _await_within(self, seconds: float) -> None:
        self._set_deadline(self.loop.call_later(seconds, self._too_slow))

    def _set_deadline(self, deadline: asyncio.TimerHandle | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = deadline

    def _too_slow(self) -> None:
        self._deadline = None
        was_answered = self._in_body and self.cycle.response_complete
        if self._received and not was_answered:
            self._turn_away(HTTPStatus.REQUEST_TIMEOUT, "The request took too long to arrive.")
        else:
            self._close()

    def _turn_away(
        self, status: HTTPStatus | None, message: str = "", *, kind: type[VaultError] = InvalidInput
    ) -> None:
        """Close, with a problem if that can still be said: no answer is on its way."""
        if self._turned_away:
            return
        self._turned_away = True
        if status is not None and self._may_speak():
            problem = problem_answer(Problem(kind(message), status, ((b"connection", b"close"),)))
            head = [b"%b: %b\r\n" % header for header in problem.raw_headers()]
            self.transport.write(b"".join([STATUS_LINE[status], *head, b"\r\n", problem.body]))
            self._note(status)
        else:
            self._note(0)
        self._close()

    @property
    def _in_body(self) -> bool:
        return self._in_message and not self._in_head

    @property
    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _may_speak(self) -> bool:
        """Whether no answer of the application is on its way; none will be from now on."""
        if self.cycle is None or self.cycle.response_complete:
            return True
        if self.pipeline or self.cycle.response_started:
            return False
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        return True

    def _note(self, status: int) -> None:
        self._application.turned_away(status, self._source)

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()
            # What the client does not take is not kept for ever.
            self.loop.call_later(_LINGER, self.transport.abort)
