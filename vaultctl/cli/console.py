"""The only module that writes stderr: what is said to people beside the data, and what they are asked."""

import os
import sys
from typing import TYPE_CHECKING, TextIO

from vaultctl.domain.errors import InvalidInput, VaultError

if TYPE_CHECKING:
    from vaultctl.domain.secrets import Secret


def wants_colour(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal, and nothing in the environment asks for plain text."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, sgr: str, stream: TextIO) -> str:
    """``text`` with the ANSI attributes ``sgr`` (``31``: red), where ``stream`` shows them."""
    return f"\x1b[{sgr}m{text}\x1b[0m" if wants_colour(stream) else text


def say(text: str) -> None:
    """One line for people."""
    _write(f"{_safe(text)}\n")


def redraw(text: str) -> None:
    """Put ``text`` in the place of the terminal's current line, which stays the current one."""
    _write(f"\r\x1b[K{_safe(text)}")


def warn(text: str, hint: str = "") -> None:
    """Something that is not wrong but wants attention."""
    _labelled("warning", "33", text, hint)


def report(error: VaultError) -> None:
    """An error: what happened, and what to do next."""
    _labelled("error", "31", error.message, error.hint)


def report_usage(message: str, hint: str) -> None:
    """A command line that can't be understood."""
    _labelled("error", "31", message, hint)


def report_unexpected(error: BaseException) -> None:
    """A defect of ours: its class and no more, since its text, or its locals, could hold a secret.

    With ``VAULT_LOG_LEVEL=debug`` also where it happened, in the form of a traceback without texts.
    """
    import traceback

    from vaultctl import __version__

    debug = os.environ.get("VAULT_LOG_LEVEL", "").lower() == "debug"
    link: BaseException | None = error
    while debug and link is not None:
        _write("".join(traceback.format_list(traceback.extract_tb(link.__traceback__))))
        _write(f"{type(link).__name__}\n")
        link = link.__cause__ or link.__context__
    hint = f"This is a defect of vaultctl {__version__}: please report it"
    _labelled(
        "unexpected error",
        "31",
        type(error).__name__,
        f"{hint}, with what is above." if debug else f"{hint}. VAULT_LOG_LEVEL=debug shows where it happened.",
    )


def ask(question: str) -> bool:
    """Ask a yes-or-no question on the terminal. Anything but yes is no."""
    _write(f"{_safe(question)} [y/N] ")
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        _write("\n")
    return answer.strip().lower() in ("y", "yes")


def ask_hidden(what: str, *, confirm: bool = False) -> "Secret":
    """Ask for a secret, which is not echoed.

    Args:
        what: Its name, capitalised.
        confirm: Ask twice.

    Raises:
        InvalidInput: It is empty, or the two answers differ.
    """
    from getpass import getpass

    from vaultctl.domain.secrets import Secret

    try:
        answer = getpass(f"{what}: ")
        if not answer:
            raise InvalidInput(f"The {what.lower()} is empty.", hint="Nothing was changed; try again.")
        if confirm and getpass(f"{what} again: ") != answer:
            raise InvalidInput("The two answers differ.", hint="Nothing was changed; try again.")
    except EOFError:
        raise InvalidInput(f"No {what.lower()} was given.", hint="Nothing was changed; try again.") from None
    return Secret(answer)


def _labelled(label: str, sgr: str, text: str, hint: str) -> None:
    _write(f"{painted(label + ':', sgr, sys.stderr)} {_safe(text)}\n")
    if hint:
        _write(f"{painted('hint:', '2', sys.stderr)} {_safe(hint)}\n")


def _safe(text: str) -> str:
    from vaultctl.domain.text import safe

    return safe(text)


def _write(text: str) -> None:
    # Nobody can be told that stderr is closed.
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
