"""A real vault in a temporary folder, and the real ``vaultctl mcp serve`` on it, through the SDK's own client."""

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters, stdio_client

from tests.vaults import new_vault
from vaultctl.client import Vault
from vaultctl.domain.records import AuditEntry

PATIENCE = 15.0
"""Seconds after which something that has to happen counts as not happening."""

COMMAND = [sys.executable, "-m", "vaultctl", "mcp", "serve"]


class RawServer:
    """The server without the SDK's client: bytes in, bytes out."""

    def __init__(self, environment: dict[str, str], directory: Path, errors: Path) -> None:
        with open(errors, "ab") as stderr:
            self.process = subprocess.Popen(
                COMMAND,
                env=environment,
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert self.process.stdin
        assert self.process.stdout
        self.stdin = self.process.stdin
        self.stdout = self.process.stdout

    def send(self, *messages: dict[str, Any] | bytes) -> None:
        for message in messages:
            self.stdin.write(message if isinstance(message, bytes) else json.dumps(message).encode())
            self.stdin.write(b"\n")
        self.stdin.flush()

    def receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.stdout.readline())
        return answer

    def greet(self) -> None:
        """The handshake of the revisions that have one."""
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        self.send(
            {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello},
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
        )
        assert self.receive()["id"] == 0

    def ask(self, id: int, tool: str, **arguments: str) -> None:
        self.send(
            {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
        )

    def call(self, tool: str, **arguments: str) -> dict[str, Any]:
        self.ask(1, tool, **arguments)
        result: dict[str, Any] = self.receive()["result"]
        return result

    def end(self) -> None:
        """Close stdin, as a client that goes away does."""
        self.stdin.close()

    def wait(self) -> int:
        return self.process.wait(PATIENCE)


@dataclass
class Bench:
    """A vault, its owner, and servers on it."""

    home: Path
    directory: Path
    owner: Vault
    servers: list[RawServer] = field(default_factory=list)

    @property
    def errors(self) -> Path:
        return self.directory / "stderr"

    def stderr(self) -> str:
        return self.errors.read_text()

    def token(self, agent: str, *globs: str, **options: Any) -> str:
        return self.owner.tokens.create(agent=agent, credentials=globs, **options).secret.reveal()

    def environment(self, token: str | None, **variables: str) -> dict[str, str]:
        """What a client gives its server; without a token none is named."""
        named = {} if token is None else {"VAULT_TOKEN": token}
        return {"PATH": os.environ["PATH"], "VAULTCTL_HOME": str(self.home), **named, **variables}

    @asynccontextmanager
    async def client(self, token: str | None, **variables: str) -> AsyncIterator[Client]:
        """The SDK's client on a server of its own."""
        environment = self.environment(token, **variables)
        parameters = StdioServerParameters(
            command=COMMAND[0], args=COMMAND[1:], env=environment, cwd=str(self.directory)
        )
        with open(self.errors, "a") as errors:  # noqa: ASYNC230
            async with Client(stdio_client(parameters, errlog=errors)) as client:
                yield client

    def raw(self, token: str, **variables: str) -> RawServer:
        server = RawServer(self.environment(token, **variables), self.directory, self.errors)
        self.servers.append(server)
        return server

    def refused_start(self, token: str, *arguments: str, **variables: str) -> tuple[int, str]:
        """The exit status and stderr of a server that does not start."""
        ended = subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment(token, **variables),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert ended.stdout == ""
        assert 1 <= len(ended.stderr.splitlines()) <= 2
        assert "Traceback" not in ended.stderr
        return ended.returncode, ended.stderr

    def audit(self, *events: str, **filters: str) -> list[AuditEntry]:
        return self.owner.audit_log.query(events=events, limit=None, **filters)  # type: ignore[arg-type]

    def session_of(self, agent: str) -> str:
        """The id of the agent's only session."""
        (session,) = self.owner.sessions.list(agent=agent)
        return session.id


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for ``condition``, looking again and again; its value."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return value


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def wait_until() -> Callable[[Callable[[], Any], str], Any]:
    return until


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    home = tmp_path / "home"
    directory = tmp_path / "work"
    directory.mkdir()
    new_vault(home)
    with Vault.embedded(home=home, tenant="my-org") as owner:
        bench = Bench(home, directory, owner)
        yield bench
        for server in bench.servers:
            if server.process.poll() is None:
                server.process.kill()
            server.process.wait()
            with_closed = (server.stdin, server.stdout)
            for stream in with_closed:
                if not stream.closed:
                    stream.close()
