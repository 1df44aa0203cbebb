"""The root key of the vault of this machine: where it is, and changing that without a moment at which none fits.

A new key is written beside the old one before the database changes over to it, in one transaction, and the old one is
removed only when the new one is known to open everything. The settings note where key material may be that is not in
use, before any is written there. So after a crash at any instruction the database says which key is in use, and the
next process that opens the vault removes the other one. A lock on the home keeps that from happening while another
process is in the middle of it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast, get_args

from msgspec.structs import replace

from vaultctl.client.alone import alone_in
from vaultctl.client.database import named_database, open_store
from vaultctl.client.home import Home, Settings, load_settings, locate, save_settings
from vaultctl.client.ownership import AskedOnce, owner_identity, provider_context, require_no_server
from vaultctl.crypto.root_keys import (
    ProviderContext,
    ProviderName,
    RootKey,
    RootKeyConfig,
    change_passphrase,
    describe_root_key,
    discard_root_key,
    load_root_key,
    place_of_root_key,
    put_root_key,
    settle_root_key,
)
from vaultctl.domain.errors import Conflict, InvalidInput, VaultError, VaultLocked, VaultUnavailable
from vaultctl.domain.records import Event, Record
from vaultctl.domain.secrets import Secret
from vaultctl.engine.engine import Engine, require_vault
from vaultctl.store.interface import Store

Ask = Callable[[], Secret]


class RootKeyInfo(Record):
    """Where a vault's root key is. Never the key itself."""

    key_id: str
    provider: ProviderName
    place: str
    """The file, or the name of the keyring's entry."""
    vault_id: str
    in_use: bool
    """Whether it is the one that the vault's keys are wrapped by."""
    problems: tuple[str, ...] = ()


def show_root_key(*, home: str | os.PathLike[str] | None = None, database: str | None = None) -> RootKeyInfo:
    """Where the root key is, and what is wrong there. It is not unlocked for that."""
    require_no_server()
    place = locate(home)
    settings = load_settings(place)
    with _opened(place, settings, database) as store:
        return _info(place, settings, store)


def rotate_root_key(
    *, home: str | os.PathLike[str] | None = None, database: str | None = None, ask_passphrase: Ask | None = None
) -> RootKeyInfo:
    """Make a new root key in the same place, and wrap all tenants' keys by it.

    Raises:
        VaultLocked: The root key can't be had, or its place does not take another one.
        Conflict: Another machine has rotated it meanwhile.
        VerificationFailed: A tenant's key was changed by something other than the vault.
    """
    with _at_work(home, database, ask_passphrase) as (place, store, context):
        settings, root = _mend(place, store, context)
        engine = Engine(store, root)
        new = RootKey.new(os.urandom)
        config = RootKeyConfig(settings.root_key.provider, new.id)
        _note(place, replace(settings, other_root_key=config))
        try:
            put_root_key(config, new, context)
            engine.rotate_root(new, owner_identity())
        finally:
            with suppress(VaultError):  # else whoever opens the vault next does it
                settings, _ = _mend(place, store, context)
        return _info(place, settings, store)


def move_root_key(
    to: str,
    *,
    home: str | os.PathLike[str] | None = None,
    database: str | None = None,
    ask_passphrase: Ask | None = None,
    ask_new_passphrase: Ask | None = None,
) -> RootKeyInfo:
    """Keep the root key elsewhere, or under another passphrase.

    Args:
        to: ``keyring``, ``file`` or ``passphrase``.
        home: Where the vault lives.
        database: Its store, if another one is named.
        ask_passphrase: Asks for the passphrase that the key is under.
        ask_new_passphrase: Asks for the one that it gets, unless ``VAULT_NEW_PASSPHRASE_FILE`` or
            ``VAULT_NEW_PASSPHRASE`` is set.

    Raises:
        Conflict: It is there already.
        VaultLocked: It can't be had, or the new place does not take it.
    """
    if to not in get_args(ProviderName):
        raise InvalidInput("There is no such root-key provider.", hint=f"One of: {', '.join(get_args(ProviderName))}.")
    with _at_work(home, database, ask_passphrase) as (place, store, context):
        settings, root = _mend(place, store, context)
        source = settings.root_key
        target = RootKeyConfig(cast("ProviderName", to), root.id)
        if target == source and to != "passphrase":
            raise Conflict(f"The root key is kept by {to} already.", hint="Look at it: vaultctl root-key show")
        new_context = _context_of_new(place, ask_new_passphrase, changes=target == source)
        details = {"keyId": root.id, "from": source.provider, "to": to}
        engine = Engine(store, root)
        if target == source:
            engine.note(Event.ROOT_KEY_MOVED, owner_identity(), details)
            change_passphrase(root, new_context)
            return _info(place, settings, store)
        _note(place, replace(settings, other_root_key=target))
        try:
            put_root_key(target, root, new_context)
            engine.note(Event.ROOT_KEY_MOVED, owner_identity(), details)
            _note(place, replace(settings, root_key=target, other_root_key=source))
            context = new_context
        finally:
            with suppress(VaultError):
                settings, _ = _mend(place, store, context)
        return _info(place, settings, store)


def root_key_in_use(place: Home, store: Store, context: ProviderContext, *, mends: bool) -> RootKey:
    """The root key of a vault whose rotation or move was interrupted, or is going on in another process.

    ``mends`` finishes or undoes it, unless somebody is at it.
    """
    if mends:
        with suppress(VaultError), alone_in(place.data, 0.0):
            return _mend(place, store, context)[1]
    used = _in_use(load_settings(place), store)
    try:
        return load_root_key(used, context)
    except VaultLocked:
        now = _in_use(load_settings(place), store)
        if now == used:
            raise
    return load_root_key(now, context)  # it was changed just now


def _mend(place: Home, store: Store, context: ProviderContext) -> tuple[Settings, RootKey]:
    """The settings and the root key, once nothing is left of one that is not in use. Needs the lock on the home."""
    settings = load_settings(place)
    used = _in_use(settings, store)
    root = load_root_key(used, context)
    if settings.other_root_key is None:
        return settings, root
    if not Engine(store, root).opens_all():
        raise VaultLocked(
            "The root key does not open all keys of the vault.",
            hint="Restore the database from a backup, and find out who can write to it.",
        )
    stale = settings.other_root_key if used == settings.root_key else settings.root_key
    settings = replace(settings, root_key=used, other_root_key=stale)
    _note(place, settings)
    discard_root_key(stale, context)
    settle_root_key(used, context)
    settings = replace(settings, other_root_key=None)
    _note(place, settings)
    return settings, root


def _in_use(settings: Settings, store: Store) -> RootKeyConfig:
    """Of the places that are noted, the one whose key the database names; the first if both have the same key."""
    first, other = settings.root_key, settings.other_root_key
    if other is None or other.key_id == first.key_id or other.key_id != _named_by(store):
        return first
    return other


def _named_by(store: Store) -> str:
    with store.read() as tx:
        return require_vault(tx).root_key_id


def _info(place: Home, settings: Settings, store: Store) -> RootKeyInfo:
    used = _in_use(settings, store)
    context = provider_context(place, None)
    with store.read() as tx:
        vault = require_vault(tx)
    return RootKeyInfo(
        key_id=used.key_id,
        provider=used.provider,
        place=place_of_root_key(used, context),
        vault_id=vault.id,
        in_use=vault.root_key_id == used.key_id,
        problems=tuple(describe_root_key(used, context)),
    )


def _context_of_new(place: Home, ask: Ask | None, *, changes: bool) -> ProviderContext:
    """How the place that the key goes to is unlocked. A passphrase that is to change can't come from where it was."""
    prefix = "VAULT_NEW_"
    named = {
        name.replace(prefix, "VAULT_"): os.environ[name]
        for name in (f"{prefix}PASSPHRASE", f"{prefix}PASSPHRASE_FILE")
        if name in os.environ
    }
    if changes and not named and ask is None:
        raise InvalidInput(
            "There is no new passphrase, and nobody to ask.",
            hint="Set VAULT_NEW_PASSPHRASE_FILE to a file that only you can read, or VAULT_NEW_PASSPHRASE.",
        )
    context = provider_context(place, None if ask is None else AskedOnce(ask))
    if named or changes:
        context.environ = named
    return context


@contextmanager
def _at_work(
    home: str | os.PathLike[str] | None, database: str | None, ask: Ask | None
) -> Iterator[tuple[Home, Store, ProviderContext]]:
    """The vault of this machine with its root key in nobody else's hands."""
    require_no_server()
    place = locate(home)
    settings = load_settings(place)
    with _opened(place, settings, database) as store, alone_in(place.data):
        yield place, store, provider_context(place, None if ask is None else AskedOnce(ask))


@contextmanager
def _opened(place: Home, settings: Settings, database: str | None) -> Iterator[Store]:
    store = open_store(named_database(place, database, settings.database))
    try:
        yield store
    finally:
        store.close()


def _note(place: Home, settings: Settings) -> None:
    try:
        save_settings(place, settings)
    except OSError as error:
        raise VaultUnavailable(
            f"The settings {place.settings_path} can't be written: {error.strerror}.",
            hint="The directory must exist on a disk with space, and be yours to write.",
        ) from None
