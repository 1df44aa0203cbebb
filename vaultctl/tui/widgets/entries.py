"""Audit entries in full width, for timelines and the audit explorer."""

from vaultctl.domain.records import AuditEntry
from vaultctl.domain.text import safe
from vaultctl.domain.times import to_micros
from vaultctl.tui import words
from vaultctl.tui.widgets.line_list import Column, LineList


def _style(entry: AuditEntry) -> str:
    return words.kind_of(entry).style


def _session(entry: AuditEntry) -> str:
    return safe(entry.identity.session_id or str(entry.details.get("sessionId") or ""))


ENTRY_COLUMNS: tuple[Column[AuditEntry], ...] = (
    Column("time (UTC)", lambda e: words.moment(to_micros(e.timestamp))[5:], 14, style="faint"),
    Column("event", lambda e: f"{words.kind_of(e).glyph} {e.event.value}", 20, style=_style),
    Column("who", lambda e: safe(e.identity.label), 12, share=1, most=28, rank=1, style="title"),
    Column("credential", lambda e: safe(e.credential_name or ""), 12, share=1, most=28, rank=2),
    Column("session", _session, 13, is_id=True, rank=5, style="faint"),
    Column("outcome", words.outcome, 10, share=1, most=30, rank=4, style=_style),
    Column("purpose", lambda e: safe(e.identity.purpose or ""), 17, share=4, rank=3),
    Column("seq", lambda e: str(e.seq), 7, rank=6, right=True, style="faint"),
)


class Entries:
    """A list of entries that has a place for each ``seq``."""

    def __init__(self, entries: list[AuditEntry] | None = None) -> None:
        self.all = entries or []

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, index: int) -> AuditEntry:
        return self.all[index]


class EntryList(LineList[AuditEntry]):
    """Entries, oldest first, with the cursor at the newest."""

    def __init__(self, *, follow: bool = True, nothing: str = "Nothing is recorded.", id: str | None = None) -> None:
        super().__init__(ENTRY_COLUMNS, Entries(), key=lambda entry: entry.seq, follow=follow, nothing=nothing, id=id)
