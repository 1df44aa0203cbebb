"""The root key in ``root.key.sealed``: encrypted under a key that Argon2id derives from a passphrase.

The parameters are those of RFC 9106, section 4, second recommended option: 3 passes, 4 lanes, 64 MiB. They
and the key's id are associated data, so none can be exchanged.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from vaultctl.crypto import passphrases
from vaultctl.crypto.envelope import KEY_BYTES
from vaultctl.crypto.passphrases import LANES, MEMORY_KIB, PASSES, SALT_BYTES
from vaultctl.crypto.root_keys import private_files
from vaultctl.crypto.root_keys.key_place import KeyPlace
from vaultctl.crypto.root_keys.shape import KEY_ID, ProviderContext, RootKey
from vaultctl.domain.errors import VaultLocked
from vaultctl.domain.ids import RandomBytes
from vaultctl.domain.records import json_name
from vaultctl.domain.secrets import Secret

FILE_NAME = "root.key.sealed"
"""Its name, in the data directory."""

_LIMIT = 4_096
_NONCE_BYTES = 12
_TAG_BYTES = 16


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename=json_name):
    """The file. The bounds keep a tampered one from taking all memory or time; 8 KiB a lane is Argon2's own."""

    key_id: Annotated[str, msgspec.Meta(pattern=f"^{KEY_ID}$")]
    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]
    nonce: Annotated[bytes, msgspec.Meta(min_length=_NONCE_BYTES, max_length=_NONCE_BYTES)]
    ciphertext: Annotated[bytes, msgspec.Meta(min_length=KEY_BYTES + _TAG_BYTES, max_length=KEY_BYTES + _TAG_BYTES)]
    format: Literal["vaultctl-sealed-root-key-1"] = "vaultctl-sealed-root-key-1"
    kdf: Literal["argon2id"] = "argon2id"
    passes: Annotated[int, msgspec.Meta(ge=1, le=16)] = PASSES
    lanes: Annotated[int, msgspec.Meta(ge=1, le=16)] = LANES
    memory_kib: Annotated[int, msgspec.Meta(ge=8 * 16, le=1_048_576)] = MEMORY_KIB

    @property
    def associated_data(self) -> bytes:
        """Everything but nonce and ciphertext, unambiguously encoded."""
        return msgspec.msgpack.encode(
            (self.format, self.key_id, self.kdf, self.passes, self.lanes, self.memory_kib, self.salt)
        )


def create(ctx: ProviderContext, random: RandomBytes) -> tuple[RootKey, str]:
    """Seal a new key under the passphrase, or open the one that is there.

    Raises:
        InvalidInput: The passphrase is shorter than 8 characters.
        VaultLocked: There is no passphrase; or a sealed key is there and does not open.
        VaultUnavailable: The directory can't be written.
    """
    path = _path(ctx)
    secret = _new_passphrase(ctx)
    root = RootKey.new(random)
    if private_files.create(path, _sealed(root, secret, random)):
        ctx.made.add(root.id)
        return root, f"The root key is in {path}, sealed under your passphrase."
    return (
        _open(_read(path), secret, path),
        f"The root key is the one that was already in {path}, sealed under your passphrase.",
    )


def load(key_id: str, ctx: ProviderContext) -> RootKey:
    """The key of that id.

    Raises:
        VaultLocked: The file is missing, not private, malformed or holds another key; there is no passphrase, or a
            wrong one.
    """
    path = _place(key_id, ctx).path
    return _open(_read_of(key_id, path), _passphrase(ctx), path)


def put(root: RootKey, ctx: ProviderContext) -> None:
    """Seal a key under the passphrase: under the usual name if that is free, else beside what has it.

    Raises:
        InvalidInput: The passphrase is shorter than 8 characters.
        VaultLocked: There is no passphrase.
        VaultUnavailable: The directory can't be written.
    """
    _place(root.id, ctx).put(_sealed(root, _new_passphrase(ctx), os.urandom), _id_in)


def reseal(root: RootKey, ctx: ProviderContext) -> None:
    """Seal the key that is there under another passphrase; a crash leaves it under the old one or the new.

    Raises:
        InvalidInput: The passphrase is shorter than 8 characters.
        VaultLocked: There is no passphrase.
        VaultUnavailable: The directory can't be written.
    """
    private_files.replace(_place(root.id, ctx).path, _sealed(root, _new_passphrase(ctx), os.urandom))


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
    """What keeps the file from being read, and what a crash left beside it. The passphrase is not asked for."""
    leftovers = private_files.leftovers_of(_path(ctx))
    try:
        _read_of(key_id, _place(key_id, ctx).path)
    except VaultLocked as error:
        return [f"{error.message} {error.hint}", *leftovers]
    return leftovers


def _sealed(root: RootKey, secret: Secret, random: RandomBytes) -> bytes:
    """The content of a file that holds ``root`` under a passphrase."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    unsealed = _Sealed(root.id, random(SALT_BYTES), random(_NONCE_BYTES), b"")
    sealing_key = _derive(secret, unsealed)
    ciphertext = AESGCM(sealing_key).encrypt(unsealed.nonce, root.key, unsealed.associated_data)
    return msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(unsealed, ciphertext=ciphertext))) + b"\n"


def _read_of(key_id: str, path: Path) -> _Sealed:
    sealed = _read(path)
    if sealed.key_id != key_id:
        raise VaultLocked(
            f"The file {path} holds another root key than the one of this vault.",
            hint="Put this vault's own file back from its copy.",
        )
    return sealed


def _read(path: Path) -> _Sealed:
    content = private_files.read(path, _LIMIT)
    try:
        return msgspec.json.decode(content, type=_Sealed)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise VaultLocked(
            f"The sealed root key {path} is damaged or cut short.",
            hint="Put it back from its copy. If no vault was ever made with it, move it away.",
        ) from None


def _open(sealed: _Sealed, secret: Secret, path: Path) -> RootKey:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    sealing_key = _derive(secret, sealed)
    try:
        key = AESGCM(sealing_key).decrypt(sealed.nonce, sealed.ciphertext, sealed.associated_data)
    except InvalidTag:
        raise VaultLocked(
            "The passphrase is wrong.", hint=f"Try again; if it is surely right, {path} was changed: put back its copy."
        ) from None
    return RootKey(sealed.key_id, key)


def _derive(secret: Secret, sealed: _Sealed) -> bytes:
    return passphrases.derive(
        secret, sealed.salt, passes=sealed.passes, lanes=sealed.lanes, memory_kib=sealed.memory_kib
    )


def _new_passphrase(ctx: ProviderContext) -> Secret:
    return passphrases.require_long(_passphrase(ctx))


def _passphrase(ctx: ProviderContext) -> Secret:
    nobody = f"The vault in {ctx.vault_home} opens with a passphrase"
    return passphrases.obtain("VAULT_PASSPHRASE", ctx.environ, ctx.ask_passphrase, nobody)


def _id_in(path: Path) -> str:
    return _read(path).key_id


def _place(key_id: str, ctx: ProviderContext) -> KeyPlace:
    return KeyPlace.of(key_id, _path(ctx))


def _path(ctx: ProviderContext) -> Path:
    return ctx.data_dir / FILE_NAME
