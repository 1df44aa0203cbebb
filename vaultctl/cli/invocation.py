"""One run of the program: what its global options said, and the way to a vault."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vaultctl.domain.errors import InvalidInput, NotAllowed, NotAuthenticated, VaultUnavailable

if TYPE_CHECKING:
    from vaultctl.client import Vault
    from vaultctl.client.contexts import Server
    from vaultctl.domain.secrets import Secret


class Invocation:
    """One run of the program: what its global options said."""

    __slots__ = ("_passphrase", "base_url", "context", "database", "output", "quiet", "tenant")

    def __init__(self) -> None:
        self.tenant: str | None = None
        self.context: str | None = None
        self.base_url: str | None = None
        self.database: str | None = None
        self.output = "table"
        self.quiet = False
        self._passphrase: Secret | None = None

    @property
    def tenant_asked_for(self) -> str | None:
        """The tenant of the flag, else of ``VAULT_TENANT``, else None: the context's, or the vault's own default."""
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

    def server(self) -> "Server | None":
        """The server that is meant; None means the vault of this machine. See :mod:`vaultctl.client.contexts`.

        Raises:
            InvalidInput: Two vaults are named at once.
        """
        named = self.context or self.base_url or os.environ.get("VAULT_BASE_URL")
        if not named and (self.database or os.environ.get("VAULT_DATABASE_URL") or not _has_contexts()):
            return None  # as contexts would say, at less cost
        from vaultctl.client.contexts import chosen_server

        server = chosen_server(base_url=self.base_url, context=self.context, database=self.database)
        if server is None:
            _forget_base_url()
        return server

    def require_here(self, what: str) -> None:
        """Refuse if a server is meant, since ``what`` is about the vault of this machine.

        Raises:
            InvalidInput: A flag names a server.
            VaultUnavailable: The environment or the context in use does.
        """
        if self.database:
            if self.context or self.base_url:
                self.server()  # which refuses
            _forget_base_url()
            return
        server = self.server()
        if server is None:
            return
        if self.context or self.base_url:
            raise InvalidInput(
                f"{what}, not of a server.", hint="Leave --context and --base-url out, or name --context embedded."
            )
        named = f"the context {server.context!r} is in use" if server.context else "VAULT_BASE_URL is set"
        raise VaultUnavailable(
            f"{what}, but {named}: the commands that follow would go to {server.base_url}.",
            hint="Go back to this machine: vaultctl context use embedded"
            if server.context
            else "Unset VAULT_BASE_URL to use the vault on this machine.",
        )

    def require_owner(self, what: str) -> None:
        """Refuse unless the vault of this machine is meant, by its owner.

        Raises:
            NotAllowed: There is a token, and ``what`` is for whoever holds the root key.
            VaultError: As for :meth:`require_here`.
        """
        self.require_here(what)
        if "VAULT_TOKEN" in os.environ:
            raise NotAllowed(
                f"{what} and for its owner, and VAULT_TOKEN is set.", hint="Unset VAULT_TOKEN to act as the owner."
            )

    @contextmanager
    def vault(self) -> Iterator["Vault"]:
        """The vault as the caller that the environment names; see :meth:`open_vault`."""
        with self.open_vault() as vault:
            yield vault

    def open_vault(self, token: "Secret | None" = None, *, tenant: str | None = None) -> "Vault":
        """The vault as the bearer of ``token``, else as the caller that the environment names.

        ``tenant`` outweighs the one that was asked for.

        That is its token's, at a server also that of the login. Without a token the embedded vault is its owner's. A
        ``VAULT_TOKEN`` that is set counts even when it is empty: it is an error, never a way back to the owner or to
        the login.
        """
        from vaultctl.client import Vault

        server = self.server()
        tenant = tenant or self.tenant_asked_for
        named = os.environ.get("VAULT_TOKEN")
        if server is not None:
            from vaultctl.client.logins import token_for

            tenant = tenant or server.tenant
            return Vault.connect(base_url=server.base_url, tenant=tenant, token=token or token_for(server, tenant))
        if token is None and named is None:
            return Vault.embedded(tenant=tenant, database=self.database, ask_passphrase=self._passphrase_prompt())
        if token is None and not named:
            raise NotAuthenticated(
                "VAULT_TOKEN is set but empty.", hint="Give it a token, or unset it to act as the vault's owner."
            )
        return Vault.connect(
            context=self.context,
            tenant=tenant,
            token=token or named,
            database=self.database,
            ask_passphrase=self._passphrase_prompt(),
        )

    def _passphrase_prompt(self) -> "Callable[[], Secret] | None":
        """What asks for the passphrase, once for all vaults that this run opens."""
        ask = passphrase_prompt()

        def ask_once() -> "Secret":
            if self._passphrase is None:
                assert ask is not None  # noqa: S101  # else nobody is asked
                self._passphrase = ask()
            return self._passphrase

        return ask_once if ask else None


def passphrase_prompt(what: str = "Passphrase", *, confirm: bool = False) -> "Callable[[], Secret] | None":
    """What asks for the passphrase; None where there is nobody to ask.

    Args:
        what: How it is called.
        confirm: Ask twice, for a passphrase that is new.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask() -> "Secret":
        from vaultctl.cli.console import ask_hidden

        return ask_hidden(what, confirm=confirm)

    return ask


def _has_contexts() -> bool:
    from vaultctl.client.location import locate

    try:
        os.lstat(locate().contexts_path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # reading them will say what is wrong
    return True


def _forget_base_url() -> None:
    """A flag or a database that names the vault of this machine outweighs the variable, in the whole process."""
    os.environ.pop("VAULT_BASE_URL", None)
