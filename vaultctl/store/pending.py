"""What a transaction has written and not sent yet.

It is sent before its table is read, and before the commit: many rows in one statement, many statements at once. Each
statement costs a round trip to a database beyond a network, and where the database is a library it lets another thread
of the process go first.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from msgspec.structs import astuple

from vaultctl.domain.errors import VerificationFailed
from vaultctl.store import statements
from vaultctl.store.rows import Row

MOST_ROWS = 64
"""Of one statement."""


class Statement(NamedTuple):
    """A statement, and how many rows it has to change."""

    sql: str
    parameters: list[Any]
    rows: int
    table: str

    def require_rows(self, changed: int) -> None:
        """Raise VerificationFailed if it changed another number of rows."""
        if changed != self.rows:
            raise VerificationFailed(
                f"The vault's database did not take a row of {self.table}, or one that was just read is gone.",
                hint="vaultctl doctor",
            )


class Pending:
    """What was added and replaced, by table, in order."""

    def __init__(self, mark: statements.WriteMark, *, few: bool) -> None:
        """``few`` is whether statements are of 1, 2, 4… rows only, where it is dear to prepare one for each number."""
        self._mark = mark
        self._few = few
        self._added: dict[type[Row], list[Row]] = {}
        self._before: dict[type[Row], list[Statement]] = {}
        """Statements that come before the rows that were added since."""

    def add(self, row: Row) -> None:
        """Add a row."""
        rows = self._added.get(type(row))
        if rows is None:
            rows = self._added[type(row)] = []
        rows.append(row)

    def replace(self, row: Row, columns: Sequence[str] | None) -> None:
        """Replace the row that has the same primary key, or only some of its columns."""
        if columns is None:
            columns = [column for column in row.__struct_fields__ if column not in row.key]
        parameters = [getattr(row, column) for column in (*columns, *row.key)]
        sql = statements.update(type(row), self._mark, tuple(columns))
        replacing = Statement(sql, parameters, 1, row.table)
        self._before[type(row)] = [*self.of(type(row)), replacing]

    def of(self, row_type: type[Row]) -> list[Statement]:
        """Take what is pending for one table, to send it."""
        if row_type not in self._added and row_type not in self._before:
            return []
        taken = self._before.pop(row_type, [])
        rows = self._added.pop(row_type, [])
        at = 0
        while at < len(rows):
            count = min(MOST_ROWS, len(rows) - at)
            if self._few:
                count = 1 << (count.bit_length() - 1)
            values = list(chain.from_iterable(map(astuple, rows[at : at + count])))
            taken.append(Statement(statements.insert(row_type, self._mark, count), values, count, row_type.table))
            at += count
        return taken

    def all(self) -> list[Statement]:
        """Take all that is pending, to send it."""
        tables = dict.fromkeys((*self._before, *self._added))
        return [statement for row_type in tables for statement in self.of(row_type)]
