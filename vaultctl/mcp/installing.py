"""``mcp install`` and ``mcp uninstall``: a token, a profile that keeps it, and an entry in a client's configuration.

A crash at any point leaves no token that nobody knows of. A new token lives for minutes at first; once the profile
has its id it is given its time and a new secret. What a crash left is completed by installing anew, or ended by
uninstalling: the profile is the first thing that is written, and the last that goes.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from vaultctl.client.keyring_tokens import BARE_ENVIRONMENT, drop, is_readable_from, put
from vaultctl.client.location import Home
from vaultctl.client.vault import Vault
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import Conflict, NotFound, VaultError
from vaultctl.domain.records import IssuedToken, TokenState
from vaultctl.domain.secrets import Secret
from vaultctl.mcp import profiles
from vaultctl.mcp.client_files import Change, plan_install, plan_uninstall, remove_made
from vaultctl.mcp.clients import CLIENTS, Client
from vaultctl.mcp.profiles import Installation, Place, Profile

_FIRST = Duration(minutes=5)
"""How long a token lives that no profile knows yet."""
_USUAL = Duration(days=90)
_HANDED_ON = ("VAULTCTL_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "VAULT_CACERT", "VAULT_PASSPHRASE_FILE")
"""What says where profiles, vaults and what opens them are; a server that another program starts has to be told."""

OpenVault = Callable[[str | None], Vault]
"""Opens the vault as somebody who may mint tokens, in a tenant or in the usual one."""


class Wanted(NamedTuple):
    """What is to be installed.

    Attributes:
        client: The client.
        path: Its file.
        server: What our server is called there.
        profile: The profile.
        agent: The agent that the server is to act for.
        tenant: The agent's tenant, if one is named.
        credentials: Globs of the credentials that its token reaches; None: as before, and none at first.
        ttl: How long its token lives; None: 90 days.
    """

    client: Client
    path: Path
    server: str
    profile: str
    agent: str
    tenant: str | None
    credentials: tuple[str, ...] | None
    ttl: Duration | None


class Installed(NamedTuple):
    """What was installed.

    Attributes:
        profile: The profile.
        token: The token, without its secret, and what it reaches.
        change: What was done to the client's file.
        sentence: For people: where the token is, and why there.
    """

    profile: Profile
    token: IssuedToken
    change: Change
    sentence: str


def plan(home: Home, place: Place, wanted: Wanted) -> Change:
    """What installing would do to the client's file. Opens no vault and changes nothing.

    Raises:
        VaultError: It can't be installed.
    """
    return _plan(wanted, _known(home, place, wanted))


def install(home: Home, place: Place, wanted: Wanted, open_vault: OpenVault) -> Installed:
    """Mint or rotate the token, keep it in the profile, and write the client's file.

    Raises:
        VaultError: It can't be done; a token that was minted for it is revoked.
    """
    with profiles.changing(home):
        known = _known(home, place, wanted)
        _plan(wanted, known)  # before there is a token
        with open_vault(known.tenant if known else None) as vault:
            profile, issued, retired = _token(home, place, wanted, known, vault)
            try:
                profile, sentence = _keep(home, profile, issued.secret)
                change = _plan(wanted, profile)
                assert change.installation is not None  # noqa: S101  # it puts a server in
                profile = replace(profile, installations=(*_others(profile, wanted), change.installation))
                profiles.save(home, profile)
                change.make()
            except VaultError:
                if known is None:
                    vault.tokens.revoke(profile.token_id)
                    profiles.forget(home, profile)
                raise
            if retired:
                _revoke(vault, retired)
                profile = replace(profile, retired=())
                profiles.save(home, profile)
    return Installed(profile, issued, change, sentence)


def installed(home: Home, path: Path, server: str) -> tuple[Profile, Installation]:
    """The profile that was written into the file ``path`` as ``server``.

    Raises:
        NotFound: None was.
    """
    for profile in profiles.every(home):
        for installation in profile.installations:
            if (installation.path, installation.server) == (str(path), server):
                return profile, installation
    raise NotFound(
        f"Nothing was installed as {server!r} in {path}.", hint="List what was: vaultctl mcp list. See also --server."
    )


def uninstall(home: Home, place: Place, path: Path, server: str, open_vault: OpenVault) -> tuple[Profile, Change, bool]:
    """Undo an installation. With its last one a profile goes, and its token is revoked.

    The client's file is first, so that it is in order even if the vault can't be reached.

    Returns:
        The profile, what was done to the client's file, and whether the token was revoked.

    Raises:
        NotFound: Nothing was installed there.
        Conflict: The profile is for another vault than ``place``.
        VaultError: It can't be done; what is left to do is done by trying again.
    """
    with profiles.changing(home):
        profile, installation = installed(home, path, server)
        change = plan_uninstall(CLIENTS[installation.client], installation, profile.name)
        others = tuple(other for other in profile.installations if other is not installation)
        if not others:
            _require_place(profile, place)
        change.make()
        remove_made(installation)
        if others:
            profiles.save(home, replace(profile, installations=others))
            return profile, change, False
        try:
            with open_vault(profile.tenant) as vault:
                _revoke(vault, (profile.token_id, *profile.retired))
        except VaultError as error:
            raise type(error)(
                f"{path} is in order, but the token {profile.token_id} was not revoked: {error.message}",
                hint=f"{error.hint} Then uninstall again.".lstrip(),
            ) from None
        profiles.forget(home, profile)
    return profile, change, True


def _known(home: Home, place: Place, wanted: Wanted) -> Profile | None:
    """The profile as it is, if there is one and it is for the same agent and vault."""
    profile = profiles.find(home, wanted.profile)
    if profile is None:
        return None
    if profile.agent != wanted.agent:
        raise Conflict(
            f"The profile {profile.name} is for the agent {profile.agent}.", hint="Name another with --profile."
        )
    if wanted.tenant not in (None, profile.tenant):
        raise Conflict(
            f"The profile {profile.name} is for the tenant {profile.tenant}.", hint="Name another with --profile."
        )
    _require_place(profile, place)
    return profile


def _require_place(profile: Profile, place: Place) -> None:
    if profile.place != place:
        raise Conflict(
            f"The profile {profile.name} is for {profile.place}, and this would be about {place}.",
            hint="Name that vault with --base-url, --context or --database; or another profile with --profile.",
        )


def _plan(wanted: Wanted, profile: Profile | None) -> Change:
    entry = wanted.client.entry([*_command(), "mcp", "serve", "--profile", wanted.profile], _environment())
    recorded = [it for it in (profile.installations if profile else ()) if _is_at(it, wanted)]
    return plan_install(wanted.client, wanted.path, wanted.server, entry, recorded[0] if recorded else None)


def _others(profile: Profile | None, wanted: Wanted) -> list[Installation]:
    return [other for other in (profile.installations if profile else ()) if not _is_at(other, wanted)]


def _is_at(installation: Installation, wanted: Wanted) -> bool:
    return (installation.path, installation.server) == (str(wanted.path), wanted.server)


def _token(
    home: Home, place: Place, wanted: Wanted, known: Profile | None, vault: Vault
) -> tuple[Profile, IssuedToken, tuple[str, ...]]:
    """The profile, with a token that it knows; the token; and the ids of those that it replaces."""
    ttl = wanted.ttl or _USUAL
    credentials = wanted.credentials
    retired: tuple[str, ...] = ()
    if known is not None:
        retired = known.retired
        with suppress(NotFound, Conflict):
            token = vault.tokens.get(known.token_id)
            credentials = token.credentials if credentials is None else credentials
            if token.state is not TokenState.REVOKED and set(token.credentials) == set(credentials):
                return known, vault.tokens.rotate(known.token_id, ttl=ttl), retired
            retired = (*retired, known.token_id)
    minted = vault.tokens.create(agent=wanted.agent, credentials=credentials or (), ttl=_FIRST)
    profile = Profile(
        name=wanted.profile,
        agent=wanted.agent,
        tenant=vault.whoami().tenant,
        place=place,
        token_id=minted.token.id,
        retired=retired,
        installations=known.installations if known else (_intended(wanted),),
    )
    try:
        profiles.save(home, profile)
    except VaultError:
        vault.tokens.revoke(minted.token.id)
        raise
    if known is not None:
        profiles.drop_token(known)
    return profile, vault.tokens.rotate(minted.token.id, ttl=ttl), retired


def _intended(wanted: Wanted) -> Installation:
    """What is not written yet, so that uninstalling finds the profile if a crash comes first."""
    return Installation(client=wanted.client.name, path=str(wanted.path), server=wanted.server, digest="")


def _keep(home: Home, profile: Profile, token: Secret) -> tuple[Profile, str]:
    """Keep ``token`` where a server with a bare environment can read it."""
    before = profile
    user, reason = put(f"mcp {profile.name}", token)
    if reason is None and not is_readable_from(_bare_environment(), user, token):
        drop(user)
        reason = "a server that another program starts can't read it there"
    if reason is None:
        profile = replace(profile, keyring_user=user, token=None)
        sentence = f"The token is in the OS keyring (service vaultctl, user {user}), and in no file."
    else:
        profile = replace(profile, keyring_user=None, token=token)
        path = profiles.path_of(home, profile.name)
        sentence = f"The OS keyring was not used ({reason}), so the token is in the file {path} (mode 0600)."
    profiles.save(home, profile)
    profiles.drop_token(before)
    return profile, sentence


def _revoke(vault: Vault, ids: tuple[str, ...]) -> None:
    for id in ids:
        with suppress(NotFound, Conflict):  # it is gone, or was revoked by somebody else
            vault.tokens.revoke(id)


def _command() -> list[str]:
    """This program, so that a client finds it whatever its PATH is."""
    beside = Path(sys.executable).with_name("vaultctl")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("vaultctl")
    return [str(Path(found).absolute())] if found else [sys.executable, "-m", "vaultctl"]


def _environment() -> Mapping[str, str]:
    return {name: str(Path(os.environ[name]).absolute()) for name in _HANDED_ON if os.environ.get(name)}


def _bare_environment() -> Mapping[str, str]:
    return {name: os.environ[name] for name in BARE_ENVIRONMENT if name in os.environ} | dict(_environment())
