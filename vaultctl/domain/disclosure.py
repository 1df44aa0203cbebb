"""Does a text disclose a secret? Raw, or in an encoding that a model or a tool would use without malice.

There are many ways to encode and one to decode, so it is the text that is decoded: URL-encoding, JSON escapes, base64
and base64url in any alignment, hex.
"""

import re
from binascii import a2b_base64
from collections.abc import Iterable, Iterator
from functools import cached_property
from urllib.parse import unquote, unquote_plus

ENCODED_FROM = 6
"""Secrets of fewer bytes are looked for as text only: their encodings are too short to mean anything."""

_APART = b"\xff\xff"

_SHORTEST_BASE64 = 8
"""Digits that so many bytes have."""

_JSON_ESCAPE = re.compile(r'(?:\\u[0-9a-fA-F]{4})+|\\["\\/bfnrt]')
JSON_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/_-]{8,}", re.ASCII)
_HEX_RUN = re.compile(r"[0-9A-Fa-f]{12,}", re.ASCII)
_URL_SAFE = str.maketrans("-_", "+/")


class Text:
    """Text that is looked through for secrets; what it can be read as is found out once."""

    def __init__(self, text: str) -> None:
        self._readings = tuple(dict.fromkeys(_readings(text)))
        self._longest = max(map(len, self._readings))

    @cached_property
    def _longest_run(self) -> int:
        return max((len(run) for reading in self._readings for run in _BASE64_RUN.findall(reading)), default=0)

    @cached_property
    def _decoded(self) -> bytes:
        # Between them stands what no text has in it.
        return _APART.join(dict.fromkeys(data for reading in self._readings for data in _decodings(reading)))

    def discloses(self, secrets: Iterable[str]) -> bool:
        """Whether it holds one of ``secrets``, in one of its forms."""
        for secret in secrets:
            for reading in self._readings:
                if secret in reading:
                    return True
            data = secret.encode("utf-8", "surrogatepass")
            # Its bits take so many digits of base64 at least, and more of hex: most words are too short to be decoded.
            digits = -(-len(data) * 4 // 3)
            if len(data) < ENCODED_FROM or digits > self._longest or digits > self._longest_run:
                continue
            if data in self._decoded:
                return True
        return False


def discloses(text: str, secrets: Iterable[str]) -> bool:
    """Whether ``text`` holds one of ``secrets``, in one of its forms."""
    return Text(text).discloses(secrets)


def _readings(text: str) -> Iterator[str]:
    """What ``text`` says, and what it says with one layer of URL-encoding or JSON escapes taken off."""
    yield text
    if "%" in text or "+" in text:
        yield unquote(text)
        yield unquote_plus(text)
    if "\\" in text:
        yield _JSON_ESCAPE.sub(lambda match: unescape_json(match[0]), text)


def _decodings(text: str) -> Iterator[bytes]:
    """What stretches of ``text`` are if they are base64 or hex, wherever in the stretch the encoding began."""
    for match in _BASE64_RUN.finditer(text):
        run = match[0].translate(_URL_SAFE)
        for start in range(min(4, len(run) - _SHORTEST_BASE64 + 1)):
            rest = run[start:]
            rest = rest[:-1] if len(rest) % 4 == 1 else rest
            yield a2b_base64(rest + "=" * (-len(rest) % 4))
    for match in _HEX_RUN.finditer(text):
        for start in range(2):
            rest = match[0][start:]
            yield bytes.fromhex(rest[: len(rest) // 2 * 2])


def unescape_json(escape: str) -> str:
    """What an escape of JSON, or several of code units in a row, stands for."""
    if escape[1] != "u":
        return JSON_SHORT[escape[1]]
    units = b"".join(bytes.fromhex(unit) for unit in escape.split("\\u")[1:])
    return units.decode("utf-16-be", "replace")
