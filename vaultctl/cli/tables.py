"""Tables as text: pure layout, no terminal and no file.

Off a terminal a row is one line, however long: nothing is cut or folded. On a terminal a table that is too wide
first wraps its free text, then moves details below their row, and on a very narrow terminal writes each row as
a block. Names and ids are never broken and nothing is left out, which is why this is not Rich's table.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from vaultctl.cli.columns import Column
from vaultctl.domain.text import safe
from vaultctl.domain.times import rfc3339

_GAP = "  "


class Screen(NamedTuple):
    """Where the text will be read.

    Attributes:
        width: Cells in a line of the terminal; None: not a terminal.
        colour: Whether ANSI attributes are shown.
        now: The present, for tables to leave out what all times have in common with it; None: leave out nothing.
    """

    width: int | None
    colour: bool
    now: datetime | None


class Table:
    """A table laid out for ``records``; ``growing`` if it will print others too."""

    def __init__(
        self, columns: Sequence[Column], records: Sequence[Any], screen: Screen, *, growing: bool = False
    ) -> None:
        self._screen = screen
        self._times = _time_format(columns, records, screen)
        self._all = self._columns = list(columns)
        self._below: list[Column] = []
        self._widths: list[int] | None
        natural = {}
        for column in columns:
            least = max(display_width(column.title), column.least if growing else 0)
            natural[column.title] = max([least, *(display_width(self._text(column, r)) for r in records)])
        for rank in range(max((c.detail for c in columns), default=0), -1, -1):
            self._widths = self._fit(natural)
            if self._widths is not None or rank == 0:
                break
            self._below = [c for c in columns if c.detail >= rank]
            self._columns = [c for c in columns if c.detail < rank]

    def header(self) -> Iterator[str]:
        """The headings; none where rows are blocks."""
        if self._widths is not None:
            titles = [c.title.upper() for c in self._columns]
            yield self._paint(_padded(zip(titles, self._widths, strict=True)), "1")

    def rows(self, records: Iterable[Any]) -> Iterator[str]:
        """The lines of the records."""
        for record in records:
            if self._widths is None:
                yield from self.block(record)
                yield ""
            else:
                yield from self._row(record, self._widths)

    def _fit(self, natural: Mapping[str, int]) -> list[int] | None:
        width = self._screen.width
        if width is None:
            return [natural[c.title] for c in self._columns]
        least = [min(natural[c.title], c.wrap or natural[c.title]) for c in self._columns]
        spare = width - sum(least) - len(_GAP) * (len(least) - 1)
        if spare < 0:
            return None
        widths = []
        for column, cells in zip(self._columns, least, strict=True):
            more = min(spare, natural[column.title] - cells)
            spare -= more
            widths.append(cells + more)
        return widths

    def _row(self, record: Any, widths: list[int]) -> Iterator[str]:
        cells = [
            wrapped(self._text(c, record), width) if c.wrap and self._screen.width else [self._text(c, record)]
            for c, width in zip(self._columns, widths, strict=True)
        ]
        for line in range(max(len(cell) for cell in cells)):
            parts = [(cell[line] if line < len(cell) else "", w) for cell, w in zip(cells, widths, strict=True)]
            yield _padded(parts, [c.attributes(record) if self._screen.colour else "" for c in self._columns])
        for text in self._details(record):
            yield self._paint(f"    {text}", "2")

    def _details(self, record: Any) -> Iterator[str]:
        """What moved below the row, as many to a line as fit."""
        if not self._below:
            return
        assert self._screen.width is not None  # noqa: S101  # nothing moves off a terminal
        width = self._screen.width - 4
        line = ""
        for column in self._below:
            text = self._text(column, record)
            if not text:
                continue
            item = f"{column.title}: {text}"
            if line and display_width(line) + len(_GAP) + display_width(item) <= width:
                line += _GAP + item
                continue
            if line:
                yield line
            *lines, line = wrapped(item, width)
            yield from lines
        if line:
            yield line

    def block(self, record: Any) -> Iterator[str]:
        """One record alone: a line for each value that there is."""
        texts = [(column, text) for column in self._all if (text := self._text(column, record))]
        margin = max((display_width(column.title) for column, _ in texts), default=0) + len(_GAP)
        for column, text in texts:
            width = self._screen.width
            lines = wrapped(text, max(width - margin, 16)) if width and not column.whole else [text]
            title = column.title + " " * (margin - display_width(column.title))
            sgr = column.attributes(record)
            yield self._paint(title, "1") + self._paint(lines[0], sgr)
            for line in lines[1:]:
                yield " " * margin + self._paint(line, sgr)

    def _text(self, column: Column, record: Any) -> str:
        return shown(column.value(record), self._times)

    def _paint(self, text: str, sgr: str) -> str:
        return f"\x1b[{sgr}m{text}\x1b[0m" if sgr and self._screen.colour else text


def shown(value: Any, times: str = "") -> str:
    """A value as safe text. ``times`` is the format of times; without one they are RFC 3339."""
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


def display_width(text: str) -> int:
    """How many cells of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(_character_width(c) for c in text)


def wrapped(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` cells, broken between words.

    A word is broken only if it is longer than a line, and behind a hyphen if it has one.
    """
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        if line and display_width(line) + 1 + display_width(word) <= width:
            line = f"{line} {word}"
            continue
        if line:
            lines.append(line)
        line = ""
        for character in word:
            while line and display_width(line) + _character_width(character) > width:
                end = line.rfind("-") + 1 or len(line)
                lines.append(line[:end])
                line = line[end:]
            line += character
    return [*lines, line]


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _padded(cells: Iterable[tuple[str, int]], sgr: Sequence[str] = ()) -> str:
    line = ""
    pad = 0
    for index, (text, width) in enumerate(cells):
        attributes = sgr[index] if sgr else ""
        if text:
            line += " " * pad + (f"\x1b[{attributes}m{text}\x1b[0m" if attributes else text)
            pad = 0
        pad += max(width - display_width(text), 0) + len(_GAP)
    return line


def _time_format(columns: Sequence[Column], records: Sequence[Any], screen: Screen) -> str:
    """What all times of the table leave out: today's date, this year."""
    if screen.width is None:
        return ""
    if screen.now is None:
        return "%Y-%m-%d %H:%M:%SZ"
    times = [t.astimezone(UTC) for r in records for c in columns if isinstance(t := c.value(r), datetime)]
    if all(t.date() == screen.now.date() for t in times):
        return "%H:%M:%SZ"
    return "%m-%d %H:%M:%SZ" if all(t.year == screen.now.year for t in times) else "%Y-%m-%d %H:%M:%SZ"
