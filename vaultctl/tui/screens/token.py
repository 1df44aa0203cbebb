"""A token: what it reaches, its runs, and what it did."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vaultctl.client import Vault
from vaultctl.domain.records import AuditEntry, Credential, CredentialState, Identity, Session, Token
from vaultctl.domain.rules import Caller, judge_lease
from vaultctl.domain.times import to_micros
from vaultctl.tui import actions, words
from vaultctl.tui.model import LiveLease
from vaultctl.tui.ordering import OrderedLeases
from vaultctl.tui.screens.agent import MOST_SESSIONS, session_list
from vaultctl.tui.screens.live import Fresh, LeaseScreen
from vaultctl.tui.widgets.entries import Entries, EntryList
from vaultctl.tui.widgets.facts import Facts
from vaultctl.tui.widgets.leases import LeaseTable
from vaultctl.tui.widgets.line_list import LineList
from vaultctl.tui.widgets.section import section

_MOST_ENTRIES = 500


@dataclass(frozen=True)
class TokenView:
    """What is known of a token."""

    token: Token
    reaches: tuple[str, ...]
    sessions: tuple[Session, ...]
    entries: tuple[AuditEntry, ...]


def look_at(vault: Vault, id: str) -> TokenView:
    """Find out about a token."""
    token = vault.tokens.get(id)
    sessions: list[Session] = []
    entries: list[AuditEntry] = []
    if token.agent:
        found = vault.sessions.list(agent=token.agent, limit=MOST_SESSIONS)
        sessions = [session for session in found if session.token_id == id]
        entries = vault.audit_log.query(agent=token.agent, limit=_MOST_ENTRIES)
    elif token.email:
        entries = vault.audit_log.query({"identity.email": token.email}, limit=_MOST_ENTRIES)
    runs = {session.id for session in sessions}
    leases = {lease.id for lease in vault.leases.list(token=id, limit=1_000)}
    return TokenView(
        token,
        tuple(c.name for c in vault.credentials.list() if _reaches(token, c)),
        tuple(sessions),
        tuple(entry for entry in entries if _did(entry, id, runs, leases)),
    )


def _did(entry: AuditEntry, token: str, runs: set[str], leases: set[str]) -> bool:
    return (
        entry.details.get("tokenId") == token or entry.identity.session_id in runs or (entry.lease_id or "") in leases
    )


def _reaches(token: Token, credential: Credential) -> bool:
    if token.kind not in ("agent", "human"):
        return False
    identity = Identity(
        type="agent" if token.kind == "agent" else "human", name=token.agent, email=token.email, user_id=token.user_id
    )
    caller = Caller("", identity, token.role, (token.credentials,))
    return judge_lease(caller, credential.name, credential.policy, CredentialState(credential.state)) is None


class TokenScreen(LeaseScreen):
    """One token, without its secret."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", "next list", show=False),
        Binding("shift+tab", "app.focus_previous", "list before", show=False),
    ]

    HERE = "token"
    AUTO_FOCUS = "LeaseTable"

    def __init__(self, id: str) -> None:
        super().__init__()
        self.token_id = id
        self._token: Token | None = None

    def content(self) -> ComposeResult:
        """Facts, runs, leases, entries."""
        self.rows = OrderedLeases(self.model.leases)
        self.rows.restrict(lambda lease: lease.token == self.token_id)
        yield Facts()
        yield from section("Sessions", session_list(), is_short=True)
        yield from section("Active leases", LeaseTable(self.rows, id="leases", without="agent"), is_short=True)
        yield from section("What it did", EntryList(id="history"))

    def fresh(self, news: Fresh) -> None:
        """Leases as they are; the rest when something concerns the token itself."""
        if news.anew:
            self.rows.watch(self.model.leases)
        else:
            self.rows.update(news.changed)
        for found in self.query(LineList):
            found.sync(self.now)
        if news.anew or any(entry.details.get("tokenId") == self.token_id for entry in news.entries):
            self._reload()

    def lease(self) -> LiveLease | None:
        """The lease under the cursor."""
        return self.query_one(LeaseTable).row

    def action_agent(self) -> None:
        """To the token's agent."""
        self._with_agent(self.dashboard.open_agent)

    def action_revoke_token(self) -> None:
        """This token, wherever the cursor is."""
        self.act(actions.revoke_token(self.token_id))

    def action_stop_agent(self) -> None:
        """The token's agent."""
        self._with_agent(lambda agent: self.act(actions.stop_agent(agent)))

    def on_line_list_chosen(self, event: "LineList.Chosen") -> None:
        """To a run, an entry, or the run of a lease."""
        match event.row:
            case AuditEntry():
                self.dashboard.open_entry(event.row)
            case Session():
                self.dashboard.open_session(event.row.id)
            case LiveLease(session=str() as session):
                self.dashboard.open_session(session)
            case LiveLease():
                self.dashboard.open_trail(lease=event.row.id)

    def _reload(self) -> None:
        self.look(lambda vault: look_at(vault, self.token_id), self._tell)

    def _with_agent(self, then: Callable[[str], None]) -> None:
        def go_on(token: Token) -> None:
            if self._has(token.agent, "This token is not an agent's."):
                then(cast("str", token.agent))

        self.known(self._token, lambda vault: vault.tokens.get(self.token_id), go_on)

    def _tell(self, view: TokenView) -> None:
        token = self._token = view.token
        self.query_one("#sessions", LineList).show_anew(view.sessions, self.now)
        self.query_one(EntryList).show_anew(Entries(list(view.entries)), self.now)
        self.query_one(Facts).tell(
            f"Token {token.id}",
            [
                ("of", token.agent or token.email or token.kind),
                ("role", token.role.value),
                ("state", token.state.value),
                ("credentials", " ".join(token.credentials) or "only what names it"),
                ("maximum TTL", str(token.max_lease_ttl or "")),
                ("expires", words.moment(to_micros(token.expires_at))),
                ("created by", token.created_by),
                ("reaches", " ".join(view.reaches) or "nothing"),
            ],
        )
