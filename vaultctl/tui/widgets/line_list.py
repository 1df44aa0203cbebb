"""A list of rows with columns and a cursor, fast at any length.

Only the rows in sight are looked at, and of those only the ones whose cells differ from what was drawn last are drawn
anew. The cursor stays with its row when rows come and go above it, and so does what is in sight.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from vaultctl.tui.widgets.palette import Painted
from vaultctl.tui.widgets.scrollbar import LeanScrollBar
from vaultctl.tui.words import fit, fit_id

Row = TypeVar("Row")
Read = TypeVar("Read", covariant=True)

_GAP = 1
HEAD = 1
"""Lines above the rows."""


class Source(Protocol[Read]):
    """Where rows come from."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Read: ...


@dataclass(frozen=True)
class Column(Generic[Row]):
    """A column.

    Attributes:
        title: Its heading.
        text: The cell's text.
        width: The least width.
        share: How much of the space left over it takes, and at most ``most`` cells.
        rank: Where space is short, columns with the highest rank go first; 0 stays.
        style: The name of the style, or what says it of a row.
        right: Flush right.
        is_id: Where it does not fit, its end is kept.
        live: Instead of text and style: both of a row at a time, in a width.
    """

    title: str
    text: Callable[[Row], str]
    width: int
    share: int = 0
    most: int = 1_000
    rank: int = 0
    style: str | Callable[[Row], str] = "plain"
    right: bool = False
    is_id: bool = False
    live: Callable[[Row, int, int], tuple[str, str]] | None = None

    def cell(self, row: Row, now: int, width: int) -> tuple[str, str]:
        """The text and the name of the style of a row's cell."""
        if self.live is not None:
            return self.live(row, now, width)
        text = self.text(row)
        return fit_id(text, width) if self.is_id else text, self.style if isinstance(self.style, str) else self.style(
            row
        )


def laid_out(columns: Sequence[Column[Row]], width: int) -> list[tuple[Column[Row], int]]:
    """The columns that fit into ``width`` cells, with the width of each."""
    shown = list(columns)
    while len(shown) > 1 and sum(c.width for c in shown) + _GAP * (len(shown) - 1) > width:
        last = max(shown, key=lambda c: c.rank)
        if last.rank == 0:
            break
        shown.remove(last)
    widths = [c.width for c in shown]
    spare = width - sum(widths) - _GAP * (len(shown) - 1)
    while spare > 0:
        open_ = [i for i, c in enumerate(shown) if c.share and widths[i] < c.most]
        if not open_:
            break
        shares = sum(shown[i].share for i in open_)
        given = 0
        for i in open_:
            more = min(max(1, spare * shown[i].share // shares), shown[i].most - widths[i], spare - given)
            widths[i] += more
            given += more
        spare -= given
    return list(zip(shown, widths, strict=True))


class LineList(Painted, ScrollView, Generic[Row], can_focus=True):
    """Rows of a source, under a line of headings."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"list--head", "list--cursor", "list--cursor-away"}

    DEFAULT_CSS = """
    LineList {
        height: 1fr;
        width: 1fr;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        scrollbar-background: $surface;
        scrollbar-color: $panel-lighten-2;
        & > .list--head { color: $foreground 60%; text-style: bold; background: $panel; }
        & > .list--cursor { background: $secondary 60%; text-style: bold; }
        & > .list--cursor-away { background: $panel; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "down", show=False),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
        Binding("home,g", "top", "first", show=False),
        Binding("end,G", "bottom", "last", show=False),
        Binding("enter", "choose", "open"),
    ]
    BINDING_GROUP_TITLE = "Moving"

    ALLOW_SELECT = False

    cursor: reactive[int] = reactive(0, init=False)
    length: reactive[int] = reactive(0, init=False)
    """How many rows there were at the last look."""

    class Chosen(Message):
        """A row was opened."""

        def __init__(self, list: "LineList[Any]", row: Any) -> None:
            super().__init__()
            self.list = list
            self.row = row

        @property
        def control(self) -> "LineList[Any]":
            """The list."""
            return self.list

    class Headed(Message):
        """A heading was clicked."""

        def __init__(self, list: "LineList[Any]", title: str) -> None:
            super().__init__()
            self.list = list
            self.title = title

        @property
        def control(self) -> "LineList[Any]":
            """The list."""
            return self.list

    class AtEdge(Message):
        """The cursor has reached the first or the last row."""

        def __init__(self, list: "LineList[Any]", *, at_top: bool) -> None:
            super().__init__()
            self.list = list
            self.at_top = at_top

        @property
        def control(self) -> "LineList[Any]":
            """The list."""
            return self.list

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        source: Source[Row],
        *,
        key: Callable[[Row], Any],
        locate: Callable[[Any], int | None] | None = None,
        follow: bool = False,
        nothing: str = "There are none.",
        id: str | None = None,
    ) -> None:
        """A list.

        Args:
            columns: What is shown of a row.
            source: The rows, which may change at any time; see :meth:`sync`.
            key: What tells rows apart.
            locate: The index of a key's row, if there is a quicker way than looking.
            follow: The cursor stays at the last row as rows are added, unless it was moved away.
            nothing: What to say when there are no rows.
            id: Of the widget.
        """
        super().__init__(id=id)
        self.columns = columns
        self.source = source
        self._key = key
        self._locate = locate or self._look_for
        self._follow = follow
        self._held: Any = None
        """Key of the row that the cursor stays with; None: it stays at the edge where it began."""
        self._under: Any = None
        self._nothing = nothing
        self._now = 0
        self._layout: list[tuple[Column[Row], int]] = []
        self._cells_wide = self._cells_high = -1
        self._looked_at: dict[int, tuple[Any, ...]] = {}
        self._looked_from: tuple[int, int, bool] | None = None
        self._static: LRUCache[int, tuple[Row, list[tuple[str, str] | None]]] = LRUCache(256)
        self._styles: dict[str, Style] = {}
        self._segments: LRUCache[tuple[int, int, str, str], Segment] = LRUCache(1_024)
        self._strips: LRUCache[tuple[Any, ...], Strip] = LRUCache(256)
        self._drawn: dict[int, tuple[tuple[Any, ...], Strip]] = {}
        """What is drawn on each line: all that its looks depend on, and how it looks."""
        self._drawn_as: tuple[Any, ...] = ()
        self.heading_marks: dict[str, str] = {}

    @property
    def vertical_scrollbar(self) -> LeanScrollBar:
        """The scrollbar, made when it is first needed."""
        bar = self._vertical_scrollbar
        if not isinstance(bar, LeanScrollBar):
            bar = self._vertical_scrollbar = LeanScrollBar(name="vertical", thickness=self.scrollbar_size_vertical)
            bar.display = False
            self.app._start_widget(self, bar)
        return bar

    # Rows

    @property
    def row(self) -> Row | None:
        """The row under the cursor as it was drawn last, in its present state; None if it has gone since."""
        index = None if self._under is None else self._locate(self._under)
        return None if index is None else self.source[index]

    def sync(self, now: int) -> None:
        """Take note of how the source is at the time ``now``, and draw what differs from what is drawn."""
        self._now = now
        length = len(self.source)
        self._lay_out()
        self._extend(length)
        self._keep_cursor(length)
        self._note_row()
        self._draw_changes()

    def show(self, source: Source[Row], now: int) -> None:
        """Show other rows, with the cursor where it began."""
        self.source = source
        self._held = None
        self.cursor = 0
        self.scroll_to(y=0, animate=False)
        self.sync(now)

    def show_anew(self, source: Source[Row], now: int) -> None:
        """Show the rows as they are now: the cursor stays with its row, or where it began if it was not moved."""
        self.source = source
        self.sync(now)

    def _extend(self, length: int) -> None:
        """Make room for so many rows. Nothing else is laid out for that, and the scrollbar is drawn if it differs."""
        height = length + HEAD
        if self.virtual_size.height == height:
            return
        self.length = length
        self.set_reactive(ScrollView.virtual_size, Size(self._cells_wide, height))
        self.scroll_y = self.validate_scroll_y(self.scroll_y)
        scrollbar = self.vertical_scrollbar
        if abs(height - scrollbar.window_virtual_size) * self._cells_high * 2 >= height:
            scrollbar.window_virtual_size = height

    @property
    def is_following(self) -> bool:
        """Whether the cursor stays at the newest row."""
        return self._follow and self._held is None

    def hold(self, row: Row) -> None:
        """Keep the cursor with this row, wherever it comes to be."""
        self._held = self._key(row)

    def _note_row(self) -> None:
        """Remember which row is drawn under the cursor: whatever is done is done to what was seen."""
        self._under = self._key(self.source[self.cursor]) if self.cursor < len(self.source) else None

    def _keep_cursor(self, length: int) -> None:
        if length == 0:
            self.cursor = 0
            return
        if self._held is None:
            if self._follow and self.cursor != length - 1:
                self.cursor = length - 1
                self._scroll_to_cursor()
            return
        found = self._locate(self._held)
        if found is None:  # the row is gone; its neighbour takes its place
            self.cursor = min(self.cursor, length - 1)
            self._held = self._key(self.source[self.cursor])
        elif found != self.cursor:
            moved = found - self.cursor
            self.cursor = found
            self.scroll_to(y=max(0, self.scroll_offset.y + moved), animate=False)
            self._scroll_to_cursor()

    def _look_for(self, key: Any) -> int | None:
        return next((i for i in range(len(self.source)) if self._key(self.source[i]) == key), None)

    # The cursor

    def move_to(self, index: int, *, down: bool = True) -> None:
        """Put the cursor on a row, which lies ``down`` from here, or up."""
        length = len(self.source)
        if not length:
            return
        index = max(0, min(index, length - 1))
        edge = length - 1 if self._follow else 0
        self._held = None if index == edge else self._key(self.source[index])
        self.cursor = index
        self._note_row()
        self._scroll_to_cursor()
        self._draw_changes()
        if index == (length - 1 if down else 0):
            self.post_message(self.AtEdge(self, at_top=not down))

    def _scroll_to_cursor(self) -> None:
        room = max(1, self._cells_high - HEAD)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        elif self.cursor >= top + room:
            # The new extent may not have been laid out yet, so that scroll_to alone would stop short of it.
            self.scroll_to(y=self.cursor - room + 1, animate=False, force=True)

    def action_move(self, rows: int) -> None:
        """Down or up."""
        self.move_to(self.cursor + rows, down=rows > 0)

    def action_page(self, pages: int) -> None:
        """Down or up by what is in sight."""
        self.move_to(self.cursor + pages * max(1, self._cells_high - HEAD - 1), down=pages > 0)

    def action_top(self) -> None:
        """To the first row."""
        self.move_to(0, down=False)

    def action_bottom(self) -> None:
        """To the last row."""
        self.move_to(len(self.source) - 1)

    def action_choose(self) -> None:
        """Open the row."""
        row = self.row
        if row is not None:
            self.post_message(self.Chosen(self, row))

    def on_click(self, event: events.Click) -> None:
        """A click selects; another one on the same row opens it. One on a heading is told."""
        index = event.y - HEAD + self.scroll_offset.y
        if event.y < HEAD:
            self._head_clicked(event.x)
            return
        if index >= len(self.source):
            return
        if index == self.cursor and event.chain > 1:
            self.action_choose()
        else:
            self.move_to(index)

    def _head_clicked(self, x: int) -> None:
        for column, width in self._layout:
            if x < width + _GAP:
                self.post_message(self.Headed(self, column.title))
                return
            x -= width + _GAP

    # Drawing

    def on_resize(self) -> None:
        """Lay the columns out anew."""
        self._lay_out()
        self._looked_from = None
        self._extend(len(self.source))
        self._drawn.clear()
        if self._held is None and self._follow:
            self._scroll_to_cursor()
        self.refresh()

    def _lay_out(self) -> None:
        """Give the columns their widths, if the list's own has changed: it may do so before anybody says so."""
        room = self.scrollable_content_region.size
        self._cells_high = room.height
        if room.width != self._cells_wide:
            self._cells_wide = room.width
            self._layout = laid_out(self.columns, room.width)
            self._looked_from = None
            self._forget_looks()
            self._static.clear()

    def notify_style_update(self) -> None:
        """Other colours: nothing that was drawn counts."""
        super().notify_style_update()
        self._forget_looks()

    def _forget_looks(self) -> None:
        for looks in (self._styles, self._segments, self._strips, self._drawn):
            looks.clear()

    def on_focus(self) -> None:
        """The cursor looks different now."""
        self._draw_changes()

    def on_blur(self) -> None:
        """The cursor looks different now."""
        self._draw_changes()

    def retitle(self) -> None:
        """The headings have changed."""
        self.refresh_lines(self.scroll_offset.y, 1)

    def _draw_changes(self) -> None:
        """Mark for drawing, in as few regions as can be, the lines that differ from what is drawn."""
        top = self.scroll_offset.y
        looked_at = self._looked_at = self._look(top, range(HEAD, self._cells_high))
        self._looked_from = self._view
        start: int | None = None
        for y in range(HEAD, self._cells_high + 1):
            drawn = self._drawn.get(y)
            if y < self._cells_high and (drawn is None or drawn[0] != looked_at[y]):
                start = y if start is None else start
                continue
            if drawn is not None and y < self._cells_high:
                looked_at[y] = drawn[0]
            if start is not None:
                self.refresh_lines(start + top, y - start)
                start = None

    @property
    def _view(self) -> tuple[int, int, bool]:
        """What of the list is in sight, but for the rows themselves."""
        return (self.scroll_offset.y, self.cursor, self.has_focus)

    def _look(self, top: int, lines: Iterable[int]) -> dict[int, tuple[Any, ...]]:
        """All that the looks of lines depend on but for the colours: texts and styles, and whether the cursor is there.

        Of a line without a row only whether it is the first one; of the headings, their marks.
        """
        looks: dict[int, tuple[Any, ...]] = {}
        length, cursor, here = len(self.source), self.cursor, self.has_focus + 1
        for y in lines:
            index = y - HEAD + top
            if y < HEAD:
                looks[y] = tuple(self.heading_marks.items())
            elif index >= length:
                looks[y] = (index == 0,)
            else:
                looks[y] = (here if index == cursor else 0, *self._cells(self.source[index]))
        return looks

    def _cells(self, row: Row) -> list[str]:
        known = self._static.get(id(row))
        if known is None or known[0] is not row:
            fixed = [None if column.live else column.cell(row, 0, width) for column, width in self._layout]
            known = self._static[id(row)] = (row, fixed)
        cells: list[str] = []
        for cell, (column, width) in zip(known[1], self._layout, strict=True):
            cells += cell or column.cell(row, self._now, width)
        return cells

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines in ``crop``. There are no borders and no padding to draw around them."""
        self._lay_out()
        filters = self.get_line_filters()
        background = self.background_colors[1]
        looks = (*filters, background, self._cells_wide)
        if looks != self._drawn_as:
            self._drawn_as = looks
            self._drawn.clear()
        whole = crop.column_span == (0, self._cells_wide)
        view = self._view
        if self._looked_from != view:
            self._looked_at, self._looked_from = {}, view
        unseen = [y for y in crop.line_range if y not in self._looked_at]
        self._looked_at |= self._look(view[0], unseen)
        strips = []
        for y in crop.line_range:
            cells = self._looked_at[y]
            drawn = self._drawn.get(y)
            if drawn is not None and (drawn[0] is cells or drawn[0] == cells):
                strip = drawn[1]
            else:
                strip = self._draw(y, cells)
                for line_filter in filters:
                    strip = strip.apply_filter(line_filter, background)
                self._drawn[y] = (cells, strip)
            strips.append(strip if whole else strip.crop(*crop.column_span))
        return strips

    def _draw(self, y: int, cells: tuple[Any, ...]) -> Strip:
        """The headings, or a row."""
        width = self._cells_wide
        if y < HEAD:
            return self._head(width)
        if len(cells) == 1:
            text = self._nothing if cells[0] else ""
            return Strip([Segment(fit(text, width), self.style_named("faint"))], width)
        strip = self._strips.get(cells)
        if strip is None:
            strip = self._strips[cells] = self._strip(cells, width)
        return strip

    def style_named(self, name: str) -> Style:
        """The style of that name, remembered as long as the colours stay; without a name, the list's own."""
        if name not in self._styles:
            self._styles[name] = self.paint(name) if name else self.rich_style
        return self._styles[name]

    def _strip(self, cells: tuple[Any, ...], width: int) -> Strip:
        segments = []
        used = 0
        last = len(self._layout) - 1
        for number, (column, cell_width) in enumerate(self._layout):
            looks = (number, cells[0], cells[1 + 2 * number], cells[2 + 2 * number])
            segment = self._segments.get(looks)
            if segment is None:
                segment = self._segments[looks] = self._segment(column, cell_width, looks, is_last=number == last)
            segments.append(segment)
            used += cell_width + (_GAP if number < last else 0)
        if used < width:
            segments.append(Segment(" " * (width - used), self.style_named("") + self._style_over(cells[0])))
        return Strip(segments, max(width, used)).adjust_cell_length(width)

    def _segment(self, column: Column[Row], width: int, looks: tuple[int, int, str, str], *, is_last: bool) -> Segment:
        _, cursor, text, name = looks
        shown = fit(text, width)
        if column.right:
            shown = shown.rstrip(" ").rjust(width)
        style = self.style_named(name)
        return Segment(
            shown + ("" if is_last else " " * _GAP), style if name == "shout" else style + self._style_over(cursor)
        )

    def _style_over(self, cursor: int) -> Style:
        """What the cursor adds to the style of a row: 0, there is none; 1, the keys are elsewhere; 2, they are here."""
        if not cursor:
            return Style()
        over = self.get_component_rich_style("list--cursor" if cursor > 1 else "list--cursor-away")
        return Style(bgcolor=over.bgcolor, bold=over.bold, reverse=True if self.app.no_color and cursor > 1 else None)

    def _head(self, width: int) -> Strip:
        style = self.get_component_rich_style("list--head")
        titles = []
        for column, cell_width in self._layout:
            title = column.title + self.heading_marks.get(column.title, "")
            titles.append(fit(title, cell_width) if not column.right else title[:cell_width].rjust(cell_width))
        return Strip([Segment(fit((" " * _GAP).join(titles), width), style)], width)
