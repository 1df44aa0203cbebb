"""Random identifiers: a prefix that says what they name, and base62 digits."""

from collections.abc import Callable
from functools import lru_cache

RandomBytes = Callable[[int], bytes]
"""A source of that many cryptographically random bytes; ``os.urandom`` outside tests."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DRAW = 2_048
_DRAWN_FOR_ID = 32
_WIDTH = 22
_TIME_WIDTH = 9
_DIGIT_OF = bytes(ord(_DIGITS[byte % 62]) for byte in range(256))
_UNFAIR = bytes(range(256 - 256 % 62, 256))
"""Bytes that would make some digits likelier than others."""


def base62(data: bytes, width: int) -> str:
    """``data`` as a big-endian number in base 62, padded to ``width`` digits."""
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits)).rjust(width, "0")


class Drawn:
    """A source of random bytes that draws many at once and gives out each of them once.

    Asking the operating system each time would let another thread of the process go first. For one thread of a process
    that does not fork: nobody else may be given the same bytes.
    """

    def __init__(self, random: RandomBytes) -> None:
        self._random = random
        self._bytes = b""
        self._at = 0
        self._digits = ""
        self._digits_at = 0

    def __call__(self, count: int) -> bytes:
        """So many random bytes."""
        if self._at + count > len(self._bytes):
            self._bytes = self._bytes[self._at :] + self._random(max(count, _DRAW))
            self._at = 0
        start, self._at = self._at, self._at + count
        return self._bytes[start : self._at]

    def digits(self, count: int) -> str:
        """So many random digits of base 62."""
        while self._digits_at + count > len(self._digits):
            self._digits = self._digits[self._digits_at :] + _digits_from(self._random(_DRAW))
            self._digits_at = 0
        start, self._digits_at = self._digits_at, self._digits_at + count
        return self._digits[start : self._digits_at]


def new_id(prefix: str, random: RandomBytes) -> str:
    """A new identifier ``prefix_…`` with 22 random digits, 130 bits."""
    return f"{prefix}_{_random_digits(_WIDTH, random)}"


def new_timed_id(prefix: str, micros: int, random: RandomBytes) -> str:
    """A new identifier of the time and 13 random digits, 77 bits; later ones sort behind earlier ones.

    For what there is a lot of: a database's index grows at its end rather than everywhere.
    """
    return f"{prefix}_{_digits_of(micros)}{_random_digits(_WIDTH - _TIME_WIDTH, random)}"


def least_timed_id(prefix: str, micros: int) -> str:
    """What all identifiers of that time and later ones sort behind, and earlier ones before."""
    return f"{prefix}_{_digits_of(micros)}"


def _random_digits(width: int, random: RandomBytes) -> str:
    if isinstance(random, Drawn):
        return random.digits(width)
    digits = ""
    while len(digits) < width:  # once, nearly always: one byte in thirty-two is thrown away
        digits += _digits_from(random(_DRAWN_FOR_ID))
    return digits[:width]


def _digits_from(data: bytes) -> str:
    return data.translate(_DIGIT_OF, _UNFAIR).decode()


@lru_cache(64)
def _digits_of(micros: int) -> str:
    return base62(micros.to_bytes(8, "big"), _TIME_WIDTH)
