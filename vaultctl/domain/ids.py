"""Random identifiers: a prefix that says what they name, and base62 digits."""

from collections.abc import Callable

RandomBytes = Callable[[int], bytes]
"""A source of that many cryptographically random bytes; ``os.urandom`` outside tests."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def base62(data: bytes, width: int) -> str:
    """``data`` as a big-endian number in base 62, padded to ``width`` digits."""
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits)).rjust(width, "0")


def new_id(prefix: str, random: RandomBytes) -> str:
    """A new identifier ``prefix_…`` with 128 random bits."""
    return f"{prefix}_{base62(random(16), 22)}"
