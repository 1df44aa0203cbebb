"""The tokens that ``vaultctl login`` keeps: in the OS keyring, or where none works in a file of mode 0600.

A token is bound to the base URL that it was kept for, and to the tenant if one was named: it is found for no other.
Each login has a small file that says where its token is, so that the keyring is asked only where there is something
to be had. Only where there is no keyring does that file hold the token itself.
"""

import hashlib
import json
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vaultctl.client import private_files
from vaultctl.client.base_url import check_base_url
from vaultctl.client.contexts import Server
from vaultctl.client.location import Home, locate, make_private
from vaultctl.crypto.tokens import token_hash
from vaultctl.domain.errors import NotAuthenticated, NotFound, VaultError, VaultUnavailable
from vaultctl.domain.secrets import Secret

_LONGEST_FILE = 65_536


class Login(NamedTuple):
    """Where the token for a server is kept.

    Attributes:
        base_url: The server that it is for, and no other.
        tenant: The tenant that was named when it was kept.
        kept_in: The place.
        token_id: The token's id at the server.
        keyring_user: The user name of its entry in the keyring.
        token: The token itself, where it is kept in the file.
    """

    base_url: str
    tenant: str | None
    kept_in: Literal["keyring", "file"]
    token_id: str | None
    keyring_user: str | None = None
    token: Secret | None = None


def stored_token(
    base_url: str, tenant: str | None = None, *, home: str | os.PathLike[str] | None = None
) -> Secret | None:
    """The token that was kept for ``base_url``, and for ``tenant`` or for none in particular; None if none was.

    Raises:
        VaultUnavailable: There is a login, and its token can't be had: the keyring does not answer, or the file is not
            as it must be.
        NotAuthenticated: What is kept is no token.
    """
    login = find(base_url, tenant, home=home)
    if login is None:
        return None
    token = login.token if login.kept_in == "file" else _from_keyring(login)
    if token is None:
        raise NotAuthenticated(
            f"The token for {base_url} is not in the OS keyring any more.", hint="Log in again: vaultctl login"
        )
    token_hash(token)
    return token


def token_for(server: Server, tenant: str | None = None, *, home: str | os.PathLike[str] | None = None) -> Secret:
    """The token to use at ``server``: that of ``VAULT_TOKEN``, else the one that was kept.

    A ``VAULT_TOKEN`` that is set counts even when it is empty: it is an error, never a way to the one that was kept.

    Raises:
        NotAuthenticated: There is none.
        VaultUnavailable: There is a login, and its token can't be had.
    """
    text = os.environ.get("VAULT_TOKEN")
    if text == "":
        raise NotAuthenticated(
            "VAULT_TOKEN is set but empty.", hint="Give it a token, or unset it to use the one of vaultctl login."
        )
    token = stored_token(server.base_url, tenant, home=home) if text is None else Secret(text)
    if token is None:
        named = f"--context {server.context}" if server.context else f"--base-url {server.base_url}"
        raise NotAuthenticated(
            f"There is no token for {server.base_url}.", hint=f"Log in: vaultctl login {named}; or set VAULT_TOKEN."
        )
    return token


def find(base_url: str, tenant: str | None = None, *, home: str | os.PathLike[str] | None = None) -> Login | None:
    """The login for ``base_url``, and for ``tenant`` or for none in particular.

    Raises:
        VaultUnavailable: Its file is not as it must be.
    """
    place, url = locate(home), check_base_url(base_url)
    login = _read(place, url, tenant)
    return _read(place, url, None) if login is None and tenant is not None else login


def has_login(base_url: str, tenant: str | None = None, *, home: str | os.PathLike[str] | None = None) -> bool:
    """Whether there is a login for ``base_url`` and exactly ``tenant``, in good order or not."""
    return os.path.lexists(_path(locate(home), check_base_url(base_url), tenant))


def keep(
    base_url: str,
    tenant: str | None,
    token: Secret,
    token_id: str | None = None,
    *,
    home: str | os.PathLike[str] | None = None,
) -> tuple[Login, str]:
    """Keep ``token`` for ``base_url`` and, if it is not None, ``tenant``, in place of the one that was kept so far.

    Returns:
        The login, and a sentence for people: where the token is, and why there.

    Raises:
        NotAuthenticated: It is no token.
        VaultUnavailable: It can't be kept.
    """
    token_hash(token)
    place, url = locate(home), check_base_url(base_url)
    before = None
    with suppress(VaultError):  # a file that is not as it must be is replaced
        before = _read(place, url, tenant)
    login, reason = _put_into_keyring(Login(url, tenant, "keyring", token_id), token)
    if reason is not None:
        login = Login(url, tenant, "file", token_id, token=token)
    try:
        _write(place, login)
    except VaultUnavailable:
        _drop_from_keyring(login)
        raise
    if before is not None:
        _drop_from_keyring(before)
    if reason is None:
        return login, f"The token is in the OS keyring (service vaultctl, user {login.keyring_user})."
    path = _path(place, url, tenant)
    return login, f"No usable OS keyring answered ({reason}), so the token is in the file {path} (mode 0600)."


def forget(base_url: str, tenant: str | None = None, *, home: str | os.PathLike[str] | None = None) -> Login | None:
    """Forget the login for ``base_url`` and exactly ``tenant``. Its token goes on to authenticate whoever has it.

    Returns:
        The login; None if its file was damaged.

    Raises:
        NotFound: There is none.
        VaultUnavailable: The file, or the entry of the keyring, can't be removed.
    """
    place, url = locate(home), check_base_url(base_url)
    path = _path(place, url, tenant)
    login = None
    with suppress(VaultUnavailable):
        login = _read(place, url, tenant)
    try:
        path.unlink()
        private_files.sync_directory(path.parent)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"There is no login for {url}.", hint="Log in: vaultctl login") from None
    except OSError as error:
        raise VaultUnavailable(f"The login {path} can't be removed: {error.strerror}.", hint=f"rm {path}") from None
    reason = _drop_from_keyring(login) if login else None
    if login and reason is not None:
        raise VaultUnavailable(
            f"The login is forgotten, but the OS keyring does not delete its token: {reason}.",
            hint=f"Delete it by hand: service vaultctl, user {login.keyring_user}",
        )
    return login


def _put_into_keyring(login: Login, token: Secret) -> tuple[Login, str | None]:
    """The login as it is in the keyring, and why it is not, if it is not."""
    from vaultctl.client import keyring_tokens

    # A user of its own for each login: those of two homes at one server are not the same.
    user, reason = keyring_tokens.put(login.base_url, token)
    return login._replace(keyring_user=user), reason


def _from_keyring(login: Login) -> Secret | None:
    from vaultctl.client import keyring_tokens

    try:
        return keyring_tokens.get(str(login.keyring_user))
    except keyring_tokens.NoAnswer as silence:
        reason = silence.reason
    raise VaultUnavailable(
        f"The token for {login.base_url} is in the OS keyring, which does not answer: {reason}.",
        hint="Unlock the keyring, or set VAULT_TOKEN.",
    )


def _drop_from_keyring(login: Login) -> str | None:
    """Why its entry in the keyring can't be deleted; None if it is gone, or never was there."""
    if login.kept_in != "keyring":
        return None
    from vaultctl.client import keyring_tokens

    return keyring_tokens.drop(str(login.keyring_user))


def _path(home: Home, base_url: str, tenant: str | None) -> Path:
    name = hashlib.sha256(f"{base_url} {tenant or ''}".encode()).hexdigest()[:32]
    return home.logins_path / f"{name}.json"


def _write(home: Home, login: Login) -> None:
    path = _path(home, login.base_url, login.tenant)
    fields = {
        "baseUrl": login.base_url,
        "tenant": login.tenant,
        "keptIn": login.kept_in,
        "tokenId": login.token_id,
        "keyringUser": login.keyring_user,
        "token": None if login.token is None else login.token.reveal(),
    }
    text = json.dumps({name: value for name, value in fields.items() if value is not None}, indent=2)
    try:
        make_private(path.parent)
        private_files.replace(path, f"{text}\n")
    except OSError as error:
        raise VaultUnavailable(
            f"The login can't be kept in {path}: {error.strerror}.",
            hint="Set VAULTCTL_HOME to a directory that you can write to.",
        ) from None


def _read(home: Home, base_url: str, tenant: str | None) -> Login | None:
    path = _path(home, base_url, tenant)
    try:
        with open(path, "rb", opener=private_files.as_it_is) as file:
            status = os.fstat(file.fileno())
            data = file.read(_LONGEST_FILE) if stat.S_ISREG(status.st_mode) else b""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise VaultUnavailable(f"The login {path} can't be read: {error.strerror}.", hint="Log in again.") from None
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise VaultUnavailable(
            f"The login {path} is not yours alone (mode {stat.S_IMODE(status.st_mode):04o}).",
            hint="Somebody may know its token: rotate it, and log in again.",
        )
    login = _decode(data)
    if login is None or (login.base_url, login.tenant) != (base_url, tenant):
        raise VaultUnavailable(f"The login {path} is damaged.", hint="Log in again: vaultctl login")
    return login


def _decode(data: bytes) -> Login | None:
    try:
        content: dict[str, Any] = json.loads(data)
        kept_in = content["keptIn"]
        # Where the token is decides which field has to be there.
        where = content["token"] if kept_in == "file" else content["keyringUser"] if kept_in == "keyring" else None
        if not isinstance(where, str):
            return None
        if kept_in == "keyring" and not where.startswith(f"{content['baseUrl']} "):
            return None  # the entry of another server
        return Login(
            content["baseUrl"],
            content.get("tenant"),
            kept_in,
            content.get("tokenId"),
            keyring_user=where if kept_in == "keyring" else None,
            token=Secret(where) if kept_in == "file" else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
