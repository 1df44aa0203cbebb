"""What comes from the vault: a snapshot, then every audit entry after it, read by a thread of its own.

The thread only puts what it read into a bounded queue; whoever draws takes it out when it is time for a frame. When
the vault can't be reached it says so, tries again, and goes on from where it was: ``seq`` has no holes, so neither has
the picture.
"""

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from vaultctl.client import Vault
from vaultctl.domain.errors import VaultError
from vaultctl.domain.records import AuditEntry
from vaultctl.tui.model import RECENT_EVENTS, Snapshot

POLL_SECONDS = 0.25
_BATCH = 500
_BATCHES_WAITING = 40
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_LAST_WAIT = 1.0
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
    """All that happened so far has been read."""


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
    """Reads the vault from a thread, from :meth:`start` to :meth:`stop`."""

    def __init__(self, vault: Vault, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._vault = vault
        self._poll_seconds = poll_seconds
        self._news: queue.Queue[News] = queue.Queue(_BATCHES_WAITING)
        self._ending = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dashboard-feed", daemon=True)

    def start(self, first: Snapshot) -> None:
        """Begin to read what comes after ``first``, which is news too."""
        self._news.put(first)
        self._last = first.seq
        self._thread.start()

    def stop(self) -> None:
        """End the thread. One that the vault keeps waiting does not keep the process from ending."""
        self._ending.set()
        self._hurry.set()
        if self._thread.is_alive():
            self._thread.join(_LAST_WAIT)

    def hurry(self) -> None:
        """Look now rather than at the next turn: something was just done."""
        self._hurry.set()

    def take(self) -> Iterator[News]:
        """What has come since it was last asked, without waiting."""
        while True:
            try:
                yield self._news.get_nowait()
            except queue.Empty:
                return

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        lost = False
        while not self._ending.is_set():
            try:
                if lost:
                    self._resume()
                self._read_on()
            except VaultError as error:
                lost = True
                self._put(Lost(error))
                self._wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            lost, pause = False, _FIRST_PAUSE
            self._put(Live())
            self._wait(self._poll_seconds)

    def _resume(self) -> None:
        """After a break: start over where that is quicker, or where the log is not the one that was read."""
        newest = self._vault.audit_log.query(limit=1)
        end = newest[-1].seq if newest else -1
        if not 0 <= end - self._last <= _FAR_BEHIND:
            self._start_over()

    def _start_over(self) -> None:
        snapshot = take_snapshot(self._vault)
        self._put(snapshot)
        self._last = snapshot.seq

    def _read_on(self) -> None:
        coming = self._vault.audit_log.after(self._last)
        while batch := tuple(islice(coming, _BATCH)):
            if batch[0].seq != self._last + 1:  # not the log that was read: a restored one, perhaps
                self._start_over()
                return
            self._last = batch[-1].seq
            self._put(Entries(batch))
            if self._ending.is_set():
                return

    def _wait(self, seconds: float) -> None:
        self._hurry.wait(seconds)
        if not self._ending.is_set():
            self._hurry.clear()

    def _put(self, news: News) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(queue.Full):
                self._news.put(news, timeout=0.1)
                return
