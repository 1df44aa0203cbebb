"""A list of audit entries that reads on at both ends, and keeps only a window of what it has read."""

from collections.abc import Callable, Sequence

from vaultctl.client import Vault
from vaultctl.domain.records import AuditEntry
from vaultctl.tui.screens.live import LiveScreen
from vaultctl.tui.trail import PAGE, WINDOW, Trail
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
        self._wanted: bool | None = None
        """At which end to read on once the vault has answered: at the top, or not."""
        self._loads = 0
        self._passed: list[AuditEntry] = []
        """What was told of while the vault was asked, so that the answer may not have it."""
        self._is_unsure = False
        """Whether something may have been written of which nobody told."""
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

        def shown(page: list[AuditEntry]) -> None:
            self._entries = Entries(list(page))
            self.at_start, self.at_end = False, True
            self._list.show(self._entries, self._screen.now)

        self._loads += 1
        self._ask(self._trail.newest, shown)

    def append(self, entries: Sequence[AuditEntry]) -> None:
        """Entries that have just been written, if the window ends with those before them."""
        if self._busy:
            self._passed = [*self._passed, *entries][-WINDOW:]
        elif entries and self._is_unsure:
            self.catch_up()
        elif self.at_end and entries:
            last = self._entries.all[-1].seq if self._entries.all else -1
            self._add_newer([entry for entry in entries if entry.seq > last])

    def catch_up(self) -> None:
        """Look for what was written while nobody told of it: the screen was out of sight, say."""
        self._is_unsure = self._busy
        if not self._busy and self.at_end:
            self._read_newer()

    def more(self, *, at_top: bool) -> None:
        """Read on at one end."""
        if self._busy:
            self._wanted = at_top
        elif not self._entries.all:
            return
        elif at_top and not self.at_start:
            self._read_older()
        elif not at_top and not self.at_end:
            self._read_newer()

    def _read_older(self) -> None:
        edge, trail = self._entries.all[0], self._trail

        def older(page: list[AuditEntry]) -> None:
            self.at_start = not page
            self._entries.all[:0] = page
            if len(self._entries.all) > WINDOW:
                del self._entries.all[WINDOW:]
                self.at_end = False

        self._ask(lambda vault: trail.before(vault, edge), older)

    def _read_newer(self) -> None:
        if not self._entries.all:
            self.load()
            return
        edge, trail = self._entries.all[-1], self._trail

        def newer(page: list[AuditEntry]) -> None:
            self.at_end = len(page) < PAGE
            self._add_newer(page)

        self._ask(lambda vault: trail.after(vault, edge), newer)

    def _add_newer(self, entries: Sequence[AuditEntry]) -> None:
        self._entries.all += entries
        if len(self._entries.all) > WINDOW:
            del self._entries.all[: len(self._entries.all) - WINDOW]
            self.at_start = False

    def _ask(self, work: Callable[[Vault], list[AuditEntry]], then: Callable[[list[AuditEntry]], None]) -> None:
        """Ask for a page. The cursor stays with its row, or at the end where it follows."""
        self._busy = True
        self._wanted = None
        self._passed = []
        load = self._loads

        def answered(page: list[AuditEntry]) -> None:
            if load != self._loads:  # another trail was asked for meanwhile
                return
            held = self._list.row
            then(page)
            if held is not None and not self._list.is_following:
                self._list.hold(held)
            self._busy = False
            wanted = self._wanted
            self.append(self._passed)
            self._list.sync(self._screen.now)
            if wanted is not None:
                self.more(at_top=wanted)
            if self._is_unsure:
                self.catch_up()

        def failed() -> None:
            if load == self._loads:
                self._busy = False
                self._is_unsure = True

        self._screen.ask(work, answered, failed)
