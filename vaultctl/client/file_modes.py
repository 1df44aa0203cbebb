"""Which files of a home others could read or replace, and what a crash left there; ``doctor`` tells, and mends."""

import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vaultctl.client.findings import Finding
from vaultctl.client.location import Home
from vaultctl.crypto.root_keys import key_file, passphrase

_OTHERS_READ = 0o077
_OTHERS_WRITE = 0o022

_UNFINISHED = re.compile(r"\.[A-Za-z0-9._-]+\.json\.[0-9a-f]{16}", re.ASCII)
"""What :mod:`vaultctl.client.private_files` calls a file until it is complete."""

_ABANDONED = 3600
"""Seconds after which nobody is still writing such a file."""


class Exposed(NamedTuple):
    """A file or a directory that is open to others.

    Attributes:
        path: Where it is.
        mode: Its permissions.
        forbidden: Those of them that others must not have.
    """

    path: Path
    mode: int
    forbidden: int


def exposed(place: Home, database: Path | None) -> Iterator[Exposed]:
    """What is open to others, files first."""
    files = [place.settings_path, place.contexts_path]
    files += [path for folder in (place.logins_path, place.profiles_path) for path in _listed(folder)]
    directories = {place.data, place.config}
    if database is not None:
        files += [Path(f"{database}{end}") for end in ("", "-wal", "-shm", "-gate", "-lock")]
        directories.add(database.parent)
    for path, forbidden in [(f, _OTHERS_READ) for f in files] + [(d, _OTHERS_WRITE) for d in sorted(directories)]:
        mode = _mode(path)
        if mode & forbidden:
            yield Exposed(path, mode, forbidden)


def leftovers(place: Home, database: Path | None) -> list[Path]:
    """Files of ours that a crash left unfinished. Nothing reads them, but one may hold a token."""
    folders = dict.fromkeys((place.config, place.data, place.logins_path, place.profiles_path))
    unfinished = [path for folder in folders for path in _listed(folder) if _UNFINISHED.fullmatch(path.name)]
    if database is not None:
        unfinished += unfinished_databases(database)
    return [path for path in unfinished if _is_ours(path) and time.time() - path.lstat().st_mtime > _ABANDONED]


def unfinished_databases(path: Path) -> list[Path]:
    """What attempts to make a database at ``path`` have beside it while they last, or were killed."""
    name = re.compile(rf"\.{re.escape(path.name)}\.new-[0-9a-f]{{16}}(-wal|-shm|-gate|-lock)?", re.ASCII)
    try:
        return sorted(found for found in path.parent.iterdir() if name.fullmatch(found.name))
    except OSError:
        return []


def mode_findings(place: Home, database: Path | None) -> Iterator[Finding]:
    """What is wrong with them; nothing if nothing is."""
    for path, mode, forbidden in exposed(place, database):
        if forbidden == _OTHERS_READ:
            message, hint = f"{path} is accessible to others (mode {mode:04o}).", f"chmod 600 {path}"
        else:
            message, hint = f"Others can write to {path}, and so replace what is in it.", f"chmod go-w {path}"
        yield Finding(check="file modes", level="problem", message=message, hint=hint)
    for path in leftovers(place, database):
        holds = "; it may hold a token" if _UNFINISHED.fullmatch(path.name) else ""
        yield Finding(
            check="leftovers",
            level="warning",
            message=f"A crash left {path} unfinished{holds}.",
            hint="Remove it: vaultctl doctor --fix",
        )


def mend(place: Home, database: Path | None) -> Iterator[Finding]:
    """Take from others what they must not have, and remove leftovers; what was done, one finding each.

    Only what belongs to this user is touched, never what a link leads to. Of directories only those of the home are:
    that of a database elsewhere may be one that others need.
    """
    for path in (place.data / key_file.FILE_NAME, place.data / passphrase.FILE_NAME):
        mode = _mode(path)
        if mode & _OTHERS_READ and _restrict(path, _OTHERS_READ):
            yield Finding(
                check="root key",
                level="fixed",
                message=f"{path} is no longer accessible to others (mode {mode:04o} before).",
                hint="Who copied it meanwhile can open the database: vaultctl root-key rotate",
            )
    for path, mode, forbidden in exposed(place, database):
        if forbidden == _OTHERS_WRITE and (path not in (place.data, place.config) or mode & stat.S_ISVTX):
            continue
        if _restrict(path, forbidden):
            message = f"{path} is no longer accessible to others (mode {mode:04o} before)."
            if forbidden == _OTHERS_WRITE:
                message = f"Others can no longer write to {path} (mode {mode:04o} before)."
            yield Finding(check="file modes", level="fixed", message=message)
    for path in leftovers(place, database):
        try:
            path.unlink()
        except OSError:
            continue  # it is found again, as a warning
        yield Finding(check="leftovers", level="fixed", message=f"Removed {path}, which a crash had left unfinished.")


def _restrict(path: Path, forbidden: int) -> bool:
    """Take ``forbidden`` from the permissions of ``path``; whether that could be done."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(file)
            if found.st_uid != os.geteuid():
                return False
            os.fchmod(file, stat.S_IMODE(found.st_mode) & ~forbidden)
        finally:
            os.close(file)
    except OSError:
        return False
    return True


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(".json") or _UNFINISHED.match(path.name))
    except OSError:
        return []


def _is_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()


def _mode(path: Path) -> int:
    """The permissions of a file; 0 where there is none, or none that can be seen."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except (OSError, ValueError):
        return 0
