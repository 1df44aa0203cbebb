"""A vault behind a server, and attackers who have its database, its log and a socket to it."""

import json
import socket
import sqlite3
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import psycopg
from psycopg import sql

from tests.api.harness import RunningServer, running_server
from tests.conftest import Clock
from tests.contract.world import Embedded, EmbeddedPostgres, EmbeddedSqlite
from vaultctl.api.throttle import FailedAuthentications
from vaultctl.client.vault import Vault
from vaultctl.engine.service import Service

STORES: dict[str, Callable[..., Embedded]] = {"sqlite": EmbeddedSqlite, "postgres": EmbeddedPostgres}

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Made once: it takes longer than many requests."""

CHANGES_EACH_TIME = ("date", "x-request-id")


class Database:
    """The database as whoever has its files or its password sees it: every row of every table, and SQL."""

    def __init__(self, directory: Path, door: Embedded) -> None:
        self._connect: Callable[[], Any]
        if isinstance(door, EmbeddedPostgres):
            url = door._url
            self._tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
            self._connect = lambda: psycopg.connect(url, autocommit=True)
        else:
            self._tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1"
            self._connect = lambda: sqlite3.connect(directory / "vault.db", isolation_level=None)
        self._connection: Any = None

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement answers."""
        if self._connection is None:
            self._connection = self._connect()
        cursor = self._connection.execute(statement)
        return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        """Give back the connection."""
        if self._connection is not None:
            self._connection.close()

    def tables(self) -> list[str]:
        return [name for (name,) in self.run(self._tables)]

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        return self.run(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)).as_string(None))

    def rows_of(self, tenant: str, *, without: tuple[str, ...] = ()) -> set[str]:
        """All that a tenant has, anywhere."""
        return {
            f"{table}: {row!r}"
            for table in self.tables()
            if table not in without
            for row in self.rows(table)
            if tenant in row
        }

    def content(self) -> bytes:
        """All values of all columns."""
        parts = [
            value if isinstance(value, bytes) else str(value).encode()
            for table in self.tables()
            for row in self.rows(table)
            for value in row
        ]
        assert parts
        return b"\n".join(parts)


class Served:
    """A vault with its owner, and servers before it."""

    def __init__(self, store: str, directory: Path, stack: ExitStack) -> None:
        self.clock = Clock()
        self.door = STORES[store](directory, self.clock, reaps=True)
        stack.callback(self.door.close)
        self._stack = stack
        self.database = Database(directory, self.door)
        stack.callback(self.database.close)
        self.owner = self.owner_of("my-org", is_there=True)

    def owner_of(self, tenant: str, *, is_there: bool = False) -> Vault:
        """The owner as admin of a tenant, which is made."""
        if not is_there:
            self.owner.tenants.create(tenant)
        return self.door.admin(tenant)

    def serve(self, **options: Any) -> RunningServer:
        """A server whose failed authentications cost no time, with which nothing ends by itself."""
        service = options.pop("service", None) or Service(self.door.engine, reap_seconds=1e6)
        options = {"failures": FailedAuthentications(sleep=_no_time)} | options
        return self._stack.enter_context(running_server(self.door.engine, self.door.store, service=service, **options))

    def client(self, server: RunningServer, token: str | None = None, **headers: str) -> httpx.Client:
        """A client that presents ``token``."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        client = httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=20, verify=_NO_TLS)
        return self._stack.enter_context(client)


async def _no_time(_: float) -> None:
    """Wait for nothing."""


class Told(NamedTuple):
    """All of an answer that does not change each time."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


def told(answer: httpx.Response, *names: str) -> Told:
    """What a caller is told; ``names`` are those it asked for, and stand for any of their kind."""
    body = answer.text
    if answer.headers["content-type"] == "application/problem+json":
        problem = json.loads(body)
        assert problem.pop("requestId") == answer.headers["x-request-id"]
        body = json.dumps(problem, sort_keys=True)
    for name in names:
        body = body.replace(name, "<named>")
    headers = tuple(sorted((name, value) for name, value in answer.headers.items() if name not in CHANGES_EACH_TIME))
    return Told(answer.status_code, headers, body)


LAST = b"GET /openapi.json HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n"


def speak(server: RunningServer, data: bytes) -> list[bytes]:
    """The answers to these very bytes, until the server closes: at the latest after one further request."""
    host, port = server.url.removeprefix("http://").split(":")
    said = b""
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(data + LAST)
        try:
            while part := connection.recv(65536):
                said += part
        except ConnectionResetError:
            pass
    answers = [b"HTTP/1.1 " + answer for answer in said.split(b"HTTP/1.1 ")[1:]]
    return [answer for answer in answers if b'{"openapi":' not in answer]
