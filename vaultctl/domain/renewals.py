"""When a lease is renewed, and how long to wait after an attempt that failed. Pure, for whoever keeps leases."""

from datetime import datetime, timedelta

from vaultctl.domain.durations import Duration
from vaultctl.domain.records import Lease

RENEW_BEFORE_EXPIRY = Duration(minutes=5)
"""How long before its end a lease is renewed, if nothing else is said."""

TOUCH_EVERY = timedelta(minutes=5)
"""Between signs of life; the vault ends a session after 15 minutes without one."""

LONGEST_NAP = timedelta(minutes=1)
"""While leases are kept: a machine that slept does not count the time, but its leases' ends have come nearer."""

_FIRST_RETRY = timedelta(milliseconds=500)
_LONGEST_RETRY = timedelta(seconds=30)


def renewal_due(lease: Lease, before: timedelta) -> datetime:
    """``before`` its end; half-way to its end where that is all it has."""
    begun = lease.renewed_at or lease.issued_at
    if lease.expires_at - begun <= before:
        before = (lease.expires_at - begun) / 2
    return lease.expires_at - before


def retry_due(lease: Lease, now: datetime) -> datetime:
    """When to try again what failed ``now`` for a reason that may pass: soon, and ever sooner before the end."""
    pause = min(max((lease.expires_at - now) / 4, _FIRST_RETRY), _LONGEST_RETRY)
    return min(now + pause, lease.expires_at)
