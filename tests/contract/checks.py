"""What the tests of the contract check again and again."""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.contract.world import store_behind
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import NotFound, VaultError
from vaultctl.domain.records import AuditEntry, Event
from vaultctl.domain.wire import to_json_object
from vaultctl.engine import views
from vaultctl.store.interface import Where
from vaultctl.store.rows import (
    CredentialRow,
    EntryRow,
    LeaseRow,
    LogRow,
    Row,
    SessionRow,
    TenantRow,
    TokenRow,
    VersionRow,
)

DENIALS = {Event.LEASE_DENIED, Event.ACCESS_DENIED}

STATE: tuple[type[Row], ...] = (TenantRow, CredentialRow, VersionRow, TokenRow, SessionRow, LeaseRow)
"""The tables that are what a vault is, the log and what serves the transport left out."""


class Trail:
    """What a tenant's log gains from now on, read behind the door: these tests ask for it after every step."""

    def __init__(self, admin: Vault) -> None:
        self._store = store_behind(admin)
        self._tenant = admin.whoami().tenant
        with self._store.read() as tx:
            log = tx.get(LogRow, self._tenant)
        assert log is not None
        self._seen = log.size

    def gained(self) -> list[AuditEntry]:
        """The entries since the last time."""
        with self._store.read() as tx:
            rows = tx.find(EntryRow, Where("tenant", "=", self._tenant), Where("seq", ">=", self._seen), order="seq")
        self._seen += len(rows)
        return [views.entry(row) for row in rows]

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
    """All that is in the vault, every tenant's, but for the logs and for signs of life."""
    with store_behind(admin).read() as tx:
        tables = [tx.find(row_type, order=", ".join(row_type.key)) for row_type in STATE]
    return [[_without_signs_of_life(row) for row in rows] for rows in tables]


def refused(admin: Vault, error: type[VaultError], act: Callable[[], object]) -> Refused:
    """``act`` is refused with exactly ``error``, leaves exactly one denial, and changes nothing else."""
    trail, before = Trail(admin), state_of(admin)
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
    trail, before = Trail(admin), state_of(admin)
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


def _without_signs_of_life(row: Row) -> Row:
    return msgspec.structs.replace(row, last_seen_at=0, mac=b"") if isinstance(row, SessionRow) else row
