"""Lines of bytes on stdin and stdout, and nobody else on them."""

import os
import select
from collections.abc import Iterator

LONGEST_LINE = 4 * 1024 * 1024
"""Bytes of the longest line that is read. The tools' arguments need a few hundred."""

_CHUNK = 65_536


class Wire:
    """The process's stdin and stdout, taken: from then on descriptor 0 is empty and descriptor 1 is stderr.

    So nothing that prints, in this process or a child, breaks the protocol. They are never given back.
    """

    def __init__(self) -> None:
        self.is_terminal = os.isatty(0)
        self._in, self._out = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)

    def lines(self) -> Iterator[bytes]:
        """Lines that arrive, blank ones left out. One that is too long comes out empty."""
        pending = bytearray()
        too_long = False
        while chunk := self._read():
            *ended, rest = chunk.split(b"\n")
            for part in ended:
                pending += part
                if too_long:
                    yield b""
                elif pending.strip():
                    yield bytes(pending)
                pending.clear()
                too_long = False
            pending += rest
            if too_long or len(pending) > LONGEST_LINE:
                too_long = True
                pending.clear()

    def write(self, line: str) -> None:
        """Send a line.

        Raises:
            OSError: Nobody reads any more.
        """
        rest = memoryview(line.encode() + b"\n")
        while rest:
            try:
                rest = rest[os.write(self._out, rest) :]
            except BlockingIOError:  # whoever shares the pipe made it non-blocking
                select.select([], [self._out], [])

    def _read(self) -> bytes:
        while True:
            try:
                return os.read(self._in, _CHUNK)
            except BlockingIOError:
                select.select([self._in], [], [])
            except OSError:
                return b""
