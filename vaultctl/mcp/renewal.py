"""Keeping a session alive, and its leases renewed.

A lease is renewed a while before it ends, up to its limit. Then, or when the vault refuses, the model is told with
its next answer and the operator on stderr. What fails for a reason that may pass is tried again until the lease ends.
"""

from datetime import UTC, datetime

import anyio

from vaultctl.domain.errors import InternalError, LeaseAtMaximum, NotAuthenticated, VaultError, VaultUnavailable
from vaultctl.domain.renewals import LONGEST_NAP, TOUCH_EVERY, renewal_due, retry_due
from vaultctl.domain.times import rfc3339
from vaultctl.mcp.logs import logger
from vaultctl.mcp.session import AgentSession, HeldLease


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
        nap = min([touch_at - now, *([*waits, LONGEST_NAP] if waits else [])])
        with anyio.move_on_after(max(nap.total_seconds(), 0)):
            await woken.wait()


def _due(session: AgentSession, held: HeldLease) -> datetime:
    if held.retry_at:
        return held.retry_at
    return renewal_due(held.lease, session.settings.renew_before_expiry)


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
            held.retry_at = retry_due(lease, datetime.now(UTC))
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
