"""The embedded adapter: calls the engine in this process, on the store of this machine."""

import os
import pwd
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from vaultctl.client.adapters import OnState
from vaultctl.client.database import named_database, open_store
from vaultctl.client.following import poll
from vaultctl.client.home import Home, Settings, load_settings, locate
from vaultctl.crypto.root_keys import ProviderContext, load_root_key
from vaultctl.crypto.tokens import token_hash
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultError, VaultUnavailable
from vaultctl.domain.names import check_name
from vaultctl.domain.records import AuditEntry, Identity
from vaultctl.domain.secrets import Secret
from vaultctl.engine.authentication import VAULT_TENANT, Bearer, Owner, Principal
from vaultctl.engine.engine import BRIEFLY, Engine
from vaultctl.store.interface import Store

T = TypeVar("T")


class EmbeddedAdapter:
    """Performs requests as one principal. With no server to do it, every use also reaps what has ended."""

    def __init__(self, engine: Engine, principal: Principal) -> None:
        self._engine = engine
        self._principal = principal
        self._closed = threading.Event()

    def perform(self, request: ask.Request[T]) -> T:
        """The answer to ``request``."""
        with suppress(VaultError):  # it only records what has ended; what is wrong shows in the operation itself
            self._engine.reap(patience=BRIEFLY)
        return self._engine.perform(self._principal, request)

    def follow(
        self,
        request: ask.QueryAudit,
        *,
        poll_seconds: float,
        on_state: OnState,  # noqa: ARG002  # the vault of this machine is never out of reach
    ) -> Iterator[AuditEntry]:
        """The entries that match, and each that comes, until the adapter is closed."""
        try:
            yield from poll(self.perform, request, lambda: self._closed.wait(poll_seconds))
        except VaultError:
            if not self._closed.is_set():  # else it was closed in the middle of a look
                raise

    def close(self) -> None:
        """Close the engine and its store."""
        self._closed.set()
        self._engine.close()


def open_embedded(
    *,
    tenant: str | None,
    token: Secret | None,
    home: str | os.PathLike[str] | None,
    database: str | None,
    ask_passphrase: Callable[[], Secret] | None,
) -> EmbeddedAdapter:
    """Open the embedded vault with a token, or as its owner without one. See ``Vault.connect``."""
    if token is None:
        require_no_server()
    known_hash = None if token is None else token_hash(token)
    place = locate(home)
    settings = load_settings(place)
    named = tenant or os.environ.get("VAULT_TENANT") or None
    if named is not None and named != VAULT_TENANT:
        check_name(named, "tenant")
    principal: Principal
    if known_hash is not None:
        principal = Bearer(known_hash, named)
    else:
        principal = Owner(named or settings.tenant, owner_identity().email or "")
    _, engine = open_engine(place, settings, database, ask_passphrase)
    return EmbeddedAdapter(engine, principal)


def open_engine(
    place: Home, settings: Settings, database: str | None, ask_passphrase: Callable[[], Secret] | None
) -> tuple[Store, Engine]:
    """The store and the engine of the vault in ``place``.

    Raises:
        VaultMissing: There is no database.
        VaultLocked: The root key can't be had, or is another vault's.
    """
    store = open_store(named_database(place, database, settings.database))
    try:
        root = load_root_key(settings.root_key, provider_context(place, ask_passphrase))
        return store, Engine(store, root)
    except BaseException:
        store.close()
        raise


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
