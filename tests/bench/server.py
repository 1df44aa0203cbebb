"""Leases over HTTP a second, beside a hello-world on the same stack in the same run.

The hello-world (:mod:`tests.bench.hello`) is the very server that is measured, without its vault: the same protocol
class and bounds, routes, log, counters, decoding and encoding; the same requests from the same client, and answers of
the same size. So the ratio says what authentication, policy, encryption, ledger and durable commits cost, and nothing
of it is owed to a framework that one has and the other has not. A bare uvicorn application that decodes and encodes a
few bytes of JSON, without anything that a server on a network needs, is shown beside it for whoever wants to compare.

Candidates take turns; the best round of each counts, as machines are noisy. CPU time a request is shown as well: it
says more where other programs use the machine.
"""

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.load.load import Server, Tokens, vault_for_load
from tests.postgres import Postgres

CONNECTIONS = 32
ROUNDS = 8
SECONDS = 2.0
IDLE_MIB = 120

HELLO = (sys.executable, str(Path(__file__).with_name("hello.py")))
BARE = (sys.executable, str(Path(__file__).with_name("bare.py")))
_BODY = b'{"credentialName":"api-key-0","ttl":"15m","purpose":"Benchmark"}'


class Rate(NamedTuple):
    """What a candidate came to: requests a second, their ratio to the hello-world's, CPU time a request."""

    name: str
    per_second: float
    ratio: float
    cpu_micros: float
    budget: float | None


class _Candidate(NamedTuple):
    name: str
    servers: Sequence[Server]
    tokens: Tokens
    budget: float | None


def rates() -> Iterator[Rate]:
    """What each candidate came to; the hello-world comes first."""
    with ExitStack() as stack:
        nobody = Tokens(("vault_token_" + "0" * 49,), "none")
        postgres = stack.enter_context(Postgres(durable=True))
        home, tokens = stack.enter_context(vault_for_load())
        # A hello-world reads no token beyond its form, but it does read that.
        candidates = [
            _Candidate("hello-world on this stack", [_started(stack, home, HELLO)], tokens, None),
            _Candidate("leases, SQLite", [_started(stack, home)], tokens, 0.45),
        ]
        for nodes, budget in ((1, 0.25), (2, None)):
            home, tokens = stack.enter_context(vault_for_load(postgres.create_database()))
            name = f"leases, PostgreSQL, {nodes} node{'s' * (nodes > 1)}"
            candidates.append(_Candidate(name, [_started(stack, home) for _ in range(nodes)], tokens, budget))
        candidates.append(_Candidate("bare uvicorn, for comparison", [_started(stack, home, BARE)], nobody, None))

        best = [(0.0, 0.0)] * len(candidates)
        for _ in range(ROUNDS):
            for number, candidate in enumerate(candidates):
                best[number] = max(best[number], _round(candidate))
        floor = best[0][0]
        for candidate, (rate, cpu) in zip(candidates, best, strict=True):
            yield Rate(candidate.name, rate, rate / floor, cpu * 1e6, candidate.budget)


def idle_mib() -> float:
    """Resident memory of a server that has just started, in MiB."""
    with vault_for_load() as (home, _):
        server = Server(home)
        try:
            return server.resident_mib
        finally:
            server.stop()


def _started(stack: ExitStack, home: Path, program: Sequence[str] | None = None) -> Server:
    server = Server(home) if program is None else Server(home, program=program)
    stack.callback(server.stop)
    return server


def _round(candidate: _Candidate) -> tuple[float, float]:
    """Requests a second, and CPU seconds that a request took all servers together."""
    before = sum(server.cpu_seconds for server in candidate.servers)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        count = runner.run(_post([server.url for server in candidate.servers], candidate.tokens))
    used = sum(server.cpu_seconds for server in candidate.servers) - before
    return count / SECONDS, used / count


async def _post(urls: Sequence[str], tokens: Tokens) -> int:
    """How many requests are answered in so many seconds, on all connections together."""
    loop = asyncio.get_running_loop()
    end = time.perf_counter() + SECONDS
    lines: list[_Line] = []
    for number in range(CONNECTIONS):
        url = urlsplit(urls[number % len(urls)])
        token = tokens.agents[number % len(tokens.agents)]
        request = (
            f"POST /v1/leases HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n\r\n"
        ).encode() + _BODY
        _, line = await loop.create_connection(
            lambda request=request: _Line(request, end, loop.create_future()), url.hostname, url.port
        )
        lines.append(line)
    await asyncio.gather(*(line.ended for line in lines))
    return sum(line.count for line in lines)


class _Line(asyncio.Protocol):
    """One connection that asks again as soon as it is answered. It costs little: the server is what is measured."""

    def __init__(self, request: bytes, end: float, ended: "asyncio.Future[None]") -> None:
        self._request = request
        self._end = end
        self._answer = b""
        self.ended = ended
        self.count = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask for the first time."""
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take a part of the answer, and ask again once it is whole."""
        self._answer = answer = self._answer + data if self._answer else data
        head = answer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = answer.index(b"content-length: ") + 16
        if len(answer) < head + 4 + int(answer[length : answer.index(b"\r", length)]):
            return
        if not answer.startswith((b"HTTP/1.1 201", b"HTTP/1.1 200")):
            self._finish(SystemExit(f"refused: {answer!r}"))
            return
        self._answer = b""
        self.count += 1
        if time.perf_counter() < self._end:
            self._transport.write(self._request)
        else:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server must not close it."""
        self._finish(SystemExit("a server closed a connection"))

    def _finish(self, error: SystemExit | None = None) -> None:
        if not self.ended.done():
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(RuntimeError(str(error)))
            self._transport.close()
