"""Where secret values come from: a file, the environment, stdin, a hidden prompt. Never the command line."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from vaultctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from vaultctl.domain.secrets import Secret

_MOST = 1_048_576

_WAYS = "Use --from-file, --from-env, stdin, or run it on a terminal to be asked."


def read_value(from_file: Path | None, from_env: str | None) -> "Secret":
    """The value that a credential gets.

    Of a single line the line end is not part of the value; a text of several lines is taken as it is, since a
    private key needs its last line end.

    Args:
        from_file: A file that holds it.
        from_env: Name of an environment variable that holds it.

    Raises:
        InvalidInput: There is none, it is not UTF-8, or longer than 1 MiB. The message quotes nothing.
    """
    from vaultctl.domain.secrets import Secret

    if from_file is not None and from_env is not None:
        raise InvalidInput("--from-file and --from-env exclude each other.", hint="Name one source of the value.")
    if from_env is not None:
        text = os.environ.get(from_env)
        if text is None:
            raise InvalidInput("The environment variable of --from-env is not set.", hint="Export it, and try again.")
        return Secret(_checked(text))
    if from_file is not None:
        try:
            with from_file.open("rb") as file:
                return Secret(_checked(_text(file)))
        except OSError as error:
            raise InvalidInput(f"The file of --from-file can't be read: {error.strerror}.", hint=_WAYS) from None
    if sys.stdin.isatty():
        from vaultctl.cli.console import ask_hidden

        return ask_hidden("Value", confirm=True)
    return Secret(_checked(_text(sys.stdin.buffer)))


def _text(file: BinaryIO) -> str:
    data = file.read(_MOST + 1)
    if len(data) > _MOST:
        raise InvalidInput("The value is longer than 1 MiB.", hint="A vault keeps credentials, not files.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(
            "The value is not UTF-8 text.", hint="Encode binary values first, with base64 for example."
        ) from None


def _checked(text: str) -> str:
    line = text.removesuffix("\n").removesuffix("\r")
    text = text if "\n" in line else line
    if not text:
        raise InvalidInput("The value is empty.", hint=_WAYS)
    return text
