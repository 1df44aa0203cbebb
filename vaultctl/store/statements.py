"""The SQL that both databases have in common, made of the names of our own tables and columns."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, Literal

from vaultctl.store.interface import Where
from vaultctl.store.rows import Row

Mark = Literal["?", "%s"]
"""How a parameter is written."""

WriteMark = Literal["?", "$"]
"""The same in statements that write: ``$`` is followed by the parameter's number, as PostgreSQL itself has it."""


@lru_cache
def columns(row_type: type[Row]) -> str:
    """The columns of a table, in the order of the row's fields."""
    return ", ".join(row_type.__struct_fields__)


@lru_cache
def select_by_key(row_type: type[Row], mark: Mark) -> str:
    """Reads the row with a primary key."""
    found = " AND ".join(f"{column} = {mark}" for column in row_type.key)
    return f"SELECT {columns(row_type)} FROM {row_type.table} WHERE {found}"


@lru_cache
def insert(row_type: type[Row], mark: WriteMark, rows: int) -> str:
    """Adds so many rows."""
    marks = _marks(mark)
    each = (f"({', '.join(next(marks) for _ in row_type.__struct_fields__)})" for _ in range(rows))
    return f"INSERT INTO {row_type.table} ({columns(row_type)}) VALUES {', '.join(each)}"


@lru_cache
def update(row_type: type[Row], mark: WriteMark) -> str:
    """Replaces the row with a primary key, which comes after the columns."""
    marks = _marks(mark)
    changes = ", ".join(f"{column} = {next(marks)}" for column in row_type.__struct_fields__)
    found = " AND ".join(f"{column} = {next(marks)}" for column in row_type.key)
    return f"UPDATE {row_type.table} SET {changes} WHERE {found}"


def key_values(row: Row) -> list[Any]:
    """The primary key's values."""
    return [getattr(row, column) for column in row.key]


def select(
    row_type: type[Row], conditions: Sequence[Where], mark: Mark, *, order: str, descending: bool, limit: int | None
) -> tuple[str, list[Any]]:
    """Reads the rows that meet all conditions; the statement and its parameters."""
    clause, parameters = where(conditions, mark)
    sql = f"SELECT {columns(row_type)} FROM {row_type.table}{clause}"
    if order:
        direction = " DESC" if descending else ""
        sql += " ORDER BY " + ", ".join(f"{column.strip()}{direction}" for column in order.split(","))
    if limit is not None:
        sql += f" LIMIT {mark}"
        parameters.append(limit)
    return sql, parameters


def count_by(row_type: type[Row], column: str, conditions: Sequence[Where], mark: Mark) -> tuple[str, list[Any]]:
    """Counts the rows that meet all conditions for each value of a column; the statement and its parameters."""
    clause, parameters = where(conditions, mark)
    return f"SELECT {column}, count(*) FROM {row_type.table}{clause} GROUP BY {column}", parameters


def where(conditions: Sequence[Where], mark: Mark) -> tuple[str, list[Any]]:
    """A ``WHERE`` clause and its parameters; empty without conditions."""
    parts: list[str] = []
    parameters: list[Any] = []
    for column, operator, value in conditions:
        left = f"({', '.join(column)})" if isinstance(column, tuple) else column
        if column == "state" and operator == "=" and value.isalpha():
            # Written out: a partial index is known to apply only to a value that the planner sees.
            parts.append(f"state = '{value}'")
        elif operator == "is":
            parts.append(f"{left} IS NULL")
        elif operator == "in" and not value:
            parts.append("1 = 0")
        elif operator == "in" or isinstance(column, tuple):
            parts.append(f"{left} {operator} ({', '.join(mark for _ in value)})")
            parameters.extend(value)
        else:
            parts.append(f"{left} {operator} {mark}")
            parameters.append(value)
    return (" WHERE " + " AND ".join(parts) if parts else ""), parameters


def _marks(mark: WriteMark) -> Iterator[str]:
    return (mark if mark == "?" else f"${number}" for number in count(1))
