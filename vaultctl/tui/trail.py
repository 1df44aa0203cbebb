"""The audit log in windows: filters as one types them, pages in both directions, and the way to export them.

However long the log is, only a window of it is kept.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from vaultctl.client import Vault
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import AuditEntry, Event
from vaultctl.domain.times import parse_moment

Exporter = Callable[[Iterable[AuditEntry], str], Iterator[str]]
"""Makes lines of text of entries; the second argument is ``csv`` or ``jsonl``."""

PAGE = 200
WINDOW = 1_000
"""Entries that are kept at a time."""

_PLAIN = {"agent": "agent", "session": "session", "credential": "credential", "lease": "lease"}
_STRICT = ("identity.name", "identity.sessionId", "identity.email", "identity.type", "identity.userId")
_GROUPS = {
    "denied": (Event.LEASE_DENIED, Event.ACCESS_DENIED),
    "lease": tuple(event for event in Event if event.value.startswith("lease.")),
    "token": tuple(event for event in Event if event.value.startswith("token.")),
    "session": tuple(event for event in Event if event.value.startswith("session.")),
    "credential": tuple(event for event in Event if event.value.startswith("credential.")),
}

EXAMPLE = "agent=deploy-agent event=denied since=2h"
FIELDS = ("agent", "session", "credential", "lease", "event", "since", "until", *_STRICT)


@dataclass(frozen=True)
class TrailFilter:
    """Which entries are looked for."""

    conditions: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, now: datetime) -> "TrailFilter":
        """Read ``agent=deploy-agent event=lease.denied since=2h``.

        Raises:
            InvalidInput: A word is not ``field=value``, or there is no such field, event or time.
        """
        conditions: dict[str, Any] = {}
        strict: dict[str, str] = {}
        events: list[Event] = []
        for word in text.split():
            name, equals, value = word.partition("=")
            if not equals or not value or name not in FIELDS:
                raise InvalidInput("A filter is field=value.", hint=f"Fields: {', '.join(FIELDS)}.")
            if name == "event":
                events += _events(value)
            elif name in ("since", "until"):
                conditions[name] = parse_moment(value, now, what=name)
            elif name in _PLAIN:
                conditions[name] = value
            else:
                strict[name] = value
        if events:
            conditions["events"] = tuple(events)
        if strict:
            conditions["filter"] = strict
        return cls(conditions)

    @staticmethod
    def text_of(conditions: dict[str, str]) -> str:
        """Conditions as they are typed."""
        return " ".join(f"{name}={value}" for name, value in conditions.items())


class Trail:
    """Entries that match a filter, oldest first, page by page through :class:`~vaultctl.client.Vault` alone."""

    def __init__(self, found: TrailFilter) -> None:
        self._conditions = found.conditions

    def newest(self, vault: Vault) -> list[AuditEntry]:
        """The newest page."""
        return vault.audit_log.query(**self._conditions, limit=PAGE)

    def before(self, vault: Vault, first: AuditEntry) -> list[AuditEntry]:
        """The page before ``first``, empty at the start of the log."""
        until = first.timestamp + timedelta(microseconds=1)
        asked = self._conditions.get("until")
        conditions = self._conditions | {"until": until if asked is None else min(asked, until)}
        size = PAGE
        while True:  # many entries may have the time of `first`
            found = vault.audit_log.query(**conditions, limit=size)
            older = [entry for entry in found if entry.seq < first.seq]
            if len(older) >= PAGE or len(found) < size:
                return older[-PAGE:]
            size *= 2

    def after(self, vault: Vault, last: AuditEntry) -> list[AuditEntry]:
        """The page after ``last``, empty at the end of the log."""
        return list(islice(vault.audit_log.after(last.seq, **self._conditions), PAGE))

    def export(self, vault: Vault, kind: str) -> Iterator[AuditEntry]:
        """All entries, one by one. That they leave, as ``kind``, is recorded before the first of them is here."""
        return vault.audit_log.export(**self._conditions, format=kind)


def _events(text: str) -> tuple[Event, ...]:
    if text in _GROUPS:
        return _GROUPS[text]
    for event in Event:
        if event.value == text:
            return (event,)
    raise InvalidInput(
        "There is no such event.", hint=f"Like lease.created, or one of the groups {', '.join(sorted(_GROUPS))}."
    )
