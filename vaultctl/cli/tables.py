"""Tables as lines of plain text, for pipes and files: nothing is cut, folded or shortened, however long a line gets.

Terminals get theirs from :mod:`vaultctl.cli.terminal`.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from vaultctl.cli.columns import Column

_GAP = "  "


class PlainTable:
    """A table with a line for each record.

    Args:
        columns: Its columns.
        growing: It will be drawn batch by batch, and keeps the least width of each column.
    """

    def __init__(self, columns: Sequence[Column], *, growing: bool = False) -> None:
        self._columns = columns
        self._least = [c.least if growing else 0 for c in columns]
        self._widths: list[int] | None = None

    def draw(self, records: Sequence[Any]) -> str:
        """The lines of the records; the first time with the headings, and as wide as these records need."""
        rows = [[column.text(record) for column in self._columns] for record in records]
        if self._widths is None:
            rows.insert(0, [column.title.upper() for column in self._columns])
            cells = zip(*rows, strict=True)
            self._widths = [
                max(least, *map(_width, column), 0) for least, column in zip(self._least, cells, strict=True)
            ]
        return "".join(_line(row, self._widths) for row in rows)


def plain_block(columns: Sequence[Column], record: Any) -> str:
    """One record alone: a line for each value that there is."""
    texts = [(column.title, text) for column in columns if (text := column.text(record))]
    margin = max((_width(title) for title, _ in texts), default=0)
    return "".join(_line(pair, (margin, 0)) for pair in texts)


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    padded = (text + " " * (width - _width(text)) for text, width in zip(cells, widths, strict=True))
    return _GAP.join(padded).rstrip() + "\n"


def _width(text: str) -> int:
    """How many cells ``text`` takes where it is looked at."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )
