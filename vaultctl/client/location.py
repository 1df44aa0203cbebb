"""Where things are kept on this machine. Knows directories only: neither a vault nor its keys are loaded for it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vaultctl.domain.errors import InvalidInput


class Home(NamedTuple):
    """Directories of the vault's data and of its configuration; the same one under ``VAULTCTL_HOME``."""

    data: Path
    config: Path

    @property
    def settings_path(self) -> Path:
        """The settings of the vault of this machine."""
        return self.config / "config.json"

    @property
    def contexts_path(self) -> Path:
        """The servers that have a name here."""
        return self.config / "contexts.json"

    @property
    def logins_path(self) -> Path:
        """The directory of the logins at servers."""
        return self.data / "logins"

    @property
    def profiles_path(self) -> Path:
        """The directory of what MCP servers that other programs start go by."""
        return self.data / "profiles"


def locate(home: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ) -> Home:
    """The home that is named, else that of ``VAULTCTL_HOME``, else the platform's directories.

    Raises:
        InvalidInput: It can't be a path.
    """
    named = home or environ.get("VAULTCTL_HOME")
    if named:
        directory = usable_path(named)
        return Home(directory, directory)
    from platformdirs import PlatformDirs

    dirs = PlatformDirs("vaultctl", appauthor=False)
    return Home(Path(dirs.user_data_dir), Path(dirs.user_config_dir))


def usable_path(text: str | os.PathLike[str]) -> Path:
    """``text`` as an absolute path, ``~`` expanded.

    Raises:
        InvalidInput: It can't be a path.
    """
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


def make_private(directory: Path) -> None:
    """Make ``directory``, and those above it that are missing, for this user alone.

    Raises:
        OSError: They can't be made.
    """
    if not directory.is_dir():
        make_private(directory.parent)
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:  # made by another process meanwhile
            if not directory.is_dir():
                raise
