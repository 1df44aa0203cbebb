"""A command's output without the secrets that it was given: the command writes to us, we write what remains.

Where our output is a terminal the command gets one too, a pseudo-terminal for its output alone, so that it goes on to
show colours and progress; its input, and what keys like Ctrl-C do, stay with the real terminal. A program that draws
the whole screen sets that up on its output and is better run without redaction.
"""

import fcntl
import os
import select
import termios
import tty
from collections.abc import Iterable
from contextlib import suppress
from threading import Thread

from vaultctl.domain.scrubbing import Scrubber

_CHUNK = 65_536
_LINGER = 0.2
"""Seconds without output after which a command that has ended is taken to have said all: what it left running in the
background may hold its output open for ever."""


class Redaction:
    """Standard output and standard error of one command, each in its own order."""

    def __init__(self, secrets: Iterable[str]) -> None:
        found = tuple(secrets)
        self._ended, self._has_ended = os.pipe()
        self._streams = [_Stream(number, Scrubber(found), self._ended) for number in (1, 2)]

    @property
    def files(self) -> dict[int, int]:
        """What the command's descriptors are to be."""
        return {stream.number: stream.theirs for stream in self._streams}

    def start(self) -> None:
        """Pass on what the command writes, once it has been started."""
        for stream in self._streams:
            stream.start()

    def resized(self) -> None:
        """Have the command's terminal as large as ours."""
        for stream in self._streams:
            stream.resize()

    def finish(self) -> None:
        """Pass on the rest, once the command has ended or could not be started."""
        os.close(self._has_ended)
        for stream in self._streams:
            stream.finish()
        os.close(self._ended)


class _Stream:
    def __init__(self, number: int, scrubber: Scrubber, ended: int) -> None:
        self.number = number
        self._scrubber = scrubber
        self._ended = ended
        self._is_terminal = os.isatty(number)
        if self._is_terminal:
            self._ours, self.theirs = os.openpty()
            tty.setraw(self.theirs)  # the real terminal does what terminals do
            self.resize()
        else:
            self._ours, self.theirs = os.pipe()
        self._thread: Thread | None = None

    def start(self) -> None:
        os.close(self.theirs)
        self._thread = Thread(target=self._pass_on, name=f"vaultctl-output-{self.number}", daemon=True)
        self._thread.start()

    def resize(self) -> None:
        if self._is_terminal:
            with suppress(OSError):
                size = fcntl.ioctl(self.number, termios.TIOCGWINSZ, bytes(8))
                fcntl.ioctl(self._ours, termios.TIOCSWINSZ, size)

    def finish(self) -> None:
        if self._thread is None:
            os.close(self.theirs)
        else:
            self._thread.join()
        os.close(self._ours)

    def _pass_on(self) -> None:
        try:
            while data := self._read():
                _write(self.number, self._scrubber.feed(data))
            _write(self.number, self._scrubber.flush())
        except OSError:  # nobody reads it
            pass
        finally:
            os.dup2(
                self._ended, self._ours, inheritable=False
            )  # what is written now is told what it would be without us

    def _read(self) -> bytes:
        """What comes next; nothing at the end."""
        ready, _, _ = select.select([self._ours, self._ended], [], [])
        if self._ours not in ready and not select.select([self._ours], [], [], _LINGER)[0]:
            return b""
        try:
            return os.read(self._ours, _CHUNK)
        except OSError:  # how a pseudo-terminal says that it was closed
            return b""


def _write(number: int, data: bytes) -> None:
    while data:
        data = data[os.write(number, data) :]
