"""What several types share: single-line values, and attributes made fit to show."""

import re
import unicodedata

from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.text import MAX_FREE_TEXT, safe

_VISIBLE_ASCII = re.compile(r"[!-~]+", re.ASCII)


def attribute(text: str) -> str:
    """``text`` without control characters, at most 500 characters of it."""
    return safe(text)[:MAX_FREE_TEXT]


def check_visible_ascii(value: str, what: str, shortest: int, longest: int) -> None:
    """Raise InvalidInput unless ``value`` is so many visible ASCII characters."""
    if not _VISIBLE_ASCII.fullmatch(value):
        raise InvalidInput(
            f"The {what} holds spaces, line ends or characters outside ASCII.",
            hint=f"Give the {what} alone, without quotes or a heading.",
        )
    if not shortest <= len(value) <= longest:
        raise InvalidInput(
            f"The {what} has fewer than {shortest} or more than {longest} characters.",
            hint="Was it cut short? Other kinds of secret can be stored as generic-secret.",
        )


def check_one_line(value: str, what: str) -> None:
    """Raise InvalidInput if ``value`` holds whitespace, control or invisible characters."""
    if any(c.isspace() or unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in value):
        raise InvalidInput(
            f"The {what} holds spaces, line ends or invisible characters.",
            hint=f"Give the {what} alone, on one line; encode spaces inside it as %20.",
        )
