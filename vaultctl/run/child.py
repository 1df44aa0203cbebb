"""A command as a child process that behaves as if nobody stood between it and the terminal.

It stays in our process group, so that what a terminal sends (Ctrl-C, Ctrl-Z, a hangup) reaches it as it reaches
us, once, and the shell's job control needs no help. What is sent to us alone is handed on. All signals
that matter are blocked while it runs and taken one by one, so that none is lost between two steps.
"""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from vaultctl.domain.errors import VaultError

NOT_FOUND = 127
NOT_EXECUTABLE = 126
"""Exit statuses of commands that could not be started, as shells have them."""

_HANDED_ON = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM}
)
_TAKEN = _HANDED_ON | {signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH}
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class CannotStart(VaultError):
    """The command could not be started.

    Attributes:
        status: The exit status that says so.
    """

    def __init__(self, message: str, *, hint: str, status: int) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Interrupted(BaseException):
    """A signal asked to stop while no command was running.

    Attributes:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stops:
    """Signals that ask to stop: the first one waits until it is asked for, a second one does not."""

    def __init__(self) -> None:
        self._asked: int | None = None

    def check(self) -> None:
        """Raise Interrupted if one has come."""
        if self._asked is not None:
            raise Interrupted(self._asked)

    def forget(self) -> None:
        """Wait for a first one again."""
        self._asked = None

    def _take(self, number: int, _: object) -> None:
        if self._asked is not None:
            raise Interrupted(number)
        self._asked = number


@contextmanager
def deferring_stops() -> Iterator[Stops]:
    """While this lasts, a signal that asks to stop does not do so in the middle of a step."""
    stops = Stops()
    # What is ignored stays so: nohup, and the background jobs of a script.
    before = {number: signal.getsignal(number) for number in _STOPPING}
    mine = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in mine:
        signal.signal(number, stops._take)
    try:
        yield stops
    finally:
        for number in mine:
            signal.signal(number, before[number])


class Child:
    """The command's process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    @classmethod
    def start(cls, command: list[str], environment: Mapping[bytes, bytes], files: Mapping[int, int]) -> "Child":
        """Start ``command`` with our files, save those that ``files`` says.

        Args:
            command: The program, looked for on ``PATH``, and its arguments.
            environment: Its environment.
            files: Descriptors of the child, and which of ours they are to be.

        Raises:
            CannotStart: It is not there, or can't be executed.
        """
        actions = [(os.POSIX_SPAWN_DUP2, ours, its) for its, ours in files.items()]
        try:
            return cls(
                os.posix_spawnp(
                    command[0],
                    command,
                    environment,
                    file_actions=actions,
                    setsigmask=(),
                    setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # which Python ignores
                )
            )
        except FileNotFoundError:
            raise CannotStart(
                "The command, or the interpreter that it names, is not there.",
                hint="Check its name and PATH. What stands after -- is the command.",
                status=NOT_FOUND,
            ) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it holds a null character"
            raise CannotStart(
                f"The command can't be executed: {reason}.",
                hint="Name a program; a script needs #! in its first line.",
                status=NOT_EXECUTABLE,
            ) from None

    def wait(self, resized: Callable[[], None]) -> int:
        """Hand on signals until it ends; call ``resized`` when the terminal's size has changed.

        Returns:
            Its exit status; 128 + N if the signal N ended it.
        """
        is_stopped = False
        while True:
            number, by_terminal = _next_signal()
            if number == signal.SIGCHLD:
                done, status = os.waitpid(self._pid, os.WNOHANG | os.WUNTRACED)
                if done and os.WIFSTOPPED(status):
                    is_stopped = True
                    os.kill(os.getpid(), signal.SIGTSTP)  # whoever continues us continues it
                elif done:
                    code = os.waitstatus_to_exitcode(status)
                    return 128 - code if code < 0 else code
            elif number == signal.SIGWINCH:
                resized()
                self._send(number)
            elif number == signal.SIGCONT or not by_terminal:
                self._send(number)
                if number == signal.SIGCONT:
                    is_stopped = False
                elif is_stopped and number in _STOPPING:  # which it would take only once somebody continues it
                    self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # it has become another user's
            os.kill(self._pid, number)


@contextmanager
def taking_signals() -> Iterator[None]:
    """While this lasts, signals wait for :meth:`Child.wait`. Threads that are started meanwhile get none."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TAKEN)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _next_signal() -> tuple[int, bool]:
    """The next signal, and whether the terminal sent it: then the child has it too."""
    wait = getattr(signal, "sigwaitinfo", None)
    if wait is not None:
        info = wait(_TAKEN)
        return info.si_signo, info.si_code > 0
    number = signal.sigwait(_TAKEN)  # macOS does not say where it came from
    return number, number in (signal.SIGINT, signal.SIGQUIT) and _in_foreground()


def _in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
