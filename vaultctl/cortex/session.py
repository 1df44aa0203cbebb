"""The run's session in the vault, and the three tokens of it, each of which goes to one place only.

The agent's token opens the session and is dropped. The session's token goes to the vault's MCP server. The redeem token
stays here, in memory.
"""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import anyio

from vaultctl.client import AsyncVault
from vaultctl.client.contexts import EMBEDDED
from vaultctl.cortex.configuration import ServerConfig, runs_vaultctl
from vaultctl.domain.errors import Conflict, InvalidInput, NotAllowed, NotAuthenticated, VaultError, VaultUnavailable
from vaultctl.domain.ids import new_id
from vaultctl.domain.records import Lease, OpenedSession, RedeemedLease
from vaultctl.domain.secrets import Secret
from vaultctl.mcp.settings import VARIABLE_NAMES, Settings, load

logger = logging.getLogger("vaultctl.cortex")

END_BOUND = 5.0
"""Seconds that ending the session may take."""

_REQUEST_BOUND = 10.0
"""Seconds that a server of the vault may take for one request."""

_FLAGS = ("--config", "--tenant", "--context", "--base-url", "--database")
"""Options of ``vaultctl mcp serve`` that say which vault is meant."""

_PASSED_ON = (
    *(name for name in VARIABLE_NAMES if name != "VAULT_TOKEN"),
    "VAULT_DATABASE_URL",
    "VAULT_CACERT",
    "DBUS_SESSION_BUS_ADDRESS",
    "PYTHON_KEYRING_BACKEND",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
)
"""What the vault's server gets of this process's environment: which vault, where its key is, its settings."""

_UNLOCKS = ("VAULT_PASSPHRASE", "VAULT_PASSPHRASE_FILE")
"""What it gets too if it is ours: it opens the vault of this machine itself."""


class RunSession:
    """An open session, from this side."""

    def __init__(
        self, vault: AsyncVault, where: "_Where", session_id: str, token: Secret, redeem_token: Secret
    ) -> None:
        """Take over an open session.

        Args:
            vault: Connected with the session's token.
            where: The vault.
            session_id: Its id.
            token: The session's token.
            redeem_token: What redeems the references of its leases.
        """
        self.id = session_id
        self.token = token
        self._vault = vault
        self._where = where
        self._redeem_token = redeem_token
        self._redeemer: AsyncVault | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Its tokens as text, to be kept out of what is said."""
        return self.token.reveal(), self._redeem_token.reveal()

    async def lease(self, lease_id: str) -> Lease:
        """A lease of the session, as the vault sees it now."""
        return await self._vault.leases.get(lease_id)

    async def redeem(self, lease_id: str, ref: str) -> RedeemedLease:
        """The value that ``ref`` stands for. The vault gives it once."""
        if self._redeemer is None:
            self._redeemer = self._where.connect(self._redeem_token)
        return await self._redeemer.leases.redeem(lease_id, ref)

    async def end(self) -> bool:
        """End the session and with it its leases; False if the vault did not do that."""
        ended = False
        with anyio.move_on_after(END_BOUND):
            try:
                await self._vault.sessions.end(self.id)
                ended = True
            except (NotAuthenticated, Conflict):
                ended = True  # it has ended already
            except Exception as error:
                logger.warning("The session %s was not ended: %s", self.id, type(error).__name__)
        for vault in (self._redeemer, self._vault):
            if vault is not None:
                with suppress(Exception), anyio.move_on_after(END_BOUND):
                    await vault.close()
        return ended

    def environment(self, server: ServerConfig, bare: Mapping[str, str]) -> dict[str, str]:
        """All variables of the vault's server: on top of the ``bare`` ones those of ``server``, and this session."""
        names = (*_PASSED_ON, *_UNLOCKS) if runs_vaultctl(server) else _PASSED_ON
        passed = {name: os.environ[name] for name in names if os.environ.get(name)}
        session = {"VAULT_TOKEN": self.token.reveal(), "CORTEX_SESSION_ID": self.id}
        return {**bare, **passed, **server.env, **self._where.variables, **session}


class _Where:
    """Which vault, and how it is reached."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._settings = settings
        self._database = settings.database or environment.get("VAULT_DATABASE_URL") or None
        self._ca_file = environment.get("VAULT_CACERT") or None

    @property
    def variables(self) -> dict[str, str]:
        """The same said in variables, so that the vault's server goes where this process went."""
        settings = self._settings
        found = {"VAULT_TENANT": settings.tenant, "VAULT_BASE_URL": settings.base_url, "VAULTCTL_HOME": settings.home}
        return {name: value for name, value in found.items() if value}

    def connect(self, token: Secret) -> AsyncVault:
        """A connection as whoever ``token`` says."""
        settings = self._settings
        if settings.base_url is not None:
            return AsyncVault.connect(
                base_url=settings.base_url,
                tenant=settings.tenant,
                token=token,
                ca_file=self._ca_file,
                timeout=_REQUEST_BOUND,
            )
        return AsyncVault.connect(
            context=EMBEDDED,
            tenant=settings.tenant,
            token=token,
            home=settings.home,
            database=self._database,
        )


async def open_session(agent: str, vault: ServerConfig, others: list[ServerConfig]) -> RunSession:
    """Open a session of ``agent`` for one run, with the token that the vault's server is configured with.

    Args:
        agent: The agent's name, which must be the token's.
        vault: How the vault's server is started.
        others: How the agent's other servers are.

    Raises:
        NotAuthenticated: There is no token, or it does not count.
        NotAllowed: It is not the token of this agent.
        InvalidInput: A setting is malformed, or the token would reach one of ``others``.
        VaultUnavailable: There is no vault, or it can't be opened.
    """
    environment = {**os.environ, **vault.env}
    settings = load(
        **_flags(vault),  # type: ignore[arg-type]
        environment=environment,
        directory=Path(vault.cwd) if vault.cwd else None,
    )
    _refuse_to_pass_on(settings.token, vault, others)
    where = _Where(settings, environment)
    connected = where.connect(settings.token)
    try:
        who = await connected.whoami()
        if who.identity.type != "agent":
            raise NotAllowed(
                "Cortex acts for an agent, and this token is not an agent's.",
                hint=f"Mint one: vaultctl token create --agent {agent}",
            )
        if who.identity.name != agent:
            raise NotAllowed(
                f"The token belongs to the agent {who.identity.name}, not to {agent}.",
                hint=f"Use a token of {agent}: vaultctl token create --agent {agent}",
            )
        opened = await _opened(connected)
        try:
            own = where.connect(opened.token)
        except BaseException:
            with suppress(VaultError):
                await connected.sessions.end(opened.session.id)
            raise
    finally:
        await connected.close()
    return RunSession(own, where, opened.session.id, opened.token, opened.redeem_token)


async def _opened(vault: AsyncVault) -> OpenedSession:
    """A new session. One that was opened all the same, though nobody waits for it any more, is ended at once."""
    session_id = new_id("cortex_sess", os.urandom)
    opening = asyncio.ensure_future(vault.sessions.open(session_id))
    try:
        return await asyncio.shield(opening)
    except (asyncio.CancelledError, VaultUnavailable):
        with suppress(Exception), anyio.move_on_after(END_BOUND):
            await asyncio.wait([opening])
            await vault.sessions.end(session_id)
        raise


def _flags(server: ServerConfig) -> dict[str, str | Path]:
    """What the arguments of the vault's server say about which vault it is, if it is ours."""
    found: dict[str, str | Path] = {}
    if not runs_vaultctl(server):
        return found
    args = list(server.args)
    for index, arg in enumerate(args):
        flag, equals, value = arg.partition("=")
        if flag == "--profile":
            raise InvalidInput(
                f"The MCP server {server.name} would use the agent's token of a profile, not the session's.",
                hint='Leave --profile out, and put the token into env: {"VAULT_TOKEN": "${VAULT_TOKEN}"}',
            )
        if flag not in _FLAGS or not (equals or index + 1 < len(args)):
            continue
        text = value if equals else args[index + 1]
        found[flag[2:].replace("-", "_")] = Path(server.cwd or "", text) if flag == "--config" else text
    return found


def _refuse_to_pass_on(token: Secret, vault: ServerConfig, others: list[ServerConfig]) -> None:
    text = token.reveal()
    for server in others:
        if any(text in value for value in (server.command, *server.args, *server.env.values())):
            raise InvalidInput(
                f"The MCP server {server.name} would get the agent's token.",
                hint="Only the vault's server needs one, and Cortex gives it the session's.",
            )
    if any(text in value for value in vault.args):
        raise InvalidInput(
            f"The arguments of the MCP server {vault.name} hold the agent's token, and others can read them.",
            hint='Put it into env: {"VAULT_TOKEN": "${VAULT_TOKEN}"}',
        )
