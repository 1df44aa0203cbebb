"""Who owns the vault of this machine, and what its root-key providers need to know of this process."""

import os
import pwd
import sys
from collections.abc import Callable

from vaultctl.client.home import Home
from vaultctl.crypto.root_keys import ProviderContext
from vaultctl.domain.errors import VaultUnavailable
from vaultctl.domain.records import Identity
from vaultctl.domain.secrets import Secret


class AskedOnce:
    """Asks a person for the passphrase the first time, and knows it from then on."""

    def __init__(self, ask: Callable[[], Secret]) -> None:
        self._ask = ask
        self.known: Secret | None = None

    def __call__(self) -> Secret:
        """The passphrase."""
        if self.known is None:
            self.known = self._ask()
        return self.known


def provider_context(place: Home, ask_passphrase: Callable[[], Secret] | None) -> ProviderContext:
    """What root-key providers need to know of this process."""
    return ProviderContext(
        data_dir=place.data,
        vault_home=str(place.data),
        ask_passphrase=ask_passphrase,
        environ=os.environ,
        interactive=sys.stdin is not None and sys.stdin.isatty(),
    )


def owner_identity() -> Identity:
    """The owner of an embedded vault, by the operating system's word rather than by environment variables."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = f"uid{os.getuid()}"
    return Identity(type="human", user_id="owner", email=f"{user}@localhost")


def require_no_server() -> None:
    """Raise VaultUnavailable if the environment asks for a server.

    Going on with the embedded vault instead would answer from another vault than the one that was asked for.
    """
    if os.environ.get("VAULT_BASE_URL"):
        raise VaultUnavailable(
            "VAULT_BASE_URL is set, and this is about the vault of this machine.",
            hint="Unset VAULT_BASE_URL to use the vault on this machine.",
        )
