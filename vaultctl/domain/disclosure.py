"""Does a text disclose a secret? Raw, or in an encoding that a model or a tool would use without malice."""

import base64
import json
from collections.abc import Iterable
from urllib.parse import quote

_ENCODED_FROM = 6
"""Secrets shorter than this are looked for raw only: their encodings are too short to mean anything."""


def encoded_forms(secret: str) -> frozenset[str]:
    """``secret`` itself, and as base64 in all alignments, base64url, hex, URL-encoded and JSON-escaped text."""
    forms = {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1]}
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
    """Whether ``text`` holds one of ``secrets`` in any of its forms."""
    return any(form in text for secret in secrets for form in encoded_forms(secret))
