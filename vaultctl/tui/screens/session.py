"""A session: every entry of that run, with the purposes, as they come."""

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vaultctl.client import Vault
from vaultctl.domain.records import AuditEntry, Session
from vaultctl.domain.times import to_micros
from vaultctl.tui import words
from vaultctl.tui.model import LiveLease
from vaultctl.tui.screens.live import Fresh, LeaseScreen
from vaultctl.tui.screens.paging import PagedEntries
from vaultctl.tui.trail import Trail, TrailFilter
from vaultctl.tui.widgets.entries import EntryList
from vaultctl.tui.widgets.facts import Facts
from vaultctl.tui.widgets.line_list import LineList


class SessionScreen(LeaseScreen):
    """One run of one agent."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("v", "trail", "audit log")]

    def __init__(self, id: str) -> None:
        super().__init__()
        self.session_id = id
        self._session: Session | None = None

    def content(self) -> ComposeResult:
        """Facts, timeline."""
        yield Facts()
        yield EntryList(nothing="Nothing is recorded of this session.", id="timeline")

    def on_mount(self) -> None:
        """Ask for the entries."""
        timeline = self.query_one(EntryList)
        self._pages = PagedEntries(self, timeline, Trail(TrailFilter({"session": self.session_id})))
        self._pages.load()

    def fresh(self, news: Fresh) -> None:
        """Append what concerns this run."""
        mine = [entry for entry in news.entries if self._concerns(entry)]
        self._pages.append(mine)
        if news.anew:
            self._pages.catch_up()
        if mine or news.anew:
            self._reload()
        self.query_one(EntryList).sync(self.now)

    def lease(self) -> LiveLease | None:
        """The lease that the entry under the cursor is about, if it is active."""
        entry = self.query_one(EntryList).row
        return None if entry is None or entry.lease_id is None else self.model.leases.get(entry.lease_id)

    def action_agent(self) -> None:
        """To the agent of the run."""
        self._with_session(lambda session: self.dashboard.open_agent(session.agent))

    def action_token(self) -> None:
        """To the token of the run."""
        self._with_session(lambda session: self.dashboard.open_token(session.token_id))

    def action_end_session(self) -> None:
        """This run, wherever the cursor is."""
        from vaultctl.tui import actions

        self.act(actions.end_session(self.session_id))

    def action_stop_agent(self) -> None:
        """The agent of the run."""
        from vaultctl.tui import actions

        self._with_session(lambda session: self.act(actions.stop_agent(session.agent)))

    def action_revoke_token(self) -> None:
        """The token of the run."""
        from vaultctl.tui import actions

        self._with_session(lambda session: self.act(actions.revoke_token(session.token_id)))

    def action_trail(self) -> None:
        """To the audit explorer."""
        self.dashboard.open_trail(session=self.session_id)

    def on_line_list_chosen(self, event: "LineList.Chosen") -> None:
        """To an entry."""
        self.dashboard.open_entry(event.row)

    def on_line_list_at_edge(self, event: "LineList.AtEdge") -> None:
        """Older entries, or newer ones."""
        self._pages.more(at_top=event.at_top)

    def _reload(self) -> None:
        self.look(self._find, self._tell)

    def _find(self, vault: Vault) -> Session:
        return vault.sessions.get(self.session_id)

    def _with_session(self, then: Callable[[Session], None]) -> None:
        self.known(self._session, self._find, then)

    def _tell(self, session: Session) -> None:
        self._session = session
        ended = session.ended_at
        self.query_one(Facts).tell(
            f"Session {session.id}",
            [
                ("agent", session.agent),
                ("state", f"{session.state.value}{f' ({session.end_reason})' if session.end_reason else ''}"),
                ("active leases", str(session.active_leases or 0)),
                ("started", words.moment(to_micros(session.started_at))),
                ("last seen", words.moment(to_micros(session.last_seen_at))),
                ("ended", words.moment(to_micros(ended)) if ended else ""),
                ("token", session.token_id),
            ],
        )

    def _concerns(self, entry: AuditEntry) -> bool:
        return self.session_id in (entry.identity.session_id, entry.details.get("sessionId"))
