"""The server's log: one line for each thing that happened, to stderr, never with a secret.

What is logged is made of our own fields alone: no path as it came, no query, no header, no body, and of an unexpected
exception its type and place, never its text. Lines are written by a thread, so that a reader of the log that stalls
does not stall the server; what it then misses is counted.
"""

import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from types import TracebackType
from typing import Any, TextIO

import msgspec

from vaultctl.api.exchange import Exchange
from vaultctl.api.options import LogFormat
from vaultctl.domain.text import safe
from vaultctl.mcp.logs import logger as mcp_logger

_MOST_BATCHES = 256
_LINES_OF_BATCH = 500
_TEXT_FIRST = ("time", "level", "event")

Fields = dict[str, Any]
_encode = msgspec.json.Encoder().encode
Later = Callable[[float, Callable[[], None]], object]


class Log:
    """Where the server says what happened."""

    def __init__(self, format: LogFormat, stream: TextIO | None = None) -> None:
        self._line = _json_line if format == "json" else _text_line
        self._stream = stream or sys.stderr
        self._pending: list[str] = []
        self._later: Later | None = None
        self._batches: queue.Queue[str | None] = queue.Queue(_MOST_BATCHES)
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None
        self.dropped = 0
        """Lines that were lost because nobody read them."""

    def start(self, later: Later | None) -> None:
        """Write from a thread from now on.

        ``later`` calls a function after so many seconds (``loop.call_later``); lines then go out together.
        """
        self._later = later
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def stop(self) -> None:
        """Write what is there, and stop the thread; a reader that stalls is not waited for long."""
        self._later = None
        self._flush()
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                self._batches.put(None, timeout=1)
                writer.join(1)
            except queue.Full:
                pass

    def info(self, event: str, **fields: Any) -> None:
        """Say that something happened."""
        self._add("info", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Say that something went wrong."""
        self._add("error", event, fields)

    def request(self, exchange: Exchange) -> None:
        """Say how a request ended."""
        fields: Fields = {
            "requestId": exchange.id,
            "method": exchange.method,
            "route": exchange.template,
            "status": exchange.status,
            "ms": round(exchange.seconds * 1000, 2),
            "source": exchange.source,
        }
        caller = exchange.caller
        if caller is not None:
            fields["tenant"] = caller.tenant
            fields[caller.identity.type] = caller.identity.label
            if caller.token_id is not None:
                fields["tokenId"] = caller.token_id
            if caller.session_id is not None:
                fields["sessionId"] = caller.session_id
        self._add("info", "request", fields)

    def unexpected(self, error: BaseException, **fields: Any) -> None:
        """Say that something happened that nobody foresaw: its type and its place."""
        self._add("error", "unexpected", {"exception": type(error).__name__, "at": place_of(error), **fields})

    def _add(self, level: str, event: str, fields: Fields) -> None:
        line = self._line({"time": _now(), "level": level, "event": event, **fields})
        with self._lock:
            first = not self._pending
            self._pending.append(line)
            many = len(self._pending) >= _LINES_OF_BATCH
        if self._later is None or level == "error" or many:
            self._flush()
        elif first:
            self._later(0.02, self._flush)

    def _flush(self) -> None:
        with self._lock:
            lines, self._pending = self._pending, []
        if not lines:
            return
        batch = "".join(lines)
        if self._writer is None:
            self._put(batch)
            return
        try:
            self._batches.put_nowait(batch)
        except queue.Full:
            self.dropped += len(lines)

    def _write(self) -> None:
        while (batch := self._batches.get()) is not None:
            self._put(batch)

    def _put(self, batch: str) -> None:
        try:
            self._stream.write(batch)
            self._stream.flush()
        except (OSError, ValueError):  # whoever read it is gone; serving goes on
            self.dropped += batch.count("\n")


def _now() -> str:
    """The time as RFC 3339, of which all but the fraction is the same for a second."""
    seconds, fraction = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second(seconds)}.{fraction:06d}Z"


@lru_cache(1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _json_line(fields: Fields) -> str:
    line = _encode(fields).decode()
    if not (line.isascii() and line.isprintable()):  # what could steer a terminal that shows the log
        line = json.dumps(fields).replace("\x7f", "\\u007f")
    return line + "\n"


def _text_line(fields: Fields) -> str:
    shown = [str(fields[name]) for name in _TEXT_FIRST]
    shown += [
        f"{name}={value}" for name, value in fields.items() if name not in _TEXT_FIRST and value not in (None, "")
    ]
    return " ".join(safe(text) for text in shown) + "\n"


def place_of(error: BaseException) -> str:
    """The module and line that raised ``error``, and the one of ours that called it if that is another."""
    own = innermost = ""
    step = error.__traceback__
    while step is not None:
        module = str(step.tb_frame.f_globals.get("__name__", "?"))
        innermost = f"{module}:{step.tb_lineno}"
        if module.startswith("vaultctl."):
            own = innermost
        step = step.tb_next
    return innermost if own in ("", innermost) else f"{innermost}, from {own}"


class _Foreign(logging.Handler):
    """Log records of libraries: their messages may quote what a client sent, so only where they are from is kept."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == mcp_logger.name:  # whose messages are ours
            say = self._log.error if record.levelno >= logging.ERROR else self._log.info
            say("mcp", message=record.getMessage())
            return
        kind = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        fields = {} if kind is None else {"exception": kind.__name__}
        self._log.error("library", logger=record.name, **fields)


def take_over(log: Log) -> None:
    """Replace whatever logging the process has, and the hooks that would print tracebacks."""
    root = logging.getLogger()
    root.handlers[:] = [_Foreign(log)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    logging.raiseExceptions = False

    def on_exception(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
        log.unexpected(error)

    def on_failure(failure: Any) -> None:
        log.error("unexpected", exception=getattr(failure.exc_type, "__name__", "?"))

    sys.excepthook = on_exception
    threading.excepthook = on_failure
    sys.unraisablehook = on_failure
