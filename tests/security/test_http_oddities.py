"""Requests that two programs could read in two ways are read in one way here, or not at all."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.api.harness import RunningServer
from tests.security.served import Served, speak
from vaultctl.api.limits import Limits

LEASE = b'{"credentialName":"shopify"}'


class Stage:
    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.served = Served("sqlite", directory, stack)
        self.server: RunningServer = self.served.serve(limits=Limits(head_seconds=2, body_seconds=2))
        self.served.owner.credentials.create("shopify", "generic-secret", "odd-value-0123456789")
        self.agent = self.served.owner.tokens.create(agent="ours", credentials=["*"]).secret.reveal()
        self.other = self.served.owner.tokens.create(agent="other", credentials=["*"]).secret.reveal()

    def leases(self) -> int:
        return len(self.served.owner.leases.list())

    def say(self, request: bytes) -> list[int]:
        """The statuses of the answers, to a request in which AGENT and OTHER stand for tokens."""
        data = request.replace(b"AGENT", self.agent.encode()).replace(b"OTHER", self.other.encode())
        return [int(answer[9:12]) for answer in speak(self.server, data)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(tmp_path_factory.mktemp("oddities"), stack)


def post(*headers: bytes, body: bytes = LEASE, target: bytes = b"/v1/leases") -> bytes:
    usual = (b"Host: x", b"Authorization: Bearer AGENT", b"Content-Type: application/json")
    return b"\r\n".join((b"POST %b HTTP/1.1" % target, *usual, *headers, b"", body))


SIZE = b"Content-Length: %d" % len(LEASE)
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LEASE), LEASE)
HIDDEN = b"GET /v1/tokens/self HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer OTHER\r\n\r\n"


def test_the_usual_request_makes_a_lease(stage: Stage) -> None:
    before = stage.leases()
    assert stage.say(post(SIZE)) == [201]
    assert stage.say(post(b"Transfer-Encoding: chunked", body=CHUNKS)) == [201]
    assert stage.leases() == before + 2


AMBIGUOUS = {
    "length and chunks": post(SIZE, b"Transfer-Encoding: chunked", body=CHUNKS),
    "chunks and length": post(b"Transfer-Encoding: chunked", SIZE, body=CHUNKS),
    "two lengths": post(SIZE, b"Content-Length: 3"),
    "two equal lengths": post(SIZE, SIZE),
    "a list of lengths": post(b"Content-Length: 28, 28"),
    "a signed length": post(b"Content-Length: +28"),
    "a negative length": post(b"Content-Length: -1"),
    "an endless length": post(b"Content-Length: " + b"9" * 400),
    "a length in hexadecimal": post(b"Content-Length: 0x1c"),
    "a space in a header's name": post(b"Content-Length : 28"),
    "a line break alone": post(SIZE).replace(b"\r\n", b"\n"),
    "a carriage return alone": post(b"X-A: b\rX-C: d", SIZE),
    "a folded header": post(b"X-A: b\r\n c: d", SIZE),
    "a null in a header": post(b"X-A: b\0c", SIZE),
    "chunks twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=CHUNKS),
    "an unknown coding": post(b"Transfer-Encoding: xchunked", body=CHUNKS),
    "chunks that are not last": post(b"Transfer-Encoding: chunked, identity", body=CHUNKS),
    "chunks of an odd size": post(b"Transfer-Encoding: chunked", body=CHUNKS.replace(b"1c\r\n", b"0x1c\r\n")),
    "chunks of a negative size": post(b"Transfer-Encoding: chunked", body=b"-1\r\n\r\n"),
    "two tokens": post(SIZE, b"Authorization: Bearer OTHER"),
    "two tenants": post(SIZE, b"X-Vault-Tenant: my-org", b"X-Vault-Tenant: my-org"),
    "two keys": post(SIZE, b"Idempotency-Key: a", b"Idempotency-Key: b"),
    "two types": post(SIZE, b"Content-Type: text/plain"),
    "a coding of the content": post(SIZE, b"Content-Encoding: gzip"),
    "two tokens in one header": post(SIZE).replace(b"AGENT", b"AGENT, Bearer OTHER"),
    "HTTP/0.9": b"GET /v1/tokens/self\r\n",
    "a proxy's tunnel": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer AGENT\r\n\r\n",
}


@pytest.mark.parametrize("request_", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_can_be_read_in_two_ways_makes_no_lease(stage: Stage, request_: bytes) -> None:
    before = stage.leases()
    statuses = stage.say(request_ + HIDDEN if b"HTTP" in request_ else request_)
    assert stage.leases() == before
    assert all(400 <= status < 500 for status in statuses[:1]), statuses
    assert stage.server.lines("unexpected") == []


@pytest.mark.parametrize(
    "request_",
    [request for what, request in AMBIGUOUS.items() if "length" in what or "chunks" in what],
    ids=[what for what in AMBIGUOUS if "length" in what or "chunks" in what],
)
def test_behind_a_body_without_a_certain_end_no_second_request_is_seen(stage: Stage, request_: bytes) -> None:
    assert 200 not in stage.say(request_ + HIDDEN)


TARGETS = {
    "of another host": (b"http://elsewhere.example/v1/leases", {201}),
    "with a user": (b"http://user:word@x/v1/leases", {201, 400}),
    "dots": (b"/v1/tokens/../leases", {404, 405}),
    "dots, encoded": (b"/v1/tokens/%2e%2e/leases", {404, 405}),
    "dots, encoded twice": (b"/v1/tokens/%252e%252e/leases", {404, 405}),
    "a slash, encoded": (b"/v1%2fleases", {404}),
    "a slash more": (b"/v1//leases", {404}),
    "slashes before": (b"//v1/leases", {400, 404}),
    "a slash behind": (b"/v1/leases/", {404, 405, 422}),
    "a null": (b"/v1/leases%00", {404}),
    "a null as it is": (b"/v1/leases\0", {400}),
    "capitals": (b"/V1/Leases", {404}),
    "a parameter": (b"/v1/leases;a=b", {404}),
    "a fragment": (b"/v1/leases#a", {201, 400}),
    "no Unicode": (b"/v1/leases/%ff/revoke", {404}),
    "overlong Unicode": (b"/v1%c0%afleases", {404}),
    "an incomplete escape": (b"/v1/leases%", {404}),
    "a star": (b"*", {400, 404}),
    "nothing": (b"", {400}),
}


@pytest.mark.parametrize("what", TARGETS)
def test_a_target_means_what_it_says_letter_by_letter(stage: Stage, what: str) -> None:
    target, expected = TARGETS[what]
    before = stage.leases()
    statuses = stage.say(post(SIZE, target=target))
    assert statuses, "an answer"
    assert set(statuses[:1]) <= expected
    assert stage.leases() == before + statuses.count(201)
    assert stage.server.lines("unexpected") == []


def test_http_1_0_is_answered_and_closed(stage: Stage) -> None:
    assert stage.say(HIDDEN.replace(b"1.1", b"1.0") * 2) == [200]


def test_requests_sent_ahead_are_each_of_their_own_caller(stage: Stage) -> None:
    data = b"".join(
        b"GET /v1/tokens/self HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n\r\n" % token
        for token in (stage.agent.encode(), stage.other.encode()) * 4
    )
    said = b"".join(speak(stage.server, data))
    assert re.findall(rb'"name":"(ours|other)"', said) == [b"ours", b"other"] * 4


def test_a_request_ahead_of_which_one_was_refused_does_not_inherit_its_token(stage: Stage) -> None:
    assert stage.say(HIDDEN + b"GET /v1/tokens/self HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN) == [200, 401, 200]
