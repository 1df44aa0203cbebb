"""How far the vault's clock is from this machine's, as far as fresh audit entries tell."""

from collections import deque
from datetime import datetime

from vaultctl.domain.times import SECOND, to_micros

_SAMPLES = 50
_LATENESS = 2 * SECOND
"""An entry may be that old when it is read without saying anything of the clocks."""


class ClockOffset:
    """The vault's time minus the local time, in microseconds; 0 as long as nothing speaks against it.

    An entry is read a little after it was written, so each gives a lower bound; the highest of the last ones is near.
    """

    def __init__(self) -> None:
        self._samples: deque[int] = deque(maxlen=_SAMPLES)
        self.micros = 0

    def observe(self, written: datetime, read: int) -> None:
        """An entry, written at the vault's time ``written``, was read fresh at the local time ``read``."""
        self._samples.append(to_micros(written) - read)
        highest = max(self._samples)
        self.micros = 0 if -_LATENESS <= highest <= 0 else highest
