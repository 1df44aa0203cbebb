"""``GET /v1/audit/stream``: the audit log as server-sent events, from any entry on, without a gap or a repetition.

A stream asks the log for what comes after the entry it has got to, in pages. That entries of one tenant are contiguous
and visible in order makes this exact, whichever node wrote them; being woken by this node's own writes only makes it
early. Each question is put with the caller's token, so that a revoked one ends the stream.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import suppress

import msgspec
from starlette.responses import StreamingResponse

from vaultctl.api.answers import GUARDS, problem_answer, too_many
from vaultctl.api.exchange import Exchange
from vaultctl.api.limits import Limits
from vaultctl.api.openapi import STREAM
from vaultctl.api.operations import Operations
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput, TooManyRequests, VaultError, VaultUnavailable
from vaultctl.domain.http_messages import decode_request
from vaultctl.domain.records import AuditEntry, Page
from vaultctl.domain.wire import to_json
from vaultctl.engine import paging
from vaultctl.engine.authentication import Bearer

_PAGE = 200
_CHUNK_BYTES = 64 * 1024
_REST = 0.05
"""Seconds between two questions, however often the log grows."""
_OUTAGE = 15.0
"""Seconds for which the vault may be unavailable before a stream gives up."""
_LAST_SEQ = 2**53


class Streams:
    """All event streams of this server."""

    def __init__(self, operations: Operations, limits: Limits) -> None:
        self._operations = operations
        self.limits = limits
        self._of_token: Counter[str] = Counter()
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self.closing = False

    @property
    def active(self) -> int:
        """How many there are."""
        return self._of_token.total()

    async def answer(self, exchange: Exchange) -> None:
        """Serve one stream to its end.

        Raises:
            VaultError: It was refused before it began.
            Problem: It was malformed, or there are too many.
        """
        exchange.template = STREAM
        bearer = self._operations.admit(exchange)
        query, after = _asked_for(exchange)
        if self.closing:
            raise VaultUnavailable("The server is about to stop.", hint="Try again, or another server.")
        stream = _Stream(self, self._operations, exchange, bearer, query)
        await stream.begin(after)
        caller = exchange.caller
        assert caller is not None  # noqa: S101  # the vault has answered it
        token = caller.token_id or ""
        if (
            self.active >= self.limits.streams
            or len(self._waiting.get(caller.tenant, ())) >= self.limits.streams_of_tenant
            or self._of_token[token] >= self.limits.streams_of_token
        ):
            raise too_many(
                "Too many event streams are open.", "Close one that is not needed.", self.limits.poll_seconds
            )
        self._of_token[token] += 1
        self._waiting.setdefault(caller.tenant, set()).add(stream.grown)
        exchange.is_stream = True
        headers = {name.decode(): value.decode() for name, value in GUARDS}
        headers |= {"x-request-id": exchange.id, "x-accel-buffering": "no"}
        response = StreamingResponse(stream.events(), headers=headers, media_type="text/event-stream")
        try:
            await response(exchange.scope, exchange.receive, exchange.send)
        finally:
            self._of_token[token] -= 1
            if not self._of_token[token]:
                del self._of_token[token]
            self._waiting[caller.tenant].discard(stream.grown)
            if not self._waiting[caller.tenant]:
                del self._waiting[caller.tenant]

    def grew(self, tenants: Collection[str]) -> None:
        """Let the streams of these tenants look for new entries now."""
        for tenant in tenants:
            for grown in self._waiting.get(tenant, ()):
                grown.set()

    def close(self) -> None:
        """Let all streams end."""
        self.closing = True
        self.grew(tuple(self._waiting))


class _Stream:
    """One stream: what it asks, and how far it has got."""

    def __init__(
        self, streams: Streams, operations: Operations, exchange: Exchange, bearer: Bearer, query: ask.QueryAudit
    ) -> None:
        self._streams = streams
        self._operations = operations
        self._exchange = exchange
        self._bearer = bearer
        self._query = query
        self._is_filtered = query != ask.QueryAudit()
        self._seen = -1
        """All entries up to this one have been sent, or don't match."""
        self._told = -1
        """What the client knows of that."""
        self._last_sent = 0.0
        self.grown = asyncio.Event()

    async def begin(self, after: int | None) -> None:
        """Establish who asks, whether they may, and from where on: behind ``after``, else behind what is there now.

        Raises:
            VaultError: They may not.
        """
        await self._operations.perform(self._exchange, self._bearer, ask.GetSelf())
        end = await self._end()
        await self._ask(end, limit=1)
        self._seen = self._told = end if after is None else after

    async def events(self) -> AsyncIterator[bytes]:
        """What goes out."""
        yield b"retry: 1000\n" + _position(self._seen)
        self._last_sent = time.monotonic()
        last_success = time.monotonic()
        while not self._streams.closing:
            self.grown.clear()
            try:
                async for chunk in self._news():
                    yield chunk
                    self._last_sent = time.monotonic()
                last_success = time.monotonic()
            except VaultError as error:
                passing = isinstance(error, VaultUnavailable | TooManyRequests)
                if not passing or time.monotonic() - last_success >= _OUTAGE:
                    yield _problem(error, self._exchange.id)
                    return
            if self._is_silent:
                yield self._heartbeat()
            await self._rest()
        yield b"retry: 2000\n\n"

    async def _news(self) -> AsyncIterator[bytes]:
        """The entries that came since, in pages."""
        end = await self._end() if self._is_filtered else self._seen
        more = True
        while more and not self._streams.closing:
            page = await self._ask(self._seen, limit=_PAGE)
            chunk = bytearray()
            for entry in page.items:
                chunk += _event(entry)
                self._seen = self._told = entry.seq
                if len(chunk) >= _CHUNK_BYTES:
                    yield bytes(chunk)
                    chunk.clear()
            if chunk:
                yield bytes(chunk)
            more = page.next_cursor is not None
            if page.next_cursor is not None:
                self._seen = max(self._seen, int(paging.decode(page.next_cursor, int)[0]))
                if self._is_silent:
                    yield self._heartbeat()
        if not more:
            self._seen = max(self._seen, end)

    async def _rest(self) -> None:
        await asyncio.sleep(_REST)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._streams.limits.poll_seconds):
                await self.grown.wait()

    @property
    def _is_silent(self) -> bool:
        return time.monotonic() - self._last_sent >= self._streams.limits.heartbeat_seconds

    def _heartbeat(self) -> bytes:
        """A sign of life, with how far the log was searched if the client does not know."""
        self._last_sent = time.monotonic()
        if self._seen == self._told:
            return b":\n\n"
        self._told = self._seen
        return _position(self._seen)

    async def _end(self) -> int:
        """The last entry that the caller can see, whatever the filters; -1 if there is none.

        Asked before the log is searched: what matches up to it is then found by the search.
        """
        caller = self._exchange.caller
        session_id = None
        if caller is not None and caller.is_agent:
            session_id = self._query.session_id or self._query.identity_session_id
        page = await self._perform(ask.QueryAudit(session_id=session_id, limit=1))
        return page.items[-1].seq if page.items else -1

    async def _ask(self, after: int, limit: int) -> Page[AuditEntry]:
        return await self._perform(msgspec.structs.replace(self._query, after_seq=after, limit=limit))

    async def _perform(self, request: ask.QueryAudit) -> Page[AuditEntry]:
        return await self._operations.perform(self._exchange, self._bearer, request)


def _asked_for(exchange: Exchange) -> tuple[ask.QueryAudit, int | None]:
    """The filters, and the entry to begin behind if one is named."""
    parameters = exchange.query()
    if any(name in ("cursor", "limit") for name, _ in parameters):
        raise InvalidInput("A stream has no pages.", hint="Leave out cursor and limit.")
    if exchange.header(b"content-length") not in (None, "0"):
        raise InvalidInput("A GET has no body.", hint="Send the fields as query parameters.")
    query = decode_request(ask.QueryAudit, {}, parameters, b"")
    assert isinstance(query, ask.QueryAudit)  # noqa: S101  # of the kind that was decoded
    last = exchange.header(b"last-event-id")
    after = query.after_seq if last is None else _whole_number(last)
    if after is not None and not -1 <= after <= _LAST_SEQ:
        raise InvalidInput("There can be no such entry to begin behind.", hint="-1 begins with the first entry.")
    return msgspec.structs.replace(query, after_seq=None), after


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,16}", text):
        raise InvalidInput("Last-Event-ID is no id of this stream.", hint="Send the last id that was seen.")
    return int(text)


def _event(entry: AuditEntry) -> bytes:
    return b"id: %d\nevent: entry\ndata: %b\n\n" % (entry.seq, to_json(entry))


def _position(seq: int) -> bytes:
    return b"id: %d\n\n" % seq


def _problem(error: VaultError, request_id: str) -> bytes:
    return b"event: problem\ndata: %b\n\n" % problem_answer(error, request_id).body
