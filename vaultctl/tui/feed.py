"""What comes from the vault: a snapshot, then every audit entry after it, read by threads of its own.

They only put what they read where it waits, bounded, until whoever draws takes it out for a frame. When the vault
can't be reached they say so, try again, and go on from where they were: ``seq`` has no holes, so neither has the
picture.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from vaultctl.client import Vault
from vaultctl.domain.errors import VaultError, VaultUnavailable
from vaultctl.domain.records import AuditEntry
from vaultctl.tui.model import RECENT_EVENTS, Snapshot

POLL_SECONDS = 0.25
"""How often to look for news where nobody tells of them."""
WATCH_SECONDS = 2.0
"""How often to look whether something was missed where the log is followed."""
_BATCH = 500
_BATCHES_WAITING = 40
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_LAST_WAIT = 1.0
_PAUSE_OF_FOLLOWING = 30.0
"""Seconds after which following is tried again where it did not work."""
_FAR_BEHIND = 50_000
"""Entries to catch up with after which a new snapshot is the quicker way."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Entries in order, without a hole since those before."""

    entries: tuple[AuditEntry, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The vault does not answer."""

    error: VaultError


@dataclass(frozen=True, slots=True)
class Live:
    """All that happened so far has been read.

    Attributes:
        polled: What comes next will be found by looking now and then, since nobody tells of it.
    """

    polled: bool = False


News = Snapshot | Entries | Lost | Live


def take_snapshot(vault: Vault) -> Snapshot:
    """The vault as it is. What happens meanwhile is found after ``seq``: the log's end is read first."""
    recent = vault.audit_log.query(limit=RECENT_EVENTS)
    return Snapshot(
        seq=recent[-1].seq if recent else -1,
        leases=tuple(vault.leases.list(state="active")),
        sessions=tuple(vault.sessions.list(state="active")),
        recent=tuple(recent),
        is_whole_log=len(recent) < RECENT_EVENTS,
    )


class Feed:
    """Reads the vault from two threads, from :meth:`start` to :meth:`stop`.

    One follows the log and so has news the moment they are written. The other looks now and then for what the first
    should have brought: it knows when all has been read, finds out what is wrong when the vault is out of reach, and
    carries on alone, looking more often, where following does not work. Whoever brings an entry, it is taken only if it
    is the very next one.
    """

    def __init__(
        self, vault: Vault, *, poll_seconds: float = POLL_SECONDS, watch_seconds: float = WATCH_SECONDS
    ) -> None:
        self._vault = vault
        self._poll_seconds = poll_seconds
        self._watch_seconds = watch_seconds
        self._waiting: deque[News | list[AuditEntry]] = deque()
        self._room = threading.Condition()
        self._turn = threading.Lock()
        self._ending = threading.Event()
        self._hurry = threading.Event()
        self._is_read = threading.Event()
        self._last = -1
        self._last_id = ""
        self._breaks = self._mended = 0
        """How often the connection broke, and the break after which it was found out whether the log is the same."""
        self._follows = True
        self._followed = self._watched = -1
        """The last entry that following brought, and the last one that was known at the turn before this."""
        self._threads = [
            threading.Thread(target=work, name=f"dashboard-{work.__name__.strip('_')}", daemon=True)
            for work in (self._watch, self._follow)
        ]

    def start(self, first: Snapshot) -> None:
        """Begin to read what comes after ``first``, which is news too."""
        self._begin(first)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the reading. A thread that the vault keeps waiting ends with the process, or when the vault is closed."""
        self._ending.set()
        self._hurry.set()
        self._is_read.set()
        with self._room:
            self._room.notify_all()
        if self._threads[0].is_alive():
            self._threads[0].join(_LAST_WAIT)

    def hurry(self) -> None:
        """Look now rather than at the next turn: something was just done."""
        self._hurry.set()

    def take(self) -> Iterator[News]:
        """What has come since it was last asked, without waiting."""
        while (news := self._next()) is not None:
            yield news

    # Looking

    def _watch(self) -> None:
        pause = _FIRST_PAUSE
        in_time = was_late = False
        while not self._ending.is_set():
            try:
                self._mend()
                self._read_on()
            except VaultError as error:
                self._break()
                self._put(Lost(error))
                self._wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            if in_time:  # what was known a turn ago has been brought since, if following works
                is_late = self._followed < self._watched
                self._follows = self._follows and not (is_late and was_late)
                was_late = is_late
            self._watched = self._last
            self._put(Live(polled=not self._follows))
            self._is_read.set()
            in_time = not self._wait(self._watch_seconds if self._follows else self._poll_seconds)

    def _mend(self) -> None:
        """After a break: start over where that is quicker, or where the log is not the one that was read."""
        breaks = self._breaks
        if breaks == self._mended:
            return
        newest = self._vault.audit_log.query(limit=1)
        end = newest[-1].seq if newest else -1
        is_same = (
            self._last < 0 or next((e.id for e in self._vault.audit_log.after(self._last - 1)), "") == self._last_id
        )
        if not is_same or end - self._last > _FAR_BEHIND:
            self._begin(take_snapshot(self._vault))
        self._mended = breaks

    def _read_on(self) -> None:
        coming = self._vault.audit_log.after(self._last)
        while batch := tuple(islice(coming, _BATCH)):
            if not self._accept(batch):  # not the log that was read: a restored one, perhaps
                self._begin(take_snapshot(self._vault))
                return
            if self._ending.is_set():
                return

    # Following

    def _follow(self) -> None:
        while self._is_read.wait() and not self._ending.is_set():
            self._followed = self._last
            try:
                for entry in self._vault.audit_log.follow(
                    self._last, poll_seconds=self._poll_seconds, on_state=self._say_state
                ):
                    self._bring(entry)
                    if self._ending.is_set():
                        return
            except VaultError:
                self._follows = False
                self._hurry.set()
            else:
                return  # the vault was closed
            self._ending.wait(_PAUSE_OF_FOLLOWING)

    def _bring(self, entry: AuditEntry) -> None:
        self._follows = True
        self._followed = entry.seq
        if self._breaks == self._mended and not self._accept((entry,)):
            self._hurry.set()

    def _say_state(self, reached: bool) -> None:
        self._follows = reached
        if not reached:
            self._break()
            self._put(Lost(VaultUnavailable("The vault is out of reach.", hint="It is tried again and again.")))
        self._hurry.set()

    def _break(self) -> None:
        self._breaks += 1

    # What waits to be taken

    def _begin(self, snapshot: Snapshot) -> None:
        with self._turn:
            self._put(snapshot)
            self._last = snapshot.seq
            self._last_id = snapshot.recent[-1].id if snapshot.recent else ""

    def _accept(self, entries: Sequence[AuditEntry]) -> bool:
        """Take those of ``entries`` that were not taken yet; False if there is a hole before them."""
        with self._turn:
            fresh = [entry for entry in entries if entry.seq > self._last]
            if not fresh:
                return True
            if fresh[0].seq != self._last + 1:
                return False
            self._put(fresh)
            self._last, self._last_id = fresh[-1].seq, fresh[-1].id
            return True

    def _put(self, news: News | list[AuditEntry]) -> None:
        with self._room:
            last = self._waiting[-1] if self._waiting else None
            if isinstance(news, list) and isinstance(last, list) and len(last) < _BATCH:
                last += news
                return
            while len(self._waiting) >= _BATCHES_WAITING and not self._ending.is_set():
                self._room.wait(_LAST_WAIT)
            self._waiting.append(news)

    def _next(self) -> News | None:
        with self._room:
            if not self._waiting:
                return None
            news = self._waiting.popleft()
            self._room.notify()
        return Entries(tuple(news)) if isinstance(news, list) else news

    def _wait(self, seconds: float) -> bool:
        """Wait for so long, or until there is hurry; whether there was."""
        hurried = self._hurry.wait(seconds)
        if not self._ending.is_set():
            self._hurry.clear()
        return hurried
