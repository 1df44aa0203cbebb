"""Tokens in the OS keyring, each under a user name of its own. Who remembers that name is for others to know.

As a program it tells whether a token can be read by whoever started it: programs that start MCP servers hand on a
bare environment, in which a keyring that works on a terminal need not answer.
"""

import hashlib
import os
import sys
from collections.abc import Mapping

from vaultctl.crypto.os_keyring import LIMIT, delete, keep, limit, look_up, unusable_reason
from vaultctl.crypto.os_keyring import NoAnswer as NoAnswer
from vaultctl.domain.secrets import Secret

BARE_ENVIRONMENT = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""The variables that a program which starts an MCP server hands on."""


def put(prefix: str, token: Secret) -> tuple[str, str | None]:
    """Keep ``token``.

    Returns:
        The user name of its entry, which begins with ``prefix``, and why it is not there, if it is not.
    """
    user = f"{prefix} {os.urandom(4).hex()}"
    reason = unusable_reason()
    if reason is None:
        try:
            keep(user, token.reveal(), _limit())
        except NoAnswer as silence:
            reason = silence.reason
    return user, reason


def get(user: str) -> Secret | None:
    """The token of ``user``; None if it is there no longer.

    Raises:
        NoAnswer: The keyring does not answer.
    """
    text = look_up(user, _limit())
    return None if text is None else Secret(text)


def drop(user: str) -> str | None:
    """Why the entry of ``user`` can't be deleted; None if it is gone, or never was there."""
    try:
        if look_up(user, _limit()) is not None:
            delete(user, _limit())
    except NoAnswer as silence:
        return silence.reason
    return None


def is_readable_from(environment: Mapping[str, str], user: str, token: Secret) -> bool:
    """Whether a process with ``environment`` gets ``token`` out of the keyring, tried with one."""
    import subprocess

    wanted = hashlib.sha256(token.reveal().encode()).hexdigest()
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-m", "vaultctl.client.keyring_tokens"],
            env=dict(environment),
            input=f"{user}\n{wanted}\n".encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=2 * LIMIT,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError, ValueError):
        return False
    return child.returncode == 0


def _limit() -> float:
    return limit(interactive=sys.stdin is not None and sys.stdin.isatty())


def _try_here() -> int:
    user, wanted = sys.stdin.read().splitlines()
    try:
        token = get(user)
    except NoAnswer:
        return 1
    return int(token is None or hashlib.sha256(token.reveal().encode()).hexdigest() != wanted)


if __name__ == "__main__":
    sys.exit(_try_here())
