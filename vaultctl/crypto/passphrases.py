"""Passphrases: where one comes from, and the key that Argon2id (RFC 9106) derives from it."""

import os
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

from vaultctl.crypto.envelope import KEY_BYTES
from vaultctl.crypto.root_keys import private_files
from vaultctl.domain.errors import InvalidInput, VaultLocked
from vaultctl.domain.secrets import Secret

SHORTEST = 8
"""Characters that a new passphrase has at least."""

SALT_BYTES = 16
PASSES, LANES, MEMORY_KIB = 3, 4, 65_536
"""Section 4 of the RFC, second recommended option."""

_LONGEST = 4_096


def derive(secret: Secret, salt: bytes, *, passes: int, lanes: int, memory_kib: int) -> bytes:
    """The key that belongs to a passphrase.

    Raises:
        VaultLocked: There is not enough memory, or no Argon2id.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    try:
        kdf = Argon2id(salt=salt, length=KEY_BYTES, iterations=passes, lanes=lanes, memory_cost=memory_kib)
        return kdf.derive(_normal(secret).encode())
    except MemoryError:
        problem = "There is not enough memory to open the root key with a passphrase."
        hint = f"It takes {memory_kib // 1024} MiB."
    except UnsupportedAlgorithm:
        problem = "The OpenSSL of this installation has no Argon2id."
        hint = "Reinstall the Python package cryptography from its wheel."
    raise VaultLocked(problem, hint=hint)


def require_long(secret: Secret) -> Secret:
    """``secret`` itself, if it is long enough to protect something.

    Raises:
        InvalidInput: It is shorter than 8 characters.
    """
    if len(_normal(secret)) < SHORTEST:
        raise InvalidInput(
            f"The passphrase is shorter than {SHORTEST} characters.", hint="Take four or more random words."
        )
    return secret


def obtain(variable: str, environ: Mapping[str, str], ask: Callable[[], Secret] | None, nobody: str) -> Secret:
    """A passphrase: of a variable, else of the file that ``…_FILE`` names, else of whoever can be asked.

    Args:
        variable: Such as ``VAULT_PASSPHRASE``.
        environ: Where it is looked up.
        ask: Asks a person.
        nobody: What is wrong where there is nobody to ask, as a sentence without its full stop.

    Raises:
        VaultLocked: There is none, or it is none.
    """
    if variable in environ:
        return _checked(environ[variable], variable)
    if f"{variable}_FILE" in environ:
        text = _from_file(environ[f"{variable}_FILE"], f"{variable}_FILE")
        return _checked(text, f"The file that {variable}_FILE names")
    if ask is None:
        raise VaultLocked(
            f"{nobody}, and there is nobody to ask.",
            hint=f"Set {variable}_FILE to a file that only you can read, or {variable}.",
        )
    return _checked(ask().reveal(), "The passphrase")


def _checked(text: str, where: str) -> Secret:
    if not text:
        raise VaultLocked(f"{where} is empty.", hint="Give the passphrase of this vault.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = None
    if size is None:
        raise VaultLocked(f"{where} is not UTF-8 text.", hint="Save it as UTF-8.")
    if size > _LONGEST:
        raise VaultLocked(f"{where} is longer than {_LONGEST} bytes.", hint="Is it the right one?")
    return Secret(text)


def _from_file(name: str, variable: str) -> str:
    path = Path(name)
    try:
        # May be a pipe, as in VAULT_PASSPHRASE_FILE=<(pass show vault): so it is read as it comes.
        with open(path, "rb") as file:
            private_files.require_private(path, os.fstat(file.fileno()).st_mode)
            content = file.read(_LONGEST + 3)
    except (OSError, ValueError):
        content = None
    if content is None:
        raise VaultLocked(f"The file that {variable} names can't be read.", hint="Look at its path and owner.")
    content = content.removesuffix(b"\r\n") if content.endswith(b"\r\n") else content.removesuffix(b"\n")
    return content.decode("utf-8", "surrogateescape")


def _normal(secret: Secret) -> str:
    # Keyboards and systems spell the same letters differently; NFC as in RFC 8265, section 4.2.2.
    return unicodedata.normalize("NFC", secret.reveal())
