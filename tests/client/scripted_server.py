"""A server on a real socket that answers what a test tells it to, byte by byte if need be."""

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

PATIENCE = 10.0


class Received(NamedTuple):
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Act = Callable[[socket.socket, Received], bool]
"""Does something with the connection; says whether it goes on."""


def raw(data: bytes, *, keep: bool = False) -> Act:
    """These bytes; then the connection is closed, unless it is kept."""

    def act(connection: socket.socket, received: Received) -> bool:
        connection.sendall(data)
        return keep

    return act


def answer(status: int, content: Any, content_type: str = "application/json", **headers: str) -> Act:
    """A whole answer."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    lines = [f"HTTP/1.1 {status} -", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join([*lines, "", ""]).encode() + body, keep=True)


def problem(status: int, code: str, detail: str = "Refused.", **headers: str) -> Act:
    """A problem as the vault's server tells of it."""
    content = {"type": "about:blank", "status": status, "code": code, "detail": detail, "hint": "Do this."}
    return answer(status, content, "application/problem+json", **headers)


def events(*parts: bytes) -> Act:
    """A stream of events that then ends."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return raw(head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts))


def silence(until: threading.Event) -> Act:
    """No answer."""

    def act(connection: socket.socket, received: Received) -> bool:
        until.wait(PATIENCE)
        return False

    return act


hang_up = raw(b"")


class ScriptedServer:
    """Answers requests in order, each by the next act of the script; the last one again and again."""

    def __init__(self) -> None:
        self.script: list[Act] = []
        self.received: list[Received] = []
        self.connections = 0
        self.ending = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer.serve(self.connection, self.rfile)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, connection: socket.socket, stream: Any) -> None:
        with self._lock:
            self.connections += 1
            number = self.connections
        with suppress(OSError):
            while (received := _read(stream, number)) is not None:
                with self._lock:
                    self.received.append(received)
                    act = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if not act(connection, received):
                    connection.shutdown(socket.SHUT_RDWR)
                    return

    def __enter__(self) -> "ScriptedServer":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()


def _read(stream: Any, connection: int) -> Received | None:
    first = stream.readline()
    if not first:
        return None
    method, target, _ = first.decode().split(" ")
    headers = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Received(method, target, headers, stream.read(int(headers.get("content-length", 0))), connection)


@contextmanager
def scripted(*acts: Act) -> Iterator[ScriptedServer]:
    """A server with this script."""
    with ScriptedServer() as server:
        server.script = list(acts)
        yield server
