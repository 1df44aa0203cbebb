"""The OS keyring, used in a way that can't hang.

A keyring is tried in a child process that can be killed (:mod:`vaultctl.crypto.keyring_probe`); afterwards it is used
in a daemon thread with a limit: short where nobody is at a terminal, long enough to unlock it where somebody is. What
is kept there is for others to know: root keys and logins.
"""

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Generic, TypeVar

from vaultctl.crypto import keyring_probe
from vaultctl.crypto.keyring_probe import SERVICE as SERVICE
from vaultctl.crypto.keyring_probe import Finding, finding_of, judge, reason_of

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

LIMIT = 3.0
"""Seconds that a keyring has to answer when nobody is there to unlock it."""
LIMIT_WITH_A_PERSON = 60.0
"""Seconds that it has when somebody is."""

SESSION_BUS = "DBUS_SESSION_BUS_ADDRESS"
"""The variable that says where the keyring of a Linux desktop answers."""


class NoAnswer(Exception):
    """The keyring did not do what it was asked.

    Attributes:
        reason: Why, in words that fit into brackets.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def limit(*, interactive: bool) -> float:
    """Seconds that a keyring has to answer.

    Args:
        interactive: Somebody is at a terminal.
    """
    return LIMIT_WITH_A_PERSON if interactive else LIMIT


def unusable_reason(limit: float = LIMIT) -> str | None:
    """Why the OS keyring can't keep a secret; None if it can. Takes at most ``limit`` seconds."""
    environment = dict(os.environ)
    address = session_bus()
    if address:
        environment[SESSION_BUS] = address
    try:
        child = subprocess.run(
            # -P: what lies in the working directory is not imported.
            [sys.executable, "-P", keyring_probe.__file__],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _silence(limit)
    except (OSError, ValueError):
        return "it can't be tried"
    return None if child.returncode == Finding.USABLE else reason_of(child.returncode)


def keep(user: str, text: str, limit: float) -> None:
    """Store ``text`` under the service and ``user``, and read it back.

    Raises:
        NoAnswer: The keyring is none to trust, does not keep it, or does not answer in time.
    """

    def store(backend: "KeyringBackend") -> Finding:
        finding = judge(backend)
        if finding is not Finding.USABLE:
            return finding
        backend.set_password(SERVICE, user, text)
        return Finding.USABLE if backend.get_password(SERVICE, user) == text else Finding.FORGETFUL

    finding = _within(limit, store)
    if finding is not Finding.USABLE:
        raise NoAnswer(reason_of(finding))


def look_up(user: str, limit: float) -> str | None:
    """What is stored under the service and ``user``; None if nothing is.

    Raises:
        NoAnswer: The keyring is locked, fails, or does not answer in time.
    """
    return _within(limit, lambda backend: backend.get_password(SERVICE, user))


def delete(user: str, limit: float) -> None:
    """Delete the entry of the service and ``user``.

    Raises:
        NoAnswer: The keyring does not do it, for example because there is no such entry.
    """
    _within(limit, lambda backend: backend.delete_password(SERVICE, user))


def session_bus(run: Path = Path("/run/user")) -> str | None:
    """The address of this user's session bus, if the environment lacks it and the bus is in its usual place.

    Programs that start MCP servers hand on a bare environment.
    """
    if os.environ.get(SESSION_BUS):
        return None
    path = run / str(os.geteuid()) / "bus"
    try:
        status = path.lstat()
    except OSError:
        return None
    ours = stat.S_ISSOCK(status.st_mode) and status.st_uid == os.geteuid()
    return f"unix:path={path}" if ours else None


class _Outcome(Generic[T]):
    """What a thread leaves behind: an answer, or else what is the matter."""

    answer: T
    finding = Finding.FAILED


def _within(limit: float, call: Callable[["KeyringBackend"], T]) -> T:
    outcome: _Outcome[T] = _Outcome()

    def work() -> None:
        try:
            import keyring

            outcome.answer = call(keyring.get_keyring())
            outcome.finding = Finding.USABLE
        except Exception as error:
            outcome.finding = finding_of(error)

    # A daemon: a keyring that never answers must not keep the process from ending either.
    thread = Thread(target=work, name="vaultctl-keyring", daemon=True)
    with _session_bus_in_environment():
        thread.start()
        thread.join(limit)
    if thread.is_alive():
        raise NoAnswer(_silence(limit))
    if outcome.finding is not Finding.USABLE:
        raise NoAnswer(reason_of(outcome.finding))
    return outcome.answer


@contextmanager
def _session_bus_in_environment() -> Iterator[None]:
    address = session_bus()
    if address is None:
        yield
        return
    os.environ[SESSION_BUS] = address
    try:
        yield
    finally:
        os.environ.pop(SESSION_BUS, None)


def _silence(limit: float) -> str:
    return f"no answer within {limit:g} seconds"
