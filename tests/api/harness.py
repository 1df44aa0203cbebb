"""A real server on a free port of this machine, in a thread of the test's process."""

import asyncio
import io
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import uvloop

from vaultctl.api.limits import USUAL, Limits
from vaultctl.api.logs import Log
from vaultctl.api.running import url_of
from vaultctl.api.server import Server
from vaultctl.api.serving import bind
from vaultctl.api.throttle import FailedAuthentications, TokenRates
from vaultctl.engine.engine import Engine, require_vault
from vaultctl.engine.service import Service
from vaultctl.mcp.http.terms import Terms
from vaultctl.store.interface import Store

GRACE = 10.0


def once(stop: Callable[[float], bool]) -> Callable[[float], bool]:
    """The first call stops; the loop may be gone before the next one, which gets the same answer."""
    lock = threading.Lock()
    answers: list[bool] = []

    def stop_once(grace: float) -> bool:
        with lock:
            if not answers:
                answers.append(stop(grace))
            return answers[0]

    return stop_once


class RunningServer:
    """A server that runs.

    Attributes:
        url: Its base URL.
        stop: Stops it as a signal would, with so much grace; whether all was finished.
    """

    def __init__(self, url: str, log: io.StringIO, stop: Callable[[float], bool]) -> None:
        self.url = url
        self._log = log
        self.stop = stop

    @property
    def log(self) -> str:
        """What it has logged."""
        return self._log.getvalue()

    def lines(self, event: str = "request") -> list[dict[str, Any]]:
        """What it has logged of one kind of event. Complete once the server has stopped."""
        lines = [json.loads(line) for line in self.log.splitlines()]
        return [line for line in lines if line["event"] == event]


@contextmanager
def running_server(
    engine: Engine,
    store: Store,
    *,
    limits: Limits = USUAL,
    failures: FailedAuthentications | None = None,
    rates: TokenRates | None = None,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    service: Service | None = None,
    mcp: Terms | None = None,
) -> Iterator[RunningServer]:
    """Serve the vault of ``engine``, whose store is ``store``, until the context ends. Engine and store stay open."""
    sockets = bind(host, 0, may_leave=True)
    text = io.StringIO()
    started: Future[RunningServer] = Future()

    async def serve() -> None:
        log = Log("json", text)
        server = Server(
            service or Service(engine, report=log.unexpected),
            read=lambda: _read(store),
            log=log,
            sockets=sockets,
            tls=tls,
            limits=limits,
            failures=failures,
            rates=rates,
            mcp=mcp,
        )
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()

        @once
        def stop(grace: float) -> bool:
            try:
                return asyncio.run_coroutine_threadsafe(server.stop(grace), loop).result(60)
            finally:
                loop.call_soon_threadsafe(finished.set)

        try:
            await server.start()
        except BaseException as error:
            started.set_exception(error)
            return
        url = url_of(host, sockets, tls)
        started.set_result(RunningServer(url, text, stop))
        await finished.wait()

    thread = threading.Thread(target=lambda: uvloop.run(serve()), name="server")
    thread.start()
    try:
        running = started.result(30)
        try:
            yield running
        finally:
            running.stop(GRACE)
    finally:
        thread.join(30)
        for listener in sockets:
            listener.close()


def _read(store: Store) -> None:
    with store.read() as tx:
        require_vault(tx)
