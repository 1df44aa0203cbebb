"""Random identifiers: a prefix that says what they name, and base62 digits."""

from collections.abc import Callable

RandomBytes = Callable[[int], bytes]
"""A source of that many cryptographically random bytes; ``os.urandom`` outside tests."""

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(high + low for high in _DIGITS for low in _DIGITS)


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
    """A new identifier ``prefix_…`` with 128 random bits."""
    return f"{prefix}_{base62(random(16), 22)}"
