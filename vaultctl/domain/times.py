"""Points in time: aware datetimes in UTC, kept as whole microseconds since 1970."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
SECOND = 1_000_000
"""Microseconds in a second."""


def to_micros(moment: datetime) -> int:
    """``moment`` in microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def micros_of(span: timedelta) -> int:
    """``span`` in microseconds."""
    return span // _MICROSECOND


@lru_cache(1024)  # operations that share a transaction share its time
def from_micros(micros: int) -> datetime:
    """The moment ``micros`` microseconds after 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


@lru_cache(1024)
def rfc3339(moment: datetime) -> str:
    """``moment`` in UTC as RFC 3339 with microseconds, always the same width, so that text order is time order."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_moment(text: str, now: datetime, *, what: str = "time") -> datetime:
    """Read a moment: RFC 3339, a date (midnight UTC), or a duration ago (``2h`` before ``now``).

    Raises:
        InvalidInput: It is none of these.
    """
    if re.fullmatch(r"(\d+[dhms])+", text, re.ASCII):
        return now - Duration.parse(text, what=what)
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass  # raised below, without an error behind it that quotes the text
    raise InvalidInput(
        f"The {what} is neither a time nor a duration.", hint="For example 2026-11-23T09:00:00Z, 2026-11-23 or 2h."
    )
