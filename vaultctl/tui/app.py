"""The application: the model, the feed that fills it, the frames in which it is drawn, and the ways between screens."""

import signal
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from vaultctl.client import Vault
from vaultctl.domain.errors import ExitStatus, VaultError
from vaultctl.domain.records import AuditEntry
from vaultctl.domain.times import SECOND
from vaultctl.tui.feed import Entries, Feed, Live, Lost
from vaultctl.tui.model import Model, Snapshot
from vaultctl.tui.offset import ClockOffset
from vaultctl.tui.screens.live import Fresh, LiveScreen
from vaultctl.tui.screens.overview import Overview
from vaultctl.tui.trail import Exporter, TrailFilter
from vaultctl.tui.widgets.palette import THEMES
from vaultctl.tui.widgets.status import Connection, Counts, DenialLine, StatusLines, counts_of

FRAMES_PER_SECOND = 10
_WORK_PER_FRAME = 0.025
"""Seconds of a frame that news may take; what is left over waits for the next, so that keys never do."""


def system_clock() -> int:
    """The operating system's time in microseconds since 1970."""
    return time.time_ns() // 1_000


class Dashboard(App[int]):
    """The dashboard of one vault.

    Attributes:
        vault: Whom threads ask.
        model: The picture.
        acts: Whether anything can be changed from here.
        failure: The defect that ended it, if one did.
    """

    TITLE = "vaultctl"
    CSS_PATH = Path(__file__).with_name("dashboard.tcss")
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-narrow"),
        (150, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("ctrl+p,colon", "command_palette", "commands", show=False),
        Binding("1", "go('overview')", "leases", show=False),
        Binding("2", "go('agents')", "agents", show=False),
        Binding("3", "go('credentials')", "credentials", show=False),
        Binding("4", "go('tokens')", "tokens", show=False),
        Binding("5", "go('audit')", "audit log", show=False),
        Binding("d", "denials", "denials", show=False),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
    ]
    BINDING_GROUP_TITLE = "Everywhere"

    def __init__(
        self,
        vault: Vault,
        first: Snapshot,
        *,
        place: str,
        acts: bool,
        export: Exporter,
        clock: Callable[[], int] = system_clock,
        feed: Feed | None = None,
    ) -> None:
        """A dashboard.

        Args:
            vault: The vault, as an admin of the tenant; used by threads.
            first: The vault as it was a moment ago.
            place: Which vault it is, in a few words.
            acts: Whether to offer what changes something.
            export: Writes audit entries as text.
            clock: The local time in microseconds since 1970.
            feed: Where news come from; None: from ``vault``.
        """
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name
        self.vault = vault
        self.model = Model()
        self.acts = acts
        self.export = export
        self.failure: Exception | None = None
        self._first = first
        self._place = place
        self._clock = clock
        self._offset = ClockOffset()
        self._feed = feed or Feed(vault)
        self._connection = Connection(catching_up=True)
        self._counts = Counts(0, 0, 0, 0)
        self._counted_at = 0

    # Time

    @property
    def now(self) -> int:
        """The vault's time, as well as it is known; while the vault is out of reach, when it was lost."""
        lost_at = self._connection.lost_at
        return self._time if lost_at is None else lost_at

    @property
    def _time(self) -> int:
        return self._clock() + self._offset.micros

    # Life

    def get_default_screen(self) -> Screen[Any]:
        """The overview."""
        self.model.start(self._first)
        self.model.advance(self.now)
        return Overview()

    def on_mount(self) -> None:
        """Begin to read and to draw."""
        self._feed.start(self._first)
        self.set_interval(1 / FRAMES_PER_SECOND, self.frame)

    def on_ready(self) -> None:
        """End well when told to end."""
        loop = self._loop
        if loop is not None and not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                loop.add_signal_handler(number, partial(self.exit, return_code=int(ExitStatus.INTERRUPTED)))

    def on_unmount(self) -> None:
        """Stop reading."""
        self._feed.stop()

    def _handle_exception(self, error: Exception) -> None:
        """A defect: end without printing what Textual would, a traceback with the values of variables."""
        self.failure = self.failure or error
        if self._exception is None:
            self._exception = error
            self._exception_event.set()
        self._return_code = 1
        self._close_messages_no_wait()

    # Frames

    def frame(self) -> None:
        """Take what has come, and draw what differs."""
        if not self.is_running:  # the screens are being taken down
            return
        changed: set[str] = set()
        entries: list[AuditEntry] = []
        anew = False
        local = self._clock()
        until = time.monotonic() + _WORK_PER_FRAME
        for news in self._feed.take():
            match news:
                case Entries():
                    changed |= self.model.apply(news.entries)
                    entries += news.entries
                    if self._connection.is_live:  # else they may have waited long before they were read
                        self._offset.observe(news.entries[-1].timestamp, local)
                case Snapshot():
                    if news is not self._first:
                        self.model.start(news)
                        anew = True
                case Lost():
                    self._connection = Connection(self.now, news.error.message)
                case Live():
                    self._connection = Connection(is_polled=news.polled)
            if time.monotonic() > until:
                break
        changed |= self.model.advance(self.now)
        # What is under a question is drawn too.
        screen = next(screen for screen in reversed(self.screen_stack) if isinstance(screen, LiveScreen))
        if screen.can_draw:
            self.draw_head(screen)
            screen.fresh(Fresh(changed, entries, anew=anew))

    def draw_head(self, screen: LiveScreen) -> None:
        """Draw the head of a screen."""
        now = self._time
        if now // SECOND != self._counted_at:
            self._counted_at = now // SECOND
            self._counts = counts_of(self.model, now)
        status = screen.query_one(StatusLines)
        status.tell(self._place, self._connection, self._counts, self.model, now, acts=self.acts)
        screen.query_one(DenialLine).tell(self.model)
        screen.set_class(self._connection.lost_at is not None, "-stale")

    def hurry(self) -> None:
        """Look for news at once."""
        self._feed.hurry()

    # What is said

    def tell(self, text: str) -> None:
        """Say something."""
        self.notify(text, markup=False, timeout=5)

    def tell_error(self, error: VaultError) -> None:
        """Say what went wrong, and what to do."""
        self.notify(error.hint or " ", title=error.message, severity="error", markup=False, timeout=12)

    # Ways

    def back(self) -> None:
        """To the screen before."""
        if len(self.screen_stack) > 1:
            self.pop_screen()

    def action_go(self, where: str) -> None:
        """To one of the main screens, from anywhere."""
        from vaultctl.tui.screens.audit import AuditScreen
        from vaultctl.tui.screens.lists import AgentsScreen, CredentialsScreen, TokensScreen

        screens: dict[str, Callable[[], LiveScreen]] = {
            "agents": AgentsScreen,
            "credentials": CredentialsScreen,
            "tokens": TokensScreen,
            "audit": AuditScreen,
        }
        if not isinstance(self.screen, LiveScreen):  # a question is open
            return
        if where == "overview":
            while len(self.screen_stack) > 1:
                self.pop_screen()
        elif len(self.screen_stack) > 1:
            while len(self.screen_stack) > 2:
                self.pop_screen()
            self.switch_screen(screens[where]())
        else:
            self.push_screen(screens[where]())

    def action_help(self) -> None:
        """The keys."""
        from vaultctl.tui.screens.help import Help, key_lines

        if isinstance(self.screen, LiveScreen):
            self.push_screen(Help(list(key_lines(self, self.screen))))

    def action_denials(self) -> None:
        """To the refusals, which are thereby looked at."""
        self.model.acknowledge()
        self.open_trail(event="denied")

    def open_agent(self, name: str) -> None:
        """To an agent."""
        from vaultctl.tui.screens.agent import AgentScreen

        self.push_screen(AgentScreen(name))

    def open_session(self, id: str) -> None:
        """To a session."""
        from vaultctl.tui.screens.session import SessionScreen

        self.push_screen(SessionScreen(id))

    def open_credential(self, name: str) -> None:
        """To a credential."""
        from vaultctl.tui.screens.credential import CredentialScreen

        self.push_screen(CredentialScreen(name))

    def open_token(self, id: str) -> None:
        """To a token."""
        from vaultctl.tui.screens.token import TokenScreen

        self.push_screen(TokenScreen(id))

    def open_entry(self, entry: AuditEntry) -> None:
        """To an entry of the audit log."""
        from vaultctl.tui.screens.entry import EntryScreen

        self.push_screen(EntryScreen(entry))

    def open_trail(self, **conditions: str) -> None:
        """To the entries of the audit log that meet conditions, written as in its filter."""
        from vaultctl.tui.screens.audit import AuditScreen

        self.push_screen(AuditScreen(TrailFilter.text_of(conditions)))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:  # noqa: ARG002
        """What the command palette offers: the main screens, the agents at work, the themes."""
        for title, where in (
            ("Leases", "overview"),
            ("Agents", "agents"),
            ("Credentials", "credentials"),
            ("Tokens", "tokens"),
            ("Audit log", "audit"),
        ):
            yield SystemCommand(title, f"Go to: {title.lower()}", lambda where=where: self.action_go(where))
        yield SystemCommand("Denials", "Who was refused", self.action_denials)
        yield SystemCommand("Keys", "What the keys do here", self.action_help)
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        for agent in sorted({lease.agent for lease in self.model.leases.values() if lease.agent})[:100]:
            yield SystemCommand(f"Agent {agent}", "Its runs and leases", lambda agent=agent: self.open_agent(agent))
        yield SystemCommand("Quit", "Close the dashboard", self.action_quit)
