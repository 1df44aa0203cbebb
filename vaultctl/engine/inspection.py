"""A look at everything that is stored, for ``doctor``: what does not verify, and logs that do not add up."""

from typing import NamedTuple

from vaultctl.engine.superseded import superseded_rows
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import (
    CredentialRow,
    EntryRow,
    LeaseRow,
    LogRow,
    MemberRow,
    Row,
    SessionRow,
    TenantRow,
    TokenRow,
)

_AUTHORITY: tuple[type[Row], ...] = (TenantRow, CredentialRow, TokenRow, MemberRow, SessionRow, LeaseRow, LogRow)
_MOST = 1_000_000


class Inspection(NamedTuple):
    """What is not as it should be. Rows are named as ``table (key)``."""

    changed: list[str]
    """Rows that something other than the vault wrote."""
    superseded: list[str]
    """Rows that the vault wrote, and that grant what the audit log says was withdrawn since."""
    incomplete: list[str]
    """Tenants with entries that are missing or were added."""


def inspect(tx: Transaction) -> Inspection:
    """Look at all rows that grant authority and at all logs."""
    tenants = [log.tenant for log in tx.find_unchecked(LogRow, order="tenant", limit=_MOST)]
    superseded = [_named(row) for tenant in tenants for row in superseded_rows(tx, tenant)]
    return Inspection(_changed_rows(tx), superseded, _incomplete_logs(tx))


def _changed_rows(tx: Transaction) -> list[str]:
    """The rows that grant authority, and heads of logs, that are not as the vault wrote them.

    The head of a log from before there were trees has no code yet.
    """
    found = []
    for row_type in _AUTHORITY:
        for row in tx.find_unchecked(row_type, limit=_MOST):
            if not tx.is_authentic(row) and not (isinstance(row, LogRow) and row.mac is None):
                found.append(_named(row))
    return found


def _incomplete_logs(tx: Transaction) -> list[str]:
    """The tenants whose audit log has fewer or more entries than its head says."""
    return [
        log.tenant
        for log in tx.find(LogRow, order="tenant")
        if tx.count(EntryRow, Where("tenant", "=", log.tenant)) != log.size
        or tx.count(EntryRow, Where("tenant", "=", log.tenant), Where("seq", "<", log.size)) != log.size
    ]


def _named(row: Row) -> str:
    return f"{row.table} ({', '.join(str(getattr(row, column)) for column in row.key)})"
