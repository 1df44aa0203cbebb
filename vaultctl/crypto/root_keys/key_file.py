"""The root key in ``root.key``: one line ``vaultctl-root-key-1 <key id> <base64>``, mode 0600."""

import re
from pathlib import Path

from vaultctl.crypto.root_keys import private_files
from vaultctl.crypto.root_keys.key_place import KeyPlace
from vaultctl.crypto.root_keys.shape import KEY_ID, ProviderContext, RootKey
from vaultctl.domain.errors import VaultLocked
from vaultctl.domain.ids import RandomBytes

FILE_NAME = "root.key"
"""Its name, in the data directory."""

_FORMAT = "vaultctl-root-key-1"
_LINE = re.compile(rf"{_FORMAT} ({KEY_ID}) ([A-Za-z0-9+/]{{43}}=)\n?".encode("ascii"))
_LIMIT = 1_024


def exists(ctx: ProviderContext) -> bool:
    """Whether there is anything of the name."""
    try:
        _path(ctx).lstat()
    except OSError:
        return False
    return True


def create(ctx: ProviderContext, random: RandomBytes) -> tuple[RootKey, str]:
    """Write a new key, or take the one that is there.

    Raises:
        VaultUnavailable: The directory can't be written.
        VaultLocked: A file is there and is not a private, well-formed key file.
    """
    path = _path(ctx)
    root = RootKey.new(random)
    if private_files.create(path, _line_of(root)):
        ctx.made.add(root.id)
        return root, f"The root key is in the key file {path} (mode 0600)."
    return _read(path), f"The root key is the one that was already in the key file {path} (mode 0600)."


def load(key_id: str, ctx: ProviderContext) -> RootKey:
    """The key of that id.

    Raises:
        VaultLocked: The file is missing, not private, malformed, or holds another key.
    """
    path = _place(key_id, ctx).path
    root = _read(path)
    if root.id != key_id:
        raise VaultLocked(
            f"The key file {path} holds another root key than the one of this vault.",
            hint="Put this vault's own key file back from its copy.",
        )
    return root


def put(root: RootKey, ctx: ProviderContext) -> None:
    """Write a key: under the usual name if that is free, else beside what has it.

    Raises:
        VaultUnavailable: The directory can't be written.
    """
    _place(root.id, ctx).put(_line_of(root), _id_in)


def settle(key_id: str, ctx: ProviderContext) -> None:
    """Give the file its usual name, if that is free, and remove what a crash left."""
    _place(key_id, ctx).settle()


def where(key_id: str, ctx: ProviderContext) -> str:
    """The file."""
    return str(_place(key_id, ctx).path)


def forget(key_id: str, ctx: ProviderContext) -> None:
    """Remove the file that holds that key, if there is one."""
    _place(key_id, ctx).forget(_id_in)


def problems(key_id: str, ctx: ProviderContext) -> list[str]:
    """What keeps the key from being read, and what a crash left beside it."""
    leftovers = private_files.leftovers_of(_path(ctx))
    try:
        load(key_id, ctx)
    except VaultLocked as error:
        return [f"{error.message} {error.hint}", *leftovers]
    return leftovers


def _read(path: Path) -> RootKey:
    line = _LINE.fullmatch(private_files.read(path, _LIMIT))
    root = RootKey.decode(line[1].decode("ascii"), line[2]) if line else None
    if root is None:
        raise VaultLocked(
            f"The key file {path} is damaged or cut short.",
            hint="Put it back from its copy. If no vault was ever made with it, move it away.",
        )
    return root


def _id_in(path: Path) -> str:
    return _read(path).id


def _line_of(root: RootKey) -> bytes:
    return f"{_FORMAT} {root.id} {root.encode()}\n".encode("ascii")


def _place(key_id: str, ctx: ProviderContext) -> KeyPlace:
    return KeyPlace.of(key_id, _path(ctx))


def _path(ctx: ProviderContext) -> Path:
    return ctx.data_dir / FILE_NAME
