"""Records to JSON and back, with the names of the design."""

import re
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import (
    CredentialReference,
    CredentialType,
    IssuedLease,
    IssuedToken,
    Lease,
    OpenedSession,
    Page,
    Record,
    RedeemedLease,
    Revocation,
    Session,
    Token,
)
from vaultctl.domain.secrets import Secret

T = TypeVar("T")


_encode = msgspec.json.Encoder(enc_hook=str).encode


class _Leased(Record):
    type: CredentialType
    attributes: dict[str, str]
    value: Secret | None = None
    credential_reference: CredentialReference | None = None


class _Redeemed(Record):
    type: CredentialType
    attributes: dict[str, str]
    value: Secret


class _TokenSecret(Record):
    token: Secret
    reaches: tuple[str, ...] = ()


class _SessionSecrets(Record):
    token: Secret
    redeem_token: Secret


def to_json_object(record: Any) -> Any:
    """``record`` as plain dicts, lists, strings and numbers.

    Secrets come out as ``****``: only the three answers that are meant to carry one reveal it, under ``value``
    or ``token``.
    """
    match record:
        case IssuedLease() | RedeemedLease():
            return to_json_object(record.lease) | msgspec.to_builtins(_leased(record))
        case IssuedToken():
            return to_json_object(record.token) | {
                "token": record.secret.reveal(),
                "reaches": list(record.reaches),
            }
        case OpenedSession():
            return to_json_object(record.session) | {
                "token": record.token.reveal(),
                "redeemToken": record.redeem_token.reveal(),
            }
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
        case IssuedLease() | RedeemedLease():
            return _encode(record.lease)[:-1] + b"," + _encode(_leased(record))[1:]
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
        leased = from_json_object(value, _Leased)
        nested = IssuedLease(
            lease=from_json_object(value, Lease),
            type=leased.type,
            attributes=leased.attributes,
            value=leased.value,
            credential_reference=leased.credential_reference,
        )
    elif type is RedeemedLease:
        redeemed = from_json_object(value, _Redeemed)
        nested = RedeemedLease(
            lease=from_json_object(value, Lease),
            type=redeemed.type,
            value=redeemed.value,
            attributes=redeemed.attributes,
        )
    elif type is IssuedToken:
        issued = from_json_object(value, _TokenSecret)
        nested = IssuedToken(token=from_json_object(value, Token), secret=issued.token, reaches=issued.reaches)
    elif type is OpenedSession:
        opened = from_json_object(value, _SessionSecrets)
        nested = OpenedSession(
            session=from_json_object(value, Session), token=opened.token, redeem_token=opened.redeem_token
        )
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
    if type in (IssuedLease, RedeemedLease, IssuedToken, OpenedSession):
        return from_json_object(decode_json(text, dict[str, Any]), type)
    try:
        return cast("T", _decoder(cast("Any", type)).decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        problem = _malformed(error)
    raise problem  # as above


def _leased(record: IssuedLease | RedeemedLease) -> dict[str, Any]:
    """What stands beside the lease's own fields."""
    found: dict[str, Any] = {"type": record.type}
    if record.value is not None:
        found["value"] = record.value.reveal()
    if isinstance(record, IssuedLease) and record.credential_reference is not None:
        found["credentialReference"] = record.credential_reference
    return found | {"attributes": record.attributes}


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
