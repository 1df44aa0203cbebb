"""One run of the program: what its global options said, and the way to a vault."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vaultctl.domain.errors import NotAuthenticated

if TYPE_CHECKING:
    from vaultctl.client import Vault
    from vaultctl.domain.secrets import Secret


class Invocation:
    """One run of the program: what its global options said."""

    __slots__ = ("database", "output", "quiet", "tenant")

    def __init__(self) -> None:
        self.tenant: str | None = None
        self.database: str | None = None
        self.output = "table"
        self.quiet = False

    @property
    def tenant_asked_for(self) -> str | None:
        """The tenant of the flag, else of ``VAULT_TENANT``, else None: the vault's own default."""
        return self.tenant or os.environ.get("VAULT_TENANT") or None

    @property
    def prints_tables(self) -> bool:
        """Whether people read the output, rather than programs."""
        return self.output == "table" and not self.quiet

    def tell(self, text: str) -> None:
        """Say something to people that is not data; nothing under ``-q``."""
        if not self.quiet:
            from vaultctl.cli.console import say

            say(text)

    @contextmanager
    def vault(self) -> Iterator["Vault"]:
        """The vault as the caller that the environment names: its token's, or without one the owner.

        A ``VAULT_TOKEN`` that is set counts even when it is empty: it is an error, never a way back to the owner.
        """
        from vaultctl.client import Vault

        tenant = self.tenant_asked_for
        token = os.environ.get("VAULT_TOKEN")
        if token is None:
            opened = Vault.embedded(tenant=tenant, database=self.database, ask_passphrase=passphrase_prompt())
        elif not token:
            raise NotAuthenticated(
                "VAULT_TOKEN is set but empty.", hint="Give it a token, or unset it to act as the vault's owner."
            )
        else:
            opened = Vault.connect(
                tenant=tenant, token=token, database=self.database, ask_passphrase=passphrase_prompt()
            )
        with opened as vault:
            yield vault


def passphrase_prompt(*, confirm: bool = False) -> "Callable[[], Secret] | None":
    """What asks for the passphrase; None where there is nobody to ask.

    Args:
        confirm: Ask twice, for a passphrase that is new.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask() -> "Secret":
        from vaultctl.cli.console import ask_hidden

        return ask_hidden("Passphrase", confirm=confirm)

    return ask
