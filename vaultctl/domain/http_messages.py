"""Requests and answers as the parts of an HTTP exchange, and back. No connection is known here."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar, cast, get_args
from urllib.parse import quote

import msgspec

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput, NotFound
from vaultctl.domain.records import json_name
from vaultctl.domain.routes import PREFIX, REST, ROUTES
from vaultctl.domain.secrets import Secret
from vaultctl.domain.wire import decode_json, from_json_object

T = TypeVar("T")

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}", re.ASCII)

RESERVED = {ask.GetToken: "self"}
"""Ids that a path would take for something else. No thing has them."""


class HTTPRequest(NamedTuple):
    """A request as it travels. Its ``body`` may hold a secret, so it is not shown.

    Attributes:
        method: The HTTP method.
        path: The path with its prefix, percent-encoded.
        query: Query parameters in order.
        body: The JSON body; None for a GET or a DELETE.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: bytes | None

    def __repr__(self) -> str:
        return f"HTTPRequest({self.method} {self.path})"


def encode_request(request: ask.Request[Any]) -> HTTPRequest:
    """How ``request`` travels.

    Raises:
        NotFound: It names a thing that can't exist and whose path would mean something else.
        InvalidInput: It holds text that is not Unicode.
    """
    kind = type(request)
    route = ROUTES[kind]
    fields: dict[str, Any] = msgspec.to_builtins(request, enc_hook=_reveal)
    if kind in RESERVED and fields.get("id") == RESERVED[kind]:
        raise NotFound("There is no such token.", hint="List them: vaultctl token list")
    try:
        values = {field: _segments(field, fields.pop(field)) for field in route.path_fields}
        path = "/".join(["", PREFIX, *(values.get(segment[1:-1], segment) for segment in route.segments)])
        if route.method == "GET":
            query = tuple(
                (route.query.get(field, field), str(item))
                for field, value in fields.items()
                for item in (value if isinstance(value, list | tuple) else (value,))
            )
            for _, text in query:
                text.encode()
            return HTTPRequest(route.method, path, query, None)
        body = None if route.method == "DELETE" else msgspec.json.encode(fields)
        return HTTPRequest(route.method, path, (), body)
    except UnicodeEncodeError:
        pass
    raise InvalidInput("The request holds text that is not Unicode.", hint="Write it anew.")


def decode_request(
    kind: type[ask.Request[T]], path: Mapping[str, str], query: Iterable[tuple[str, str]], body: bytes
) -> ask.Request[T]:
    """The request that came by path, query and body.

    Raises:
        InvalidInput: It does not fit ``kind``; nothing of what came is quoted.
    """
    route = ROUTES[kind]
    if route.method == "GET":
        if body:
            raise InvalidInput("A GET has no body.", hint="Send the fields as query parameters.")
        return from_json_object(_query_fields(kind, query) | dict(path), kind)
    if any(True for _ in query):
        raise InvalidInput(f"A {route.method} has no query parameters.", hint="Send the fields as a JSON object.")
    if not path and body:
        return decode_json(body, kind)
    if route.method == "DELETE" and body:
        raise InvalidInput("A DELETE has no body.", hint="The path says it all.")
    fields: dict[str, Any] = decode_json(body, dict[str, Any]) if body else {}
    if not fields.keys().isdisjoint(path):
        raise InvalidInput("A field of the path stands in the body too.", hint="Leave it out of the body.")
    return from_json_object(fields | dict(path), kind)


def media_type(request: ask.Request[Any]) -> str:
    """The type of the body of a successful answer to ``request``."""
    return ROUTES[type(request)].media_type


def decode_answer(request: ask.Request[T], body: bytes) -> T:
    """The answer to ``request`` from the body that came back.

    Raises:
        InvalidInput: It is not such an answer.
    """
    route = ROUTES[type(request)]
    return cast("T", body if route.answer is bytes else decode_json(body, route.answer))


def _query_fields(kind: type[ask.Request[Any]], query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    named, several, numeric = _query_names(kind)
    fields: dict[str, Any] = {}
    for name, value in query:
        field = named.get(name)
        if field is None:
            raise InvalidInput("There is no such query parameter here.", hint=f"Known: {', '.join(named) or 'none'}.")
        if field in several:
            fields.setdefault(field, []).append(value)
        elif field in fields:
            raise InvalidInput(f"The query parameter {name} is there twice.", hint="Name it once.")
        elif field in numeric:
            if not _WHOLE_NUMBER.fullmatch(value):
                raise InvalidInput(f"The query parameter {name} is not a whole number.")
            fields[field] = int(value)
        else:
            fields[field] = value
    return fields


@lru_cache
def _query_names(kind: type[ask.Request[Any]]) -> tuple[dict[str, str], frozenset[str], frozenset[str]]:
    """The JSON names of fields by their query names, those that can be there several times, and whole numbers."""
    route = ROUTES[kind]
    names = {json_name(field.name): field.type for field in msgspec.structs.fields(kind)}
    named = {route.query.get(name, name): name for name in names if name not in route.path_fields}
    several = frozenset(name for name, type in names.items() if get_args(type)[-1:] == (Ellipsis,))
    return named, several, frozenset(name for name, type in names.items() if int in (type, *get_args(type)))


def _segments(field: str, text: str) -> str:
    return "/".join(map(_segment, text.split("/"))) if field == REST else _segment(text)


def _segment(text: str) -> str:
    # Dots alone would be taken for steps within the path by whoever normalises it.
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def _reveal(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else str(value)
