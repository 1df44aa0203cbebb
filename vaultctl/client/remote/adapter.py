"""The remote adapter for code that may block. Safe among threads."""

import os
import random
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar, cast

from vaultctl.client.adapters import OnState
from vaultctl.client.remote import transport
from vaultctl.client.remote.exchange import LARGEST_ANSWER, Answer, Exchange, Lost, Message, origin, seconds_allowed
from vaultctl.client.remote.feed import READ_TIMEOUT, Broken, Feed
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultError, VaultUnavailable
from vaultctl.domain.records import AuditEntry, LogVerification
from vaultctl.domain.secrets import Secret

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class RemoteAdapter:
    """Performs requests at a server as whoever has a token."""

    def __init__(
        self,
        base_url: str,
        token: Secret,
        tenant: str | None = None,
        *,
        ca_file: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Make ready; nothing is sent yet.

        Args:
            base_url: The server.
            token: Who asks.
            tenant: Must be the token's, if given.
            ca_file: The certificates of the authority that the server's is from; else ``VAULT_CACERT``, else those
                that this machine trusts.
            timeout: Seconds that an operation may take, retries included; 45 if None.

        Raises:
            InvalidInput: The base URL, the tenant or the timeout is malformed.
            NotAuthenticated: The token is.
        """
        self._origin = origin(base_url, token, tenant)
        self._ca_file = ca_file
        self._timeout = seconds_allowed(timeout)
        self._process = os.getpid()
        self._lock = threading.RLock()  # a signal handler may close what it interrupts
        self._closed = threading.Event()
        self._made: httpx.HTTPTransport | None = None
        self._sources: set[socket.socket] = set()

    def perform(self, request: ask.Request[T]) -> T:
        """The answer to ``request``."""
        if isinstance(request, ask.VerifyLog):
            return cast("T", self._verify(request))
        exchange = Exchange(self._origin, request, random=os.urandom)
        deadline = time.monotonic() + self._timeout
        while True:
            result = self._send(exchange.message, deadline)
            left = deadline - time.monotonic()
            pause = exchange.judge(result, seconds_left=left, chance=random.random)
            if pause is None:
                return exchange.answer()
            self._closed.wait(pause)

    def _verify(self, request: ask.VerifyLog) -> LogVerification:
        from vaultctl.client.remote.log_verification import verification

        steps = verification(request)
        wanted = next(steps)
        while True:
            try:
                wanted = steps.send(self.perform(wanted))
            except StopIteration as end:
                found: LogVerification = end.value
                return found

    def follow(
        self,
        request: ask.QueryAudit,
        *,
        poll_seconds: float,  # noqa: ARG002  # the server tells by itself
        on_state: OnState,
    ) -> Iterator[AuditEntry]:
        """The entries that match, and each that comes, until the adapter is closed."""
        feed = Feed(self._origin, request, on_state)
        try:
            while not self._closed.is_set():
                result = yield from self._read(feed)
                if not self._closed.is_set():
                    self._closed.wait(feed.broken(result, random.random))
        except VaultError:
            if not self._closed.is_set():
                raise

    def close(self) -> None:
        """Close all connections; what is followed ends."""
        self._closed.set()
        with self._lock:
            for source in self._sources:
                with suppress(OSError):  # not the method of a TLS socket, which is not safe among threads
                    socket.socket.shutdown(source, socket.SHUT_RDWR)
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _send(self, message: Message, deadline: float) -> Answer | Lost:
        connections = self._transport()
        httpx = transport.load_httpx()
        try:
            request = transport.http_request(message, max(deadline - time.monotonic(), 0.001))
            response = connections.handle_request(request)
            try:
                return _whole(response, deadline)
            finally:
                response.close()
        except httpx.TransportError as error:
            lost = transport.lost_by(error)
        self._require_open()  # else it is why the connection broke
        return lost

    def _read(self, feed: Feed) -> Generator[AuditEntry, None, Answer | Lost]:
        """What one connection brings; returns how it ended."""
        connections = self._transport()
        httpx = transport.load_httpx()
        try:
            request = transport.http_request(feed.message(), READ_TIMEOUT, READ_TIMEOUT)
            response = connections.handle_request(request)
            try:
                if not feed.accepts(transport.answer_of(response)):
                    return _whole(response, time.monotonic() + READ_TIMEOUT)
                feed.connected()
                with self._interruptible(response):
                    for chunk in response.iter_raw():
                        yield from feed.receive(chunk)
            finally:
                response.close()
        except httpx.TransportError as error:
            return transport.lost_by(error)
        except Broken:
            pass
        return transport.ENDED

    @contextmanager
    def _interruptible(self, response: "httpx.Response") -> Iterator[None]:
        """While this lasts, :meth:`close` ends the response."""
        source = transport.socket_of(response)
        with self._lock:
            self._require_open()  # else `close` has been here already
            self._sources.add(source)
        try:
            yield
        finally:
            with self._lock:
                self._sources.discard(source)

    def _transport(self) -> "httpx.HTTPTransport":
        self._require_open()
        with self._lock:
            if self._made is None:
                settings = transport.transport_settings(self._origin.base_url, self._ca_file)
                self._made = transport.load_httpx().HTTPTransport(**settings)
            return self._made

    def _require_open(self) -> None:
        if self._closed.is_set():
            raise transport.closed()
        if os.getpid() != self._process:
            # Two processes would write into the same connections.
            raise VaultUnavailable("This vault was connected in another process.", hint="Connect again in this one.")


def _whole(response: "httpx.Response", deadline: float) -> Answer | Lost:
    """All of a response, if it is not too much and comes in time."""
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            return transport.TOO_LARGE
        if time.monotonic() > deadline:
            return transport.TIMED_OUT
    return transport.answer_of(response, bytes(body))
