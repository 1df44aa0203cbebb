"""The floor of the benchmark over HTTP: this server's own stack with a vault behind it that does nothing.

Sockets, protocol with its bounds, routes, body limits, log, counters, the decoding of a lease's request and the
encoding of its answer are those of ``vaultctl server start``, for the same bytes both ways. What is missing is what a
vault is: nobody is authenticated, nothing is decided, encrypted, recorded or committed, and no other thread is asked.
Like the server it says in its log where it listens, and serves until SIGTERM.
"""

import asyncio
import gc
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop

from vaultctl.api.logs import Log
from vaultctl.api.main import url_of
from vaultctl.api.server import Server
from vaultctl.api.serving import bind
from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.ids import RandomBytes
from vaultctl.domain.records import CredentialType, Delivery, Identity, IssuedLease, Lease, LeaseState, Role
from vaultctl.domain.rules import Caller
from vaultctl.domain.secrets import Secret
from vaultctl.engine.authentication import Bearer
from vaultctl.engine.dispatch import Outcome
from vaultctl.engine.service import Service

_NOW = datetime(2027, 1, 15, 8, 0, 0, 123_456, tzinfo=UTC)
_TOKEN_ID = "tok_0123456789abcdefghijkl"


class _NoEngine:
    """What a service asks of its engine before there is anything to perform."""

    @staticmethod
    def drawing() -> RandomBytes:
        return os.urandom


class _Hello(Service):
    """Answers every request with the same lease, at once."""

    def __init__(self) -> None:
        super().__init__(_NoEngine())  # type: ignore[arg-type]
        identity = Identity(type="agent", name="agent-0", purpose="Benchmark")
        lease = Lease(
            id="lease_0123456789abcdefghijkl",
            credential_id="cred_0123456789abcdefghijkl",
            credential_name="api-key-0",
            credential_version=1,
            identity=identity,
            ttl=Duration.parse("15m"),
            issued_at=_NOW,
            expires_at=_NOW + timedelta(minutes=15),
            max_expires_at=_NOW + timedelta(days=1),
            renewals=0,
            state=LeaseState.ACTIVE,
            delivery=Delivery.VALUE,
            token_id=_TOKEN_ID,
        )
        issued = IssuedLease(
            lease=lease,
            type=CredentialType.API_KEY,
            value=Secret("sk_live_0123456789abcdef0"),
            attributes={"prefix": "sk_live_"},
        )
        caller = Caller("load", Identity(type="agent", name="agent-0"), Role.USER, token_id=_TOKEN_ID)
        self._outcome = Outcome(answer=issued, caller=caller)

    async def perform(self, principal: Bearer, request: ask.Request[Any], idempotency: Any = None) -> Outcome:  # type: ignore[override]
        """The one answer."""
        assert isinstance(request, ask.CreateLease)
        return self._outcome


async def _serve() -> None:
    sockets = bind("127.0.0.1", 0, may_leave=False)
    log = Log("json")
    server = Server(_Hello(), read=lambda: None, log=log, sockets=sockets)
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    await server.start()
    log.info("listening", url=url_of("127.0.0.1", sockets, None))
    gc.collect()
    gc.freeze()
    await told.wait()
    await server.stop(1.0)


if __name__ == "__main__":
    uvloop.run(_serve())
