"""The reaper: records what has ended by itself. Access never depends on it; expiry is checked at use."""

from vaultctl.domain.records import Identity, LeaseState, SessionState
from vaultctl.engine.authentication import IDLE_LIMIT_MICROS
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import LeaseRow, SessionRow


def is_due(tx: Transaction) -> bool:
    """Whether there is anything to record."""
    return any(
        tx.find_unchecked(row_type, *conditions, limit=1)
        for row_type, conditions in (
            (LeaseRow, _expired_leases(tx)),
            (SessionRow, _silent_sessions(tx)),
            (SessionRow, _expired_sessions(tx)),
        )
    )


def reap(tx: Transaction, limit: int) -> int:
    """Record at most ``limit`` expired leases and as many dead sessions; answers how many.

    Rows that something other than the vault has changed are left as they are, for ``doctor`` to report.
    """
    from vaultctl.engine import leases, sessions, views  # only when there is something to record

    count = 0
    for lease in tx.find_unchecked(LeaseRow, *_expired_leases(tx), limit=limit):
        if tx.is_authentic(lease):
            leases.end_lease(tx, lease, views.lease_identity(lease), LeaseState.EXPIRED, "expired")
            count += 1
    seen: set[tuple[str, str]] = set()
    for reason, conditions in (("idle", _silent_sessions(tx)), ("token expired", _expired_sessions(tx))):
        for session in tx.find_unchecked(SessionRow, *conditions, limit=limit):
            if (session.tenant, session.id) not in seen and tx.is_authentic(session):
                seen.add((session.tenant, session.id))
                identity = Identity(type="agent", name=session.agent, session_id=session.id)
                sessions.end(tx, session, identity, reason)
                count += 1
    return count


def _expired_leases(tx: Transaction) -> tuple[Where, ...]:
    return (Where("state", "=", LeaseState.ACTIVE.value), Where("expires_at", "<=", tx.now))


def _silent_sessions(tx: Transaction) -> tuple[Where, ...]:
    return (Where("state", "=", SessionState.ACTIVE.value), Where("last_seen_at", "<=", tx.now - IDLE_LIMIT_MICROS))


def _expired_sessions(tx: Transaction) -> tuple[Where, ...]:
    return (Where("state", "=", SessionState.ACTIVE.value), Where("expires_at", "<=", tx.now))
