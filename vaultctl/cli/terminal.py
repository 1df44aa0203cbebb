"""What a terminal shows of records, drawn with Rich. Nothing else imports Rich, and only terminals make us load this.

A table that is too wide first folds its free text between words, then moves details below their row, and on a very
narrow terminal becomes a block for each record. Names and ids are broken only where one alone is wider than the line,
and nothing is left out. All cells are ``Text``: what they hold is never markup.
"""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vaultctl.cli.columns import Column

_GAP = 2
_INDENT = 4
_COMFORTABLE = 12
"""Cells beside a title that make it worth to fold free text there, rather than below."""

_Row = Mapping[Column, Text]


class Screen(NamedTuple):
    """The terminal.

    Attributes:
        width: Cells in a line.
        colour: Whether colours and other attributes are wanted.
        unicode: Whether it can show a line under the headings.
        now: The present: a table leaves out what all its times have in common with it.
    """

    width: int
    colour: bool
    unicode: bool
    now: datetime


class _Layout(NamedTuple):
    """``widths`` of the columns that are left in the rows, if rows there are, and what moved ``below`` them."""

    widths: Mapping[Column, int] | None
    below: Sequence[Column]


class TerminalTable:
    """A table on a terminal.

    Args:
        columns: Its columns.
        screen: The terminal.
        growing: It will be drawn batch by batch, and keeps the least width of each column.
    """

    def __init__(self, columns: Sequence[Column], screen: Screen, *, growing: bool = False) -> None:
        self._columns = columns
        self._screen = screen
        self._needed = {c: max(cell_len(c.title), c.least if growing else 0) for c in columns}
        self._foldable = {c: c.wrap for c in columns if c.wrap}
        self._times = ""
        self._layout: _Layout | None = None

    def draw(self, records: Sequence[Any]) -> str:
        """The records as text; below the headings, the first time and when they need another layout than before."""
        self._times = self._times or _time_format(self._columns, records, self._screen.now)
        rows = [_row(self._columns, record, self._times) for record in records]
        for column in self._columns:
            self._needed[column] = max([self._needed[column], *(row[column].cell_len for row in rows)])
        for column, cells in self._foldable.items():
            self._foldable[column] = max([cells, *(_longest_word(row[column]) for row in rows)])
        layout = self._fitting()
        headed = layout != self._layout
        self._layout = layout
        console = _console(self._screen)
        if layout.widths is None:
            for row in rows:
                _print_block(console, row)
                console.print()
        elif not layout.below:
            console.print(self._table(layout.widths, rows, headed=headed))
        else:
            parts: list[RenderableType] = [self._table(layout.widths, [], headed=True)] if headed else []
            for row in rows:
                parts.append(self._table(layout.widths, [row], headed=False))
                parts += _details([(c.title, row[c]) for c in layout.below if row[c]], self._screen.width)
            console.print(Group(*parts))
        return _printed(console)

    def _fitting(self) -> _Layout:
        """The layout that moves the fewest details."""
        for rank in range(max(c.detail for c in self._columns) + 1, 0, -1):
            widths = self._widths([c for c in self._columns if c.detail < rank])
            if widths is not None:
                return _Layout(widths, [c for c in self._columns if c.detail >= rank])
        return _Layout(None, [])

    def _widths(self, columns: Sequence[Column]) -> dict[Column, int] | None:
        """What each of ``columns`` gets, those in front first, if the line is wide enough for them."""
        widths = {c: min(self._needed[c], self._foldable.get(c, self._needed[c])) for c in columns}
        spare = self._screen.width - sum(widths.values()) - _GAP * (len(columns) - 1)
        if spare < 0:
            return None
        for column in columns:
            more = min(spare, self._needed[column] - widths[column])
            widths[column] += more
            spare -= more
        return widths

    def _table(self, widths: Mapping[Column, int], rows: Sequence[_Row], *, headed: bool) -> Table:
        # The gap is in the widths of the columns, rather than padding, which costs a quarter of the time.
        gap = _GAP - 1 if self._screen.unicode else _GAP  # the box has a space between columns
        table = Table(
            box=box.SIMPLE_HEAD if self._screen.unicode else None,
            padding=0,
            show_edge=False,
            show_header=headed,
            header_style="bold",
            border_style="dim",
        )
        *gapped, _last = widths
        for column, width in widths.items():
            table.add_column(
                Text(column.title.upper()),
                width=width + gap if column in gapped else width,
                no_wrap=not column.wrap,
                overflow="fold",
            )
        for row in rows:
            folded = {c for c in gapped if row[c].cell_len > widths[c]}
            table.add_row(*(Padding(row[c], (0, gap, 0, 0)) if c in folded else row[c] for c in widths))
        return table


def terminal_block(columns: Sequence[Column], record: Any, screen: Screen) -> str:
    """One record alone: a line for each value that there is."""
    console = _console(screen)
    _print_block(console, _row(columns, record, _FULL_TIME))
    return _printed(console)


def _row(columns: Sequence[Column], record: Any, times: str) -> _Row:
    return {column: Text(column.text(record, times), column.style_of(record)) for column in columns}


def _longest_word(text: Text) -> int:
    """Cells that keep words in one piece. Words of wide characters, like Chinese ones, may be broken anywhere."""
    return max((cells for word in text.plain.split(" ") if (cells := cell_len(word)) <= len(word)), default=0)


def _indented(text: Text, cells: int, width: int) -> Padding:
    """``text`` moved right by ``cells``, or by less if it takes the whole ``width`` to keep a word in one piece."""
    return Padding(text, (0, 0, 0, max(0, min(cells, width - _longest_word(text)))), expand=False)


def _print_block(console: Console, row: _Row) -> None:
    lines = [(column, text) for column, text in row.items() if text]
    margin = max((cell_len(column.title) for column, _ in lines), default=0) + _GAP
    for column, text in lines:
        title = Text(column.title, "bold")
        if column.whole:
            title.pad_right(margin - title.cell_len)
            console.print(title + text, soft_wrap=True)
        elif console.width - margin < min(text.cell_len, max(_longest_word(text), _COMFORTABLE)):
            console.print(title)
            console.print(_indented(text, _GAP, console.width))
        else:
            grid = Table.grid()
            grid.add_column(width=margin)
            grid.add_column(overflow="fold")
            grid.add_row(title, text)
            console.print(grid)


def _details(details: Sequence[tuple[str, Text]], width: int) -> list[Padding]:
    """What moved below a row, as many to a line as fit."""
    lines: list[Text] = []
    for title, text in details:
        item = Text(f"{title}: {text.plain}", "dim")
        if lines and lines[-1].cell_len + _GAP + item.cell_len <= width - _INDENT:
            lines[-1].append(" " * _GAP).append_text(item)
        else:
            lines.append(item)
    return [_indented(line, _INDENT, width) for line in lines]


def _console(screen: Screen) -> Console:
    """A console that prints into memory, and asks neither the environment nor the terminal about anything."""
    return Console(
        file=io.StringIO(),
        width=screen.width,
        height=25,
        force_terminal=True,
        color_system="standard" if screen.colour else None,
        no_color=not screen.colour,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
        force_jupyter=False,
    )


def _printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)  # noqa: S101  # see _console
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


_FULL_TIME = "%Y-%m-%d %H:%M:%SZ"


def _time_format(columns: Sequence[Column], records: Sequence[Any], now: datetime) -> str:
    """What all times of the table leave out: today's date, this year."""
    times = [t.astimezone(UTC) for r in records for c in columns if isinstance(t := c.value(r), datetime)]
    if all(t.date() == now.date() for t in times):
        return "%H:%M:%SZ"
    return "%m-%d %H:%M:%SZ" if all(t.year == now.year for t in times) else _FULL_TIME
