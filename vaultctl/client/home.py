"""Where an embedded vault lives on this machine, and the settings that ``init`` noted there."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from vaultctl.crypto.root_keys import RootKeyConfig
from vaultctl.domain.errors import InvalidInput, VaultMissing, VaultUnavailable

_SETTINGS_FILE = "config.json"
_DATABASE_FILE = "vault.db"


class Home(NamedTuple):
    """Directories of the vault's data and of its configuration; the same one under ``VAULTCTL_HOME``."""

    data: Path
    config: Path

    @property
    def settings_path(self) -> Path:
        """The settings file."""
        return self.config / _SETTINGS_FILE


class Settings(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What ``init`` notes: where the root key is, which store is used, which tenant is meant by default."""

    root_key: RootKeyConfig
    tenant: str
    database: str | None = None


def locate(home: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ) -> Home:
    """The home that is named, else that of ``VAULTCTL_HOME``, else the platform's directories.

    Raises:
        InvalidInput: It can't be a path.
    """
    named = home or environ.get("VAULTCTL_HOME")
    if named:
        directory = _usable(named)
        return Home(directory, directory)
    from platformdirs import PlatformDirs

    dirs = PlatformDirs("vaultctl", appauthor=False)
    return Home(Path(dirs.user_data_dir), Path(dirs.user_config_dir))


def _usable(text: str | os.PathLike[str]) -> Path:
    try:
        path = Path(text).expanduser().absolute()
        if "\0" in str(path):
            raise ValueError
        str(path).encode("utf-8")
    except (ValueError, RuntimeError):
        raise InvalidInput(
            "That can't be the path of a vault.", hint="Name a path that is valid UTF-8 text, like ~/vault."
        ) from None
    return path


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
            _usable(settings.database)
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
    path = home.settings_path
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    text = json.dumps(msgspec.to_builtins(settings), indent=2) + "\n"
    try:
        file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(home.config)


def sync_directory(directory: Path) -> None:
    """Make renames and new names in ``directory`` durable."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def database_path(home: Home, database: str | None, noted: str | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The embedded vault's database file: as named, else ``VAULT_DATABASE_URL``, else as noted, else the usual one.

    Raises:
        InvalidInput: It names a kind of store that there is not.
    """
    url = database or environ.get("VAULT_DATABASE_URL") or noted
    if not url:
        return home.data / _DATABASE_FILE
    scheme, separator, rest = url.partition("://")
    if not separator:
        return _usable(url)
    if scheme == "sqlite" and rest.startswith("/"):
        return _usable(rest[1:] if rest.startswith("//") else rest)
    raise InvalidInput(
        "The database is neither a file nor sqlite:///PATH.", hint="This version keeps vaults in SQLite files."
    )
