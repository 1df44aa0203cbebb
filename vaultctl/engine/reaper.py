"""The reaper: records what has ended by itself. Access never depends on it; expiry is checked at use.

Rows that something other than the vault has changed are passed over, for ``doctor`` to report: they grant nothing, and
must not keep others from being recorded.
"""

from collections.abc import Collection, Iterator
from itertools import islice
from typing import TypeVar

from vaultctl.domain.records import LeaseState, SessionState
from vaultctl.domain.rules import ANSWER_KEPT, IDEMPOTENCY_KEPT
from vaultctl.domain.times import micros_of
from vaultctl.engine.authentication import IDLE_LIMIT_MICROS
from vaultctl.engine.transaction import CHECKPOINT_MICROS, Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import IdempotencyRow, LeaseRow, LogRow, Row, SessionRow

R = TypeVar("R", bound=Row)

_CHUNK = 200


def due_tenants(tx: Transaction) -> set[str]:
    """The tenants in which something is to be recorded or dropped, some of them at least."""
    ended: tuple[Iterator[LeaseRow | SessionRow], ...] = (
        _expired_leases(tx),
        _silent_sessions(tx),
        _expired_sessions(tx),
    )
    old = (*_old_records(tx, _CHUNK), *_old_answers(tx, _CHUNK))
    return {row.tenant for found in ended for row in islice(found, _CHUNK)} | {row.tenant for row in old}


def unsigned_logs(tx: Transaction) -> set[str]:
    """The tenants whose logs have had entries for a while that no checkpoint covers."""
    logs = tx.find_unchecked(LogRow, Where("unsigned_entries", ">", 0), order="checkpoint_time", limit=_CHUNK)
    return {log.tenant for log in logs if tx.now - (log.checkpoint_time or 0) >= CHECKPOINT_MICROS}


def reap(tx: Transaction, tenants: Collection[str], limit: int) -> tuple[int, int]:
    """Record at most ``limit`` expired leases and as many dead sessions of each kind, and drop as many old answers.

    ``tenants`` are those whose logs the transaction holds.

    Returns:
        How many were recorded, and how many dropped.
    """
    from vaultctl.engine import leases, sessions, views  # only when there is something to record

    within = Where("tenant", "in", sorted(tenants))
    count = 0
    for lease in list(islice(_expired_leases(tx, within), limit)):
        leases.end_lease(tx, lease, views.lease_identity(lease), LeaseState.EXPIRED, "expired")
        count += 1
    for reason, find in (("idle", _silent_sessions), ("token expired", _expired_sessions)):
        for session in list(islice(find(tx, within), limit)):
            sessions.end(tx, session, sessions.identity_of(session), reason)
            count += 1
    return count, _drop_old_answers(tx, within, limit) + _drop_old_records(tx, within, limit)


def _expired_leases(tx: Transaction, *within: Where) -> Iterator[LeaseRow]:
    return _authentic(tx, LeaseRow, "expires_at", LeaseState.ACTIVE.value, tx.now, within)


def _silent_sessions(tx: Transaction, *within: Where) -> Iterator[SessionRow]:
    return _authentic(tx, SessionRow, "last_seen_at", SessionState.ACTIVE.value, tx.now - IDLE_LIMIT_MICROS, within)


def _expired_sessions(tx: Transaction, *within: Where) -> Iterator[SessionRow]:
    return _authentic(tx, SessionRow, "expires_at", SessionState.ACTIVE.value, tx.now, within)


def _old_records(tx: Transaction, limit: int, *within: Where) -> list[IdempotencyRow]:
    until = Where("created_at", "<=", tx.now - micros_of(IDEMPOTENCY_KEPT))
    return tx.find_unchecked(IdempotencyRow, until, *within, order="created_at", limit=limit)


def _old_answers(tx: Transaction, limit: int, *within: Where) -> list[IdempotencyRow]:
    until = Where("created_at", "<=", tx.now - micros_of(ANSWER_KEPT))
    return tx.find_unchecked(
        IdempotencyRow, Where("answer", ">=", b""), until, *within, order="created_at", limit=limit
    )


def _drop_old_records(tx: Transaction, within: Where, limit: int) -> int:
    rows = _old_records(tx, limit, within)
    for tenant in {row.tenant for row in rows}:
        tx.delete(IdempotencyRow, tenant, Where("created_at", "<=", rows[-1].created_at))
    return len(rows)


def _drop_old_answers(tx: Transaction, within: Where, limit: int) -> int:
    rows = _old_answers(tx, limit, within)
    for row in rows:
        if tx.is_authentic(row):
            tx.update(row, answer=None)
        else:
            key = ((column, getattr(row, column)) for column in row.key[1:])
            tx.delete(IdempotencyRow, row.tenant, *(Where(column, "=", value) for column, value in key))
    return len(rows)


def _authentic(
    tx: Transaction, row_type: type[R], column: str, state: str, until: int, within: tuple[Where, ...]
) -> Iterator[R]:
    """The authentic rows in ``state`` whose ``column`` is at most ``until``, oldest first."""
    key = (column, "tenant", "id")
    beyond: tuple[Where, ...] = ()
    while True:
        conditions = (Where("state", "=", state), Where(column, "<=", until), *within, *beyond)
        rows = tx.find_unchecked(row_type, *conditions, limit=_CHUNK, order=", ".join(key))
        yield from (row for row in rows if tx.is_authentic(row))
        if len(rows) < _CHUNK:
            return
        beyond = (Where(key, ">", tuple(getattr(rows[-1], name) for name in key)),)
