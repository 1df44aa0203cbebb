"""What a table shows of a record, and how it is put into words; how it is drawn is for others to know."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from vaultctl.domain.text import safe
from vaultctl.domain.times import rfc3339


class Column:
    """A column of a table, and a line of a record shown alone.

    Attributes:
        title: Its heading, in small letters.
        value: Takes the value from a record; None and empty values leave the cell empty.
        wrap: Free text, which a terminal may fold between words, not much below so many cells; 0: never folded.
        detail: How readily it moves below its row: 0 never, then the highest first.
        least: Width to keep where rows are yet to come.
        whole: Stays on one line in a block, so that it can be copied from the terminal.
        style: How a terminal shows a cell, like ``red``; empty for plain. Or what says it of a record.
    """

    __slots__ = ("detail", "least", "style", "title", "value", "whole", "wrap")

    def __init__(
        self,
        title: str,
        value: Callable[[Any], Any],
        *,
        wrap: int = 0,
        detail: int = 0,
        least: int = 0,
        whole: bool = False,
        style: str | Callable[[Any], str] = "",
    ) -> None:
        self.title = title
        self.value = value
        self.wrap = wrap
        self.detail = detail
        self.least = least
        self.whole = whole
        self.style = style

    def text(self, record: Any, times: str = "") -> str:
        """The record's cell as safe text. ``times`` is the format of times; without one they are RFC 3339."""
        return shown(self.value(record), times)

    def style_of(self, record: Any) -> str:
        """How a terminal shows the record's cell."""
        return self.style if isinstance(self.style, str) else self.style(record)


def shown(value: Any, times: str = "") -> str:
    """A value as safe text; see :meth:`Column.text`."""
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone(UTC).strftime(times) if times else rfc3339(value)
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return safe(", ".join(f"{key}={item}" for key, item in value.items()))
        case list() | tuple():
            return safe(", ".join(str(item) for item in value))
    return safe(str(value))
