"""Following an audit log by asking for what is new, again and again. No clock and no thread is known here."""

from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from msgspec.structs import replace

from vaultctl.domain import requests as ask
from vaultctl.domain.records import AuditEntry, Page

T = TypeVar("T")


class Perform(Protocol):
    """What answers requests."""

    def __call__(self, request: ask.Request[T]) -> T:
        """The answer to ``request``."""
        ...


def newest(request: ask.QueryAudit) -> ask.QueryAudit:
    """Asks for the newest entry of all that whoever asks ``request`` may read, whether it matches or not.

    An agent may read one session's entries only, so the session stays named.
    """
    return ask.QueryAudit(session_id=request.session_id or request.identity_session_id, limit=1)


def last_seq(page: Page[AuditEntry]) -> int:
    """The ``seq`` of the last entry of a page; -1 if it has none."""
    return page.items[-1].seq if page.items else -1


class Poll:
    """Where somebody who polls is in a log.

    Attributes:
        caught_up: The last step found nothing new at all.
    """

    def __init__(self, perform: Perform, request: ask.QueryAudit) -> None:
        """Start after ``request.after_seq``."""
        self.caught_up = False
        self._perform = perform
        self._request = replace(request, limit=ask.MAX_PAGE_SIZE)
        self._seen = -1 if request.after_seq is None else request.after_seq
        self._end = -1
        self._cursor: str | None = None

    def step(self) -> tuple[AuditEntry, ...]:
        """The next entries that match, perhaps none; takes one or two requests."""
        if self._cursor is None:
            # First where the log ends now: what does not match is then not searched again the next time.
            self._end = last_seq(self._perform(newest(self._request)))
            self.caught_up = self._end <= self._seen
            if self.caught_up:
                return ()
        page = self._perform(replace(self._request, after_seq=self._seen, cursor=self._cursor))
        self._cursor = page.next_cursor
        if self._cursor is None:
            self._seen = max(self._seen, self._end, last_seq(page))
        return page.items


def poll(perform: Perform, request: ask.QueryAudit, wait: Callable[[], bool]) -> Iterator[AuditEntry]:
    """The entries that match, and each that comes; ``wait`` waits between two looks and says whether to end."""
    state = Poll(perform, request)
    while True:
        yield from state.step()
        if state.caught_up and wait():
            return
