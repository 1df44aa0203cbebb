"""Free text that callers send, and text made safe to show."""

import re
import unicodedata
from collections.abc import Mapping

from vaultctl.domain.errors import InvalidInput

MAX_FREE_TEXT = 500
_METADATA_KEY = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}", re.ASCII)
_MAX_METADATA_KEYS = 32
_MAX_CLAIMS = 8

# Other, control (C0, C1), format (zero-width, bidi), surrogates, and line or paragraph separators.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def check_free_text(text: str, what: str) -> str:
    """``text`` itself, if it may be kept in the audit log.

    Raises:
        InvalidInput: It is longer than 500 characters or holds control characters.
    """
    if len(text) > MAX_FREE_TEXT:
        raise InvalidInput(f"The {what} is longer than {MAX_FREE_TEXT} characters.", hint="Say it shorter.")
    if text.isascii() and text.isprintable():
        return text
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
        raise InvalidInput(f"The {what} holds control characters.", hint="Write it as one line of plain text.")
    return text


def check_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """``metadata`` as a plain dictionary, if its keys are names and its values free text.

    Raises:
        InvalidInput: There are more than 32 entries, or one is malformed.
    """
    if len(metadata) > _MAX_METADATA_KEYS:
        raise InvalidInput(f"More than {_MAX_METADATA_KEYS} metadata entries.", hint="Keep what is searched for.")
    for key, value in metadata.items():
        if not _METADATA_KEY.fullmatch(key):
            raise InvalidInput(
                "A metadata key is malformed.", hint="Keys are up to 64 letters, digits, '.', '_' or '-'."
            )
        check_free_text(value, "metadata value")
    return dict(metadata)


def check_claims(claimed: Mapping[str, str]) -> dict[str, str]:
    """What a caller says of itself, if it is metadata of at most 8 entries: it must fit into an audit entry.

    Raises:
        InvalidInput: It is not.
    """
    if len(claimed) > _MAX_CLAIMS:
        raise InvalidInput(f"More than {_MAX_CLAIMS} claims.", hint="Claim less.")
    return check_metadata(claimed)


def safe(text: str) -> str:
    """``text`` made safe for a terminal: C0, C1, bidi, zero-width and unassigned characters are escaped."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _UNSAFE_CATEGORIES else c for c in text)


def safe_csv(text: str) -> str:
    """:func:`safe`, and quoted where a spreadsheet would take the cell for a formula."""
    shown = safe(text)
    return "'" + shown if shown[:1] in ("=", "+", "-", "@") else shown


def _escape(character: str) -> str:
    point = ord(character)
    return f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
