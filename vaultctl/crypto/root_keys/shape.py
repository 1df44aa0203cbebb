"""What the places for a root key have in common: the key itself, what settings remember of it, what a place needs."""

import base64
import binascii
import hmac
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NoReturn, Protocol

import msgspec

from vaultctl.crypto.envelope import KEY_BYTES
from vaultctl.domain.ids import RandomBytes, new_id
from vaultctl.domain.records import json_name
from vaultctl.domain.secrets import Secret

ProviderName = Literal["keyring", "file", "passphrase"]
"""A place where a root key can be kept."""

KEY_ID = r"rk_[0-9A-Za-z]{22}"
"""Pattern of a root key's id."""

KEY_ID_PATTERN = re.compile(KEY_ID, re.ASCII)


class RootKey:
    """The 256-bit key that wraps the tenants' keys, with its name. It prints without the key and is not pickled."""

    __slots__ = ("id", "key")

    def __init__(self, id: str, key: bytes) -> None:
        self.id = id
        self.key = key

    @classmethod
    def new(cls, random: RandomBytes) -> "RootKey":
        """A fresh random key."""
        return cls(new_id("rk", random), random(KEY_BYTES))

    @classmethod
    def decode(cls, id: str, text: str | bytes) -> "RootKey | None":
        """The key that :meth:`encode` wrote; None if the text is not one."""
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return None
        return cls(id, key) if len(key) == KEY_BYTES and KEY_ID_PATTERN.fullmatch(id) else None

    def encode(self) -> str:
        """The key alone in base64, for places that keep text."""
        return base64.b64encode(self.key).decode("ascii")

    def __repr__(self) -> str:
        return f"RootKey(id={self.id!r}, key=****)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RootKey) and self.id == other.id and hmac.compare_digest(self.key, other.key)

    def __hash__(self) -> int:
        return hash((RootKey, self.id))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a RootKey is not pickled")


class RootKeyConfig(msgspec.Struct, frozen=True, rename=json_name):
    """What the settings file remembers of the root key: where it is, and which one it is."""

    provider: ProviderName
    key_id: str


class ProviderContext:
    """What the places need to know of the process.

    It also remembers which keys were made with it, so that an ``init`` that fails afterwards can undo exactly
    those. It holds an environment, so it prints as nothing.

    Attributes:
        data_dir: Where the vault's files are.
        vault_home: How messages name the vault.
        ask_passphrase: Asks a person for the passphrase; None where nobody can be asked. An asker for a new
            passphrase confirms it itself.
        environ: Where ``VAULT_PASSPHRASE`` and ``VAULT_PASSPHRASE_FILE`` are looked up.
        interactive: Whether a person is at a terminal, who can unlock a keyring if it is given time.
        made: Ids of the keys that were made with this context.
    """

    __slots__ = ("ask_passphrase", "data_dir", "environ", "interactive", "made", "vault_home")

    def __init__(
        self,
        data_dir: Path,
        vault_home: str,
        ask_passphrase: Callable[[], Secret] | None = None,
        environ: Mapping[str, str] = os.environ,
        interactive: bool = False,
    ) -> None:
        self.data_dir = data_dir
        self.vault_home = vault_home
        self.ask_passphrase = ask_passphrase
        self.environ = environ
        self.interactive = interactive
        self.made: set[str] = set()


class Provider(Protocol):
    """A place for a root key. Each module beside this one is one."""

    def create(self, ctx: ProviderContext, random: RandomBytes) -> tuple[RootKey, str]:
        """Put a new key there, or take the one that an earlier attempt left; and a sentence that says where."""
        ...

    def load(self, key_id: str, ctx: ProviderContext) -> RootKey:
        """The key, or VaultLocked."""
        ...

    def put(self, root: RootKey, ctx: ProviderContext) -> None:
        """Put a key there, beside one that may be there already."""
        ...

    def settle(self, key_id: str, ctx: ProviderContext) -> None:
        """Give the key its usual name, now that it is the only one, and remove what a crash left."""
        ...

    def where(self, key_id: str, ctx: ProviderContext) -> str:
        """The place in words: a path, or the name of an entry."""
        ...

    def forget(self, key_id: str, ctx: ProviderContext) -> None:
        """Remove the key, if it is there."""
        ...

    def problems(self, key_id: str, ctx: ProviderContext) -> list[str]:
        """What is wrong there, for ``doctor``."""
        ...
