"""The format of server-sent events (WHATWG HTML, section 9.2.6), read as it comes."""

from collections.abc import Iterator
from typing import NamedTuple

LONGEST = 4 * 1_048_576
"""Bytes that one event may have."""


class Event(NamedTuple):
    """An event that has data."""

    type: str
    data: str


class TooLong(Exception):
    """An event has no end in sight."""


class EventStream:
    """Reads one stream.

    Attributes:
        last_id: The id of the last event, those without data included; empty if there was none.
        retry_ms: How long to wait before connecting anew, as the server asks; None if it did not.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        self._is_start = True
        self._rest = b""
        self._after_cr = False
        self._id = ""
        self._type = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that ``chunk`` completes.

        Raises:
            TooLong: One is longer than any that is read.
        """
        for line in self._lines(chunk):
            event = self._line(line)
            if event is not None:
                yield event
        if self._size + len(self._rest) > LONGEST:
            raise TooLong

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")  # the other half of a CRLF, which ended its line already
            self._after_cr = False
        text = self._rest + chunk
        self._rest = b""
        if self._is_start:
            if b"\xef\xbb\xbf".startswith(text):  # perhaps part of a byte order mark
                self._rest = text
                return
            text = text.removeprefix(b"\xef\xbb\xbf")
            self._is_start = False
        self._after_cr = text.endswith(b"\r")
        *lines, self._rest = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        yield from lines

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        self._size += len(line)
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                self._data.append(value)
            case "event":
                self._type = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_ms = int(value[:9])
        return None

    def _dispatch(self) -> Event | None:
        self.last_id = self._id
        event = Event(self._type or "message", "\n".join(self._data))
        has_data = bool(self._data)
        self._type, self._data, self._size = "", [], 0
        return event if has_data else None
