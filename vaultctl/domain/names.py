"""Names and globs. A name is taken exactly as written or refused; it is never normalised."""

import re
from collections.abc import Iterable

from vaultctl.domain.errors import InvalidInput

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}", re.ASCII)
_GLOB = re.compile(r"[a-z0-9*?][a-z0-9._*?-]{0,127}", re.ASCII)
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}", re.ASCII)
_EMAIL_GLOB = re.compile(r"[A-Za-z0-9._%+@*?-]{1,254}", re.ASCII)
_SESSION = re.compile(r"(?:cortex|mcp)_sess_[A-Za-z0-9_-]{1,64}", re.ASCII)


def is_name(text: str) -> bool:
    """Whether ``text`` is a legal name."""
    return _NAME.fullmatch(text) is not None


def check_name(name: str, what: str) -> str:
    """``name`` itself, if it is a legal name of a ``what`` (tenant, credential, agent).

    Raises:
        InvalidInput: It is not; the text is not quoted, since it may be a secret in the wrong place.
    """
    if not is_name(name):
        raise InvalidInput(
            f"That is not a {what} name.",
            hint="Names are 1 to 128 of a-z, 0-9, '.', '_' and '-', and start with a letter or digit.",
        )
    return name


def check_email(email: str) -> str:
    """``email`` itself, if it looks like one.

    Raises:
        InvalidInput: It does not.
    """
    if not _EMAIL.fullmatch(email):
        raise InvalidInput("That is not an e-mail address.", hint="For example alice@example.com.")
    return email


def check_session_id(session_id: str) -> str:
    """``session_id`` itself, if it is one of Cortex or of an MCP client.

    Raises:
        InvalidInput: It is not.
    """
    if not _SESSION.fullmatch(session_id):
        raise InvalidInput(
            "That is not a session id.",
            hint="A session id is cortex_sess_ or mcp_sess_ and up to 64 letters, digits, '_' or '-'.",
        )
    return session_id


def check_glob(glob: str, what: str) -> str:
    """``glob`` itself, if it could match a name of a ``what``.

    Raises:
        InvalidInput: It could not.
    """
    pattern = _EMAIL_GLOB if what == "human" else _GLOB
    if not pattern.fullmatch(glob):
        raise InvalidInput(
            f"That is not a glob for a {what}.",
            hint="A glob is a name in which '*' stands for any text and '?' for one character.",
        )
    return glob


def matches_one(globs: Iterable[str], name: str) -> bool:
    """Whether one of ``globs`` matches the whole of ``name``."""
    for glob in globs:  # noqa: SIM110 — a generator would cost as much again as the globs
        if matches(glob, name):
            return True
    return False


def matches(glob: str, name: str) -> bool:
    """Whether ``glob`` matches the whole of ``name``, case included.

    Two pointers instead of a regular expression, which a hostile glob could make backtrack for ever.
    """
    if "?" not in glob:
        star = glob.find("*")
        if star < 0:
            return glob == name
        if star == len(glob) - 1:
            return name.startswith(glob[:-1])
    g = n = 0
    star = mark = -1
    while n < len(name):
        if g < len(glob) and glob[g] == "*":
            star, mark = g, n
            g += 1
        elif g < len(glob) and glob[g] in ("?", name[n]):
            g += 1
            n += 1
        elif star >= 0:
            mark += 1
            g, n = star + 1, mark
        else:
            return False
    return all(c == "*" for c in glob[g:])
