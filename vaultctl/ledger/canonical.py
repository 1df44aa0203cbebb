"""Canonical JSON (RFC 8785, without floats): the one form in which an audit entry is stored and hashed."""

import json
from typing import Any

import msgspec

from vaultctl.domain.errors import InternalError

_SAFE_INTEGER = 2**53 - 1  # RFC 8785 §3.2.2.3 through I-JSON (RFC 7493 §2.2)
_SORTED = msgspec.json.Encoder(order="sorted")


def canonical_json(value: Any) -> bytes:
    """The canonical bytes of ``value``, made of dict, list, str, bool, None and safe integers.

    Raises:
        InternalError: It holds something else, or a lone surrogate.
    """
    try:
        if _check(value):
            return _SORTED.encode(value)
        return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InternalError("An audit entry holds a lone surrogate.") from error


def _check(value: Any) -> bool:
    """Whether the names of all members are ASCII, in which case their order is that of their bytes.

    Raises:
        InternalError: ``value`` holds what has no canonical form.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int and abs(value) <= _SAFE_INTEGER:
        return True
    is_ascii = True
    if kind is dict:
        try:
            is_ascii = "".join(value).isascii()
        except TypeError:
            raise InternalError("A key of an audit entry is not text.") from None
        for item in value.values():
            if type(item) is not str and not _check(item):
                is_ascii = False
        return is_ascii
    if kind is list or kind is tuple:
        for item in value:
            is_ascii &= _check(item)
        return is_ascii
    raise InternalError(f"A {kind.__name__} has no canonical form.")


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        # RFC 8785 §3.2.3: members are sorted by their UTF-16 code units.
        keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
        return {key: _ordered(value[key]) for key in keys}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    return value
