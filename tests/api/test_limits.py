"""Clients that are slow, greedy or hostile, on raw sockets."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import NamedTuple

import pytest

from tests.api.conftest import CREDENTIAL, VALUE, Site
from tests.api.harness import RunningServer
from vaultctl.api.limits import USUAL

BRIEF = USUAL._replace(head_seconds=0.3, body_seconds=0.3, idle_seconds=1, write_seconds=0.3)
"""Limits that a test can wait for."""

PATIENCE = 10.0
"""Seconds after which something did not happen."""


class Reply(NamedTuple):
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """A connection on which a test can say anything."""

    def __init__(self, server: RunningServer, source: str = "") -> None:
        host, _, port = server.url.removeprefix("http://").rpartition(":")
        self.socket = socket.create_connection((host, int(port)), PATIENCE, (source, 0))
        self._file = self.socket.makefile("rb")

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self) -> Reply:
        """The next answer."""
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return Reply(status, headers, self._file.read(int(headers["content-length"])))

    def problem(self) -> Reply:
        """The next answer, which is a problem."""
        reply = self.reply()
        assert reply.headers["content-type"] == "application/problem+json"
        assert json.loads(reply.body)["status"] == reply.status
        assert json.loads(reply.body)["code"]
        return reply

    def is_closed(self) -> bool:
        """Whether the server closes it, without another word, in time."""
        try:
            return self._file.read() == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def connect() -> Iterator[Callable[..., Wire]]:
    with ExitStack() as stack:

        def open_wire(server: RunningServer, source: str = "") -> Wire:
            wire = Wire(server, source)
            stack.callback(wire.close)
            return wire

        yield open_wire


Connect = Callable[..., Wire]

LIVE = b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def lease(
    token: str, body: bytes = b'{"credentialName": "%b"}' % CREDENTIAL.encode(), length: int | None = None
) -> bytes:
    """A request for a lease, with a Content-Length of its own if one is named."""
    head = (
        f"POST /v1/leases HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


# Time


def test_a_head_that_trickles_is_answered_408_in_time(site: Site, connect: Connect) -> None:
    wire = connect(site.serve(limits=BRIEF))
    ended = threading.Event()

    def trickle() -> None:
        wire.say(b"GET /v1/health HTTP/1.1\r\n")
        while not ended.wait(0.05):
            with suppress(OSError):
                wire.say(b"X-A: b\r\n")

    thread = threading.Thread(target=trickle)
    thread.start()
    began = time.monotonic()
    try:
        assert wire.problem().status == 408
    finally:
        ended.set()
        thread.join()
    assert time.monotonic() - began >= 0.2
    assert wire.is_closed()


def test_a_second_head_that_trickles_behind_a_first_request_is_no_way_round_it(site: Site, connect: Connect) -> None:
    wire = connect(site.serve(limits=BRIEF))
    wire.say(LIVE + b"GET /v1/hea")
    assert wire.reply().status == 200
    for _ in range(4):
        wire.say(b"x")
    assert wire.problem().status == 408
    assert wire.is_closed()


def test_line_breaks_alone_do_not_keep_a_connection(site: Site, connect: Connect) -> None:
    wire = connect(site.serve(limits=BRIEF))
    wire.say(b"\r\n")
    assert wire.problem().status == 408
    assert wire.is_closed()


def test_a_connection_that_says_nothing_is_closed(site: Site, connect: Connect) -> None:
    assert connect(site.serve(limits=BRIEF)).is_closed()


def test_a_connection_that_says_nothing_more_is_closed(site: Site, connect: Connect) -> None:
    wire = connect(site.serve(limits=BRIEF))
    wire.say(LIVE)
    assert wire.reply().status == 200
    assert wire.is_closed()


def test_a_body_that_does_not_come_is_answered_408(site: Site, connect: Connect) -> None:
    wire = connect(site.serve(limits=BRIEF))
    wire.say(lease(site.agent, b'{"cred', length=40))
    assert wire.problem().status == 408
    assert wire.is_closed()
    assert site.owner.leases.list() == []


def test_a_body_that_nobody_reads_has_to_come_in_time_too(site: Site, connect: Connect) -> None:
    wire = connect(site.serve(limits=BRIEF))
    wire.say(lease("wrong", b"x", length=1000))
    assert wire.problem().status == 401
    assert wire.is_closed()


def test_a_client_that_does_not_read_is_let_go(site: Site, connect: Connect) -> None:
    server = site.serve(limits=BRIEF)
    wire = connect(server)
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    wire.socket.settimeout(0.1)
    deadline = time.monotonic() + PATIENCE
    with pytest.raises(OSError):  # noqa: PT012
        while time.monotonic() < deadline:
            with suppress(TimeoutError):
                wire.say(ask)
    assert time.monotonic() < deadline, "the server kept a reader that does not read"


# Size


def test_a_body_is_refused_by_its_length_before_it_comes(site: Site, connect: Connect) -> None:
    wire = connect(site.serve())
    wire.say(lease(site.agent, b"", length=USUAL.body_bytes + 1))
    assert wire.problem().status == 413


def test_a_body_without_a_length_is_refused_once_it_is_too_long(site: Site, connect: Connect) -> None:
    wire = connect(site.serve())
    wire.say(lease(site.agent).partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for _ in range(USUAL.body_bytes // 0x10000 + 1):
        wire.say(chunk)
    assert wire.problem().status == 413
    wire.say(b"0\r\n\r\n" + LIVE)
    assert wire.reply().status == 200


def test_a_message_that_never_ends_is_cut_off(site: Site, connect: Connect) -> None:
    wire = connect(site.serve(limits=USUAL._replace(message_bytes=4 * 1024 * 1024)))
    wire.say(lease("wrong", b"", length=10**12))
    assert wire.problem().status == 401
    with pytest.raises(OSError):  # noqa: PT012
        for _ in range(1_000):
            wire.say(b" " * 100_000)


def test_the_largest_body_is_read(site: Site, connect: Connect) -> None:
    wire = connect(site.serve())
    body = b'{"credentialName": "%b"' % CREDENTIAL.encode()
    wire.say(lease(site.agent, body + b" " * (USUAL.body_bytes - len(body) - 1) + b"}"))
    assert wire.reply().status == 201


@pytest.mark.parametrize("line", [b"X: " + b"y" * 40_000, b"\r\n".join([b"X-%d: y" % n for n in range(6_000)])])
def test_a_head_that_is_too_large_is_answered_431(line: bytes, site: Site, connect: Connect) -> None:
    wire = connect(site.serve())
    wire.say(b"GET /v1/health/live HTTP/1.1\r\n" + line + b"\r\n\r\n")
    assert wire.problem().status == 431
    assert wire.is_closed()


def test_a_path_that_is_too_long_is_answered_431(site: Site, connect: Connect) -> None:
    wire = connect(site.serve())
    wire.say(b"GET /" + b"a" * 70_000)
    assert wire.problem().status == 431


def test_headers_after_the_body_are_nobody_s_business(site: Site, connect: Connect) -> None:
    wire = connect(site.serve())
    head = lease(site.agent).partition(b"Content-Length")[0].replace(site.agent.encode(), b"wrong")
    wire.say(
        head + b"Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer " + site.agent.encode() + b"\r\n\r\n"
    )
    assert wire.problem().status == 401


def test_a_client_that_expects_100_is_told_to_go_on_only_if_its_body_is_wanted(site: Site, connect: Connect) -> None:
    server = site.serve()
    wanted = lease(site.agent).replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")
    head, _, body = wanted.partition(b"\r\n\r\n")
    wire = connect(server)
    wire.say(head + b"\r\n\r\n")
    assert wire._file.readline() == b"HTTP/1.1 100 Continue\r\n"
    wire._file.readline()
    wire.say(body)
    assert json.loads(wire.reply().body)["value"] == VALUE
    wire = connect(server)
    wire.say(head.replace(site.agent.encode(), b"wrong") + b"\r\n\r\n")
    assert wire.problem().status == 401


# What is not HTTP


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v1/health HTTP/9.9\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/leases HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/leases HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"POST /v1/leases HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/\xff HTTP/1.1\r\n\r\n",
        b"CONNECT example.com:80 HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_by_a_problem(data: bytes, site: Site, connect: Connect) -> None:
    server = site.serve(limits=BRIEF)
    wire = connect(server)
    wire.say(data)
    assert 400 <= wire.problem().status < 500
    wire = connect(server)
    wire.say(LIVE)
    assert wire.reply().status == 200
    server.stop(5)
    assert server.lines("unexpected") == []


def test_an_upgrade_is_not_taken_up(site: Site, connect: Connect) -> None:
    wire = connect(site.serve())
    for name in (b"h2c", b"websocket"):
        wire.say(b"GET /v1/health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + name + b"\r\n\r\n")
        assert wire.reply().status == 200
        wire = connect(site.serve())


# How many


def test_more_connections_than_there_is_room_for_are_told_to_come_back(site: Site, connect: Connect) -> None:
    server = site.serve(limits=USUAL._replace(connections=2))
    first = [connect(server) for _ in range(2)]
    for wire in first:
        wire.say(LIVE)
        assert wire.reply().status == 200
    late = connect(server)
    late.say(LIVE)
    reply = late.problem()
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert late.is_closed()
    first[0].close()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        again = connect(server)
        again.say(LIVE)
        if again.reply().status == 200:
            return
        again.close()
    pytest.fail("a place that became free was not given away")


def test_one_source_can_not_take_the_places_of_the_others(site: Site, connect: Connect) -> None:
    server = site.serve(limits=USUAL._replace(connections=3, connections_of_source=2))
    first = [connect(server) for _ in range(2)]
    for wire in first:
        wire.say(LIVE)
        assert wire.reply().status == 200
    for _ in range(5):  # they are told at once, without having asked, and take no place
        flood = connect(server)
        reply = flood.problem()
        assert (reply.status, reply.headers["retry-after"]) == (429, "1")
        assert flood.is_closed()
    other = connect(server, source="127.0.0.2")
    other.say(LIVE)
    assert other.reply().status == 200
    first[0].close()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        again = connect(server)
        again.say(LIVE)
        if again.reply().status == 200:
            return
        again.close()
    pytest.fail("a place that became free was not given away")


def test_requests_may_be_sent_ahead_and_are_answered_in_order(site: Site, connect: Connect) -> None:
    wire = connect(site.serve())
    wire.say(LIVE + b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" + LIVE)
    assert [wire.reply().status for _ in range(3)] == [200, 404, 200]


def test_far_too_many_requests_sent_ahead_end_the_connection(site: Site, connect: Connect) -> None:
    wire = connect(site.serve())
    with suppress(OSError):
        wire.say(lease(site.agent) * 500)
    answered = 0
    with suppress(OSError, IndexError):
        while wire.reply():
            answered += 1
    assert answered < 100
