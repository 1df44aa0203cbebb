"""What a store offers to the engine, whichever database stands behind it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from vaultctl.store.rows import LogRow, Row

R = TypeVar("R", bound=Row)

Clock = Callable[[], int]
"""The time in microseconds since 1970."""


class Conflicted(Exception):
    """The transaction did not commit and may be run again.

    Another one was in its way (SQLSTATE 40001, 40P01, a key that was just taken), or the connection broke before the
    commit was asked for. Whoever runs transactions runs it again, within bounds; it never reaches a caller.
    """


class Where(NamedTuple):
    """A condition on one column, on several compared as a tuple, or on an expression compared with a number.

    ``is`` takes None.
    """

    column: str | tuple[str, ...]
    operator: Literal["=", "!=", "<", "<=", ">", ">=", "in", "is"]
    value: Any


class StoreTransaction(Protocol):
    """One transaction. What it read and wrote is one consistent state."""

    @property
    def now(self) -> int:
        """The transaction's time, read once; never below the last entry of any log."""
        ...

    @property
    def writable(self) -> bool:
        """Whether it may write."""
        ...

    def hold(self, tenants: Collection[str], *, wait: bool = True) -> Mapping[str, LogRow]:
        """Take the heads of these tenants' logs, in order of name, until the transaction ends.

        A transaction that writes to a tenant holds its head from before its first read there: so the writes of one
        tenant form one sequence, on however many nodes they run, and it is the sequence of its log. ``now`` is read
        anew afterwards. Where writers take turns anyway, nothing is to be done.

        Args:
            tenants: Which ones; names that no log has are passed over.
            wait: Whether to wait for heads that other transactions hold; else they are left out.

        Returns:
            The heads that are held now, by tenant.
        """
        ...

    def get(self, row_type: type[R], *key: str | int) -> R | None:
        """The row with that primary key, or None."""
        ...

    def find(
        self, row_type: type[R], *conditions: Where, order: str = "", descending: bool = False, limit: int | None = None
    ) -> list[R]:
        """The rows that meet all conditions; ``order`` names columns, separated by commas."""
        ...

    def count(self, row_type: type[Row], *conditions: Where) -> int:
        """How many rows meet all conditions."""
        ...

    def totals(
        self, row_type: type[Row], by: Sequence[str], *conditions: Where, of: str | None = None
    ) -> list[tuple[Any, ...]]:
        """How many rows that meet all conditions have each of the values of ``by``, which come first.

        ``by`` names columns or expressions; ``of`` names a column that is added up rather than rows be counted.
        """
        ...

    def first_entry_from(self, tenant: str, time: int) -> int | None:
        """The number that the first entry from a time on has in a log, or would have; None if entries are missing."""
        ...

    def insert(self, row: Row) -> None:
        """Add a row. It is sent when its table is read, or before the commit; only then can it be refused."""
        ...

    def update(self, row: Row, columns: Sequence[str] | None = None) -> None:
        """Replace the row that has the same primary key, or only the ``columns`` of it that change.

        It is sent like one that is added.
        """
        ...

    def flush(self) -> None:
        """Send what was written, so that not all of it is kept in memory until the end."""
        ...

    def delete(self, row_type: type[Row], *conditions: Where) -> None:
        """Remove the rows that meet all conditions; at least one is needed."""
        ...


class Store(Protocol):
    """A database that holds one vault."""

    @property
    def schema_version(self) -> int:
        """The version of the database's schema."""
        ...

    def read(self, *, by_clock: bool = False) -> AbstractContextManager[StoreTransaction]:
        """A read transaction: a snapshot that never waits for writers.

        ``by_clock`` takes the clock's word for the time, whatever the last entries say, for whoever is to look at them.
        """
        ...

    def write(self, patience: float | None = None) -> AbstractContextManager[StoreTransaction]:
        """A write transaction, the only one at a time; commits on exit, rolls back on an exception.

        ``patience`` is how many seconds to wait for other writers, if not the store's own.
        """
        ...

    def maintain(self) -> None:
        """What is better done between transactions than in one, by whoever writes. It does nothing most of the time."""
        ...

    def clock_and_last_entry(self) -> tuple[int, int]:
        """The time that counts, and that of the last audit entry, in microseconds since 1970."""
        ...

    def problems(self) -> list[str]:
        """What is wrong with the database itself; empty if nothing."""
        ...

    def warnings(self) -> list[str]:
        """What about the database may lose what was acknowledged, each with what to do; empty if nothing."""
        ...

    def close(self) -> None:
        """Give back files and connections."""
        ...
