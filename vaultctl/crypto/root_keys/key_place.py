"""Where the file of a root key is: under its usual name, or beside it while another key has that name.

A rotation writes the new key beside the old one, and gives it the usual name when the old one is gone.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from vaultctl.crypto.root_keys import private_files
from vaultctl.crypto.root_keys.shape import KEY_ID_PATTERN
from vaultctl.domain.errors import VaultLocked

ReadId = Callable[[Path], str]
"""Of which key a file is; raises VaultLocked if it is none, or none that can be read."""


class KeyPlace(NamedTuple):
    """The two names that the file of one key can have."""

    key_id: str
    usual: Path
    beside: Path

    @classmethod
    def of(cls, key_id: str, usual: Path) -> "KeyPlace":
        """The place of a key; an id that is none makes no name."""
        beside = usual.with_name(f"{usual.name}.{key_id}") if KEY_ID_PATTERN.fullmatch(key_id) else usual
        return cls(key_id, usual, beside)

    @property
    def path(self) -> Path:
        """The file."""
        return self.beside if os.path.lexists(self.beside) else self.usual

    def put(self, content: bytes, read_id: ReadId) -> None:
        """Write the key: under the usual name if that is free, else beside what has it. Nothing is overwritten.

        Raises:
            VaultUnavailable: The directory can't be written.
        """
        if not private_files.create(self.usual, content) and not self._is_of(self.usual, read_id):
            private_files.create(self.beside, content)

    def settle(self) -> None:
        """Give the file its usual name, if that is free, and remove what a crash left of its making.

        Raises:
            VaultUnavailable: It can't be renamed.
        """
        self._remove_leftovers()
        if self.path != self.usual and not os.path.lexists(self.usual):
            private_files.move(self.beside, self.usual)

    def forget(self, read_id: ReadId) -> None:
        """Remove the file, if there is one, and what a crash left of its making.

        Raises:
            VaultUnavailable: It can't be removed.
        """
        self._remove_leftovers()
        for path in {self.usual, self.beside}:
            if self._is_of(path, read_id):
                private_files.remove(path)

    def _is_of(self, path: Path, read_id: ReadId) -> bool:
        try:
            return read_id(path) == self.key_id
        except VaultLocked:
            return False

    def _remove_leftovers(self) -> None:
        for path in (self.usual, self.beside):
            private_files.remove_leftovers_of(path)
