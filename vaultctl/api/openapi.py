"""The OpenAPI document, made from the table of routes and the types of requests and answers."""

import inspect
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, get_args

import msgspec

from vaultctl import __version__
from vaultctl.domain import records
from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.problems import MEDIA_TYPE
from vaultctl.domain.records import Record, json_name
from vaultctl.domain.requests import MAX_PAGE_SIZE
from vaultctl.domain.routes import PREFIX, ROUTES, Route
from vaultctl.domain.secrets import Secret

Schema = dict[str, Any]

STREAM = f"/{PREFIX}/audit/stream"
HEALTH = {
    f"/{PREFIX}/health": "Whether the server lives and is ready.",
    f"/{PREFIX}/health/live": "Whether the server lives. It answers, so it does.",
    f"/{PREFIX}/health/ready": "Whether the server can read its database and is not about to stop.",
}

_FLATTENED: dict[type[Record], type[Record]] = {
    records.IssuedLease: records.Lease,
    records.RedeemedLease: records.Lease,
    records.IssuedToken: records.Token,
    records.OpenedSession: records.Session,
}
"""Answers whose fields stand beside those of the record within."""

_RECORDS = {
    name: kind
    for module in (records, ask)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, Record)
}
_RENAMED: dict[type[Record], dict[str, str]] = {records.IssuedToken: {"secret": "token"}}
_COMMON = (401, 403, 404, 422, 429, 500, 503)
_OF_CHANGES = (409,)
_OF_BODIES = (408, 413, 415)
_DURATION = {
    "type": "string",
    "pattern": r"^(?:\d{1,6}d)?(?:\d{1,6}h)?(?:\d{1,6}m)?(?:\d{1,8}s)?$",
    "minLength": 2,
    "description": "Units in descending order, each at most once.",
    "examples": ["15m", "1h30m", "30d"],
}
_SEQ = {"type": "integer", "minimum": -1, "maximum": 2**53}


def document() -> Schema:
    """The whole document."""
    answers = [route.answer for route in ROUTES.values() if route.answer is not bytes]
    _, schemas = msgspec.json.schema_components(
        [*ROUTES, *answers], schema_hook=_custom, ref_template="#/components/schemas/{name}"
    )
    for name, schema in schemas.items():
        schema["description"] = _in_words_of_json(schema.get("description", ""))
        if name in _RECORDS:
            _say_what_is_a_time(schema, _RECORDS[name])
    for kind, inner in _FLATTENED.items():
        schemas[kind.__name__] = _flattened(schemas, kind, inner)
    paths: dict[str, Schema] = {}
    for request, route in ROUTES.items():
        operation = _operation(request, route, schemas[request.__name__])
        paths.setdefault(route.template, {})[route.method.lower()] = operation
    paths[STREAM] = {"get": _stream(paths[f"/{PREFIX}/audit"]["get"])}
    paths |= {path: {"get": _health(path, text)} for path, text in HEALTH.items()}
    paths["/metrics"] = {"get": _metrics()}
    paths["/openapi.json"] = {"get": _itself()}
    for request in ROUTES:
        del schemas[request.__name__]
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "vaultctl",
            "version": __version__,
            "description": (
                "A vault for AI agents. Every answer that is not a success is an RFC 9457 problem with `code` and "
                "`hint`. A path answers 405 to methods that it does not know. To an agent, what it may not lease does "
                "not exist. Lists come in pages: `nextCursor` of one is `cursor` of the next."
            ),
        },
        "paths": paths,
        "security": [{"bearer": []}],
        "components": {
            "schemas": schemas | {"Problem": _problem_schema(), "Health": _health_schema()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token: `vault_token_...`."}
            },
        },
    }
    return _with_page_names(whole)


def _custom(type: Any) -> Schema:
    if type is Duration:
        return dict(_DURATION)
    if type is Secret:
        return {"type": "string"}
    raise NotImplementedError


def _say_what_is_a_time(schema: Schema, kind: type[Record]) -> None:
    for field in msgspec.structs.fields(kind):
        if datetime in (field.type, *get_args(field.type)):
            shown = schema["properties"][field.encode_name]
            for variant in shown.get("anyOf", [shown]):
                if variant.get("type") == "string":
                    variant["format"] = "date-time"


def _in_words_of_json(docstring: str) -> str:
    text = re.sub(r"``([a-z_]+)``", lambda match: f"`{json_name(match[1])}`", inspect.cleandoc(docstring))
    return re.sub(r"\bNone\b", "null", text.replace("``", "`"))


def _flattened(schemas: Mapping[str, Schema], kind: type[Record], inner: type[Record]) -> Schema:
    outer, within = schemas[kind.__name__], schemas[inner.__name__]
    names = _RENAMED.get(kind, {})
    nested = {json_name(field.name) for field in msgspec.structs.fields(kind) if field.type is inner}
    own = {names.get(name, name): part for name, part in outer["properties"].items() if name not in nested}
    return {
        "title": kind.__name__,
        "description": outer["description"],
        "type": "object",
        "properties": within["properties"] | own,
        "required": [*within["required"], *(names.get(name, name) for name in outer["required"] if name not in nested)],
    }


def _operation(request: type[ask.Request[Any]], route: Route, schema: Schema) -> Schema:
    properties: dict[str, Schema] = schema["properties"]
    required = set(schema["required"])
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": properties[name]} for name in route.path_fields
    ]
    others = {name: part for name, part in properties.items() if name not in route.path_fields}
    statuses = set(_COMMON)
    operation: Schema = {
        "operationId": request.__name__[0].lower() + request.__name__[1:],
        "summary": schema["description"].split("\n\n")[0],
        "description": schema["description"],
        "tags": [route.segments[0]],
    }
    if route.method == "GET":
        parameters += [_query_parameter(route.query.get(name, name), part) for name, part in others.items()]
    else:
        statuses |= set(_OF_CHANGES)
        if route.method != "DELETE":
            statuses |= set(_OF_BODIES)
            operation["requestBody"] = _body(others, required)
    parameters.append(_header("X-Vault-Tenant", "The tenant that the token is expected to be of."))
    if route.method == "POST":
        parameters.append(
            _header(
                "Idempotency-Key",
                "Makes a repeated request have its effect once. The same key with another body is refused.",
                {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
            )
        )
    answer = f"#/components/schemas/{_name_of(route.answer)}"
    content: Schema = {route.media_type: {"schema": {} if route.answer is bytes else {"$ref": answer}}}
    if route.text is not None:
        content["text/plain; charset=utf-8"] = {"schema": {"type": "string"}}
    success = {"description": HTTPStatus(route.status).phrase, "content": content}
    return operation | {"parameters": parameters, "responses": {str(route.status): success} | _problems(statuses)}


def _name_of(answer: Any) -> str:
    arguments = get_args(answer)
    return f"Page_{arguments[0].__name__}_" if arguments else str(answer.__name__)


def _query_parameter(name: str, schema: Schema) -> Schema:
    variants = [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]
    shown = dict(variants[0]) if variants else {key: value for key, value in schema.items() if value != []}
    if name == "limit":
        shown |= {"minimum": 1, "maximum": MAX_PAGE_SIZE}
    elif name == "afterSeq":
        shown |= _SEQ
    return {"name": name, "in": "query", "required": False, "schema": shown}


def _header(name: str, description: str, schema: Schema | None = None) -> Schema:
    shown = schema or {"type": "string"}
    return {"name": name, "in": "header", "required": False, "description": description, "schema": shown}


def _body(properties: Mapping[str, Schema], required: set[str]) -> Schema:
    needed = [name for name in properties if name in required]
    schema = {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}
    return {"required": bool(needed), "content": {"application/json": {"schema": schema}}}


def _problems(statuses: Iterable[int]) -> Schema:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        str(status): {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted(statuses)
    }


def _stream(query: Schema) -> Schema:
    left_out = ("cursor", "limit", "afterSeq")
    after = {"name": "afterSeq", "in": "query", "required": False, "schema": dict(_SEQ)}
    after["description"] = "Begin after this entry; -1: with the first one. Left out: with what happens from now on."
    last = _header("Last-Event-ID", "The last `id` that was seen. It outweighs `afterSeq`.", dict(_SEQ))
    return {
        "operationId": "streamAudit",
        "summary": "Entries of the audit log as they are written.",
        "description": (
            "Server-sent events. An event `entry` has the entry's `seq` as its `id` and the entry as its data. An `id` "
            "without data says how far the log was searched. An event `problem` ends the stream; its data is the "
            "problem."
        ),
        "tags": ["audit"],
        "parameters": [*(part for part in query["parameters"] if part["name"] not in left_out), after, last],
        "responses": {
            "200": {"description": "OK", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **_problems(_COMMON),
        },
    }


def _health(path: str, text: str) -> Schema:
    ok = {"description": "OK", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Health"}}}}
    return {
        "operationId": "health" + path.removeprefix(f"/{PREFIX}/health").replace("/", "").title(),
        "summary": text,
        "tags": ["health"],
        "security": [],
        "responses": {"200": ok, "503": ok | {"description": "Not ready"}} if "live" not in path else {"200": ok},
    }


def _metrics() -> Schema:
    return {
        "operationId": "metrics",
        "summary": "Counters for Prometheus.",
        "description": "Open to this machine alone; from elsewhere it needs an operator's or an admin's token.",
        "tags": ["health"],
        "security": [{}, {"bearer": []}],
        "responses": {
            "200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}},
            **_problems((401, 403, 422, 429, 500, 503)),
        },
    }


def _itself() -> Schema:
    schema = {"type": "object"}
    return {
        "operationId": "openapi",
        "summary": "This document.",
        "tags": ["health"],
        "security": [],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}},
    }


def _problem_schema() -> Schema:
    text = {"type": "string"}
    return {
        "title": "Problem",
        "description": "What went wrong (RFC 9457), and what to do next.",
        "type": "object",
        "properties": {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "code": text | {"description": "A stable name of the kind of error."},
            "hint": text,
            "requestId": text,
        },
        "required": ["type", "title", "status", "detail", "code"],
    }


def _health_schema() -> Schema:
    return {
        "title": "Health",
        "type": "object",
        "properties": {"live": {"type": "boolean"}, "ready": {"type": "boolean"}, "version": {"type": "string"}},
    }


def _with_page_names(whole: Schema) -> Schema:
    """The document with ``LeasePage`` for ``Page_Lease_`` and ``Page[Lease]``, which are names only msgspec likes."""
    text = re.sub(rb'([/"])Page[_[](\w+?)[]_]"', rb'\1\2Page"', msgspec.json.encode(whole))
    renamed: Schema = msgspec.json.decode(text)
    return renamed
