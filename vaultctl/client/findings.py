"""What ``doctor`` finds, on this machine or at a server."""

from datetime import timedelta
from typing import Literal

from vaultctl.domain.errors import VaultError
from vaultctl.domain.records import Record

SOON = timedelta(days=7)
"""How long before it expires a token is worth a warning."""


class Finding(Record):
    """One thing that was looked at, or mended."""

    check: str
    level: Literal["ok", "warning", "problem", "fixed"]
    message: str
    hint: str | None = None


def problem(check: str, error: VaultError) -> Finding:
    """An error as a finding."""
    return Finding(check=check, level="problem", message=error.message, hint=error.hint or None)
