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

# Whoever writes rolls all back if a statement fails. SQLite, which could take back the statement alone, would else copy
# each page before it changes it.
_OR_ROLLBACK = {"?": " OR ROLLBACK", "$": ""}


@lru_cache
def columns(row_type: type[Row]) -> str:
    """The columns of a table, in the order of the row's fields."""
    return ", ".join(row_type.__struct_fields__)


@lru_cache
def select_by_key(row_type: type[Row], mark: Mark) -> str:
    """Reads the row with a primary key."""
    found = " AND ".join(f"{column} = {mark}" for column in row_type.key)
    return f"SELECT {columns(row_type)} FROM {row_type.table} WHERE {found}"


@lru_cache(1_000)
def insert(row_type: type[Row], mark: WriteMark, rows: int) -> str:
    """Adds so many rows."""
    marks = _marks(mark)
    each = (f"({', '.join(next(marks) for _ in row_type.__struct_fields__)})" for _ in range(rows))
    sql = f"INSERT{_OR_ROLLBACK[mark]} INTO {row_type.table} ({columns(row_type)}) VALUES {', '.join(each)}"
    if row_type.adds_to:
        sum_of = f"{row_type.adds_to} = {row_type.table}.{row_type.adds_to} + excluded.{row_type.adds_to}"
        sql += f" ON CONFLICT ({', '.join(row_type.key)}) DO UPDATE SET {sum_of}"
    return sql


@lru_cache(1_000)
def update(row_type: type[Row], mark: WriteMark, changing: tuple[str, ...]) -> str:
    """Replaces some columns of the row with a primary key, which comes after them.

    An index is written anew for each of its columns that the statement names, changed or not.
    """
    marks = _marks(mark)
    changes = ", ".join(f"{column} = {next(marks)}" for column in changing)
    found = " AND ".join(f"{column} = {next(marks)}" for column in row_type.key)
    return f"UPDATE{_OR_ROLLBACK[mark]} {row_type.table} SET {changes} WHERE {found}"


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


def totals(
    row_type: type[Row], by: Sequence[str], conditions: Sequence[Where], mark: Mark, of: str | None
) -> tuple[str, list[Any]]:
    """Counts the rows that meet all conditions, or adds up a column ``of`` them, for each value of ``by``."""
    clause, parameters = where(conditions, mark)
    groups = ", ".join(by)
    total = "count(*)" if of is None else f"sum({of})"
    return f"SELECT {groups}, {total} FROM {row_type.table}{clause} GROUP BY {groups}", parameters


@lru_cache
def first_entry_from(mark: Mark) -> str:
    """Finds the number of a log's first entry from a time on, by halving, since times never decrease with ``seq``.

    The parameters are the time and the tenant. Where an entry is missing nothing may be found.
    """
    return f"""
        WITH RECURSIVE span (low, high, tenant, time) AS (
            SELECT CAST(0 AS BIGINT), size, tenant, CAST({mark} AS BIGINT) FROM logs WHERE tenant = {mark}
            UNION ALL
            SELECT
                CASE WHEN middle.time < span.time THEN middle.seq + 1 ELSE low END,
                CASE WHEN middle.time < span.time THEN high ELSE middle.seq END,
                span.tenant,
                span.time
            FROM span JOIN entries middle ON middle.tenant = span.tenant AND middle.seq = (low + high) / 2
            WHERE low < high
        )
        SELECT low FROM span WHERE low = high"""


def where(conditions: Sequence[Where], mark: Mark) -> tuple[str, list[Any]]:
    """A ``WHERE`` clause and its parameters; empty without conditions."""
    parts: list[str] = []
    parameters: list[Any] = []
    for column, operator, value in conditions:
        left = f"({', '.join(column)})" if isinstance(column, tuple) else column
        if column == "state" and operator == "=" and value.isalpha():
            # Written out, as below: a partial index is known to apply only to a value that the planner sees.
            parts.append(f"state = '{value}'")
        elif " " in column:
            parts.append(f"{column} {operator} {int(value)}")
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
