"""Counts of audit entries: by the tallies as far as they go, and entry by entry where they don't."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import AuditCount, AuditCounts
from vaultctl.domain.rules import Caller
from vaultctl.domain.times import from_micros, to_micros
from vaultctl.engine.checkpoints import require_admin
from vaultctl.engine.tallies import DAY_HOURS, HOUR, MONTH_HOURS, aspects_of, finest_hours, parts_of
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import EntryRow, LogRow, TallyMarkRow, TallyRow

_COLUMNS = {"agent": "agent", "credential": "credential_name", "event": "event"}
_MOST_DAYS = 1_000
_DAY = DAY_HOURS * HOUR


def count_audit(tx: Transaction, caller: Caller, request: ask.CountAudit) -> AuditCounts:
    """How many of the entries that match there are of each kind."""
    require_admin(caller)
    log = tx.get(LogRow, caller.tenant)
    size = 0 if log is None else log.size
    first, beyond = 0, size
    if request.since is not None:
        first = tx.first_entry_from(caller.tenant, to_micros(request.since))
    if request.until is not None:
        beyond = tx.first_entry_from(caller.tenant, to_micros(request.until))
    if log is None or first >= beyond:
        return AuditCounts(items=())
    if request.by == "day":
        _require_few_days(tx, caller.tenant, first, beyond)
    counted = _Count(tx, caller.tenant, request).of(first, beyond, log.last_time)
    if request.by == "day":
        days = sorted(counted.items())
        named = [(_date(day), count) for day, count in days]
    else:
        named = sorted(counted.items(), key=_most_first)
    return AuditCounts(items=tuple(AuditCount(name=name or None, entries=count) for name, count in named))


class _Count:
    """Adds up what a request asks for."""

    def __init__(self, tx: Transaction, tenant: str, request: ask.CountAudit) -> None:
        self._tx = tx
        self._request = request
        self._here = Where("tenant", "=", tenant)
        self._tenant = tenant
        self._counted: Counter[Any] = Counter()
        # What tallies tell apart, and what only entries do.
        self._about = [
            Where(column, "=", value)
            for column, value in (("agent", request.agent), ("credential_name", request.credential_name))
            if value is not None
        ]
        if request.events:
            self._about.append(Where("event", "in", sorted({event.value for event in request.events})))
        self._narrower = [
            Where(column, "=", value)
            for column, value in (("session_id", request.session_id), ("lease_id", request.lease_id))
            if value is not None
        ]

    def of(self, first: int, beyond: int, last_time: int) -> Counter[Any]:
        """The counts of the entries from ``first`` and before ``beyond``, of a log that ends at ``last_time``."""
        mark = self._tx.get(TallyMarkRow, self._tenant)
        tallied = 0 if mark is None or self._narrower else min(mark.seq, beyond)
        looked_at = [str(where.column) for where in self._about]
        if self._request.by != "day":
            looked_at.append(_COLUMNS[self._request.by])
        aspects = aspects_of(looked_at)
        hours = finest_hours(aspects)
        since, until = self._request.since, self._request.until
        low = 0 if since is None else -(-to_micros(since) // (hours * HOUR))
        high = last_time // (hours * HOUR) + 1
        if until is not None:
            high = min(high, to_micros(until) // (hours * HOUR))
        if first >= tallied or low >= high:
            self._add_entries(first, beyond)
            return self._counted
        # Before the first whole period, the periods, behind the last one, and what is not tallied yet.
        begin = first if since is None else self._tx.first_entry_from(self._tenant, low * hours * HOUR)
        end = self._tx.first_entry_from(self._tenant, high * hours * HOUR)
        self._add_entries(first, min(begin, tallied))
        for part in parts_of(low, high, hours, DAY_HOURS if self._request.by == "day" else MONTH_HOURS):
            self._add_tallies(aspects, part.hours, part.first, part.beyond)
        self._add_entries(end, tallied)
        self._add_entries(tallied, beyond)
        return self._counted

    def _add_entries(self, first: int, beyond: int) -> None:
        if first < beyond:
            # An expression, as the index of the column alone goes through the whole log.
            by = f"time / {_DAY}" if self._request.by == "day" else f"coalesce({_COLUMNS[self._request.by]}, '')"
            span = (Where("seq", ">=", first), Where("seq", "<", beyond))
            self._add(self._tx.totals(EntryRow, [by], self._here, *self._about, *self._narrower, *span))

    def _add_tallies(self, aspects: int, hours: int, first: int, beyond: int) -> None:
        by = f"period / {DAY_HOURS // hours}" if self._request.by == "day" else _COLUMNS[self._request.by]
        kind = (Where("aspects", "=", aspects), Where("hours", "=", hours))
        periods = (Where("period", ">=", first), Where("period", "<", beyond))
        self._add(self._tx.totals(TallyRow, [by], self._here, *kind, *periods, *self._about, of="entries"))

    def _add(self, totals: Sequence[tuple[Any, int]]) -> None:
        for name, entries in totals:
            self._counted[name] += entries


def _require_few_days(tx: Transaction, tenant: str, first: int, beyond: int) -> None:
    here = Where("tenant", "=", tenant)
    (oldest,) = tx.find(EntryRow, here, Where("seq", ">=", first), order="seq", limit=1)
    (newest,) = tx.find(EntryRow, here, Where("seq", "<", beyond), order="seq", descending=True, limit=1)
    if newest.time // _DAY - oldest.time // _DAY >= _MOST_DAYS:
        raise InvalidInput(f"These are more than {_MOST_DAYS} days.", hint="Narrow them: --since TIME --until TIME")


def _most_first(counted: tuple[str, int]) -> tuple[int, str]:
    name, entries = counted
    return -entries, name


def _date(day: int) -> str:
    return from_micros(day * _DAY).date().isoformat()
