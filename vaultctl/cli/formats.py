"""Records as JSON and CSV text, with the names of the design."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from vaultctl.domain.text import safe, safe_csv

# What a JSON string may hold raw, and a terminal would act on: DEL and C1, format and private characters, separators.
_RAW = re.compile(r"[^\n -~]")


def json_text(value: Any, *, indent: int = 0, ascii_only: bool = False) -> str:
    """``value`` as JSON that a terminal shows literally and a parser reads back exactly.

    Args:
        value: Plain data.
        indent: Spaces for each level; 0: one line.
        ascii_only: Escape all that is not ASCII.
    """
    from msgspec import json

    data = json.encode(value)
    text = (json.format(data, indent=indent) if indent else data).decode()
    if text.isascii() and "\x7f" not in text:
        return text
    return _RAW.sub(lambda match: _escaped(match[0], ascii_only), text)


def csv_lines(objects: Sequence[dict[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """RFC 4180 lines: the header ``columns``, and the objects, in which ``identity.name`` is a name within a name.

    Cells are made safe for terminals and spreadsheets, but for the secret of an answer that is meant to carry one.
    """
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")

    def line(cells: Sequence[str]) -> str:
        writer.writerow(cells)
        text = buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        return text

    yield line(list(columns))
    for item in objects:
        flat = flattened(item)
        yield line(
            [
                _cell(flat.get(column)) if column in ("value", "token") else safe_csv(_cell(flat.get(column)))
                for column in columns
            ]
        )


def csv_columns(kind: Any) -> list[str]:
    """The columns of a type of record, whether its records have a value there or not."""
    from msgspec.structs import fields

    from vaultctl.domain import records

    if kind is records.IssuedLease:
        reference = (f"credentialReference.{column}" for column in csv_columns(records.CredentialReference))
        return [*csv_columns(records.Lease), "type", "value", *reference, "attributes"]
    if kind is records.IssuedToken:
        return [*csv_columns(records.Token), "token", "reaches"]
    columns = []
    for field in fields(kind):
        inner = _struct(field.type)
        below = [f".{column}" for column in csv_columns(inner)] if inner else [""]
        columns += [field.encode_name + path for path in below]
    return columns


def flattened(value: dict[str, Any], path: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a": {"b": 1}, "a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat[path + key] = item
        if isinstance(item, dict):
            flat |= flattened(item, f"{path}{key}.")
    return flat


def _struct(kind: Any) -> Any:
    """The record type in ``kind`` or ``kind | None``, else None."""
    from types import UnionType
    from typing import Union, get_args, get_origin

    from msgspec import Struct

    for candidate in get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,):
        if isinstance(candidate, type) and issubclass(candidate, Struct):
            return candidate
    return None


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case [{"type": _}, *_]:
            return " ".join(f"{item['type']}:{item.get('name', item.get('email', ''))}" for item in value)
        case [dict(), *_]:
            return json_text(value)
        case list():
            return " ".join(_cell(item) for item in value)
        case dict():
            return json_text(value) if value else ""
    return str(value)


def _escaped(character: str, ascii_only: bool) -> str:
    if not ascii_only and safe(character) == character:
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
