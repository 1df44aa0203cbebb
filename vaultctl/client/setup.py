"""Creating a vault. In a file it exists once its database has its name, on PostgreSQL once its founding commits."""

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal, cast, get_args

from msgspec.structs import replace

from vaultctl.client.alone import alone_in
from vaultctl.client.database import Database, named_database, require_postgres
from vaultctl.client.file_modes import unfinished_databases
from vaultctl.client.home import Home, Settings, load_settings, locate, save_settings
from vaultctl.client.location import make_private
from vaultctl.client.ownership import owner_identity, provider_context, require_no_server
from vaultctl.client.private_files import sync_directory
from vaultctl.crypto.root_keys import RootKey, create_root_key, forget_root_key
from vaultctl.domain.errors import AlreadyExists, InvalidInput, VaultError, VaultMissing, VaultUnavailable
from vaultctl.domain.names import check_name
from vaultctl.domain.records import Record
from vaultctl.domain.secrets import Secret
from vaultctl.engine.founding import found_vault
from vaultctl.store.interface import Conflicted, Store
from vaultctl.store.sqlite import SqliteStore, create_database, settle

RootKeyKind = Literal["auto", "keyring", "file", "passphrase"]

Fill = Callable[[Store, RootKey], str]
"""Puts a vault into an empty store; answers its id."""


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
    verifier_key: str | None = None
    """The key that verifies the checkpoints of the tenant's audit log; to be kept elsewhere with one of them."""


def initialise(
    *,
    tenant: str = "default",
    root_key: str = "auto",
    home: str | os.PathLike[str] | None = None,
    database: str | None = None,
    ask_passphrase: Callable[[], Secret] | None = None,
) -> Initialised:
    """Create a vault with one tenant.

    A file is made aside, and giving it its name is the last step; on PostgreSQL the last step is the founding, one
    transaction. A failure undoes what was made, and what a crash leaves behind does not keep the next attempt from
    succeeding.

    Args:
        tenant: The first tenant, and the default one.
        root_key: Where the root key is kept; ``auto`` takes the OS keyring if a usable one answers, else a key file.
        home: Where the vault lives; else ``VAULTCTL_HOME`` or the platform's directories.
        database: The database file or ``postgresql://…``; else ``VAULT_DATABASE_URL`` or ``vault.db`` in the home.
        ask_passphrase: Asks for a new passphrase.

    Raises:
        AlreadyExists: There is a vault.
        VaultUnavailable: It can't be written there, or the chosen provider does not work.
    """
    check_name(tenant, "tenant")
    verifier_key: str | None = None

    def found(store: Store, root: RootKey) -> str:
        nonlocal verifier_key
        vault_id, verifier_key = found_vault(store, root, tenant=tenant, owner=owner_identity())
        return vault_id

    made = make_vault(
        tenant=tenant, root_key=root_key, home=home, database=database, ask_passphrase=ask_passphrase, fill=found
    )
    return replace(made, verifier_key=verifier_key)


def make_vault(
    *,
    tenant: str,
    root_key: str,
    home: str | os.PathLike[str] | None,
    database: str | None,
    ask_passphrase: Callable[[], Secret] | None,
    fill: Fill,
) -> Initialised:
    """Like :func:`initialise`, with what ``fill`` puts into the empty store in one transaction."""
    require_no_server()
    kinds = get_args(RootKeyKind)
    if root_key not in kinds:
        raise InvalidInput("There is no such root-key provider.", hint=f"One of: {', '.join(kinds)}.")
    place = locate(home)
    target = named_database(place, database, None)
    if target.url is not None:
        require_postgres()
    try:
        _require_free(place, target)
        directories = [place.data, place.config, *([target.path.parent] if target.path else [])]
        for directory in directories:
            make_private(directory)
        with ExitStack() as locks:  # two attempts at once would undo each other's root key, settings or database
            for directory in sorted({directory.resolve() for directory in directories[1:]}):
                locks.enter_context(alone_in(directory))
            _require_free(place, target)
            create = _create_file if target.path is not None else _create_in_postgres
            return create(place, target, tenant, cast("RootKeyKind", root_key), ask_passphrase, fill)
    except OSError as error:
        raise VaultUnavailable(
            f"The vault can't be created at {target}: {error.strerror}.",
            hint="Set VAULTCTL_HOME to a directory that you can write to.",
        ) from None


def _create_in_postgres(
    place: Home,
    target: Database,
    tenant: str,
    root_key: RootKeyKind,
    ask_passphrase: Callable[[], Secret] | None,
    fill: Fill,
) -> Initialised:
    from vaultctl.store.postgres import PostgresStore, create_schema

    url = target.url or ""
    context = provider_context(place, ask_passphrase)
    root, config, note = create_root_key(root_key, context, os.urandom)
    try:
        create_schema(url)
        save_settings(place, Settings(root_key=config, tenant=tenant, database=str(target)))
        store = PostgresStore(url)
        try:
            vault_id = fill(store, root)
        except Conflicted:
            if _holds_vault(target, if_unknown=False):  # somebody else was quicker
                raise _taken(target) from None
            raise VaultUnavailable(
                f"The database went away while the vault was made at {target}.",
                hint="Nothing is left of it there: try again.",
            ) from None
        finally:
            store.close()
    except BaseException as error:
        # A commit whose outcome is unknown may have founded the vault that this key opens.
        if isinstance(error, AlreadyExists) or not _holds_vault(target, if_unknown=True):
            with suppress(OSError):
                place.settings_path.unlink(missing_ok=True)
            forget_root_key(config, context)
        raise
    return _initialised(place, target, tenant, vault_id, config.provider, note)


def _create_file(
    place: Home,
    target: Database,
    tenant: str,
    root_key: RootKeyKind,
    ask_passphrase: Callable[[], Secret] | None,
    fill: Fill,
) -> Initialised:
    path = cast("Path", target.path)
    context = provider_context(place, ask_passphrase)
    root, config, note = create_root_key(root_key, context, os.urandom)
    for abandoned in unfinished_databases(path):  # by attempts that were killed: nobody else is at it
        with suppress(OSError):
            abandoned.unlink()
    aside = path.with_name(f".{path.name}.new-{os.urandom(8).hex()}")
    noted = False
    try:
        create_database(aside)
        store = SqliteStore(aside)
        try:
            vault_id = fill(store, root)
        finally:
            store.close()
        settle(aside)
        noted_as = None if target == named_database(place, None, None, {}) else str(path)
        save_settings(place, Settings(root_key=config, tenant=tenant, database=noted_as))
        noted = True
        for leftover in ("-wal", "-shm"):  # of an earlier database of this name, which SQLite would replay
            with suppress(FileNotFoundError):
                Path(f"{path}{leftover}").rename(f"{path}{leftover}.stale-{os.urandom(4).hex()}")
        try:
            os.link(aside, path)  # unlike a rename, this never replaces what somebody else just put there
        except FileExistsError:
            raise _taken(target) from None
        sync_directory(path.parent)
    except BaseException:
        if not path.exists():
            if noted:
                with suppress(OSError):
                    place.settings_path.unlink(missing_ok=True)
            forget_root_key(config, context)
        raise
    finally:
        for leftover in ("", "-wal", "-shm", "-gate", "-lock"):
            with suppress(OSError):
                Path(f"{aside}{leftover}").unlink(missing_ok=True)
    return _initialised(place, target, tenant, vault_id, config.provider, note)


def _initialised(place: Home, target: Database, tenant: str, vault_id: str, provider: str, note: str) -> Initialised:
    return Initialised(
        home=str(place.data),
        database=str(target),
        vault_id=vault_id,
        tenant=tenant,
        root_key=provider,
        root_key_note=note,
    )


def _require_free(place: Home, target: Database) -> None:
    """Raise AlreadyExists if there is a vault, also one whose database is elsewhere and perhaps out of reach.

    Settings that name the database that is to be made were left by an attempt that crashed, or by a vault that
    somebody deleted.
    """
    if _holds_vault(target):
        raise _taken(target)
    try:
        there = load_settings(place)
    except VaultMissing:
        return
    except VaultUnavailable:
        if (
            not place.settings_path.is_file()
            or place.settings_path.is_symlink()
            or not place.settings_path.stat().st_size
        ):
            return
        raise
    noted = named_database(place, None, there.database, {})
    if str(noted) != str(target):
        raise AlreadyExists(
            f"The settings in {place.config} belong to a vault at {noted}.",
            hint=f"Set VAULTCTL_HOME to another directory, or remove {place.settings_path} if that vault is gone.",
        )


def _holds_vault(target: Database, *, if_unknown: bool | None = None) -> bool:
    """Whether a vault is there. ``if_unknown`` is the answer where that can't be found out, instead of an error."""
    if target.path is not None:
        return target.path.exists()
    from vaultctl.store.postgres import PostgresStore
    from vaultctl.store.rows import VaultRow

    try:
        store = PostgresStore(target.url or "")
    except VaultMissing:
        return False
    except VaultError:
        if if_unknown is None:
            raise
        return if_unknown
    try:
        with store.read() as tx:
            return tx.count(VaultRow) > 0
    finally:
        store.close()


def _taken(target: Database) -> AlreadyExists:
    return AlreadyExists(f"There is a vault at {target} already.", hint="Look at it: vaultctl status")
