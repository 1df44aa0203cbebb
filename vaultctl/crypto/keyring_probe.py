"""Tries the OS keyring with a random entry and exits with what it found.

It runs as a child process, because a locked keyring can hang for ever and only a process can be killed. It
never sees a key or a token, and imports nothing of ours.
"""

import contextlib
import secrets
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

SERVICE = "vaultctl"
"""The service under which all entries are."""


class Finding(IntEnum):
    """What is the matter with a keyring; the exit status of the probe."""

    USABLE = 0
    NONE = 10
    DISABLED = 11
    PLAIN_TEXT = 12
    FORGETFUL = 13
    LOCKED = 14
    FAILED = 15


_REASONS: dict[int, str] = {
    Finding.NONE: "there is none",
    Finding.DISABLED: "it is disabled",
    Finding.PLAIN_TEXT: "what there is would not protect it",
    Finding.FORGETFUL: "it does not keep what it is given",
    Finding.LOCKED: "it is locked",
}


def reason_of(status: int) -> str:
    """A finding, or another exit status of the probe, in words that fit into brackets."""
    return _REASONS.get(status, "it failed")


def judge(backend: "KeyringBackend") -> Finding:
    """Whether ``backend`` is one to trust with a secret, from what it says of itself.

    A priority below 1 is how keyring marks backends that it does not recommend: plain text files among them.
    """
    from keyring.backends import chainer, fail, null

    if isinstance(backend, null.Keyring):
        return Finding.DISABLED
    # A chain has a priority of its own, whatever it is made of; what counts is where it writes first.
    members: list[Any] = list(backend.backends) if isinstance(backend, chainer.ChainerBackend) else [backend]
    if not members or isinstance(members[0], fail.Keyring):
        return Finding.NONE
    return Finding.USABLE if members[0].priority >= 1 else Finding.PLAIN_TEXT


def finding_of(error: BaseException) -> Finding:
    """What an exception of a keyring says about it. Its text is not used: it could quote an entry."""
    from keyring import errors

    if isinstance(error, errors.NoKeyringError):
        return Finding.NONE
    return Finding.LOCKED if isinstance(error, errors.KeyringLocked) else Finding.FAILED


def probe() -> Finding:
    """Write, read back and delete a random entry in this process's keyring."""
    import keyring

    try:
        backend = keyring.get_keyring()
        finding = judge(backend)
        if finding is not Finding.USABLE:
            return finding
        user, value = f"probe-{secrets.token_hex(8)}", secrets.token_hex(16)
        backend.set_password(SERVICE, user, value)
        try:
            kept = backend.get_password(SERVICE, user) == value
        finally:
            backend.delete_password(SERVICE, user)
    except Exception as error:
        return finding_of(error)
    return Finding.USABLE if kept else Finding.FORGETFUL


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(probe())
