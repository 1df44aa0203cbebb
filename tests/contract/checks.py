"""What the tests of the contract check again and again."""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from vaultctl.client.vault import Vault
from vaultctl.domain.errors import NotFound, VaultError
from vaultctl.domain.records import AuditEntry, Event
from vaultctl.domain.wire import to_json_object

DENIALS = {Event.LEASE_DENIED, Event.ACCESS_DENIED}


class Trail:
    """What a tenant's log gains from now on."""

    def __init__(self, admin: Vault) -> None:
        self._admin = admin
        self._seen = _size(admin)

    def gained(self) -> list[AuditEntry]:
        """The entries since the last time."""
        entries = list(self._admin.audit_log.after(self._seen - 1))
        self._seen += len(entries)
        return entries

    def events(self) -> Counter[str]:
        """How often each event came since the last time."""
        return Counter(entry.event.value for entry in self.gained())


class Refused(NamedTuple):
    """A refusal, from both sides."""

    error: VaultError
    entry: AuditEntry

    @property
    def rule(self) -> str:
        """Which rule refused, as the log has it."""
        return str(self.entry.details["rule"])


def state_of(admin: Vault) -> Any:
    """All of a tenant that an admin can see, but for the log."""
    credentials = admin.credentials.list()
    return (
        credentials,
        [admin.credentials.versions(credential.name) for credential in credentials],
        admin.leases.list(),
        admin.sessions.list(),
        admin.tokens.list(),
        admin.tenants.list(),
    )


def refused(admin: Vault, error: type[VaultError], act: Callable[[], object]) -> Refused:
    """``act`` is refused with exactly ``error``, leaves exactly one denial, and changes nothing else."""
    before, trail = state_of(admin), Trail(admin)
    with pytest.raises(VaultError) as raised:
        act()
    assert type(raised.value) is error
    entries = trail.gained()
    assert [entry.event in DENIALS for entry in entries] == [True], entries
    assert {"operation", "rule"} <= entries[0].details.keys()
    assert state_of(admin) == before
    return Refused(raised.value, entries[0])


def fails_unrecorded(admin: Vault, error: type[VaultError], act: Callable[[], object]) -> VaultError:
    """``act`` fails with exactly ``error`` without having been refused by a rule: no entry, no change."""
    before, trail = state_of(admin), Trail(admin)
    with pytest.raises(VaultError) as raised:
        act()
    assert type(raised.value) is error
    assert trail.gained() == []
    assert state_of(admin) == before
    return raised.value


def not_found(act: Callable[[], object]) -> str:
    """``act`` finds nothing; answers what the caller is told."""
    with pytest.raises(NotFound) as raised:
        act()
    return told(raised.value)


def told(error: VaultError, *names: str) -> str:
    """All that a caller is told by an error, with ``names`` made the same."""
    text = f"{type(error).__name__} {error.code} {error.http_status} {error.exit_status} {error} | {error.hint}"
    return re.sub("|".join(map(re.escape, names)), "NAME", text) if names else text


def as_text(record: Any) -> str:
    """A record, or several, as JSON without escapes."""
    return json.dumps(to_json_object(record), ensure_ascii=False)


def _size(admin: Vault) -> int:
    newest = admin.audit_log.query(limit=1)
    return newest[-1].seq + 1 if newest else 0
