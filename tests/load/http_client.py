"""A client that costs little: HTTP/1.1 over asyncio streams, one request at a time on a connection.

The load has to come from something that is cheaper than the server that it measures.
"""

import asyncio
import json
from typing import Any, NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    """Status and JSON body of an answer."""

    status: int
    body: Any


class Broken(Exception):
    """The connection broke before a whole answer came."""


class Connection:
    """A keep-alive connection to a server as one caller; it connects when it is first used, and after it broke."""

    def __init__(self, base_url: str, token: str) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._headers = f"Host: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: Any = None, key: str | None = None) -> Answer:
        """The answer.

        Raises:
            Broken: There is none; the request may have been carried out.
        """
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\n{self._headers}"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        if key is not None:
            head += f"Idempotency-Key: {key}\r\n"
        try:
            if self._streams is None:
                self._streams = await asyncio.open_connection(self._host, self._port)
            reader, writer = self._streams
            writer.write(f"{head}\r\n".encode() + data)
            return await _answer(reader)
        except (OSError, asyncio.IncompleteReadError, ValueError):
            await self.close()
        raise Broken

    async def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    return Answer(int(status.split()[1]), json.loads(await reader.readexactly(length) or b"null"))
