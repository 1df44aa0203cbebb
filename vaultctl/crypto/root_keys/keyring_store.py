"""The root key in the OS keyring: service ``vaultctl``, user name the key's id, the key in base64.

Nothing here may hang. A keyring is tried in a child process that can be killed; afterwards it is used in a
daemon thread with a limit: short where nobody is at a terminal, long enough to unlock it where somebody is.
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

from vaultctl.crypto.root_keys import keyring_probe
from vaultctl.crypto.root_keys.keyring_probe import SERVICE, Finding, finding_of, judge, reason_of
from vaultctl.crypto.root_keys.shape import ProviderContext, RootKey
from vaultctl.domain.errors import VaultError, VaultLocked
from vaultctl.domain.ids import RandomBytes

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

LIMIT = 3.0
"""Seconds that a keyring has to answer when nobody is there to unlock it."""
LIMIT_WITH_A_PERSON = 60.0
"""Seconds that it has when somebody is."""

_BUS = "DBUS_SESSION_BUS_ADDRESS"


class NoUsableKeyring(VaultLocked):
    """No keyring is there that could keep a root key.

    Attributes:
        reason: Why, in words that fit into brackets.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"No usable OS keyring answered: {reason}.",
            hint="Unlock or install one, or keep the root key elsewhere: --root-key file, or --root-key passphrase",
        )
        self.reason = reason


class _NoAnswer(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def unusable_reason(limit: float = LIMIT) -> str | None:
    """Why the OS keyring can't keep a root key; None if it can. Takes at most ``limit`` seconds."""
    environment = dict(os.environ)
    address = session_bus()
    if address:
        environment[_BUS] = address
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


def create(ctx: ProviderContext, random: RandomBytes) -> tuple[RootKey, str]:
    """Store a new key, and read it back.

    Raises:
        NoUsableKeyring: There is no keyring, or none that keeps secrets.
    """
    reason = unusable_reason()
    if reason is not None:
        raise NoUsableKeyring(reason)
    root = RootKey.new(random)
    text = root.encode()

    def store(backend: "KeyringBackend") -> Finding:
        finding = judge(backend)
        if finding is not Finding.USABLE:
            return finding
        backend.set_password(SERVICE, root.id, text)
        return Finding.USABLE if backend.get_password(SERVICE, root.id) == text else Finding.FORGETFUL

    try:
        finding = _within(_limit(ctx), store)
        reason = None if finding is Finding.USABLE else reason_of(finding)
    except _NoAnswer as silence:
        reason = silence.reason
    if reason is not None:
        raise NoUsableKeyring(reason)
    ctx.made.add(root.id)
    return root, f"The root key is in the OS keyring (service {SERVICE}, user {root.id})."


def load(key_id: str, ctx: ProviderContext, limit: float | None = None) -> RootKey:
    """The key of that id. Takes at most ``limit`` seconds; by default what ``ctx.interactive`` suggests.

    Raises:
        VaultLocked: The keyring does not answer in time, is locked, or has no such entry.
    """
    try:
        text = _within(_limit(ctx) if limit is None else limit, lambda it: it.get_password(SERVICE, key_id))
        reason = None
    except _NoAnswer as silence:
        text, reason = None, silence.reason
    if reason is not None:
        raise VaultLocked(
            f"The root key is in the OS keyring, which does not answer: {reason}.",
            hint="Unlock the keyring of the user who ran init. A program that starts vaultctl has to pass on "
            f"{_BUS} if the session bus is not in its usual place.",
        )
    if text is None:
        raise VaultLocked(
            f"The OS keyring has no root key of the vault in {ctx.vault_home}.",
            hint=f"It was stored as service {SERVICE}, user {key_id}: run vaultctl as the user who ran init, with the "
            "same keyring.",
        )
    root = RootKey.decode(key_id, text)
    if root is None:
        raise VaultLocked(
            "What the OS keyring keeps for this vault is not a root key.",
            hint=f"Put the entry of service {SERVICE}, user {key_id} back from its copy.",
        )
    return root


def forget(key_id: str, ctx: ProviderContext) -> None:
    """Delete the entry of that key.

    Raises:
        VaultLocked: The keyring does not do it.
    """
    try:
        _within(_limit(ctx), lambda it: it.delete_password(SERVICE, key_id))
        return
    except _NoAnswer as silence:
        reason = silence.reason
    raise VaultLocked(
        f"The OS keyring does not delete the root key: {reason}.",
        hint=f"Delete it by hand: service {SERVICE}, user {key_id}",
    )


def problems(key_id: str, ctx: ProviderContext) -> list[str]:
    """What keeps the key from being read."""
    try:
        load(key_id, ctx)
    except VaultError as error:
        return [f"{error.message} {error.hint}"]
    return []


def session_bus(run: Path = Path("/run/user")) -> str | None:
    """The address of this user's session bus, if the environment lacks it and the bus is in its usual place.

    Programs that start MCP servers hand on a bare environment.
    """
    if os.environ.get(_BUS):
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
        raise _NoAnswer(_silence(limit))
    if outcome.finding is not Finding.USABLE:
        raise _NoAnswer(reason_of(outcome.finding))
    return outcome.answer


@contextmanager
def _session_bus_in_environment() -> Iterator[None]:
    address = session_bus()
    if address is None:
        yield
        return
    os.environ[_BUS] = address
    try:
        yield
    finally:
        os.environ.pop(_BUS, None)


def _limit(ctx: ProviderContext) -> float:
    return LIMIT_WITH_A_PERSON if ctx.interactive else LIMIT


def _silence(limit: float) -> str:
    return f"no answer within {limit:g} seconds"
