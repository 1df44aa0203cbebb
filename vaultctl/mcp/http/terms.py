"""How a server serves MCP over HTTP."""

import time
from collections.abc import Callable
from typing import NamedTuple

from vaultctl.domain.secrets import Secret
from vaultctl.mcp.http.guard import Guard
from vaultctl.mcp.settings import Settings


class Terms(NamedTuple):
    """What holds for all runs of a server. Times are in seconds.

    Attributes:
        settings: Bounds and defaults of leases, and whether they are renewed. There is no token in them.
        guard: Which names it answers to, and which web pages may speak to it.
        idle_seconds: How long a run may be silent before it ends: nobody asks, and no event stream is open.
        judge_seconds: How often the token of an open event stream is judged again.
        call_seconds: How long a message may take; each tool is far quicker.
        runs: Most runs at a time.
        runs_of_tenant: Most of one tenant.
        runs_of_token: Most of one token.
        monotonic: The clock by which silence is measured.
    """

    settings: Settings = Settings(token=Secret(""))
    guard: Guard = Guard()
    idle_seconds: float = 900.0
    judge_seconds: float = 5.0
    call_seconds: float = 5.0
    runs: int = 1_024
    runs_of_tenant: int = 256
    runs_of_token: int = 128
    monotonic: Callable[[], float] = time.monotonic
