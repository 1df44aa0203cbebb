"""Counts of audit entries: by columns that have an index each, and by days, which are spans of ``seq``."""

from datetime import timedelta

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import AuditCount, AuditCounts
from vaultctl.domain.rules import Caller
from vaultctl.domain.times import from_micros, micros_of, to_micros
from vaultctl.engine.checkpoints import require_admin
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import EntryRow, LogRow

_COLUMNS = {"agent": "agent", "credential": "credential_name", "event": "event"}
_MOST_DAYS = 1_000
_DAY = micros_of(timedelta(days=1))


def count_audit(tx: Transaction, caller: Caller, request: ask.CountAudit) -> AuditCounts:
    """How many of the entries that match there are of each kind."""
    require_admin(caller)
    log = tx.get(LogRow, caller.tenant)
    conditions = [Where("tenant", "=", caller.tenant)]
    for column in ("agent", "session_id", "credential_name", "lease_id"):
        value = getattr(request, column)
        if value is not None:
            conditions.append(Where(column, "=", value))
    if request.events:
        conditions.append(Where("event", "in", sorted({event.value for event in request.events})))
    size = 0 if log is None else log.size
    first, beyond = 0, size
    if request.since is not None:
        first = tx.first_entry_from(caller.tenant, to_micros(request.since))
    if request.until is not None:
        beyond = tx.first_entry_from(caller.tenant, to_micros(request.until))
    if first >= beyond:
        return AuditCounts(items=())
    if request.by == "day":
        return AuditCounts(items=_by_day(tx, caller.tenant, conditions, first, beyond))
    counts = tx.count_by(EntryRow, _COLUMNS[request.by], *conditions, *_span(first, beyond))
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0] or ""))
    return AuditCounts(items=tuple(AuditCount(name=name, entries=count) for name, count in ordered))


def _by_day(tx: Transaction, tenant: str, conditions: list[Where], first: int, beyond: int) -> tuple[AuditCount, ...]:
    here = Where("tenant", "=", tenant)
    (oldest,) = tx.find(EntryRow, here, Where("seq", ">=", first), order="seq", limit=1)
    (newest,) = tx.find(EntryRow, here, Where("seq", "<", beyond), order="seq", descending=True, limit=1)
    days = range(oldest.time // _DAY, newest.time // _DAY + 1)
    if len(days) > _MOST_DAYS:
        raise InvalidInput(f"These are more than {_MOST_DAYS} days.", hint="Narrow them: --since TIME --until TIME")
    found = []
    for day in days:
        end = min(beyond, tx.first_entry_from(tenant, (day + 1) * _DAY))
        count = end - first
        if len(conditions) > 1 and count:
            count = tx.count(EntryRow, *conditions, *_span(first, end))
        if count:
            found.append(AuditCount(name=from_micros(day * _DAY).date().isoformat(), entries=count))
        first = end
    return tuple(found)


def _span(first: int, beyond: int) -> tuple[Where, Where]:
    return Where("seq", ">=", first), Where("seq", "<", beyond)
