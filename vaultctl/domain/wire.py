"""Records to JSON and back, with the names of the design."""

import re
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import (
    CredentialType,
    IssuedLease,
    IssuedToken,
    Lease,
    OpenedSession,
    Page,
    Record,
    Revocation,
    Session,
    Token,
)
from vaultctl.domain.secrets import Secret

T = TypeVar("T")


_encode = msgspec.json.Encoder(enc_hook=str).encode


class _LeasedValue(Record):
    type: CredentialType
    value: Secret
    attributes: dict[str, str]


class _TokenSecret(Record):
    token: Secret
    reaches: tuple[str, ...] = ()


def to_json_object(record: Any) -> Any:
    """``record`` as plain dicts, lists, strings and numbers.

    Secrets come out as ``****``: only the three answers that are meant to carry one reveal it, under ``value``
    or ``token``.
    """
    match record:
        case IssuedLease():
            return to_json_object(record.lease) | {
                "type": record.type.value,
                "value": record.value.reveal(),
                "attributes": record.attributes,
            }
        case IssuedToken():
            return to_json_object(record.token) | {
                "token": record.secret.reveal(),
                "reaches": list(record.reaches),
            }
        case OpenedSession():
            return to_json_object(record.session) | {"token": record.token.reveal()}
        case Page():
            items = {"items": [to_json_object(item) for item in record.items]}
            return items | ({"nextCursor": record.next_cursor} if record.next_cursor else {})
        case Revocation():
            return {"leases": record.leases, "sessions": record.sessions}
        case list() | tuple():
            return [to_json_object(item) for item in record]
    return msgspec.to_builtins(record, enc_hook=str)


def to_json(record: Any) -> bytes:
    """``record`` as JSON text; the same data as :func:`to_json_object`, made in fewer steps where there are some."""
    match record:
        case IssuedLease():
            rest = {"type": record.type, "value": record.value.reveal(), "attributes": record.attributes}
            return _encode(record.lease)[:-1] + b"," + _encode(rest)[1:]
        case IssuedToken() | OpenedSession() | Page() | Revocation() | list() | tuple():
            return _encode(to_json_object(record))
    return _encode(record)


def from_json_object(value: Any, type: type[T]) -> T:
    """Plain JSON data as a record of ``type``; the inverse of :func:`to_json_object`.

    Raises:
        InvalidInput: It does not fit; the text of the value is not quoted.
    """
    nested: Any = None
    if type is IssuedLease:
        leased = from_json_object(value, _LeasedValue)
        nested = IssuedLease(
            lease=from_json_object(value, Lease), type=leased.type, value=leased.value, attributes=leased.attributes
        )
    elif type is IssuedToken:
        issued = from_json_object(value, _TokenSecret)
        nested = IssuedToken(token=from_json_object(value, Token), secret=issued.token, reaches=issued.reaches)
    elif type is OpenedSession:
        opened = from_json_object(value, _TokenSecret)
        nested = OpenedSession(session=from_json_object(value, Session), token=opened.token)
    if nested is not None:
        return cast("T", nested)
    try:
        return msgspec.convert(value, type, dec_hook=_decode_hook)
    except (msgspec.ValidationError, RecursionError) as error:
        problem = _malformed(error)
    raise problem  # here, without an error behind it that quotes the value


def decode_json(text: bytes, type: type[T]) -> T:
    """JSON text as a record of ``type``.

    Raises:
        InvalidInput: It is no JSON, or does not fit; nothing of it is quoted.
    """
    if type in (IssuedLease, IssuedToken, OpenedSession):
        return from_json_object(decode_json(text, dict[str, Any]), type)
    try:
        return cast("T", _decoder(cast("Any", type)).decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        problem = _malformed(error)
    raise problem  # as above


@lru_cache
def _decoder(type: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type, dec_hook=_decode_hook)


def _malformed(error: Exception) -> InvalidInput:
    """What the caller is told of JSON that does not fit."""
    if isinstance(error, msgspec.ValidationError):
        return InvalidInput(f"Malformed input: {_without_quotes(str(error))}.")
    if isinstance(error, RecursionError):
        return InvalidInput("Malformed input: it is nested too deeply.")
    return InvalidInput("Malformed input: it is not JSON.")


def _decode_hook(type: type[Any], value: Any) -> Any:
    if type is Duration and isinstance(value, str):
        return Duration.parse(value)
    if type is Secret and isinstance(value, str):
        return Secret(value)
    raise msgspec.ValidationError("Expected text")


def _without_quotes(message: str) -> str:
    # msgspec quotes the offending value of an enumeration, or an unknown field; it could be a secret in the wrong
    # place. Only where it was, behind the last " - at", is ours.
    what, separator, where = message.rpartition(" - at ")
    text = what if separator else message
    return re.sub(r"[ ,]*(value )?['\"`].*", "", text, flags=re.DOTALL) + separator + (where if separator else "")
