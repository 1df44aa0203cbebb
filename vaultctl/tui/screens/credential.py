"""A credential: who holds it now, and who held it."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from vaultctl.domain.records import AuditEntry, Credential
from vaultctl.domain.times import to_micros
from vaultctl.tui import words
from vaultctl.tui.model import LiveLease
from vaultctl.tui.ordering import OrderedLeases
from vaultctl.tui.screens.live import Fresh, LeaseScreen
from vaultctl.tui.screens.paging import PagedEntries
from vaultctl.tui.trail import Trail, TrailFilter
from vaultctl.tui.widgets.entries import EntryList
from vaultctl.tui.widgets.facts import Facts
from vaultctl.tui.widgets.leases import LeaseTable
from vaultctl.tui.widgets.line_list import LineList
from vaultctl.tui.widgets.section import section


class CredentialScreen(LeaseScreen):
    """One credential, without its value."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "trail", "audit log"),
        Binding("tab", "app.focus_next", "next list", show=False),
        Binding("shift+tab", "app.focus_previous", "list before", show=False),
    ]

    HERE = "credential"

    def __init__(self, name: str) -> None:
        super().__init__()
        self.credential = name

    def content(self) -> ComposeResult:
        """Facts, holders, history."""
        self.rows = OrderedLeases(self.model.leases)
        self.rows.restrict(lambda lease: lease.credential == self.credential)
        yield Facts()
        holders = LeaseTable(self.rows, id="leases", nothing="Nobody holds it.", without="credential")
        yield from section("Held now", holders, is_short=True)
        yield from section("What happened to it", EntryList(id="history"))

    def on_mount(self) -> None:
        """Ask for the entries."""
        self._pages = PagedEntries(self, self.query_one(EntryList), Trail(TrailFilter({"credential": self.credential})))
        self._pages.load()

    def fresh(self, news: Fresh) -> None:
        """Both lists."""
        if news.anew:
            self.rows.watch(self.model.leases)
            self._pages.catch_up()
        else:
            self.rows.update(news.changed)
        mine = [entry for entry in news.entries if entry.credential_name == self.credential]
        self._pages.append(mine)
        if news.anew or any(entry.event.value.startswith("credential.") for entry in mine):
            self.look(lambda vault: vault.credentials.get(self.credential), self._tell)
        self.query_one(LeaseTable).sync(self.now)
        self.query_one(EntryList).sync(self.now)

    def lease(self) -> LiveLease | None:
        """The lease under the cursor, or that of the entry under it."""
        history = self.query_one(EntryList)
        if history.has_focus:
            entry = history.row
            return None if entry is None or entry.lease_id is None else self.model.leases.get(entry.lease_id)
        return self.query_one(LeaseTable).row

    def action_trail(self) -> None:
        """To the audit explorer."""
        self.dashboard.open_trail(credential=self.credential)

    def on_line_list_chosen(self, event: "LineList.Chosen") -> None:
        """To an entry, or to the run that holds it."""
        if isinstance(event.row, AuditEntry):
            self.dashboard.open_entry(event.row)
        elif event.row.session:
            self.dashboard.open_session(event.row.session)
        else:
            self.dashboard.open_trail(lease=event.row.id)

    def on_line_list_at_edge(self, event: "LineList.AtEdge") -> None:
        """Older entries, or newer ones."""
        if event.list.id == "history":
            self._pages.more(at_top=event.at_top)

    def _tell(self, credential: Credential) -> None:
        policy = credential.policy
        allowed = " ".join(f"{identity.type}:{identity.glob}" for identity in policy.allowed_identities)
        self.query_one(Facts).tell(
            f"Credential {credential.name}",
            [
                ("type", credential.type.value),
                ("state", credential.state.value),
                ("version", str(credential.version)),
                ("maximum TTL", str(policy.max_lease_ttl or "")),
                ("allowed", allowed or "whoever's token reaches it"),
                ("delivery", policy.delivery.value),
                ("updated", words.moment(to_micros(credential.updated_at))),
                *credential.attributes.items(),
            ],
        )
