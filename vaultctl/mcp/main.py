"""``vaultctl mcp serve``: from the configuration to a clean end.

The vault is opened on its own thread while the SDK loads, which takes longer. Failing to open it is said on stderr
before anything is served. Whatever ends the server (the client closes stdin or stdout, or a signal), the leases of
this server are revoked, and it leaves within a second or so even if the vault hangs.
"""

import gc
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import FrameType

from vaultctl.domain.errors import ExitStatus, VaultError
from vaultctl.domain.text import safe
from vaultctl.mcp import logs
from vaultctl.mcp.session import CLOSE_BOUND, AgentSession, open_session
from vaultctl.mcp.settings import Settings, load
from vaultctl.mcp.wire import Wire
from vaultctl.mcp.worker import Worker

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _StoppedError(BaseException):
    """A signal asked to stop before serving began."""


def serve(*, config: Path | None = None, tenant: str | None = None, database: str | None = None) -> int:
    """Serve one MCP client on stdin and stdout until it goes away.

    Args:
        config: The configuration file; else ``.vault-mcp.json`` in the working directory, if there is one.
        tenant: Overrides the configuration's.
        database: The embedded vault's store.

    Returns:
        The exit status.
    """
    opening: Future[AgentSession] | None = None
    try:
        for number in _SIGNALS:
            signal.signal(number, _stop)
        wire = Wire()
        opening = _open(load(config=config, tenant=tenant, database=database))
        run = _load_sdk()
        session = opening.result()
        logs.logger.info("Serving %s in session %s", session.agent, session.id)
        if wire.is_terminal:
            logs.logger.info("This speaks MCP and is meant to be started by an MCP client; Ctrl-D ends it")
        released = run(session, wire)
    except VaultError as error:
        return _report(error)
    except _StoppedError:
        released = opening is None or _undo(opening)
    except Exception as error:  # its text may hold anything
        logs.logger.error("Unexpected: %s", type(error).__name__)
        return ExitStatus.UNEXPECTED
    return ExitStatus.DONE if released else ExitStatus.UNAVAILABLE


def _open(settings: Settings) -> "Future[AgentSession]":
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


def _undo(opening: "Future[AgentSession]") -> bool:
    if opening.cancel():
        return True
    try:
        return opening.result(CLOSE_BOUND).close_now()
    except VaultError:
        return True
    except TimeoutError:
        return False


def _report(error: VaultError) -> int:
    sys.stderr.write(f"vaultctl mcp serve: {safe(error.message)}\n")
    if error.hint:
        sys.stderr.write(f"{safe(error.hint)}\n")
    return error.exit_status


def _stop(_: int, __: FrameType | None) -> None:
    raise _StoppedError
