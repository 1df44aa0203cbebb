"""An agent: its runs, and what it holds now."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vaultctl.client import Vault
from vaultctl.domain.records import AuditEntry, Event, Session
from vaultctl.domain.text import safe
from vaultctl.domain.times import to_micros
from vaultctl.tui import actions, words
from vaultctl.tui.model import LiveLease
from vaultctl.tui.ordering import OrderedLeases
from vaultctl.tui.screens.live import Fresh, LeaseScreen
from vaultctl.tui.widgets.facts import Facts
from vaultctl.tui.widgets.leases import LeaseTable
from vaultctl.tui.widgets.line_list import Column, LineList
from vaultctl.tui.widgets.section import section

MOST_SESSIONS = 200

SESSION_COLUMNS: tuple[Column[Session], ...] = (
    Column("session", lambda s: safe(s.id), 20, is_id=True, share=1, most=40, style="title"),
    Column(
        "state",
        lambda s: f"{'●' if s.state.value == 'active' else '○'} {s.state.value}",
        8,
        style=lambda s: "good" if s.state.value == "active" else "faint",
    ),
    Column("leases", lambda s: str(s.active_leases or 0), 6, right=True),
    Column("started (UTC)", lambda s: words.moment(to_micros(s.started_at)), 19),
    Column(
        "last seen",
        lambda s: words.moment(to_micros(s.last_seen_at)),
        11,
        rank=1,
        live=lambda s, now, _: (f"{words.span(now - to_micros(s.last_seen_at))} ago", "faint"),
    ),
    Column("why ended", lambda s: safe(s.end_reason or ""), 10, share=2, rank=2, style="faint"),
)


def session_list() -> LineList[Session]:
    """A list of sessions, empty at first."""
    return LineList[Session](SESSION_COLUMNS, [], key=lambda s: s.id, nothing="No sessions.", id="sessions")


class AgentScreen(LeaseScreen):
    """One agent."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "trail", "audit log"),
        Binding("tab", "app.focus_next", "next list", show=False),
        Binding("shift+tab", "app.focus_previous", "list before", show=False),
    ]

    HERE = "agent"

    def __init__(self, agent: str) -> None:
        super().__init__()
        self.agent = agent
        self._tokens = "…"

    def content(self) -> ComposeResult:
        """Facts, runs, leases."""
        self.rows = OrderedLeases(self.model.leases)
        self.rows.restrict(lambda lease: lease.agent == self.agent)
        yield Facts()
        yield from section("Sessions", session_list(), is_short=True)
        yield from section("Active leases", LeaseTable(self.rows, id="leases", without="agent"))

    def on_mount(self) -> None:
        """Count its tokens."""
        self.ask(self._count_tokens, self._show_tokens)

    def fresh(self, news: Fresh) -> None:
        """Leases as they are; runs when one of them begins or ends."""
        if news.anew:
            self.rows.watch(self.model.leases)
        else:
            self.rows.update(news.changed)
        self.query_one(LeaseTable).sync(self.now)
        self.query_one("#sessions", LineList).sync(self.now)
        self._tell()
        began_or_ended = (Event.SESSION_STARTED, Event.SESSION_ENDED)
        if news.anew or any(e.event in began_or_ended and self._concerns(e) for e in news.entries):
            self._reload()

    def lease(self) -> LiveLease | None:
        """The lease under the cursor of the lower list."""
        return self.query_one(LeaseTable).row

    def session(self) -> Session | None:
        """The run under the cursor of the upper list, if that has the keys."""
        found = self.query_one("#sessions", LineList)
        return found.row if found.has_focus else None

    def action_end_session(self) -> None:
        """The run under the cursor, or that of the lease under it."""
        session = self.session()
        if session is None:
            super().action_end_session()
        else:
            self.act(actions.end_session(session.id))

    def action_stop_agent(self) -> None:
        """This agent, whether or not it holds a lease."""
        self.act(actions.stop_agent(self.agent))

    def action_token(self) -> None:
        """The token of the run under the cursor, or that of the lease under it."""
        session = self.session()
        if session is None:
            super().action_token()
        else:
            self.dashboard.open_token(session.token_id)

    def action_trail(self) -> None:
        """Everything that the log has of it."""
        self.dashboard.open_trail(agent=self.agent)

    def on_line_list_chosen(self, event: "LineList.Chosen") -> None:
        """To a run's timeline."""
        if isinstance(event.row, Session):
            self.dashboard.open_session(event.row.id)
        elif event.row.session:
            self.dashboard.open_session(event.row.session)
        else:
            self.dashboard.open_trail(lease=event.row.id)

    def _reload(self) -> None:
        self.look(lambda vault: vault.sessions.list(agent=self.agent, limit=MOST_SESSIONS), self._show_sessions)

    def _show_sessions(self, sessions: list[Session]) -> None:
        self.query_one("#sessions", LineList).show_anew(sessions, self.now)

    def _count_tokens(self, vault: Vault) -> str:
        tokens = [token for token in vault.tokens.list() if token.agent == self.agent]
        active = sum(token.state.value == "active" for token in tokens)
        return f"{active} active of {len(tokens)}"

    def _show_tokens(self, text: str) -> None:
        self._tokens = text
        self._tell()

    def _tell(self) -> None:
        running = sum(agent == self.agent for agent in self.model.sessions.values())
        facts = [("sessions", f"{running} active"), ("leases", f"{len(self.rows)} active"), ("tokens", self._tokens)]
        self.query_one(Facts).tell(f"Agent {self.agent}", facts)

    def _concerns(self, entry: AuditEntry) -> bool:
        return self.agent in (entry.identity.name, entry.details.get("agent"))
