"""The embedded adapter: calls the engine in this process, on the store of this machine."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from vaultctl.client.adapters import OnState
from vaultctl.client.database import named_database, open_store
from vaultctl.client.home import Home, Settings, load_settings, locate
from vaultctl.client.ownership import AskedOnce, owner_identity, provider_context, require_no_server
from vaultctl.crypto.root_keys import RootKey, load_root_key
from vaultctl.crypto.tokens import token_hash
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultError, VaultLocked
from vaultctl.domain.names import check_name
from vaultctl.domain.records import AuditEntry
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
        from vaultctl.client.following import poll

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
    place: Home,
    settings: Settings,
    database: str | None,
    ask_passphrase: Callable[[], Secret] | None,
    *,
    mends: bool = True,
) -> tuple[Store, Engine]:
    """The store and the engine of the vault in ``place``.

    Args:
        place: The vault's home.
        settings: What is noted there.
        database: The store, if another one is named.
        ask_passphrase: Asks for the passphrase.
        mends: Finish or undo a rotation or a move of the root key that was interrupted.

    Raises:
        VaultMissing: There is no database.
        VaultLocked: The root key can't be had, or is another vault's.
    """
    store = open_store(named_database(place, database, settings.database))
    ask = None if ask_passphrase is None else AskedOnce(ask_passphrase)
    try:
        root = _root_key(place, settings, store, ask, mends=mends)
        return store, Engine(store, root, find_root=lambda key_id: _find_root_key(key_id, place, ask))
    except BaseException:
        store.close()
        raise


def _root_key(place: Home, settings: Settings, store: Store, ask: AskedOnce | None, *, mends: bool) -> RootKey:
    context = provider_context(place, ask)
    if settings.other_root_key is None:
        try:
            return load_root_key(settings.root_key, context)
        except VaultLocked:
            if load_settings(place) == settings:  # else it was changed just now
                raise
    from vaultctl.client.root_key import root_key_in_use

    return root_key_in_use(place, store, context, mends=mends)


def _find_root_key(key_id: str, place: Home, ask: AskedOnce | None) -> RootKey:
    """The root key of that id, that another process has rotated to. Nobody is asked for it in the middle of a request.

    Raises:
        VaultLocked: It is not noted here, or can't be had.
    """
    settings = load_settings(place)
    for config in (settings.root_key, settings.other_root_key):
        if config is not None and config.key_id == key_id:
            return load_root_key(config, provider_context(place, ask if ask is not None and ask.known else None))
    raise VaultLocked("The root key was rotated elsewhere.", hint="Bring its copy here, and start again.")
