"""One HTTP exchange: what came, and what is known of it when it is logged."""

import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from vaultctl.api.answers import Answer, Problem
from vaultctl.api.limits import Limits
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.rules import Caller

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_MOST_PARAMETERS = 200
_ID_BYTES, _IDS = 12, 512
_OF_PROXIES = (b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip")


def random_ids() -> Iterator[str]:
    """Random ids. Many are made at once: asking the system for each would let other threads go first."""
    while True:
        data = os.urandom(_ID_BYTES * _IDS).hex()
        yield from (f"req_{data[at : at + 2 * _ID_BYTES]}" for at in range(0, len(data), 2 * _ID_BYTES))


class Gone(Exception):
    """The client went away before its request was there."""


class Exchange:
    """A request, the way to answer it, and what is learnt of it meanwhile.

    Attributes:
        id: A random id of ours, under which the answer and the log have it.
        method: The HTTP method.
        template: The path as the OpenAPI document writes it; empty if there is no such path.
        source: Where it came from: an IPv4 address, or an IPv6 network of 64 bits.
        caller: Who the vault took the caller for, once it is known.
        status: The status that went out; 0 before.
        is_stream: Whether the answer has no end of its own.
    """

    def __init__(self, id: str, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self._started = time.monotonic()
        self.id = id
        self.method: str = scope["method"]
        self.template = ""
        self.caller: Caller | None = None
        self.status = 0
        self.is_stream = False
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._headers = dict(headers)
        self._repeated = (
            frozenset(name for name, times in Counter(name for name, _ in headers).items() if times > 1)
            if len(self._headers) < len(headers)
            else frozenset()
        )

    @property
    def seconds(self) -> float:
        """How long it has taken until now."""
        return time.monotonic() - self._started

    @property
    def source(self) -> str:
        """Where it came from."""
        client = self.scope.get("client")
        return source_of(client[0]) if client else "unknown"

    @property
    def is_local(self) -> bool:
        """Whether it came from this machine, and not through a proxy that says so."""
        client = self.scope.get("client")
        if not client or any(name in self._headers for name in _OF_PROXIES):
            return False
        return ip_address(client[0]).is_loopback

    def segments(self) -> tuple[str, ...] | None:
        """The segments of the path, each decoded by itself; None if they are not text."""
        raw: bytes = self.scope["raw_path"]
        try:
            if b"%" not in raw:
                return tuple(raw.decode("ascii").split("/")[1:])
            return tuple(unquote_to_bytes(part).decode("utf-8") for part in raw.split(b"/")[1:])
        except UnicodeDecodeError:
            return None

    def header(self, name: bytes) -> str | None:
        """The header ``name``, which is there at most once.

        Raises:
            InvalidInput: It is there several times.
        """
        if name in self._repeated:
            raise InvalidInput(f"The header {name.decode().title()} is there twice.", hint="Send it once.")
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def query(self) -> list[tuple[str, str]]:
        """The query parameters in order.

        Raises:
            InvalidInput: They are malformed, or far too many.
        """
        raw: bytes = self.scope["query_string"]
        if not raw:
            return []
        try:
            return parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS
            )
        except ValueError:
            pass  # raised below, without an error behind it that quotes the query
        raise InvalidInput("The query parameters are malformed.", hint="Percent-encode them as UTF-8.")

    async def json_body(self, limits: Limits) -> bytes:
        """The body, which is JSON or empty.

        Raises:
            Problem: It is too large, or something else than JSON.
            Gone: The client did not send it whole.
        """
        length = self.header(b"content-length")
        if length is None and b"transfer-encoding" not in self._headers:
            return b""
        if length is not None and int(length) > limits.body_bytes:
            raise _too_large(limits)
        body = await self._body(limits)
        if body and not self._is_json():
            raise Problem(
                InvalidInput("The body is not application/json.", hint="Send JSON with that Content-Type."),
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            )
        return body

    async def _body(self, limits: Limits) -> bytes:
        body = b""
        while True:
            message = await self.receive()
            if message["type"] != "http.request":
                raise Gone
            part: bytes = message["body"]
            body = body + part if body else part
            if len(body) > limits.body_bytes:
                raise _too_large(limits)
            if not message["more_body"]:
                return body

    async def answer(self, answer: Answer) -> None:
        """Send a complete answer."""
        self.status = answer.status
        start = {"type": "http.response.start", "status": answer.status, "headers": answer.raw_headers(self.id)}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": answer.body})

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Send one ASGI message, for answers that are not complete at once."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    def _is_json(self) -> bool:
        media_type, _, parameters = (self.header(b"content-type") or "").partition(";")
        if media_type == "application/json" and not parameters and b"content-encoding" not in self._headers:
            return True
        charset = parameters.strip().lower().replace('"', "")
        return (
            media_type.strip().lower() == "application/json"
            and charset in ("", "charset=utf-8")
            and (self.header(b"content-encoding") or "identity").lower() == "identity"
        )


@lru_cache(4096)
def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, or the 64 bits of an IPv6 address that a site has."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"


def _too_large(limits: Limits) -> Problem:
    return Problem(
        InvalidInput(f"The body is larger than {limits.body_bytes} bytes.", hint="Send less at a time."),
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )
