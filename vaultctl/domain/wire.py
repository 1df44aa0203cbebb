"""Records to JSON and back, with the names of the design."""

import re
from typing import Any, TypeVar

import msgspec

from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import IssuedLease, IssuedToken, OpenedSession, Page, Revocation

T = TypeVar("T")


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


def from_json_object(value: Any, type: type[T]) -> T:
    """Plain JSON data as a record of ``type``.

    Raises:
        InvalidInput: It does not fit; the text of the value is not quoted.
    """
    try:
        return msgspec.convert(value, type, dec_hook=_decode)
    except msgspec.ValidationError as error:
        reason = _without_quotes(str(error))
    raise InvalidInput(f"Malformed input: {reason}.")  # here, without an error behind it that quotes the value


def _decode(type: type[Any], value: Any) -> Any:
    if type is Duration and isinstance(value, str):
        return Duration.parse(value)
    raise NotImplementedError


def _without_quotes(message: str) -> str:
    # msgspec quotes the offending value of an enumeration, or an unknown field; it could be a secret in the wrong
    # place. Only where it was, behind the last " - at", is ours.
    what, separator, where = message.rpartition(" - at ")
    text = what if separator else message
    return re.sub(r"[ ,]*(value )?['\"`].*", "", text, flags=re.DOTALL) + separator + (where if separator else "")
