"""Creating an embedded vault. It exists once its database has its name; until then nothing does."""

import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, cast, get_args

from vaultctl.client.embedded import owner_identity, provider_context, require_no_server
from vaultctl.client.home import Home, Settings, database_path, load_settings, locate, save_settings, sync_directory
from vaultctl.crypto.root_keys import create_root_key, forget_root_key
from vaultctl.domain.errors import AlreadyExists, InvalidInput, VaultMissing, VaultUnavailable
from vaultctl.domain.names import check_name
from vaultctl.domain.records import Record
from vaultctl.domain.secrets import Secret
from vaultctl.engine.founding import found_vault
from vaultctl.store.sqlite import SqliteStore, create_database, settle

RootKeyKind = Literal["auto", "keyring", "file", "passphrase"]
_PATIENCE = 30.0
"""Seconds to wait for another process that is creating the same vault."""


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
    kinds = get_args(RootKeyKind)
    if root_key not in kinds:
        raise InvalidInput("There is no such root-key provider.", hint=f"One of: {', '.join(kinds)}.")
    place = locate(home)
    path = database_path(place, database, None)
    try:
        _require_free(place, path)
        for directory in (place.data, place.config, path.parent):
            _make_private(directory)
        with ExitStack() as locks:  # two attempts at once would undo each other's root key, settings or database
            for directory in sorted({place.config.resolve(), path.parent.resolve()}):
                locks.enter_context(_alone_in(directory))
            _require_free(place, path)
            return _create(place, path, tenant, cast("RootKeyKind", root_key), ask_passphrase)
    except OSError as error:
        raise VaultUnavailable(
            f"The vault can't be created at {path}: {error.strerror}.",
            hint="Set VAULTCTL_HOME to a directory that you can write to.",
        ) from None


def _create(
    place: Home, path: Path, tenant: str, root_key: RootKeyKind, ask_passphrase: Callable[[], Secret] | None
) -> Initialised:
    context = provider_context(place, ask_passphrase)
    root, config, note = create_root_key(root_key, context, os.urandom)
    aside = path.with_name(f".{path.name}.new-{secrets.token_hex(8)}")
    noted = False
    try:
        create_database(aside)
        store = SqliteStore(aside)
        try:
            vault_id = found_vault(store, root, tenant=tenant, owner=owner_identity())
        finally:
            store.close()
        settle(aside)
        is_usual = path == database_path(place, None, None, {})
        save_settings(place, Settings(root_key=config, tenant=tenant, database=None if is_usual else str(path)))
        noted = True
        for leftover in ("-wal", "-shm"):  # of an earlier database of this name, which SQLite would replay
            with suppress(FileNotFoundError):
                Path(f"{path}{leftover}").rename(f"{path}{leftover}.stale-{secrets.token_hex(4)}")
        try:
            os.link(aside, path)  # unlike a rename, this never replaces what somebody else just put there
        except FileExistsError:
            raise _taken(path) from None
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
    return Initialised(
        home=str(place.data),
        database=str(path),
        vault_id=vault_id,
        tenant=tenant,
        root_key=config.provider,
        root_key_note=note,
    )


def _require_free(place: Home, path: Path) -> None:
    """Raise AlreadyExists if there is a vault, also one whose database is elsewhere and perhaps out of reach.

    Settings that name the database that is to be made were left by an attempt that crashed, or by a vault that
    somebody deleted.
    """
    if path.exists():
        raise _taken(path)
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
    database = database_path(place, None, there.database, {})
    if database != path:
        raise AlreadyExists(
            f"The settings in {place.config} belong to a vault at {database}.",
            hint=f"Set VAULTCTL_HOME to another directory, or remove {place.settings_path} if that vault is gone.",
        )


def _make_private(directory: Path) -> None:
    """Make ``directory``, and those above it that are missing, for this user alone."""
    if not directory.is_dir():
        _make_private(directory.parent)
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Hold a lock on ``directory`` itself, which leaves no file behind.

    Raises:
        VaultUnavailable: Another process held it for all of the time that there is.
    """
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + _PATIENCE
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise VaultUnavailable(
                        f"Another process has been creating a vault in {directory} for {_PATIENCE:g} seconds.",
                        hint="Look for a stopped vaultctl process.",
                    ) from None
                time.sleep(0.01)
        yield
    finally:
        os.close(file)


def _taken(path: Path) -> AlreadyExists:
    return AlreadyExists(f"There is a vault at {path} already.", hint="Look at it: vaultctl status")
