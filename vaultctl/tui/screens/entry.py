"""An audit entry: all its fields."""

from collections.abc import Iterator
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from vaultctl.domain.records import AuditEntry
from vaultctl.domain.text import safe
from vaultctl.domain.wire import to_json_object
from vaultctl.tui import words
from vaultctl.tui.screens.live import Fresh, LiveScreen
from vaultctl.tui.widgets.lines import Line, Lines


class EntryScreen(LiveScreen):
    """One entry."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "agent", "agent"),
        Binding("s", "session", "session"),
        Binding("c", "credential", "credential"),
        Binding("l", "lease", "lease's trail"),
    ]

    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, entry: AuditEntry) -> None:
        super().__init__()
        self.entry = entry

    def content(self) -> ComposeResult:
        """Every field with its name in JSON."""
        kind = words.kind_of(self.entry)
        title: Line = [(f"{kind.glyph} {self.entry.event.value}", "alarm" if kind.style == "alarm" else "title")]
        with VerticalScroll():
            yield Lines([title, [], *_field_lines(to_json_object(self.entry))], id="fields")

    def fresh(self, news: Fresh) -> None:
        """An entry never changes."""

    def action_agent(self) -> None:
        """To the agent."""
        self._open(self.entry.identity.name or self.entry.details.get("agent"), self.dashboard.open_agent)

    def action_session(self) -> None:
        """To the session."""
        self._open(self.entry.identity.session_id or self.entry.details.get("sessionId"), self.dashboard.open_session)

    def action_credential(self) -> None:
        """To the credential."""
        self._open(self.entry.credential_name, self.dashboard.open_credential)

    def action_lease(self) -> None:
        """To all entries about the lease."""
        self._open(self.entry.lease_id, lambda lease: self.dashboard.open_trail(lease=lease))

    def _open(self, what: str | None, way: Any) -> None:
        if what:
            way(what)
        else:
            self.dashboard.tell("The entry names none.")


def _field_lines(value: dict[str, Any], depth: int = 0) -> Iterator[Line]:
    for name, item in value.items():
        label = "  " * depth + safe(name)
        if isinstance(item, dict) and item:
            yield [(label, "key")]
            yield from _field_lines(item, depth + 1)
        else:
            text = ", ".join(map(str, item)) if isinstance(item, list) else str(item)
            yield [(f"{label:<24} ", "key"), (safe(text), "plain")]
