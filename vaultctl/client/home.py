"""Where an embedded vault lives on this machine, and the settings that ``init`` noted there."""

import json

import msgspec

from vaultctl.client import private_files
from vaultctl.client.location import Home as Home
from vaultctl.client.location import locate as locate
from vaultctl.client.location import usable_path
from vaultctl.crypto.root_keys import RootKeyConfig
from vaultctl.domain.errors import InvalidInput, VaultMissing, VaultUnavailable


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What ``init`` notes: where the root key is, which store is used, which tenant is meant by default.

    ``other_root_key`` is where root key material may be that is not in use yet, or no longer: it is noted before any is
    written there, so that what a crash leaves is found again.
    """

    root_key: RootKeyConfig
    tenant: str
    database: str | None = None
    other_root_key: RootKeyConfig | None = None


def load_settings(home: Home) -> Settings:
    """The settings of the vault in ``home``.

    Raises:
        VaultMissing: ``init`` was never run there.
        VaultUnavailable: The file can't be read, or is no settings file.
    """
    path = home.settings_path
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise VaultMissing(f"There is no vault in {home.data}.", hint="Create one: vaultctl init") from None
    except OSError as error:
        raise VaultUnavailable(
            f"The settings {path} can't be read: {error.strerror}.", hint="They must be readable by you."
        ) from None
    try:
        settings = msgspec.json.decode(data, type=Settings)
        if settings.database is not None:
            usable_path(settings.database)
        return settings
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidInput):
        raise VaultUnavailable(
            f"The settings {path} are damaged.", hint="Mend the file, or restore it from a backup."
        ) from None


def save_settings(home: Home, settings: Settings) -> None:
    """Write the settings, mode 0600, all or nothing.

    Raises:
        OSError: They can't be written.
    """
    noted = msgspec.to_builtins(settings)
    if settings.other_root_key is None:
        del noted["otherRootKey"]
    private_files.replace(home.settings_path, json.dumps(noted, indent=2) + "\n")
