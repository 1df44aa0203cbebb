"""What a screen may ask of the application that it is in."""

from typing import Any, Protocol

from vaultctl.client import Vault
from vaultctl.domain.errors import VaultError
from vaultctl.domain.records import AuditEntry
from vaultctl.tui.model import Model
from vaultctl.tui.trail import Exporter


class Host(Protocol):
    """The dashboard, as its screens know it."""

    vault: Vault
    model: Model
    acts: bool
    export: Exporter

    @property
    def now(self) -> int:
        """The vault's time, as well as it is known."""
        ...

    def draw_head(self, screen: Any) -> None:
        """Draw the head of a screen."""
        ...

    def hurry(self) -> None:
        """Look for news at once."""
        ...

    def tell(self, text: str) -> None:
        """Say something."""
        ...

    def tell_error(self, error: VaultError) -> None:
        """Say what went wrong, and what to do."""
        ...

    def back(self) -> None:
        """To the screen before."""
        ...

    def open_agent(self, name: str) -> None:
        """To an agent."""
        ...

    def open_session(self, id: str) -> None:
        """To a session."""
        ...

    def open_credential(self, name: str) -> None:
        """To a credential."""
        ...

    def open_token(self, id: str) -> None:
        """To a token."""
        ...

    def open_entry(self, entry: AuditEntry) -> None:
        """To an entry of the audit log."""
        ...

    def open_trail(self, **conditions: str) -> None:
        """To the entries of the audit log that meet conditions, written as in its filter."""
        ...
