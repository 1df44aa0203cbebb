"""A list of audit entries that reads on at both ends, and keeps only a window of what it has read."""

from collections.abc import Sequence

from vaultctl.domain.records import AuditEntry
from vaultctl.tui.screens.live import LiveScreen
from vaultctl.tui.trail import WINDOW, Trail
from vaultctl.tui.widgets.entries import Entries, EntryList


class PagedEntries:
    """The entries of a trail in a list of a screen.

    Attributes:
        at_start: Whether the first entry of the trail is in the window.
        at_end: Whether the newest one is.
    """

    def __init__(self, screen: LiveScreen, entries: EntryList, trail: Trail) -> None:
        self._screen = screen
        self._list = entries
        self._trail = trail
        self._entries = Entries()
        self._busy = False
        self._loads = 0
        self.at_start = False
        self.at_end = True

    def __len__(self) -> int:
        return len(self._entries)

    def use(self, trail: Trail) -> None:
        """Show another trail."""
        self._trail = trail
        self.load()

    def load(self) -> None:
        """Read the newest page."""
        self._busy = True
        self._loads += 1
        trail, load = self._trail, self._loads

        def shown(page: list[AuditEntry]) -> None:
            if load != self._loads:  # another trail was asked for meanwhile
                return
            self._busy = False
            self._entries = Entries(list(page))
            self.at_start, self.at_end = False, True
            self._list.show(self._entries, self._screen.now)
            self._list.sync(self._screen.now)

        self._screen.ask(trail.newest, shown)

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """Entries that have just been written, if the window ends with those before them."""
        if self._busy or not self.at_end or not entries:
            return
        last = self._entries.all[-1].seq if self._entries.all else -1
        self._entries.all += [entry for entry in entries if entry.seq > last]
        if len(self._entries.all) > WINDOW:
            del self._entries.all[: len(self._entries.all) - WINDOW]
            self.at_start = False

    def more(self, *, at_top: bool) -> None:
        """Read on at one end."""
        if self._busy or not self._entries.all or (self.at_start if at_top else self.at_end):
            return
        self._busy = True
        entries, load, trail = self._entries, self._loads, self._trail

        def older(page: list[AuditEntry]) -> None:
            if load != self._loads:
                return
            self._busy = False
            self.at_start = not page
            held = self._list.row
            entries.all[:0] = page
            if len(entries.all) > WINDOW:
                del entries.all[WINDOW:]
                self.at_end = False
            self._settle(held)

        def newer(page: list[AuditEntry]) -> None:
            if load != self._loads:
                return
            self._busy = False
            self.at_end = not page
            held = self._list.row
            entries.all += page
            if len(entries.all) > WINDOW:
                del entries.all[: len(entries.all) - WINDOW]
                self.at_start = False
            self._settle(held)

        edge = entries.all[0 if at_top else -1]
        if at_top:
            self._screen.ask(lambda vault: trail.before(vault, edge), older)
        else:
            self._screen.ask(lambda vault: trail.after(vault, edge), newer)

    def _settle(self, held: AuditEntry | None) -> None:
        if held is not None:
            self._list.hold(held)
        self._list.sync(self._screen.now)
