"""A proxy that cuts or swallows an answer, when the server has long done what it was asked."""

import socket
import socketserver
import threading
from contextlib import suppress
from urllib.parse import urlsplit


class CuttingProxy:
    """Passes connections on to a server.

    Attributes:
        cuts: After how many bytes from the server the next connections are cut, in order; without one they are not.
        is_down: Whether new connections are closed at once, as if no server was there.
    """

    def __init__(self, base_url: str) -> None:
        self.cuts: list[int] = []
        self.is_down = False
        self.lead_to(base_url)
        self._open: set[socket.socket] = set()
        self._muted: set[socket.socket] = set()
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(ConnectionRefusedError):  # the server has stopped
                    outer._pass_on(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 128

        self._listening = Server(("127.0.0.1", 0), Handler)
        self.base_url = f"http://127.0.0.1:{self._listening.server_address[1]}"

    def lead_to(self, base_url: str) -> None:
        """From now on new connections go to this server."""
        parts = urlsplit(base_url)
        self._server_address = (parts.hostname, parts.port)

    def cut_all(self) -> None:
        """Cut all connections now."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def mute_all(self) -> None:
        """From now on nothing that the server says on the connections that are open reaches the client."""
        self._muted |= self._open

    def _pass_on(self, client: socket.socket) -> None:
        if self.is_down:
            return
        left = self.cuts.pop(0) if self.cuts else None
        with socket.create_connection(self._server_address) as server:
            self._open.add(client)
            requests = threading.Thread(target=_copy, args=(client, server, None, self._muted))
            requests.start()
            _copy(server, client, left, self._muted)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            requests.join()
            self._open.discard(client)

    def __enter__(self) -> "CuttingProxy":
        threading.Thread(target=self._listening.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown()
        self.cut_all()
        self._listening.server_close()


def _copy(source: socket.socket, sink: socket.socket, most: int | None, muted: set[socket.socket]) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            if sink in muted:
                continue
            if most is not None and len(data) >= most:
                sink.sendall(data[:most])
                return
            sink.sendall(data)
            most = None if most is None else most - len(data)
