"""What a table shows of a record. Apart from :mod:`vaultctl.cli.tables`, which programs never make us load."""

from collections.abc import Callable
from typing import Any


class Column:
    """A column of a table, and a line of a record shown alone.

    Attributes:
        title: Its heading, in small letters.
        value: Takes the value from a record; None and empty values leave the cell empty.
        wrap: May be wrapped between words down to so many cells; 0: never.
        detail: How readily it moves below its row: 0 never, then the highest first.
        least: Width to keep where rows are yet to come.
        whole: Stays on one line in a block, so that it can be copied from the terminal.
        sgr: ANSI attributes of a cell, ``31`` for red; empty for none. Or what says them of a record.
    """

    __slots__ = ("detail", "least", "sgr", "title", "value", "whole", "wrap")

    def __init__(
        self,
        title: str,
        value: Callable[[Any], Any],
        *,
        wrap: int = 0,
        detail: int = 0,
        least: int = 0,
        whole: bool = False,
        sgr: str | Callable[[Any], str] = "",
    ) -> None:
        self.title = title
        self.value = value
        self.wrap = wrap
        self.detail = detail
        self.least = least
        self.whole = whole
        self.sgr = sgr

    def attributes(self, record: Any) -> str:
        """The ANSI attributes of the record's cell."""
        return self.sgr if isinstance(self.sgr, str) else self.sgr(record)
