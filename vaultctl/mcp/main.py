"""``vaultctl mcp serve``: from the configuration to a clean end.

The vault is opened first, so that what is wrong with it is said before the SDK has taken its second to load. Whatever
ends the server (the client closes stdin or stdout, or a signal), the leases of this server are revoked, and it leaves
within a second or two even if the vault hangs.
"""

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import FrameType

from vaultctl.domain.errors import ExitStatus
from vaultctl.mcp import logs
from vaultctl.mcp.opening import open_session
from vaultctl.mcp.session import CLOSE_BOUND, AgentSession
from vaultctl.mcp.settings import Settings, load
from vaultctl.mcp.wire import Wire
from vaultctl.mcp.worker import Worker

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _StoppedError(BaseException):
    """A signal asked to stop before serving began."""


def serve(
    *,
    config: Path | None = None,
    tenant: str | None = None,
    context: str | None = None,
    base_url: str | None = None,
    database: str | None = None,
    profile: str | None = None,
) -> int:
    """Serve one MCP client on stdin and stdout until it goes away.

    Args:
        config: The configuration file; else ``.vault-mcp.json`` in the working directory, if there is one.
        tenant: Overrides the configuration's.
        context: The server of that name, or ``embedded``.
        base_url: The server at that URL.
        database: The embedded vault's store.
        profile: Whose token is used, and for which vault.

    Returns:
        The exit status: 0, or 7 if not all leases could be released.

    Raises:
        VaultError: It can't start: the configuration, the token or the vault is not as it must be.
    """
    opening: Future[AgentSession] | None = None
    try:
        for number in _SIGNALS:
            signal.signal(number, _stop)
        wire = Wire()
        settings = load(
            config=config, tenant=tenant, context=context, base_url=base_url, database=database, profile=profile
        )
        if profile is not None:
            os.environ.pop("VAULT_DATABASE_URL", None)  # its vault is the profile's
        opening = _open(settings)
        session = opening.result()
        run = _load_sdk()
        logs.logger.info("Serving %s in session %s", session.agent, session.id)
        if wire.is_terminal:
            logs.logger.info("This speaks MCP and is meant to be started by an MCP client; Ctrl-D ends it")
        released = run(session, wire)
    except _StoppedError:
        released = _undo(opening)
    except BaseException:
        _undo(opening)
        raise
    return ExitStatus.DONE if released else ExitStatus.UNAVAILABLE


def _open(settings: Settings) -> "Future[AgentSession]":
    os.environ.pop("VAULT_TOKEN", None)
    if settings.base_url is None:
        os.environ.pop("VAULT_BASE_URL", None)  # a flag outweighs it
    logs.configure(settings.log_level)
    worker = Worker("vault")
    return worker.submit(lambda: open_session(settings, worker))


def _load_sdk() -> Callable[[AgentSession, Wire], bool]:
    gc.disable()  # modules make much garbage-collectable and leave none: a tenth of the start
    import anyio

    from vaultctl.mcp.serving import run

    gc.enable()
    gc.freeze()
    return lambda session, wire: anyio.run(run, session, wire)


def _undo(opening: "Future[AgentSession] | None") -> bool:
    """End the session if one was or is being opened; whether all was released."""
    if opening is None or opening.cancel():
        return True
    try:
        session = opening.result(CLOSE_BOUND)
        return asyncio.run(session.close())
    except TimeoutError:
        return False
    except Exception:  # it did not open, and whoever waits for it has been told
        return True


def _stop(_: int, __: FrameType | None) -> None:
    raise _StoppedError
