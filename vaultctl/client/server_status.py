"""How a server is, and who one is there: ``status`` and ``doctor`` where a server is meant."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

from msgspec.structs import replace

from vaultctl.client.contexts import Server
from vaultctl.client.file_modes import mode_findings
from vaultctl.client.findings import SOON, Finding, problem
from vaultctl.client.location import locate
from vaultctl.client.logins import find, token_for
from vaultctl.client.remote.health import ask_health
from vaultctl.client.settings_findings import shadowed, token_findings
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import VaultError
from vaultctl.domain.records import Record, Role, WhoAmI

_SKEW_SECONDS = 60


class ServerStatus(Record):
    """The state of a server, and who asks. What can't be known is left out."""

    state: Literal["ready", "unready", "unreachable"]
    base_url: str
    reachable: bool
    ready: bool
    context: str | None = None
    version: str | None = None
    token: str | None = None
    """Where the token comes from: VAULT_TOKEN, or where ``login`` keeps it (keyring, file)."""
    tenant: str | None = None
    identity: str | None = None
    role: Role | None = None
    problem: str | None = None
    hint: str | None = None


def server_status(server: Server, tenant: str | None) -> ServerStatus:
    """How ``server`` is. One that can't be reached, or does not know the token, is a state, not an error."""
    status = ServerStatus(
        state="unreachable", base_url=server.base_url, reachable=False, ready=False, context=server.context
    )
    try:
        health = ask_health(server.base_url)
        status = replace(
            status,
            state="ready" if health.ready else "unready",
            reachable=True,
            ready=health.ready,
            version=health.version,
        )
        source = _source(server, tenant)
        status = replace(status, token=source)
        if source is None or not health.ready:
            return status
        me = _whoami(server, tenant)
        return replace(status, tenant=me.tenant, identity=me.identity.label, role=me.role)
    except VaultError as error:
        return replace(status, problem=error.message, hint=error.hint or None)


def diagnose_server(server: Server, tenant: str | None) -> Iterator[Finding]:
    """Look at everything about ``server`` that can be looked at from here. Reads only."""
    place = locate()
    yield from mode_findings(place, None)
    yield from shadowed(place, server.tenant)
    named = f"the context {server.context}" if server.context else "its base URL"
    yield Finding(check="context", level="ok", message=f"The vault is the server {server.base_url}, by {named}.")
    try:
        health = ask_health(server.base_url)
    except VaultError as error:
        yield problem("server", error)
        return
    yield Finding(check="server", level="ok", message=f"It answers; its version is {health.version or 'not known'}.")
    if health.ahead is not None and abs(health.ahead) > _SKEW_SECONDS:
        yield _skew(health.ahead)
    if not health.ready:
        yield Finding(
            check="ready",
            level="problem",
            message="It is not ready: it does not reach its store.",
            hint="Whoever runs it finds the reason in its log, and with vaultctl doctor there.",
        )
        return
    yield Finding(check="ready", level="ok", message="It is ready to serve.")
    try:
        yield from _token(server, tenant)
    except VaultError as error:
        yield problem("token", error)


def _skew(ahead: float) -> Finding:
    away = f"{abs(ahead):.0f} seconds {'behind' if ahead > 0 else 'ahead of'}"
    return Finding(
        check="clock",
        level="warning",
        message=f"The clock of this machine is {away} the server's, by which leases and tokens expire.",
        hint="Set the clock that is wrong, for example with timedatectl set-ntp true.",
    )


def _token(server: Server, tenant: str | None) -> Iterator[Finding]:
    source = _source(server, tenant)
    if source == "VAULT_TOKEN" and (wrong := list(token_findings())):
        yield from wrong
        return
    if source is None:
        yield Finding(
            check="token",
            level="warning",
            message="There is no token for it: neither VAULT_TOKEN nor a login.",
            hint="Log in: vaultctl login",
        )
        return
    if source == "VAULT_TOKEN" and find(server.base_url, tenant) is not None:
        yield Finding(
            check="token",
            level="warning",
            message="VAULT_TOKEN is set, and outweighs the login that is kept for this server.",
            hint="Unset VAULT_TOKEN to use the login.",
        )
    me = _whoami(server, tenant)
    what = "VAULT_TOKEN" if source == "VAULT_TOKEN" else f"The token of the login (kept in: {source})"
    if me.token is not None and me.token.expires_at - datetime.now(UTC) < SOON:
        yield Finding(
            check="token",
            level="warning",
            message=f"{what} of {me.identity.label} expires at {me.token.expires_at:%Y-%m-%d %H:%M}Z.",
            hint=f"An admin can renew it: vaultctl token rotate {me.token.id} --ttl 90d",
        )
    else:
        yield Finding(
            check="token", level="ok", message=f"{what} is that of {me.identity.label} in tenant {me.tenant}."
        )


def _source(server: Server, tenant: str | None) -> str | None:
    """Where the token for ``server`` comes from; None if there is none."""
    if "VAULT_TOKEN" in os.environ:
        return "VAULT_TOKEN"
    login = find(server.base_url, tenant)
    return login.kept_in if login else None


def _whoami(server: Server, tenant: str | None) -> WhoAmI:
    with Vault.connect(base_url=server.base_url, tenant=tenant, token=token_for(server, tenant)) as vault:
        return vault.whoami()
