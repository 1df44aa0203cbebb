"""The audit explorer: filters as one types them, any number of entries page by page, and their export."""

from datetime import UTC, datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.times import SECOND, from_micros, to_micros
from vaultctl.tui import trail, words
from vaultctl.tui.screens.live import Fresh, LiveScreen
from vaultctl.tui.screens.paging import PagedEntries
from vaultctl.tui.trail import Trail, TrailFilter
from vaultctl.tui.widgets.entries import EntryList
from vaultctl.tui.widgets.line_list import LineList
from vaultctl.tui.widgets.lines import Lines


class TrailInput(Input):
    """Where the filter is typed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,down", "leave", "to the list"),
    ]
    BINDING_GROUP_TITLE = "Filter"

    def action_leave(self) -> None:
        """Back to the list."""
        self.screen.set_focus(self.screen.query_one(EntryList))


class AuditScreen(LiveScreen):
    """The log, or the part of it that a filter leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("w", "export", "export", tooltip="Write all entries that match to a file"),
    ]

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self._text = text
        self._is_filtered = bool(text)
        self._is_stale = False
        self._read_at = 0

    def content(self) -> ComposeResult:
        """The filter, the list, and where in the log one is."""
        yield TrailInput(self._text, placeholder=trail.EXAMPLE, id="trail", classes="filter", compact=True)
        yield EntryList(nothing="No entry matches.", id="entries")
        yield Lines([[(" ", "faint")]], id="position")

    def on_mount(self) -> None:
        """Read the newest page."""
        found = self.query_one(EntryList)
        self._filter = TrailFilter()
        self._pages = PagedEntries(self, found, Trail(self._filter))
        self._use(self._text)

    def fresh(self, news: Fresh) -> None:
        """Without a filter, what is new is known; with one, it is asked for, at most once a second."""
        if not self._is_filtered:
            self._pages.append(news.entries)
        self._is_stale |= news.anew or (self._is_filtered and bool(news.entries))
        if self._is_stale and abs(self.now - self._read_at) >= SECOND:
            self._is_stale = False
            self._read_at = self.now
            self._pages.catch_up()
        self.query_one(EntryList).sync(self.now)
        self._tell_position()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Use the filter."""
        if self._use(event.value):
            self.set_focus(self.query_one(EntryList))

    def on_line_list_at_edge(self, event: "LineList.AtEdge") -> None:
        """Older entries, or newer ones."""
        self._pages.more(at_top=event.at_top)

    def on_line_list_chosen(self, event: "LineList.Chosen") -> None:
        """To an entry."""
        self.dashboard.open_entry(event.row)

    def action_filter(self) -> None:
        """Type a filter."""
        self.set_focus(self.query_one(TrailInput))

    def action_export(self) -> None:
        """Write all that matches to a file."""
        from vaultctl.tui.screens.export import ExportTo, export

        name = f"audit-{from_micros(self.now):%Y%m%dT%H%M%SZ}.csv"
        matching = Trail(self._filter)
        writer = self.dashboard.export

        def named(path: str | None) -> None:
            if path:
                self.ask(
                    lambda vault: export(lambda kind: matching.export(vault, kind), path, writer), self.dashboard.tell
                )

        self.app.push_screen(ExportTo(name, self.query_one(TrailInput).value), named)

    def _use(self, text: str) -> bool:
        try:
            self._filter = TrailFilter.parse(text, datetime.fromtimestamp(self.now / 1_000_000, UTC))
        except InvalidInput as error:
            self.dashboard.tell_error(error)
            self.set_focus(self.query_one(TrailInput))
            return False
        self._is_filtered = bool(self._filter.conditions)
        self._pages.use(Trail(self._filter))
        return True

    def _tell_position(self) -> None:
        shown = self.query_one(EntryList)
        row = shown.row
        if row is None:
            text = " "
        else:
            ends = "" if self._pages.at_start else "older entries above  "
            when = words.moment(to_micros(row.timestamp))
            text = f" entry {row.seq:,} of {self.model.seq + 1:,}, {when} UTC  {ends}"
        self.query_one("#position", Lines).show([[(text, "faint")]])
