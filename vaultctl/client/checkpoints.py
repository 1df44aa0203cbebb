"""Checkpoints in files: written whole or not at all, and read back with a word on what is wrong with them."""

from pathlib import Path

from vaultctl.domain.errors import InvalidInput, VaultUnavailable
from vaultctl.domain.records import LogCheckpoint

_MOST_BYTES = 1_000_000


def export_checkpoint(checkpoint: LogCheckpoint, path: Path) -> None:
    """Write a checkpoint's note to ``path``, which anybody may read.

    Raises:
        VaultUnavailable: It can't be written there.
    """
    aside = path.with_name(f".{path.name}.new")
    try:
        aside.write_text(checkpoint.note)
        aside.replace(path)
    except OSError as error:
        raise VaultUnavailable(
            f"The checkpoint can't be written to {path}: {error.strerror}.", hint="Name a place that you can write to."
        ) from None


def read_checkpoint(path: Path) -> str:
    """The note in a file.

    Raises:
        InvalidInput: There is none.
    """
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode()
    except OSError as error:
        reason = f"{error.strerror}"
    except UnicodeDecodeError:
        reason = "it is no text"
    raise InvalidInput(
        f"The checkpoint {path} can't be read: {reason}.", hint="Make one: vaultctl audit checkpoint --export FILE"
    )


def read_key(text: str) -> str:
    """A verifier key that was given as itself, or as the name of a file that has it."""
    path = Path(text)
    try:
        if path.is_file():
            with path.open("rb") as file:
                return file.read(_MOST_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        pass  # what is no file that can be read is no key either, and that is told
    return text
