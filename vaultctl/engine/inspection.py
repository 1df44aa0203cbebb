"""A look at everything that is stored, for ``doctor``: what does not verify, and logs that do not add up."""

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


def changed_rows(tx: Transaction) -> list[str]:
    """The rows that grant authority, and heads of logs, that are not as the vault wrote them, as ``table (key)``.

    The head of a log from before there were trees has no code yet.
    """
    found = []
    for row_type in _AUTHORITY:
        for row in tx.find_unchecked(row_type, limit=_MOST):
            if not tx.is_authentic(row) and not (isinstance(row, LogRow) and row.mac is None):
                found.append(f"{row.table} ({', '.join(str(getattr(row, column)) for column in row.key)})")
    return found


def incomplete_logs(tx: Transaction) -> list[str]:
    """The tenants whose audit log has fewer or more entries than its head says."""
    return [
        log.tenant
        for log in tx.find(LogRow, order="tenant")
        if tx.count(EntryRow, Where("tenant", "=", log.tenant)) != log.size
        or tx.count(EntryRow, Where("tenant", "=", log.tenant), Where("seq", "<", log.size)) != log.size
    ]
