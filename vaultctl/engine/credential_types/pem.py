"""PEM (RFC 7468): text blocks between BEGIN and END lines, in which keys and certificates come."""

import re
import warnings
from collections.abc import Callable
from threading import Lock
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9][A-Z0-9 ]{0,39})-----", re.ASCII)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)
_quiet = Lock()


class Block(NamedTuple):
    """One block. It prints without its content."""

    label: str
    lines: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Block(label={self.label!r}, lines=****)"

    @property
    def is_private_key(self) -> bool:
        """Whether it is a private key of any form."""
        return self.label.endswith("PRIVATE KEY")

    @property
    def is_encrypted(self) -> bool:
        """Whether it is a key that needs a passphrase: PKCS #8, or with RFC 1421 headers."""
        return self.label.startswith("ENCRYPTED ") or any(
            line.startswith("Proc-Type:") and "ENCRYPTED" in line for line in self.lines
        )

    def encode(self) -> bytes:
        """The block alone."""
        return "\n".join((f"-----BEGIN {self.label}-----", *self.lines, f"-----END {self.label}-----", "")).encode()


class Pem(NamedTuple):
    """What a text holds. It prints without its content."""

    blocks: tuple[Block, ...]
    has_other_text: bool
    """Whether there is more than whitespace between the blocks."""
    is_complete: bool
    """Whether every block ends."""


def scan(text: str) -> Pem:
    """The blocks of ``text``, in time linear to its length."""
    blocks: list[Block] = []
    label = ""
    lines: list[str] = []
    has_other_text = False
    for raw in text.split("\n"):
        line = raw.strip()
        begin = _BEGIN.fullmatch(line)
        if begin and not label:
            label, lines = begin[1], []
        elif label and line == f"-----END {label}-----":
            blocks.append(Block(label, tuple(lines)))
            label = ""
        elif label:
            lines.append(line)
        else:
            has_other_text = has_other_text or bool(line)
    return Pem(tuple(blocks), has_other_text, is_complete=not label)


def private_lines(text: str) -> list[str]:
    """The base64 lines of the private keys in ``text``."""
    blocks = scan(text).blocks
    return [line for block in blocks if block.is_private_key for line in block.lines if _BASE64.fullmatch(line)]


def parsed(parse: Callable[[], T]) -> T | None:
    """What ``parse`` makes of a hostile text; None if it refuses it, whatever it raises.

    Its exceptions may quote the text, and its warnings about old algorithms concern nobody here: what is too old is
    refused by name.
    """
    # `catch_warnings` swaps a list of the whole process, so one thread at a time.
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return parse()
        except Exception:
            return None
