"""Random identifiers: a prefix that says what they name, and base62 digits."""

from collections.abc import Callable

RandomBytes = Callable[[int], bytes]
"""A source of that many cryptographically random bytes; ``os.urandom`` outside tests."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)
_WIDTH = 22
_DIGIT_OF = bytes(ord(_DIGITS[byte % 62]) for byte in range(256))
_UNFAIR = bytes(range(256 - 256 % 62, 256))
"""Bytes that would make some digits likelier than others."""


def base62(data: bytes, width: int) -> str:
    """``data`` as a big-endian number in base 62, padded to ``width`` digits."""
    number = int.from_bytes(data, "big")
    pairs = []
    while number:
        number, pair = divmod(number, 3844)  # two digits at a time
        pairs.append(_PAIRS[pair])
    pairs.reverse()
    return "".join(pairs).lstrip("0").rjust(width, "0")


def new_id(prefix: str, random: RandomBytes) -> str:
    """A new identifier ``prefix_…`` with 22 random digits, 130 bits."""
    digits = b""
    while len(digits) < _WIDTH:  # once, nearly always: one byte in thirty-two is thrown away
        digits += random(32).translate(_DIGIT_OF, _UNFAIR)
    return f"{prefix}_{digits[:_WIDTH].decode()}"
