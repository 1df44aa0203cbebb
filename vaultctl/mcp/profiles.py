"""What an MCP server that another program starts goes by: whose token, and for which vault.

A profile is a file of mode 0600. It names its vault, and its token is used for that vault and no other. The token
itself is in the OS keyring if whoever starts the server can read it there, else in this file. The profile also
remembers where it was written into configurations of MCP clients, so that this can be undone.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from vaultctl.client import private_files
from vaultctl.client.location import Home, make_private
from vaultctl.crypto.tokens import token_hash
from vaultctl.domain.errors import NotAuthenticated, NotFound, VaultUnavailable
from vaultctl.domain.names import check_name, is_name
from vaultctl.domain.secrets import Secret

_LONGEST_FILE = 1_048_576


class _Stored(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """Base of what the file holds."""


class Place(_Stored, frozen=True, kw_only=True):
    """The vault that a profile is for.

    Attributes:
        base_url: The server; None: the vault of this machine.
        home: The directory of the vault of this machine, if it is not the platform's.
        database: Its store, if it was named.
    """

    base_url: str | None = None
    home: str | None = None
    database: str | None = None

    def __str__(self) -> str:
        return self.base_url or "the vault of this machine" + (f" in {self.home}" if self.home else "")


class Installation(_Stored, frozen=True, kw_only=True):
    """Where a profile was written into the configuration of an MCP client.

    Attributes:
        client: The client's name.
        path: Its file, as it was named: a link is kept.
        server: What our server is called there.
        digest: SHA-256 of the file as we left it. While it is so, taking out ``insertions`` gives the file that was.
        insertions: What we put in: offsets in the text, and the texts.
        made_container: Whether the object that has the servers was ours.
        made: The file, and directories above it, that were not there before; the file first.
    """

    client: str
    path: str
    server: str
    digest: str
    insertions: tuple[tuple[int, str], ...] = ()
    made_container: bool = False
    made: tuple[str, ...] = ()


class Profile(_Stored, frozen=True, kw_only=True):
    """One profile.

    Attributes:
        name: Its name.
        agent: The agent that the token is of.
        tenant: The agent's tenant.
        place: The vault.
        token_id: The token's id.
        retired: Ids of tokens that the profile had before and that are yet to be revoked.
        keyring_user: The user name of the token's entry in the keyring, if it is there.
        token: The token, if it is kept here.
        installations: Where it was written.
    """

    name: str
    agent: str
    tenant: str
    place: Place
    token_id: str
    retired: tuple[str, ...] = ()
    keyring_user: str | None = None
    token: Secret | None = None
    installations: tuple[Installation, ...] = ()

    @property
    def kept_in(self) -> Literal["keyring", "file", "nowhere"]:
        """Where the token is; nowhere if keeping it was interrupted."""
        return "keyring" if self.keyring_user else "file" if self.token else "nowhere"


def find(home: Home, name: str) -> Profile | None:
    """The profile ``name``; None if there is none.

    Raises:
        VaultUnavailable: Its file is not as it must be.
    """
    path = path_of(home, name)
    try:
        with open(path, "rb", opener=private_files.as_it_is) as file:
            status = os.fstat(file.fileno())
            data = file.read(_LONGEST_FILE) if stat.S_ISREG(status.st_mode) else b""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise VaultUnavailable(
            f"The profile {path} can't be read: {error.strerror}.", hint="It must be a file that you can read."
        ) from None
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise VaultUnavailable(
            f"The profile {path} is not yours alone (mode {stat.S_IMODE(status.st_mode):04o}).",
            hint="Somebody may know its token: chmod 600 it, and install anew, which rotates the token.",
        )
    try:
        profile = msgspec.json.decode(data, type=Profile, dec_hook=_decode_secret)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        profile = None
    if profile is None or profile.name != name:
        raise VaultUnavailable(
            f"The profile {path} is damaged.",
            hint=f"Remove it (rm {path}), revoke its token (vaultctl token list), and install anew.",
        )
    return profile


def get(home: Home, name: str) -> Profile:
    """The profile ``name``.

    Raises:
        NotFound: There is none.
        VaultUnavailable: Its file is not as it must be.
    """
    profile = find(home, check_name(name, "profile"))
    if profile is None:
        raise NotFound(
            "There is no such profile.", hint="List them: vaultctl mcp list; make one: vaultctl mcp install --help"
        )
    return profile


def every(home: Home) -> list[Profile]:
    """All profiles, by name.

    Raises:
        VaultUnavailable: The file of one is not as it must be.
    """
    try:
        names = sorted(path.stem for path in home.profiles_path.glob("*.json") if is_name(path.stem))
    except OSError:
        names = []
    return [profile for name in names if (profile := find(home, name)) is not None]


def token_of(profile: Profile) -> Secret:
    """The profile's token.

    Raises:
        NotAuthenticated: It is not where it was kept.
        VaultUnavailable: The keyring does not answer.
    """
    token = profile.token
    if profile.keyring_user is not None:
        from vaultctl.client import keyring_tokens

        try:
            token = keyring_tokens.get(profile.keyring_user)
        except keyring_tokens.NoAnswer as silence:
            reason = silence.reason
            raise VaultUnavailable(
                f"The token of the profile {profile.name} is in the OS keyring, which does not answer: {reason}.",
                hint="Unlock the keyring, or install anew where it does not answer: vaultctl mcp install",
            ) from None
    if token is None:
        raise NotAuthenticated(f"The profile {profile.name} has no token any more.", hint=_ANEW)
    token_hash(token)
    return token


def save(home: Home, profile: Profile) -> None:
    """Keep ``profile``, in place of the one of that name.

    Raises:
        VaultUnavailable: It can't be written.
    """
    path = path_of(home, profile.name)
    data = msgspec.json.format(msgspec.json.encode(profile, enc_hook=_encode_secret), indent=2)
    try:
        private_files.replace(path, data.decode() + "\n")
    except OSError as error:
        raise _not_written(path, error) from None


def forget(home: Home, profile: Profile) -> None:
    """Drop the profile, and its token from where it is kept.

    Raises:
        VaultUnavailable: It can't be removed.
    """
    path = path_of(home, profile.name)
    try:
        path.unlink(missing_ok=True)
        private_files.sync_directory(path.parent)
    except OSError as error:
        raise VaultUnavailable(f"The profile {path} can't be removed: {error.strerror}.", hint=f"rm {path}") from None
    drop_token(profile)


def drop_token(profile: Profile) -> None:
    """Drop the token from the keyring, if it is there. One that stays there is revoked all the same."""
    if profile.keyring_user is not None:
        from vaultctl.client import keyring_tokens

        keyring_tokens.drop(profile.keyring_user)


@contextmanager
def changing(home: Home) -> Iterator[None]:
    """While this lasts, no other process changes profiles.

    Raises:
        VaultUnavailable: They can't be written.
    """
    directory = home.profiles_path
    try:
        make_private(directory)
        file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _not_written(directory, error) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def path_of(home: Home, name: str) -> Path:
    """The file of the profile ``name``."""
    return home.profiles_path / f"{name}.json"


_ANEW = "Install anew: vaultctl mcp install --client CLIENT --agent NAME"


def _not_written(path: Path, error: OSError) -> VaultUnavailable:
    return VaultUnavailable(
        f"The profile can't be kept in {path}: {error.strerror}.",
        hint="Set VAULTCTL_HOME to a directory that you can write to.",
    )


def _decode_secret(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError


def _encode_secret(value: Any) -> str:
    assert isinstance(value, Secret)  # noqa: S101  # there is nothing else in a profile
    return value.reveal()
