"""The picture that the dashboard shows: leases, sessions and recent events, kept up to date from the audit log.

Plain data: no Textual, no vault, no clock of its own. It starts from a list of leases and then applies audit entries in
order of ``seq``; an entry that the list already contained changes nothing.
"""

import heapq
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from vaultctl.domain.durations import Duration
from vaultctl.domain.records import AuditEntry, Event, Lease, Session
from vaultctl.domain.text import safe
from vaultctl.domain.times import SECOND, to_micros

RECENT_EVENTS = 2_000
"""Entries that the event stream keeps."""

MINUTES = 60
"""Length of the series, in minutes."""

_MINUTE = 60 * SECOND


class LiveLease(Struct, frozen=True, gc=False):
    """A lease as the table shows it: texts are safe, times are microseconds since 1970.

    It refers to nothing that could refer back, so the garbage collector need not look at ten thousand of them.
    """

    id: str
    credential: str
    holder: str
    agent: str | None
    session: str | None
    token: str | None
    purpose: str
    issued_at: int
    expires_at: int
    max_expires_at: int
    ttl: int
    renewals: int

    @property
    def haystack(self) -> str:
        """What a filter looks into, in small letters."""
        return " ".join((self.holder, self.session or "", self.credential, self.purpose, self.id)).lower()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the vault said at one moment: the log's end first, then the leases and sessions, then recent entries."""

    seq: int
    leases: tuple[Lease, ...]
    sessions: tuple[Session, ...]
    recent: tuple[AuditEntry, ...]
    is_whole_log: bool
    """Whether ``recent`` is all that ever happened."""


class Series:
    """Counts a minute over the last hour."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.known_from: int | None = None
        """The first minute that was watched as a whole, or None: all of them."""

    def add(self, at: int) -> None:
        """Count one event at ``at``."""
        minute = at // _MINUTE
        self._counts[minute] = self._counts.get(minute, 0) + 1
        if len(self._counts) > 2 * MINUTES:
            latest = max(self._counts)
            self._counts = {m: count for m, count in self._counts.items() if m > latest - MINUTES}

    def last(self, now: int, minutes: int = MINUTES) -> list[int | None]:
        """The counts of the last minutes, oldest first; None where nobody was looking."""
        current = now // _MINUTE
        known = self.known_from
        return [
            None if known is not None and minute < known else self._counts.get(minute, 0)
            for minute in range(current - minutes + 1, current + 1)
        ]

    def total(self, now: int) -> int:
        """The sum over the last hour."""
        return sum(count or 0 for count in self.last(now))


class Model:
    """What is known of the vault.

    Attributes:
        leases: The active leases by id.
        sessions: The agents of the active sessions, by session id.
        events: Recent entries, oldest first.
        seq: The last entry that was applied.
        dropped: Entries that have left ``events`` at its old end, in all.
        unseen_denials: How many refusals nobody has looked at yet; see :meth:`acknowledge`.
        last_denial: The last of them.
    """

    def __init__(self) -> None:
        self._forget()
        self.unseen_denials = 0
        self.last_denial: AuditEntry | None = None

    def _forget(self) -> None:
        self.leases: dict[str, LiveLease] = {}
        self.sessions: dict[str, str] = {}
        self.events: deque[AuditEntry] = deque(maxlen=RECENT_EVENTS)
        self.dropped = 0
        self.seq = -1
        self.issued = Series()
        self.renewed = Series()
        self.denied = Series()
        self._overdue: dict[str, LiveLease] = {}
        self._deadlines: list[tuple[int, str]] = []

    def start(self, snapshot: Snapshot) -> None:
        """Begin anew from ``snapshot``. Denials that nobody has looked at are kept."""
        self._forget()
        for lease in snapshot.leases:
            self._hold(live_lease(lease))
        self.sessions = {session.id: session.agent for session in snapshot.sessions}
        if not snapshot.is_whole_log:
            oldest = snapshot.recent[0].timestamp if snapshot.recent else None
            known_from = None if oldest is None else to_micros(oldest) // _MINUTE + 1
            self.issued.known_from = self.renewed.known_from = self.denied.known_from = known_from
        for entry in snapshot.recent:
            self._record(entry)
        self.seq = snapshot.seq

    def apply(self, entries: Iterable[AuditEntry]) -> set[str]:
        """Apply entries in order of ``seq``; answers the ids of the leases that may have changed."""
        changed: set[str] = set()
        for entry in entries:
            if entry.seq <= self.seq:
                continue
            self.seq = entry.seq
            self._record(entry)
            if is_denial(entry):
                self.last_denial = entry
                self.unseen_denials += 1
            if (id := self._apply_one(entry)) is not None:
                changed.add(id)
        return changed

    def advance(self, now: int) -> set[str]:
        """Let time pass; answers the ids of leases that ran out. Whether that was recorded yet does not matter."""
        gone: set[str] = set()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, id = heapq.heappop(self._deadlines)
            lease = self.leases.get(id)
            if lease is not None and lease.expires_at <= now:
                self._overdue[id] = self.leases.pop(id)
                gone.add(id)
        return gone

    def acknowledge(self) -> None:
        """Somebody has looked at the denials."""
        self.unseen_denials = 0

    def _record(self, entry: AuditEntry) -> None:
        if len(self.events) == RECENT_EVENTS:
            self.dropped += 1
        self.events.append(entry)
        at = to_micros(entry.timestamp)
        match entry.event:
            case Event.LEASE_CREATED:
                self.issued.add(at)
            case Event.LEASE_RENEWED:
                self.renewed.add(at)
            case Event.LEASE_DENIED | Event.ACCESS_DENIED:
                self.denied.add(at)

    def _apply_one(self, entry: AuditEntry) -> str | None:
        match entry.event:
            case Event.LEASE_CREATED if entry.lease_id and entry.lease_id not in self.leases:
                self._hold(_issued(entry))
            case Event.LEASE_RENEWED if entry.lease_id:
                self._renew(entry.lease_id, entry)
            case Event.LEASE_EXPIRED | Event.LEASE_REVOKED if entry.lease_id:
                self.leases.pop(entry.lease_id, None)
                self._overdue.pop(entry.lease_id, None)
            case Event.SESSION_STARTED if entry.identity.session_id:
                self.sessions[entry.identity.session_id] = entry.identity.name or ""
                return None
            case Event.SESSION_ENDED:
                self.sessions.pop(entry.details.get("sessionId") or entry.identity.session_id or "", None)
                return None
            case _:
                return None
        return entry.lease_id

    def _renew(self, id: str, entry: AuditEntry) -> None:
        lease = self.leases.get(id) or self._overdue.pop(id, None)
        renewals = _number(entry.details.get("renewals"))
        if lease is None or renewals <= lease.renewals:  # the list knew it already
            return
        expires_at = _moment(entry.details.get("expiresAt"), lease.expires_at)
        self._hold(
            replace(
                lease,
                expires_at=expires_at,
                max_expires_at=_moment(entry.details.get("maxExpiresAt"), lease.max_expires_at),
                ttl=max(SECOND, expires_at - to_micros(entry.timestamp)),
                renewals=renewals,
            )
        )

    def _hold(self, lease: LiveLease) -> None:
        self.leases[lease.id] = lease
        heapq.heappush(self._deadlines, (lease.expires_at, lease.id))
        if len(self._deadlines) > 2 * len(self.leases) + 1_000:  # each renewal leaves one behind
            self._deadlines = [(held.expires_at, held.id) for held in self.leases.values()]
            heapq.heapify(self._deadlines)


def is_denial(entry: AuditEntry) -> bool:
    """Whether somebody was refused."""
    return entry.event in (Event.LEASE_DENIED, Event.ACCESS_DENIED)


def live_lease(lease: Lease) -> LiveLease:
    """A lease of a list."""
    granted_at = lease.renewed_at or lease.issued_at
    expires_at = to_micros(lease.expires_at)
    return LiveLease(
        id=lease.id,
        credential=safe(lease.credential_name),
        holder=safe(lease.identity.label),
        agent=lease.identity.name,
        session=lease.identity.session_id,
        token=lease.token_id,
        purpose=safe(lease.identity.purpose or ""),
        issued_at=to_micros(lease.issued_at),
        expires_at=expires_at,
        max_expires_at=to_micros(lease.max_expires_at),
        ttl=max(SECOND, expires_at - to_micros(granted_at)),
        renewals=lease.renewals,
    )


def _issued(entry: AuditEntry) -> LiveLease:
    """The lease that an entry ``lease.created`` tells of."""
    at = to_micros(entry.timestamp)
    details = entry.details
    fallback = at + _seconds(details.get("ttl")) * SECOND
    expires_at = _moment(details.get("expiresAt"), fallback)
    return LiveLease(
        id=entry.lease_id or "",
        credential=safe(entry.credential_name or ""),
        holder=safe(entry.identity.label),
        agent=entry.identity.name,
        session=entry.identity.session_id,
        token=details.get("tokenId"),
        purpose=safe(entry.identity.purpose or ""),
        issued_at=at,
        expires_at=expires_at,
        max_expires_at=_moment(details.get("maxExpiresAt"), expires_at),
        ttl=max(SECOND, expires_at - at),
        renewals=0,
    )


def _moment(text: Any, fallback: int) -> int:
    return to_micros(datetime.fromisoformat(text)) if isinstance(text, str) else fallback


def _seconds(text: Any) -> int:
    return Duration.parse(text).seconds_total if isinstance(text, str) else 0


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
