"""Following a server's audit log across connections: where we are, and what to do when one breaks. Pure, like
:mod:`.exchange`.
"""

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from vaultctl.client.adapters import OnState
from vaultctl.client.remote.event_stream import EventStream, TooLong
from vaultctl.client.remote.exchange import (
    MOST_TRIES,
    Answer,
    Lost,
    Message,
    Origin,
    error_of_answer,
    error_of_lost,
    pause_before,
)
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput, VaultError
from vaultctl.domain.http_messages import encode_request
from vaultctl.domain.problems import from_problem
from vaultctl.domain.records import AuditEntry
from vaultctl.domain.wire import decode_json

READ_TIMEOUT = 40.0
"""Seconds of silence after which the server counts as gone: it says something every 15."""

MEDIA_TYPE = "text/event-stream"

_LONGEST_PAUSE = 10.0
_PASSING = (429, 502, 503, 504)


class Feed:
    """A log that is followed.

    Attributes:
        seen: Everything up to this ``seq`` has been given out, or does not match.
    """

    def __init__(self, origin: Origin, request: ask.QueryAudit, on_state: OnState) -> None:
        """Follow what ``request`` asks for, after its ``after_seq``."""
        self.seen = -1 if request.after_seq is None else request.after_seq
        self._origin = origin
        self._request = request
        self._on_state = on_state
        self._stream = EventStream()
        self._failures = 0
        self._was_connected = False
        self._is_lost = False
        self._retry_ms: int | None = None

    def message(self) -> Message:
        """What to send to go on where we are."""
        sent = encode_request(replace(self._request, after_seq=self.seen))
        return self._origin.message(sent._replace(path=f"{sent.path}/stream"), MEDIA_TYPE)

    def accepts(self, answer: Answer) -> bool:
        """Whether an answer is a stream."""
        return answer.status == 200 and answer.media_type == MEDIA_TYPE

    def connected(self) -> None:
        """The server has begun to answer with a stream."""
        self._stream = EventStream()
        self._was_connected = True
        if self._is_lost:
            self._is_lost = False
            self._on_state(True)

    def receive(self, chunk: bytes) -> Iterator[AuditEntry]:
        """The entries that ``chunk`` completes.

        Raises:
            VaultError: The server ends the stream for a reason that does not pass by itself.
            Broken: It ends it for one that does, or what came is no stream of ours.
        """
        self._failures = 0
        try:
            for event in self._stream.feed(chunk):
                if event.type == "problem":
                    raise _problem(event.data)
                if event.type == "entry":
                    entry = _entry(event.data)
                    if entry.seq > self.seen:  # else it came before a connection broke
                        self.seen = entry.seq
                        yield entry
        except TooLong:
            raise Broken from None
        finally:
            self._retry_ms = self._stream.retry_ms
        said = self._stream.last_id
        if said.isascii() and said.isdigit():
            self.seen = max(self.seen, int(said[:18]))

    def broken(self, result: Answer | Lost, chance: Callable[[], float]) -> float:
        """Seconds to wait before connecting anew.

        Raises:
            VaultError: Connecting anew would not help, or it never worked.
        """
        self._failures += 1
        told = ""
        if isinstance(result, Lost):
            error: VaultError = error_of_lost(self._origin.base_url, result, reads=True)
            passes = not result.final
        else:
            error = error_of_answer(self._origin.base_url, result)
            passes = result.status in _PASSING
            told = result.retry_after
        if not passes or (self._failures >= MOST_TRIES and not self._was_connected):
            raise error
        if self._was_connected and not self._is_lost:
            self._is_lost = True
            self._on_state(False)
        own = pause_before(min(self._failures, 10), told, chance)
        least = min((self._retry_ms or 0) / 1000, _LONGEST_PAUSE)
        return max(least, _LONGEST_PAUSE if own is None else min(own, _LONGEST_PAUSE))


class Broken(Exception):
    """The stream is of no use any more, but a new one may be."""


def _entry(data: str) -> AuditEntry:
    try:
        return decode_json(data.encode(), AuditEntry)
    except InvalidInput:
        pass
    raise Broken


def _problem(data: str) -> Exception:
    try:
        problem = decode_json(data.encode(), dict[str, Any])
    except InvalidInput:
        return Broken()
    status = problem.get("status")
    if not isinstance(status, int) or status in _PASSING:
        return Broken()
    return from_problem(status, problem)
