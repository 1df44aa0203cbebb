"""What a transaction has written and not sent yet.

It is sent before its table is read, and before the commit: many rows in one statement, many statements at once. Each
statement costs a round trip to a database beyond a network, and where the database is a library it lets another thread
of the process go first.
"""

from itertools import chain
from typing import Any, NamedTuple

from msgspec.structs import astuple

from vaultctl.domain.errors import VerificationFailed
from vaultctl.store import statements
from vaultctl.store.rows import Row

_MOST_ROWS = 64
"""Of one statement. Statements are of 1, 2, 4… rows, so that there are few to prepare."""


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

    def __init__(self, mark: statements.WriteMark) -> None:
        self._mark = mark
        self._added: dict[type[Row], list[Row]] = {}
        self._before: dict[type[Row], list[Statement]] = {}
        """Statements that come before the rows that were added since."""

    def add(self, row: Row) -> None:
        """Add a row."""
        rows = self._added.get(type(row))
        if rows is None:
            rows = self._added[type(row)] = []
        rows.append(row)

    def replace(self, row: Row) -> None:
        """Replace the row that has the same primary key."""
        parameters = [*astuple(row), *statements.key_values(row)]
        replacing = Statement(statements.update(type(row), self._mark), parameters, 1, row.table)
        self._before[type(row)] = [*self.of(type(row)), replacing]

    def of(self, row_type: type[Row]) -> list[Statement]:
        """Take what is pending for one table, to send it."""
        if row_type not in self._added and row_type not in self._before:
            return []
        taken = self._before.pop(row_type, [])
        rows = self._added.pop(row_type, [])
        at = 0
        while at < len(rows):
            count = min(_MOST_ROWS, 1 << ((len(rows) - at).bit_length() - 1))
            values = list(chain.from_iterable(map(astuple, rows[at : at + count])))
            taken.append(Statement(statements.insert(row_type, self._mark, count), values, count, row_type.table))
            at += count
        return taken

    def all(self) -> list[Statement]:
        """Take all that is pending, to send it."""
        tables = dict.fromkeys((*self._before, *self._added))
        return [statement for row_type in tables for statement in self.of(row_type)]
