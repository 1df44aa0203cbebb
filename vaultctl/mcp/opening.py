"""Connecting, and opening the one session of a server on stdio, before there is an event loop.

What may block, the vault does in a :class:`~vaultctl.mcp.worker.Worker`, also later on.
"""

import asyncio
from functools import partial
from typing import TypeVar

from vaultctl.client.adapters import Adapter
from vaultctl.client.connecting import Wanted, open_adapter
from vaultctl.client.contexts import EMBEDDED
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import NotAllowed, VaultError
from vaultctl.mcp.session import REQUEST_BOUND, AgentSession, require_agent
from vaultctl.mcp.settings import Settings
from vaultctl.mcp.worker import Worker

T = TypeVar("T")

_OPENING_BOUND = 10.0
"""Seconds that a server may take for a request while the session is being opened, when nobody's call waits yet."""


class WorkerDoor:
    """The way to the vault of an adapter that blocks, through a worker that is its alone."""

    def __init__(self, adapter: Adapter, worker: Worker) -> None:
        self._adapter = adapter
        self._worker = worker

    async def perform(self, request: ask.Request[T]) -> T:
        """The answer to ``request``. One that is cancelled before its turn is not asked."""
        return await asyncio.wrap_future(self._worker.submit(partial(self._adapter.perform, request)))

    async def close(self) -> None:
        """Close the adapter."""
        await asyncio.wrap_future(self._worker.submit(self._adapter.close))


def open_session(settings: Settings, worker: Worker) -> AgentSession:
    """Connect, and open the session that all leases of this server belong to. Runs on ``worker``.

    An agent's token is exchanged for a session's and dropped; a session's token is used as it is.

    Raises:
        NotAuthenticated: The token does not count.
        NotAllowed: It is no agent's, or not of the agent or session that the configuration names.
        VaultUnavailable: There is no vault, or it can't be opened.
    """
    vault = _connect(settings, settings.token.reveal(), timeout=_OPENING_BOUND)
    try:
        who = vault.perform(ask.GetSelf())
        agent = require_agent(who.identity, settings.agent_name)
        if who.session is not None:
            session_id = who.session.id
            if settings.session_id not in (None, session_id):
                raise NotAllowed(
                    "The token belongs to another session than CORTEX_SESSION_ID names.",
                    hint="Give the server the token of that session.",
                )
            if settings.base_url is not None:
                vault.close()
                vault = _connect(settings, settings.token.reveal(), timeout=REQUEST_BOUND)
            return AgentSession(WorkerDoor(vault, worker), settings, session_id=session_id, agent=agent, is_own=False)
        claimed = {"agentName": settings.agent_name} if settings.agent_name else {}
        opened = vault.perform(ask.OpenSession(id=settings.session_id, claimed=claimed))
        is_own = settings.session_id is None
        try:
            own = _connect(settings, opened.token.reveal(), timeout=REQUEST_BOUND)
        except VaultError:
            if is_own:
                vault.perform(ask.EndSession(id=opened.session.id))
            raise
    except BaseException:
        vault.close()
        raise
    vault.close()
    return AgentSession(WorkerDoor(own, worker), settings, session_id=opened.session.id, agent=agent, is_own=is_own)


def _connect(settings: Settings, token: str, *, timeout: float) -> Adapter:
    at_server = settings.base_url is not None
    return open_adapter(
        Wanted(
            base_url=settings.base_url,
            context=None if at_server else EMBEDDED,
            tenant=settings.tenant,
            token=token,
            home=None if at_server else settings.home,
            database=None if at_server else settings.database,
            ca_file=None,
            timeout=timeout if at_server else None,
            ask_passphrase=None,
        )
    )
