"""What a writer remembers of tenants, so that it need not read and authenticate the same rows for every operation.

Whoever holds a tenant's log is the only one that writes to the tenant, and every change to the rows that are
remembered leaves an entry there. So within a transaction what was read stays true, and from one transaction to the next
if the log has not grown meanwhile by anyone else's hand: its head is the very one that was left. If it has, the rows
are as they were while the head's ``authority`` is the one that was left. That the log is as long, or that as much has
changed, would not do, for a database that was set back, to a backup or to what a standby had, grows anew. Names that
are not there are remembered as well: to look for them again takes as long as for one that is there.
"""

from collections.abc import Iterable
from typing import Any

from vaultctl.domain.records import LeaseState
from vaultctl.store.rows import CredentialRow, LeaseRow, LogRow, MemberRow, Row, TenantRow, TokenRow, VersionRow

KEPT = (TenantRow, CredentialRow, VersionRow, TokenRow, MemberRow)
"""Rows that never change without an entry in their tenant's log."""

_MOST_TENANTS = 64
_MOST_ROWS = 20_000

Key = tuple[Any, ...]
Value = tuple[str, int, str]
"""A credential's id, one of its versions, and its name."""


class TenantMemory:
    """What is known of one tenant.

    Attributes:
        rows: Authenticated rows by type and primary key; None for one that is not there.
        leased: The values that a session or a token has leased.
        made: What was made of its rows, such as values that were opened. It is forgotten in time.
        judged: What was judged by its rows; forgotten as well.
        fragments: What a session or a token must not disclose; forgotten as well.
        leaves: The hashes of the entries behind the last full tile of its log's tree, if they are known.
    """

    __slots__ = ("fragments", "judged", "leased", "leaves", "made", "rows")

    def __init__(self) -> None:
        self.rows: dict[type[Row], dict[Key, Row | None]] = {}
        self.leased: dict[Key, dict[Value, None]] = {}
        self.made: dict[Key, Any] = {}
        self.judged: dict[Key, Any] = {}
        self.fragments: dict[Key, tuple[str, ...]] = {}
        self.leaves: list[bytes] | None = None

    def of(self, row_type: type[Row]) -> dict[Key, Row | None]:
        """The rows of one type."""
        rows = self.rows.get(row_type)
        if rows is None:
            rows = self.rows[row_type] = {}
        return rows

    def note_lease(self, row: LeaseRow) -> None:
        """Keep what is known of leased values true to a lease that was made or changed."""
        if row.state != LeaseState.ACTIVE:  # a token's are those of its active leases
            self.leased.pop(("token", row.token_id), None)
            self.fragments.pop(("token", row.token_id), None)
            return
        value = (row.credential_id, row.credential_version, row.credential_name)
        for scope in (("session", row.session_id), ("token", row.token_id)):
            if scope in self.leased and value not in self.leased[scope]:
                self.leased[scope][value] = None
                self.fragments.pop(scope, None)

    @property
    def size(self) -> int:
        """How much it holds."""
        rows = sum(map(len, self.rows.values())) + sum(map(len, self.leased.values()))
        return rows + len(self.made) + len(self.judged)

    def retain(self) -> None:
        """Forget what does not outlive a transaction."""
        for row_type in self.rows.keys() - KEPT:
            del self.rows[row_type]

    def forget_opened(self) -> None:
        """Forget values that were opened, and what was made of them."""
        self.made = {}
        self.judged = {}
        self.fragments = {}


class Memory:
    """What is remembered from one transaction to the next, while nobody else writes."""

    def __init__(self) -> None:
        self._tenants: dict[str, tuple[LogRow, TenantMemory]] = {}
        self.tokens: dict[bytes, Key] = {}
        """The primary keys of tokens by hash: where to look, not what is there."""

    def has_left(self, log: LogRow) -> bool:
        """Whether ``log`` is the very head that the transaction before left."""
        return log.tenant in self._tenants and self._tenants[log.tenant][0] == log

    def recall(self, log: LogRow) -> TenantMemory:
        """What is known of a tenant whose log has the head ``log``, an authentic one. To be known again it is kept."""
        if log.tenant not in self._tenants:
            return TenantMemory()
        head, known = self._tenants.pop(log.tenant)
        if head == log:
            return known
        if log.authority is None or head.authority != log.authority:
            return TenantMemory()
        known.leased, known.fragments, known.leaves = {}, {}, None
        return known

    def keep(self, known: Iterable[tuple[LogRow, TenantMemory]]) -> None:
        """Remember what was known when a transaction had committed."""
        for log, tenant in known:
            tenant.retain()
            if tenant.size < _MOST_ROWS:
                self._tenants[log.tenant] = log, tenant
        while len(self._tenants) > _MOST_TENANTS:
            del self._tenants[next(iter(self._tenants))]
        if len(self.tokens) > _MOST_ROWS:
            self.tokens.clear()

    def forget_opened(self) -> None:
        """Forget values that were opened: a transaction that needs one opens it again.

        Among many transactions a second that is most of what they do; when none come, no value stays behind.
        """
        for _, tenant in self._tenants.values():
            tenant.forget_opened()
