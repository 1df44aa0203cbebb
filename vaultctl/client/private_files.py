"""Small files, replaced as a whole or not at all; our own are for their owner alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def replace(path: Path, text: str) -> None:
    """Make ``text`` the content of ``path``, mode 0600, durably; a crash leaves the old content or the new.

    Raises:
        OSError: It can't be written.
    """
    replace_bytes(path, text.encode("utf-8"), 0o600)


def replace_bytes(path: Path, data: bytes, mode: int) -> None:
    """Make ``data`` the content of ``path``, durably; a crash leaves the old content or the new.

    Raises:
        OSError: It can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
            os.fchmod(stream.fileno(), mode)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file of mode 0600 that gets its name, durably, once all is written; or none.

    Raises:
        FileExistsError: There is something of this name, which stays as it is.
        OSError: It can't be written.
    """
    aside = path.with_name(f".{path.name}.new-{os.urandom(8).hex()}")
    try:
        descriptor = os.open(aside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(descriptor)
        os.link(aside, path)  # unlike a rename, this never replaces what is there
    finally:
        aside.unlink(missing_ok=True)
    sync_directory(path.parent)


def without_waiting(path: str, flags: int) -> int:
    """An opener for files: a pipe in place of one would keep us for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def as_it_is(path: str, flags: int) -> int:
    """An opener for our own files: neither a pipe, nor a link, which could lead to another one of them."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)


def sync_directory(directory: Path) -> None:
    """Make renames and new names in ``directory`` durable."""
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
