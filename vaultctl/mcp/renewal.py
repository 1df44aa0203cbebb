"""Keeping a session alive, and its leases renewed.

A lease is renewed a while before it ends, up to its limit. Then, or when the vault refuses, the model is told with
its next answer and the operator on stderr. What fails for a reason that may pass is tried again until the lease ends.
"""

from datetime import UTC, datetime, timedelta

import anyio

from vaultctl.domain.errors import InternalError, LeaseAtMaximum, NotAuthenticated, VaultError, VaultUnavailable
from vaultctl.domain.times import rfc3339
from vaultctl.mcp.logs import logger
from vaultctl.mcp.session import AgentSession, HeldLease

TOUCH_EVERY = timedelta(minutes=5)
"""Between signs of life; the vault ends a session after 15 minutes without one."""

_LONGEST_NAP = timedelta(minutes=1)
"""While leases are kept: a machine that slept does not count the time, but its leases' ends have come nearer."""

_FIRST_RETRY = timedelta(milliseconds=500)
_LONGEST_RETRY = timedelta(seconds=30)


async def keep(session: AgentSession) -> None:
    """Keep ``session`` and its leases until cancelled."""
    touch_at = datetime.now(UTC) + TOUCH_EVERY
    alive = True
    while True:
        woken = session.woken
        kept = [held for held in session.held if session.settings.auto_renew and not held.settled]
        now = datetime.now(UTC)
        for held in kept:
            if _due(session, held) <= now:
                await _attend(session, held)
        session.forget_ended()
        if alive and touch_at <= now:
            alive = await _touch(session)
            touch_at = now + TOUCH_EVERY
        waits = [_due(session, held) - datetime.now(UTC) for held in kept if not held.settled]
        nap = min([touch_at - now, *([*waits, _LONGEST_NAP] if waits else [])])
        with anyio.move_on_after(max(nap.total_seconds(), 0)):
            await woken.wait()


def _due(session: AgentSession, held: HeldLease) -> datetime:
    if held.retry_at:
        return held.retry_at
    lease = held.lease
    begun = lease.renewed_at or lease.issued_at
    before: timedelta = session.settings.renew_before_expiry
    if lease.expires_at - begun <= before:
        before = (lease.expires_at - begun) / 2
    return lease.expires_at - before


async def _attend(session: AgentSession, held: HeldLease) -> None:
    lease = held.lease
    held.retry_at = None
    if lease.expires_at <= datetime.now(UTC):
        _settle(session, held, "could not be renewed in time and has ended")
        return
    if held.renewable:
        try:
            await session.renew(lease.id)
        except (VaultUnavailable, InternalError) as error:
            now = datetime.now(UTC)
            pause = min(max((lease.expires_at - now) / 4, _FIRST_RETRY), _LONGEST_RETRY)
            held.retry_at = min(now + pause, lease.expires_at)
            logger.warning("Lease %s was not renewed, trying again: %s", lease.id, error.message)
            return
        except LeaseAtMaximum:
            pass
        except VaultError as error:
            if not session.holds(held):
                return  # revoked meanwhile by the model itself
            logger.warning("Lease %s was refused a renewal: %s", lease.id, error.message)
            _settle(session, held, f"is not renewed any more and ends at {rfc3339(lease.expires_at)} at the latest")
            return
        else:
            lease = held.lease
            logger.info("Lease %s on %s renewed until %s", lease.id, lease.credential_name, rfc3339(lease.expires_at))
            if held.renewable:
                return
    _settle(session, held, f"has reached its maximum and ends at {rfc3339(lease.expires_at)}")


def _settle(session: AgentSession, held: HeldLease, what: str) -> None:
    held.settled = True
    notice = f"The lease {held.lease.id} on {held.lease.credential_name} {what}"
    logger.warning("%s", notice)
    session.notify(f"{notice}: request a new lease if you still need it.")


async def _touch(session: AgentSession) -> bool:
    try:
        await session.touch()
    except NotAuthenticated:
        logger.error("Session %s has ended: start the server again", session.id)
        return False
    except VaultError as error:
        logger.warning("The vault got no sign of life of session %s: %s", session.id, error.message)
    return True
