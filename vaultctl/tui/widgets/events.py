"""The stream of events."""

from vaultctl.domain.records import AuditEntry
from vaultctl.tui import words
from vaultctl.tui.model import Model, is_denial
from vaultctl.tui.widgets.line_list import Column, LineList


def _style(entry: AuditEntry) -> str:
    style = words.kind_of(entry).style
    return "shout" if style == "alarm" else style


def _style_of_text(entry: AuditEntry) -> str:
    return "shout" if is_denial(entry) else "plain"


def _style_of_time(entry: AuditEntry) -> str:
    return "shout" if is_denial(entry) else "faint"


EVENT_COLUMNS: tuple[Column[AuditEntry], ...] = (
    Column("time", words.entry_time, 8, style=_style_of_time),
    Column("event", lambda e: f"{words.kind_of(e).glyph} {words.kind_of(e).word}", 9, style=_style),
    Column("what happened", words.story, 10, share=1, style=_style_of_text),
)


class RecentEvents:
    """The recent events of a model as rows."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def __len__(self) -> int:
        return len(self._model.events)

    def __getitem__(self, index: int) -> AuditEntry:
        return self._model.events[index]

    def index(self, seq: int) -> int | None:
        """The row of an entry. ``seq`` has no holes."""
        events = self._model.events
        if not events or not events[0].seq <= seq <= events[-1].seq:
            return None
        return seq - events[0].seq


class EventStream(LineList[AuditEntry]):
    """The newest event is the last row; the stream runs on while the cursor is there."""

    def __init__(self, model: Model, *, id: str | None = None) -> None:
        rows = RecentEvents(model)
        super().__init__(
            EVENT_COLUMNS,
            rows,
            key=lambda entry: entry.seq,
            locate=rows.index,
            follow=True,
            nothing="Nothing has happened yet.",
            id=id,
        )
