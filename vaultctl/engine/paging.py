"""Pages of lists: keyset cursors, never offsets."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import Page
from vaultctl.domain.requests import MAX_PAGE_SIZE

R = TypeVar("R")
T = TypeVar("T")

_LARGEST = 2**53


def page_size(limit: int) -> int:
    """``limit``, if it is one.

    Raises:
        InvalidInput: It is not between 1 and the largest page.
    """
    if not 1 <= limit <= MAX_PAGE_SIZE:
        raise InvalidInput(f"The limit must be between 1 and {MAX_PAGE_SIZE}.")
    return limit


def page(rows: Sequence[R], limit: int, view: Callable[[R], T], cursor: Callable[[R], Sequence[str | int]]) -> Page[T]:
    """A page of at most ``limit`` of ``rows``, of which one more was asked for to see whether there are more."""
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(items=tuple(view(row) for row in shown), next_cursor=encode(cursor(shown[-1])) if more else None)


def scan(
    fetch: Callable[[tuple[str | int, ...] | None, int], list[R]],
    keep: Callable[[R], bool],
    start: tuple[str | int, ...] | None,
    limit: int,
    view: Callable[[R], T],
    cursor: Callable[[R], tuple[str | int, ...]],
) -> Page[T]:
    """A page of the rows that ``keep`` keeps.

    Args:
        fetch: The next so many rows behind a key; None: the first ones.
        keep: Whether a row counts.
        start: The key that the request's cursor holds.
        limit: Most rows of the page.
        view: Makes a record of a row.
        cursor: The key of a row.
    """
    found: list[R] = []
    while len(found) <= limit:
        rows = fetch(start, limit + 1)
        found += [row for row in rows if keep(row)]
        if len(rows) <= limit:
            break
        start = cursor(rows[-1])
    return page(found, limit, view, cursor)


def encode(key: Sequence[str | int]) -> str:
    """The last key of a page as a cursor."""
    return base64.urlsafe_b64encode(json.dumps(list(key)).encode()).decode().rstrip("=")


def decode(cursor: str, *kinds: type[str] | type[int]) -> tuple[str | int, ...]:
    """The key in a cursor, whose parts must be of these ``kinds``.

    Raises:
        InvalidInput: It is none of ours.
    """
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        key = None
    if (
        not isinstance(key, list)
        or [type(part) for part in key] != list(kinds)
        or any(isinstance(part, int) and abs(part) > _LARGEST for part in key)
    ):
        raise InvalidInput("That is not a cursor of this list.", hint="Start again without one.")
    return tuple(key)
