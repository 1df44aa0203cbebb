"""New vaults as copies of one: making each anew takes ten times as long, and most tests are not about it."""

import os
from functools import cache
from pathlib import Path

from tests.conftest import fast_directory
from vaultctl.client.setup import initialise
from vaultctl.store.sqlite import create_database

_DATABASE = "vault.db"


def new_database(path: Path) -> None:
    """A new SQLite file with the current schema and nothing in it."""
    _write(path, _database())


def new_vault(home: Path) -> None:
    """A vault with the tenant ``my-org``, whose root key is in a file. All that come from here have the same key."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.chmod(0o700)
    for name, content in _files():
        _write(home / name, content)


@cache
def _database() -> bytes:
    with fast_directory() as directory:
        create_database(directory / _DATABASE)
        return (directory / _DATABASE).read_bytes()


@cache
def _files() -> tuple[tuple[str, bytes], ...]:
    with fast_directory() as directory:
        initialise(home=directory, tenant="my-org", root_key="file")
        return tuple((path.name, path.read_bytes()) for path in directory.iterdir())


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(content)
