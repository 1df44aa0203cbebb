"""The lists of agents, credentials and tokens, from which one goes on to one of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from vaultctl.client import Vault
from vaultctl.domain.records import Credential, SessionState, Token, TokenState
from vaultctl.domain.text import safe
from vaultctl.domain.times import SECOND, to_micros
from vaultctl.tui import actions, words
from vaultctl.tui.screens.live import Fresh, LiveScreen
from vaultctl.tui.screens.overview import FilterInput
from vaultctl.tui.widgets.line_list import Column, LineList
from vaultctl.tui.widgets.section import section


class ListScreen(LiveScreen):
    """A list that is read from the vault, and again when something changes it."""

    TITLE_TEXT: ClassVar[str]
    COLUMNS: ClassVar[Sequence[Column[Any]]]
    CONCERNS: ClassVar[tuple[str, ...]]
    """Beginnings of the names of events after which the list is read again."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("slash", "filter", "filter", key_display="/")]

    def __init__(self) -> None:
        super().__init__()
        self._all: list[Any] = []
        self._words: tuple[str, ...] = ()
        self._is_stale = False
        self._read_at = 0

    def content(self) -> ComposeResult:
        """The list."""
        yield FilterInput(placeholder="words to look for", id="filter", compact=True)
        yield from section(self.TITLE_TEXT, LineList[Any](self.COLUMNS, [], key=self.key, id="leases"))

    def on_mount(self) -> None:
        """Read it."""
        self.query_one(FilterInput).display = False
        self._reload()

    def read(self, vault: Vault) -> list[Any]:
        """The rows."""
        raise NotImplementedError

    def fresh(self, news: Fresh) -> None:
        """Read again when something changed, at most once a second."""
        self._is_stale |= news.anew or any(entry.event.value.startswith(self.CONCERNS) for entry in news.entries)
        if self._is_stale and abs(self.now - self._read_at) >= SECOND:
            self._reload()
        self.query_one(LineList).sync(self.now)

    @property
    def row(self) -> Any:
        """The row under the cursor."""
        return self.query_one(LineList).row

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter as one types."""
        self._words = tuple(event.value.lower().split())
        self._show(self._all)

    def on_input_submitted(self) -> None:
        """Keep the filter."""
        self.query_one(FilterInput).action_leave()

    def action_filter(self) -> None:
        """Type a filter."""
        field = self.query_one(FilterInput)
        field.display = True
        self.set_focus(field)

    def _reload(self) -> None:
        self._is_stale = False
        self._read_at = self.now
        self.look(self.read, self._show)

    def _show(self, rows: list[Any]) -> None:
        self._all = rows
        self.query_one(LineList).show_anew([row for row in rows if self._matches(row)], self.now)

    @staticmethod
    def key(row: Any) -> str:
        """What tells rows apart."""
        raise NotImplementedError

    def _matches(self, row: Any) -> bool:
        if not self._words:
            return True
        haystack = " ".join(column.text(row) for column in self.COLUMNS).lower()
        return all(word in haystack for word in self._words)


@dataclass(frozen=True)
class AgentRow:
    """An agent, from its tokens, its sessions and its leases."""

    name: str
    tokens: int
    sessions: int
    leases: int
    renewals: int


def _agents(vault: Vault) -> list[AgentRow]:
    tokens = [t for t in vault.tokens.list() if t.agent]
    sessions = vault.sessions.list(state=SessionState.ACTIVE)
    leases = [lease for lease in vault.leases.list(state="active") if lease.identity.name]
    tally: dict[str, list[int]] = {}
    for names, position in (
        ([t.agent for t in tokens if t.state is TokenState.ACTIVE], 0),
        ([s.agent for s in sessions], 1),
        ([lease.identity.name for lease in leases], 2),
    ):
        for name in names:
            tally.setdefault(name or "", [0, 0, 0, 0])[position] += 1
    for lease in leases:
        tally[lease.identity.name or ""][3] += lease.renewals
    for token in tokens:
        tally.setdefault(token.agent or "", [0, 0, 0, 0])
    return sorted((AgentRow(name, *counts) for name, counts in tally.items()), key=lambda r: (-r.leases, r.name))


class AgentsScreen(ListScreen):
    """All agents that have a token, those that hold the most first."""

    TITLE_TEXT = "Agents"
    COLUMNS = (
        Column("agent", lambda r: safe(r.name), 20, share=1, most=60, style="title"),
        Column("leases", lambda r: f"{r.leases:,}", 8, right=True, style=lambda r: "good" if r.leases else "plain"),
        Column("sessions", lambda r: f"{r.sessions:,}", 8, right=True),
        Column("renewals", lambda r: f"{r.renewals:,}", 8, right=True),
        Column("tokens", lambda r: f"{r.tokens:,}", 8, right=True),
    )
    CONCERNS = ("lease.", "session.", "token.")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("S", "stop_agent", "stop agent", tooltip="Revoke all tokens of the agent"),
    ]

    @staticmethod
    def key(row: Any) -> str:
        """What tells rows apart."""
        return str(row.name)

    def read(self, vault: Vault) -> list[AgentRow]:
        """The agents."""
        return _agents(vault)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Nothing that changes anything where nothing may."""
        return self.dashboard.acts or action != "stop_agent"

    def on_line_list_chosen(self, event: "LineList.Chosen") -> None:
        """To an agent."""
        self.dashboard.open_agent(event.row.name)

    def action_stop_agent(self) -> None:
        """Revoke everything of it."""
        if self.row is not None:
            self.act(actions.stop_agent(self.row.name))


class CredentialsScreen(ListScreen):
    """All credentials by name."""

    TITLE_TEXT = "Credentials"
    COLUMNS: ClassVar[Sequence[Column[Credential]]] = (
        Column("credential", lambda c: safe(c.name), 20, share=1, most=60, style="title"),
        Column("type", lambda c: c.type.value, 15),
        Column(
            "state",
            lambda c: f"{'●' if c.state.value == 'active' else '⊘'} {c.state.value}",
            9,
            style=lambda c: "good" if c.state.value == "active" else "warn",
        ),
        Column("version", lambda c: str(c.version), 7, right=True),
        Column("updated (UTC)", lambda c: words.moment(to_micros(c.updated_at)), 19, rank=1, style="faint"),
    )
    CONCERNS = ("credential.", "acl.")

    @staticmethod
    def key(row: Any) -> str:
        """What tells rows apart."""
        return str(row.name)

    def read(self, vault: Vault) -> list[Credential]:
        """The credentials."""
        return vault.credentials.list()

    def on_line_list_chosen(self, event: "LineList.Chosen") -> None:
        """To a credential."""
        self.dashboard.open_credential(event.row.name)


class TokensScreen(ListScreen):
    """All tokens but those of sessions, newest first."""

    TITLE_TEXT = "Tokens"
    COLUMNS: ClassVar[Sequence[Column[Token]]] = (
        Column("of", lambda t: safe(t.agent or t.email or t.kind), 18, share=1, most=40, style="title"),
        Column("role", lambda t: t.role.value, 7),
        Column(
            "state",
            lambda t: f"{'●' if t.state.value == 'active' else '⊘'} {t.state.value}",
            9,
            style=lambda t: "good" if t.state.value == "active" else "faint",
        ),
        Column("credentials", lambda t: safe(" ".join(t.credentials)), 14, share=2, rank=2),
        Column(
            "expires in",
            lambda t: words.moment(to_micros(t.expires_at)),
            10,
            right=True,
            rank=1,
            live=lambda t, now, _: (words.span(to_micros(t.expires_at) - now), "plain"),
        ),
        Column("id", lambda t: safe(t.id), 12, is_id=True, rank=3, style="faint"),
    )
    CONCERNS = ("token.created", "token.rotated", "token.revoked")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("T", "revoke_token", "revoke token", tooltip="End the token, its sessions and leases"),
    ]

    @staticmethod
    def key(row: Any) -> str:
        """What tells rows apart."""
        return str(row.id)

    def read(self, vault: Vault) -> list[Token]:
        """The tokens."""
        return vault.tokens.list()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Nothing that changes anything where nothing may."""
        return self.dashboard.acts or action != "revoke_token"

    def on_line_list_chosen(self, event: "LineList.Chosen") -> None:
        """To a token."""
        self.dashboard.open_token(event.row.id)

    def action_revoke_token(self) -> None:
        """End it."""
        if self.row is not None:
            self.act(actions.revoke_token(self.row.id))
