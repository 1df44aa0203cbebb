"""Creating an embedded vault. It exists once its database has its name; until then nothing does."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from vaultctl.client.embedded import owner_identity, provider_context, require_no_server
from vaultctl.client.home import Home, Settings, database_path, locate, save_settings, sync_directory
from vaultctl.crypto.root_keys import create_root_key, forget_root_key
from vaultctl.domain.errors import AlreadyExists, InvalidInput, VaultUnavailable
from vaultctl.domain.names import check_name
from vaultctl.domain.records import Record
from vaultctl.domain.secrets import Secret
from vaultctl.engine.founding import found_vault
from vaultctl.store.sqlite import SqliteStore, create_database, settle
from vaultctl.store.turnstile import Turnstile

RootKeyKind = Literal["auto", "keyring", "file", "passphrase"]
_PATIENCE = 30.0
"""Seconds to wait for another process that is creating the same vault."""

_KINDS = ("auto", "keyring", "file", "passphrase")


class Initialised(Record):
    """A vault that was just created."""

    home: str
    database: str
    vault_id: str
    tenant: str
    root_key: str
    """The provider that keeps the root key."""
    root_key_note: str
    """Which provider was chosen, and why, in a sentence."""


def initialise(
    *,
    tenant: str = "default",
    root_key: str = "auto",
    home: str | os.PathLike[str] | None = None,
    database: str | None = None,
    ask_passphrase: Callable[[], Secret] | None = None,
) -> Initialised:
    """Create a vault with one tenant.

    Everything is made aside; giving the database its name is the last step. A failure undoes what was made, and what
    a crash leaves behind does not keep the next attempt from succeeding.

    Args:
        tenant: The first tenant, and the default one.
        root_key: Where the root key is kept; ``auto`` takes the OS keyring if a usable one answers, else a key file.
        home: Where the vault lives; else ``VAULTCTL_HOME`` or the platform's directories.
        database: The database file; else ``VAULT_DATABASE_URL`` or ``vault.db`` in the home.
        ask_passphrase: Asks for a new passphrase.

    Raises:
        AlreadyExists: There is a vault.
        VaultUnavailable: It can't be written there, or the chosen provider does not work.
    """
    require_no_server()
    check_name(tenant, "tenant")
    if root_key not in _KINDS:
        raise InvalidInput("There is no such root-key provider.", hint=f"One of: {', '.join(_KINDS)}.")
    place = locate(home)
    path = database_path(place, database, None)
    if path.exists():
        raise _taken(path)
    try:
        for directory in {place.data, place.config, path.parent}:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(Path(error.filename or place.data), error) from None

    turnstile = Turnstile(path, _PATIENCE)
    try:
        with turnstile.turn():  # two attempts at once would undo each other's root key
            return _create(place, path, tenant, root_key, ask_passphrase)
    finally:
        turnstile.close()


def _create(
    place: Home, path: Path, tenant: str, root_key: str, ask_passphrase: Callable[[], Secret] | None
) -> Initialised:
    if path.exists():
        raise _taken(path)
    context = provider_context(place, ask_passphrase)
    root, config, note = create_root_key(root_key, context, os.urandom)  # type: ignore[arg-type]
    aside = path.with_name(f".{path.name}.new-{os.getpid()}")
    try:
        create_database(aside)
        store = SqliteStore(aside)
        try:
            vault_id = found_vault(store, root, tenant=tenant, owner=owner_identity())
        finally:
            store.close()
        settle(aside)
        noted = None if path == place.data / "vault.db" else str(path)
        save_settings(place, Settings(root_key=config, tenant=tenant, database=noted))
        try:
            os.link(aside, path)  # unlike a rename, this never replaces a vault that somebody else just made
        except FileExistsError:
            raise _taken(path) from None
        sync_directory(path.parent)
    except BaseException as error:
        if not path.exists():
            with suppress(OSError):
                place.settings_path.unlink(missing_ok=True)
            forget_root_key(config, context)
        if isinstance(error, OSError):
            raise _unwritable(path, error) from None
        raise
    finally:
        for leftover in ("", "-wal", "-shm", "-gate", "-lock"):
            with suppress(OSError):
                Path(f"{aside}{leftover}").unlink(missing_ok=True)
    return Initialised(
        home=str(place.data),
        database=str(path),
        vault_id=vault_id,
        tenant=tenant,
        root_key=config.provider,
        root_key_note=note,
    )


def _taken(path: Path) -> AlreadyExists:
    return AlreadyExists(f"There is a vault at {path} already.", hint="Look at it: vaultctl status")


def _unwritable(path: Path, error: OSError) -> VaultUnavailable:
    return VaultUnavailable(
        f"The vault can't be created at {path}: {error.strerror}.",
        hint="Set VAULTCTL_HOME to a directory that you can write to.",
    )
