"""Canonical JSON (RFC 8785, without floats): the one form in which an audit entry is stored and hashed."""

import json
from typing import Any

from vaultctl.domain.errors import InternalError

_SAFE_INTEGER = 2**53 - 1  # RFC 8785 §3.2.2.3 through I-JSON (RFC 7493 §2.2)


def canonical_json(value: Any) -> bytes:
    """The canonical bytes of ``value``, made of dict, list, str, bool, None and safe integers.

    Raises:
        InternalError: It holds something else, or a lone surrogate.
    """
    try:
        return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InternalError("An audit entry holds a lone surrogate.") from error


def _ordered(value: Any) -> Any:
    match value:
        case dict():
            # RFC 8785 §3.2.3: members are sorted by their UTF-16 code units.
            if not all(isinstance(key, str) for key in value):
                raise InternalError("A key of an audit entry is not text.")
            keys = sorted(value, key=lambda k: k.encode("utf-16-be", "surrogatepass"))
            return {key: _ordered(value[key]) for key in keys}
        case list() | tuple():
            return [_ordered(item) for item in value]
        case bool() | str() | None:
            return value
        case int() if abs(value) <= _SAFE_INTEGER:
            return value
    raise InternalError(f"A {type(value).__name__} has no canonical form.")
