"""Leases over HTTP a second, beside a hello-world on the same stack in the same run."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.load.http_client import Connection
from tests.load.load import Server, Tokens, vault_for_load
from tests.postgres import Postgres

CONNECTIONS = 32
SECONDS = 5.0
IDLE_MIB = 120

HELLO = """
import msgspec, socket, sys, uvicorn
async def app(scope, receive, send):
    body = await receive()
    name = msgspec.json.decode(body["body"])["credentialName"]
    answer = msgspec.json.encode({"hello": name})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, lifespan="off", log_level="warning")
uvicorn.Server(config).run(sockets=[listener])
"""


def rates() -> Iterator[tuple[str, float, float, float | None]]:
    """Name, requests a second, their ratio to the hello-world, and the budget if there is one."""
    with ExitStack() as stack:
        hello = subprocess.Popen([sys.executable, "-c", HELLO], stdout=subprocess.PIPE, text=True)
        stack.callback(hello.wait)
        stack.callback(hello.kill)
        assert hello.stdout is not None
        floor = _rate([f"http://127.0.0.1:{hello.stdout.readline().strip()}"], Tokens(("none",), "none"))
        yield "hello-world", floor, 1.0, None
        postgres = stack.enter_context(Postgres(durable=True))
        for name, database, nodes, budget in (
            ("leases, SQLite", None, 1, 0.45),
            ("leases, PostgreSQL, 1 node", postgres.create_database(), 1, 0.25),
            ("leases, PostgreSQL, 2 nodes", postgres.create_database(), 2, None),
        ):
            rate = _leases(database, nodes)
            yield name, rate, rate / floor, budget


def idle_mib() -> float:
    """Resident memory of a server that has just started, in MiB."""
    with vault_for_load() as (home, _):
        server = Server(home)
        try:
            return server.resident_mib
        finally:
            server.stop()


def _leases(database: str | None, nodes: int) -> float:
    with vault_for_load(database) as (home, tokens):
        servers = [Server(home) for _ in range(nodes)]
        try:
            return _rate([server.url for server in servers], tokens)
        finally:
            for server in servers:
                server.stop()


def _rate(urls: list[str], tokens: Tokens) -> float:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_post(urls, tokens))


async def _post(urls: list[str], tokens: Tokens) -> float:
    count = 0
    warm, end = time.perf_counter() + 1, time.perf_counter() + 1 + SECONDS

    async def ask(number: int) -> None:
        nonlocal count
        line = Connection(urls[number % len(urls)], tokens.agents[number % len(tokens.agents)])
        body = {"credentialName": "api-key-0", "ttl": "15m", "purpose": "Benchmark"}
        while time.perf_counter() < end:
            answer = await line.request("POST", "/v1/leases", body)
            if answer.status not in (200, 201):
                raise SystemExit(f"refused: {answer}")
            count += time.perf_counter() > warm
        await line.close()

    await asyncio.gather(*(ask(number) for number in range(CONNECTIONS)))
    return count / SECONDS
