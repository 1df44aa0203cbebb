"""What an audit entry's bytes say, and by which columns it is found.

The columns are derived from the bytes by :func:`columns_of` alone, so that a reader can check that they agree.
"""

from typing import Any, NamedTuple

from vaultctl.domain.errors import InternalError
from vaultctl.ledger.canonical import canonical_json

MAX_ENTRY_BYTES = 65_535
"""The length prefix of an entry in a C2SP tlog-tiles bundle has 16 bits."""


class Columns(NamedTuple):
    """By what an entry is found.

    ``agent`` and ``session_id`` say whose trail it belongs to: the actor's, or the one acted upon.
    """

    event: str
    agent: str | None
    session_id: str | None
    credential_name: str | None
    lease_id: str | None


def entry_bytes(entry: dict[str, Any]) -> bytes:
    """The canonical bytes of an entry.

    Raises:
        InternalError: They are too many; what callers send is bounded long before.
    """
    data = canonical_json(entry)
    if len(data) > MAX_ENTRY_BYTES:
        raise InternalError(f"An audit entry has {len(data)} bytes; at most {MAX_ENTRY_BYTES} are possible.")
    return data


def columns_of(entry: dict[str, Any]) -> Columns:
    """The columns of an entry, from its content."""
    identity, details = entry["identity"], entry["details"]
    return Columns(
        event=entry["event"],
        agent=identity.get("name") or details.get("agent"),
        session_id=identity.get("sessionId") or details.get("sessionId"),
        credential_name=entry.get("credentialName"),
        lease_id=entry.get("leaseId"),
    )
