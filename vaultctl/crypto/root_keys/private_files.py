"""Files that only their owner may read: made whole or not at all, never overwritten, refused when others could read."""

import os
import stat
from pathlib import Path

from vaultctl.domain.errors import VaultLocked, VaultUnavailable

_OTHERS = 0o077


def create(path: Path, content: bytes) -> bool:
    """Make ``path`` with mode 0600, durably, if there is none yet.

    The content is complete on disk before the name appears.

    Returns:
        Whether it was made; False leaves what was there.

    Raises:
        VaultUnavailable: The directory can't be written.
    """
    import tempfile

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=_unfinished_prefix(path), dir=path.parent)
        temporary = Path(name)
        try:
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            made = _put_in_place(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except OSError as error:
        raise VaultUnavailable(
            f"The file {path} can't be made: {_reason(error)}.",
            hint="The vault's directory must exist on a disk with space, and be yours to write.",
        ) from None
    return made


def read(path: Path, limit: int) -> bytes:
    """The content of ``path``, at most ``limit`` bytes of it.

    Raises:
        VaultLocked: It is missing or unreadable, not a file, not ours, or open to others.
    """
    try:
        # O_NONBLOCK: a named pipe in its place must not hang us.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise VaultLocked(f"{path} is not a file.", hint="Put the file back from its copy.")
            if status.st_uid != os.geteuid():
                raise VaultLocked(
                    f"The file {path} belongs to another user.",
                    hint="Run vaultctl as the user who ran init, or give that file to the user who runs it.",
                )
            require_private(path, status.st_mode)
            return os.read(descriptor, limit)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise VaultLocked(
            f"The file {path} is missing.",
            hint="Put it back from its copy: without the root key the vault's values can't be read.",
        ) from None
    except OSError as error:
        raise VaultLocked(
            f"The file {path} can't be read: {_reason(error)}.", hint="Run vaultctl as the user who ran init."
        ) from None


def require_private(path: Path, mode: int) -> None:
    """Raise VaultLocked if ``mode`` lets the group or others read or write ``path``."""
    if mode & _OTHERS:
        raise VaultLocked(
            f"The file {path} is open to others (mode {stat.S_IMODE(mode):04o}).",
            hint=f"Close it: chmod 600 {_quoted(path)}",
        )


def remove(path: Path) -> None:
    """Remove ``path``, durably.

    Raises:
        VaultUnavailable: It can't be removed.
    """
    try:
        path.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except OSError as error:
        raise VaultUnavailable(
            f"The file {path} can't be removed: {_reason(error)}.", hint="Remove it by hand."
        ) from None


def move(source: Path, path: Path) -> None:
    """Give ``source`` the name ``path``, durably; what had it is gone.

    Raises:
        VaultUnavailable: It can't be renamed.
    """
    try:
        source.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise VaultUnavailable(
            f"The file {source} can't be renamed to {path}: {_reason(error)}.",
            hint="The vault's directory must be yours to write.",
        ) from None


def replace(path: Path, content: bytes) -> None:
    """Make ``content`` that of ``path``, with mode 0600; a crash leaves the old content or the new.

    Raises:
        VaultUnavailable: The directory can't be written.
    """
    new = path.with_name(f"{_unfinished_prefix(path)}{os.urandom(8).hex()}")
    create(new, content)
    move(new, path)


def remove_leftovers_of(path: Path) -> None:
    """Remove what a crash left while ``path`` was made. Nobody else may be making it.

    Raises:
        VaultUnavailable: It can't be removed.
    """
    for leftover in path.parent.glob(_unfinished_prefix(path) + "*"):
        remove(leftover)


def leftovers_of(path: Path) -> list[str]:
    """What a crash left while ``path`` was made, as problems. Nothing reads it, but it may be a copy of the key."""
    return [
        f"A crash left {leftover}, which may hold a root key. Remove it: rm {_quoted(leftover)}"
        for leftover in sorted(path.parent.glob(_unfinished_prefix(path) + "*"))
    ]


def _put_in_place(temporary: Path, path: Path) -> bool:
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:
        # No hard links here (Android, some network file systems): claim the name, then put the content under it.
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return False
        temporary.replace(path)
    return True


def _unfinished_prefix(path: Path) -> str:
    return f".{path.name}.new-"


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    return (error.strerror or "the system refused").lower()


def _quoted(path: Path) -> str:
    """``path`` as a shell takes it."""
    from shlex import quote  # whose import costs more than all else here

    return quote(str(path))
