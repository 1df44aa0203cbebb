"""The overview: active leases beside the stream of events."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import Input

from vaultctl.tui.model import LiveLease
from vaultctl.tui.ordering import OrderedLeases
from vaultctl.tui.screens.live import Fresh, LeaseScreen
from vaultctl.tui.widgets.events import EventStream
from vaultctl.tui.widgets.leases import LeaseTable
from vaultctl.tui.widgets.line_list import LineList


class FilterInput(Input):
    """Where a filter is typed. Enter keeps it, Escape takes it away."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "clear filter"),
        Binding("down", "leave", "to the list", show=False),
    ]
    BINDING_GROUP_TITLE = "Filter"

    def action_cancel(self) -> None:
        """Take the filter away."""
        self.value = ""
        self.action_leave()

    def action_leave(self) -> None:
        """Back to the list, which gets the keys first: a field that vanishes with the keys would take them along."""
        self.screen.set_focus(self.screen.query_one("#leases"))
        self.display = bool(self.value)


class Overview(LeaseScreen):
    """Where one begins, and what stays open all day."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("o", "order", "order"),
        Binding("O", "reverse", "turn the order round", show=False),
        Binding("escape,backspace", "clear", "clear filter", show=False),
        Binding("d", "app.denials", "denials"),
        Binding("tab,shift+tab", "other_list", "other list", show=False),
    ]

    _turn = False

    def content(self) -> ComposeResult:
        """Leases and events, side by side where there is room."""
        self.rows = OrderedLeases(self.model.leases)
        yield FilterInput(placeholder="words to look for, in any column", id="filter", compact=True)
        with Container(id="overview"):
            yield LeaseTable(self.rows, id="leases")
            yield EventStream(self.model, id="events")

    def on_mount(self) -> None:
        """No filter at first."""
        self.query_one(FilterInput).display = False

    def fresh(self, news: Fresh) -> None:
        """Both lists."""
        if news.anew:
            self.rows.watch(self.model.leases)
        else:
            self.rows.update(news.changed)
        # In turns: half of the screen at a time keeps the other half of the time for keys.
        self._turn = not self._turn
        if self._turn or news.anew:
            self.query_one(LeaseTable).sync(self.now)
        if not self._turn or news.anew:
            self.query_one(EventStream).sync(self.now)

    def lease(self) -> LiveLease | None:
        """The lease under the cursor, or that of the event under it."""
        if self.query_one(EventStream).has_focus:
            entry = self.query_one(EventStream).row
            return None if entry is None or entry.lease_id is None else self.model.leases.get(entry.lease_id)
        return self.query_one(LeaseTable).row

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter as one types."""
        self.rows.filter(event.value)
        self.query_one(LeaseTable).sync(self.now)

    def on_input_submitted(self) -> None:
        """Keep the filter."""
        self.query_one(FilterInput).action_leave()

    def on_line_list_chosen(self, event: "LineList.Chosen") -> None:
        """A lease leads to its run, an event to its entry."""
        if isinstance(event.row, LiveLease):
            if event.row.session:
                self.dashboard.open_session(event.row.session)
            else:
                self.dashboard.open_trail(lease=event.row.id)
        else:
            self.dashboard.open_entry(event.row)

    def action_filter(self) -> None:
        """Type a filter."""
        field = self.query_one(FilterInput)
        field.display = True
        self.set_focus(field)

    def action_clear(self) -> None:
        """Take the filter away."""
        self.query_one(FilterInput).action_cancel()

    def on_line_list_headed(self, event: "LineList.Headed") -> None:
        """Order by the column; by the same one again, the other way round."""
        if isinstance(event.list, LeaseTable):
            event.list.order_by(event.title, self.now)

    def action_order(self) -> None:
        """Order by the next column."""
        by = self.query_one(LeaseTable).order_next(self.now)
        self.dashboard.tell(f"Ordered by {by}.")

    def action_reverse(self) -> None:
        """Turn the order round."""
        self.query_one(LeaseTable).reverse(self.now)

    def action_other_list(self) -> None:
        """From the leases to the events and back."""
        table, stream = self.query_one(LeaseTable), self.query_one(EventStream)
        self.set_focus(table if self.focused is stream else stream)
