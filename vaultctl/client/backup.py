"""Backups of the vault of this machine: one sealed file each, and a new vault from one.

A file gets its name when it is complete, and none is ever overwritten; what a crash leaves has a name that begins
with a dot, and is sealed like the file itself. A restored vault is made as ``init`` makes one: it is there as a whole
or not at all.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from vaultctl.client.embedded import open_engine
from vaultctl.client.home import load_settings, locate
from vaultctl.client.ownership import owner_identity, require_no_server
from vaultctl.client.private_files import new_file
from vaultctl.client.setup import make_vault
from vaultctl.crypto import passphrases
from vaultctl.crypto.root_keys import RootKey
from vaultctl.crypto.sealed_stream import SealedReader, SealedWriter
from vaultctl.domain.errors import AlreadyExists, InvalidInput, VaultUnavailable
from vaultctl.domain.ids import new_id
from vaultctl.domain.records import Event, Record
from vaultctl.domain.secrets import Secret
from vaultctl.domain.times import from_micros
from vaultctl.engine.archive import Archive, Manifest, columns_now, count_rows, write_archive
from vaultctl.engine.restoring import restore_archive, verify_archive
from vaultctl.store.interface import Store
from vaultctl.store.migrations import MIGRATIONS

VARIABLE = "VAULT_BACKUP_PASSPHRASE"
"""Where the passphrase of a backup is looked up; ``…_FILE`` names a file that holds it."""

Ask = Callable[[], Secret]
Advance = Callable[[int, int], None]
"""Says how much is done of how much."""


class BackedUp(Record):
    """A backup that was just made."""

    id: str
    """Its id, which the audit log of the vault has too."""
    file: str
    vault_id: str
    schema_version: int
    created_at: datetime
    tenants: int
    credentials: int
    entries: int
    size: int
    """Bytes of the file."""


class Restored(Record):
    """A vault that was just restored."""

    home: str
    database: str
    vault_id: str
    tenant: str
    root_key: str
    root_key_note: str
    from_vault: str
    """The id of the vault that was backed up."""
    backed_up_at: datetime
    tenants: int
    credentials: int
    entries: int


def back_up(
    file: str | os.PathLike[str],
    *,
    home: str | os.PathLike[str] | None = None,
    database: str | None = None,
    ask_passphrase: Ask | None = None,
    ask_backup_passphrase: Ask | None = None,
    advance: Advance | None = None,
) -> BackedUp:
    """Write all of the vault, as it is at one moment, and its root key into one sealed file.

    Args:
        file: The new file.
        home: Where the vault lives.
        database: Its store, if another one is named.
        ask_passphrase: Asks for the root key's passphrase.
        ask_backup_passphrase: Asks for a new passphrase for the file, unless ``VAULT_BACKUP_PASSPHRASE_FILE`` or
            ``VAULT_BACKUP_PASSPHRASE`` is set.
        advance: Is told how far it has come.

    Raises:
        AlreadyExists: There is a file of this name.
        VerificationFailed: The root key does not open all of the tenants' keys.
    """
    require_no_server()
    path = Path(file).absolute()
    if os.path.lexists(path):
        raise _taken(path)
    place = locate(home)
    settings = load_settings(place)
    passphrase = passphrases.require_long(_passphrase(ask_backup_passphrase))
    store, engine = open_engine(place, settings, database, ask_passphrase)
    backup_id = new_id("backup", os.urandom)
    try:
        # First, so that nothing leaves unrecorded and the backup knows of itself.
        engine.note(Event.VAULT_BACKED_UP, owner_identity(), {"backup": backup_id})
        engine.sign_logs()
        with _new_file(path) as stream, engine.snapshot() as (tx, vault, root):
            manifest = Manifest(
                id=backup_id,
                created_at=tx.now,
                vault_id=vault.id,
                schema_version=store.schema_version,
                default_tenant=settings.tenant,
                root_key_id=root.id,
                root_key=root.key,
                columns=columns_now(),
            )
            total = count_rows(tx) if advance else 0
            writer = SealedWriter(stream, passphrase, os.urandom)
            written = write_archive(tx, manifest, writer.write, lambda done: advance(done, total) if advance else None)
            writer.finish()
            size = stream.tell()
    finally:
        engine.close()
    counts = written.counts
    return BackedUp(
        id=backup_id,
        file=str(path),
        vault_id=manifest.vault_id,
        schema_version=manifest.schema_version,
        created_at=from_micros(manifest.created_at),
        tenants=counts["tenants"] - 1,
        credentials=counts["credentials"],
        entries=counts["entries"],
        size=size,
    )


def restore(
    file: str | os.PathLike[str],
    *,
    root_key: str = "auto",
    home: str | os.PathLike[str] | None = None,
    database: str | None = None,
    ask_passphrase: Ask | None = None,
    ask_backup_passphrase: Ask | None = None,
    advance: Advance | None = None,
) -> Restored:
    """Make a new vault of a backup. All of the file is read and verified before anything is written.

    Args:
        file: The backup.
        root_key: Where the new vault's root key is kept, as for ``init``.
        home: Where the vault is to live.
        database: The database file or ``postgresql://…``.
        ask_passphrase: Asks for a new passphrase, if that is how the root key is kept.
        ask_backup_passphrase: Asks for the passphrase of the file.
        advance: Is told how far it has come.

    Raises:
        AlreadyExists: There is a vault already.
        VerificationFailed: The file is damaged, cut short or none; or its passphrase is wrong.
        VaultUnavailable: It is of a newer vaultctl, or the vault can't be made.
    """
    require_no_server()
    with _existing_file(Path(file)) as stream:
        size = os.fstat(stream.fileno()).st_size
        reader = SealedReader(stream, _passphrase(ask_backup_passphrase))

        def archive(done: int) -> Archive:
            pieces = reader.chunks()
            return Archive(_watched(pieces, stream, done, 2 * size, advance) if advance else pieces)

        first = archive(0)
        first.require_known(MIGRATIONS[-1].version)
        contents = verify_archive(first, os.urandom)

        def fill(store: Store, root: RootKey) -> str:
            return restore_archive(store, root, archive(size), owner=owner_identity(), random=os.urandom)

        manifest = contents.manifest
        made = make_vault(
            tenant=manifest.default_tenant,
            root_key=root_key,
            home=home,
            database=database,
            ask_passphrase=ask_passphrase,
            fill=fill,
        )
    return Restored(
        home=made.home,
        database=made.database,
        vault_id=made.vault_id,
        tenant=made.tenant,
        root_key=made.root_key,
        root_key_note=made.root_key_note,
        from_vault=manifest.vault_id,
        backed_up_at=from_micros(manifest.created_at),
        tenants=contents.counts["tenants"] - 1,
        credentials=contents.counts["credentials"],
        entries=contents.counts["entries"],
    )


def _passphrase(ask: Ask | None) -> Secret:
    return passphrases.obtain(VARIABLE, os.environ, ask, "A backup is sealed under a passphrase of its own")


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A file of mode 0600 that gets its name, durably, once all is written; or none."""
    try:
        with new_file(path) as stream:
            yield stream
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        raise VaultUnavailable(
            f"The backup {path} can't be written: {error.strerror}.", hint="Name a place with space that is yours."
        ) from None


@contextmanager
def _existing_file(path: Path) -> Iterator[BinaryIO]:
    reason: str | None = "it is no file"
    stream = None
    try:
        if not path.exists() or path.is_file():  # it is read more than once, which a pipe does not bear
            stream = path.open("rb")
    except OSError as error:
        reason = error.strerror
    if stream is None:
        raise InvalidInput(f"The backup {path} can't be read: {reason}.", hint="Name the file that backup made.")
    with stream:
        yield stream


def _watched(pieces: Iterator[bytes], stream: BinaryIO, before: int, total: int, advance: Advance) -> Iterator[bytes]:
    for piece in pieces:
        advance(before + stream.tell(), total)
        yield piece


def _taken(path: Path) -> AlreadyExists:
    return AlreadyExists(f"There is a file {path} already.", hint="Backups overwrite nothing: name another file.")
