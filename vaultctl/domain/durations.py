"""Durations as people write them: ``30s``, ``15m``, ``1h30m``, ``4h``, ``90d``."""

import re
from datetime import timedelta
from functools import lru_cache

from vaultctl.domain.errors import InvalidInput

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_PATTERN = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?", re.ASCII)
_LONGEST = 100 * 365 * 86_400


class Duration(timedelta):
    """A positive span of whole seconds that reads and prints as ``1h30m``."""

    @staticmethod
    @lru_cache(1024)
    def of(seconds: int) -> "Duration":
        """The duration of so many whole ``seconds``."""
        return Duration(seconds=seconds)

    @classmethod
    def parse(cls, text: "str | timedelta", *, what: str = "duration") -> "Duration":
        """Read ``text`` as a duration.

        Args:
            text: Units in descending order, each at most once (``1h30m``); a ``timedelta`` is taken as it is.
            what: What the duration is for, to name it in the error.

        Raises:
            InvalidInput: It is not a positive duration of whole seconds, or longer than a century.
        """
        if isinstance(text, timedelta):
            seconds = int(text.total_seconds())
            if text % timedelta(seconds=1):
                raise InvalidInput(f"The {what} is not a whole number of seconds.", hint="For example 15m or 90d.")
        else:
            match = _PATTERN.fullmatch(text)
            if not match or not text:
                raise InvalidInput(f"The {what} is not a duration.", hint="Write it like 30s, 15m, 1h30m, 4h or 90d.")
            seconds = sum(int(n) * size for n, (_, size) in zip(match.groups(), _UNITS, strict=True) if n)
        if not 0 < seconds <= _LONGEST:
            raise InvalidInput(f"The {what} must be at least 1s and at most 100 years.", hint="For example 15m or 90d.")
        return Duration.of(seconds)

    @property
    def seconds_total(self) -> int:
        """The length in whole seconds."""
        return self.days * 86_400 + self.seconds

    def __str__(self) -> str:
        return _text(self.seconds_total)


@lru_cache(1024)
def _text(seconds: int) -> str:
    rest = seconds
    parts = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
