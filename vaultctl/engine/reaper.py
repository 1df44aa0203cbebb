"""The reaper: records what has ended by itself. Access never depends on it; expiry is checked at use.

Rows that something other than the vault has changed are passed over, for ``doctor`` to report: they grant nothing, and
must not keep others from being recorded.
"""

from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

from vaultctl.domain.records import LeaseState, SessionState
from vaultctl.engine.authentication import IDLE_LIMIT_MICROS
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import LeaseRow, Row, SessionRow

R = TypeVar("R", bound=Row)

_CHUNK = 200


def is_due(tx: Transaction) -> bool:
    """Whether there is anything to record."""
    return any(
        next(found, None) is not None for found in (_expired_leases(tx), _silent_sessions(tx), _expired_sessions(tx))
    )


def reap(tx: Transaction, limit: int) -> int:
    """Record at most ``limit`` expired leases and as many dead sessions of each kind; answers how many."""
    from vaultctl.engine import leases, sessions, views  # only when there is something to record

    count = 0
    for lease in list(islice(_expired_leases(tx), limit)):
        leases.end_lease(tx, lease, views.lease_identity(lease), LeaseState.EXPIRED, "expired")
        count += 1
    for reason, find in (("idle", _silent_sessions), ("token expired", _expired_sessions)):
        for session in list(islice(find(tx), limit)):
            sessions.end(tx, session, sessions.identity_of(session), reason)
            count += 1
    return count


def _expired_leases(tx: Transaction) -> Iterator[LeaseRow]:
    return _authentic(tx, LeaseRow, "expires_at", LeaseState.ACTIVE.value, tx.now)


def _silent_sessions(tx: Transaction) -> Iterator[SessionRow]:
    return _authentic(tx, SessionRow, "last_seen_at", SessionState.ACTIVE.value, tx.now - IDLE_LIMIT_MICROS)


def _expired_sessions(tx: Transaction) -> Iterator[SessionRow]:
    return _authentic(tx, SessionRow, "expires_at", SessionState.ACTIVE.value, tx.now)


def _authentic(tx: Transaction, row_type: type[R], column: str, state: str, until: int) -> Iterator[R]:
    """The authentic rows in ``state`` whose ``column`` is at most ``until``, oldest first."""
    key = (column, "tenant", "id")
    beyond: tuple[Where, ...] = ()
    while True:
        conditions = (Where("state", "=", state), Where(column, "<=", until), *beyond)
        rows = tx.find_unchecked(row_type, *conditions, limit=_CHUNK, order=", ".join(key))
        yield from (row for row in rows if tx.is_authentic(row))
        if len(rows) < _CHUNK:
            return
        beyond = (Where(key, ">", tuple(getattr(rows[-1], name) for name in key)),)
