"""Does a text disclose a secret? Raw, or in an encoding that a model or a tool would use without malice."""

import base64
import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote, unquote_plus

_ENCODED_FROM = 6
"""Secrets shorter than this are looked for raw only: their encodings are too short to mean anything."""

_JSON_ESCAPE = re.compile(r'(?:\\u[0-9a-fA-F]{4})+|\\["\\/bfnrt]')
_JSON_SHORT = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def encoded_forms(secret: str) -> frozenset[str]:
    """``secret`` itself, and as base64 in all alignments, base64url and hex."""
    forms = {secret}
    data = secret.encode()
    if len(data) >= _ENCODED_FROM:
        forms |= {data.hex(), data.hex().upper()}
        for offset in range(3):
            # Characters at either end that also carry bits of a neighbour are left out.
            encoded = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")
            whole = encoded[(0, 2, 3)[offset] : (len(data) + offset) * 8 // 6]
            forms |= {whole, whole.replace("+", "-").replace("/", "_")}
    return frozenset(forms)


def discloses(text: str, secrets: Iterable[str]) -> bool:
    """Whether ``text`` holds one of ``secrets``, in one of its forms, perhaps URL-encoded or escaped as in JSON."""
    readings = tuple(dict.fromkeys(_readings(text)))
    return any(form in reading for secret in secrets for form in encoded_forms(secret) for reading in readings)


def _readings(text: str) -> Iterator[str]:
    """What ``text`` says, and what it says once decoded: there are many ways to encode, and one to decode."""
    yield text
    if "%" in text or "+" in text:
        yield unquote(text)
        yield unquote_plus(text)
    if "\\" in text:
        yield _JSON_ESCAPE.sub(_unescape, text)


def _unescape(match: re.Match[str]) -> str:
    escape = match[0]
    if escape[1] != "u":
        return _JSON_SHORT[escape[1]]
    units = b"".join(bytes.fromhex(unit) for unit in escape.split("\\u")[1:])
    return units.decode("utf-16-be", "replace")
