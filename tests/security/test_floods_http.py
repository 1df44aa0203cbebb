"""One tenant's flood is its own: another is served meanwhile, and every queue has an end."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.harness import RunningServer
from tests.security.served import Served
from vaultctl.api.limits import USUAL
from vaultctl.api.throttle import FailedAuthentications
from vaultctl.crypto.tokens import new_token_secret
from vaultctl.engine.service import Service

ROOM, FLOOD = 4, 24


class HeldUp(threading.Event):
    """Set, it lets go whoever waits."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun = threading.Event()


class Stage:
    """A server with little room, two tenants with an agent and an admin each, and somebody to hold it up."""

    def __init__(self, store: str, directory: Path, stack: ExitStack) -> None:
        self.served = Served(store, directory, stack)
        self.engine = self.served.door.engine
        self.service = Service(
            self.engine, readers=1, most_waiting=3 * ROOM, most_waiting_of_tenant=ROOM, reap_seconds=1e6
        )
        self._stack = stack
        self.tokens: dict[tuple[str, str], str] = {}
        for tenant in ("noisy-org", "quiet-org"):
            owner = self.served.owner_of(tenant)
            owner.credentials.create("key", "generic-secret", f"value-of-{tenant}-0123")
            agent, admin = (
                owner.tokens.create(agent="a", credentials=["*"]),
                owner.tokens.create(human="admin@example.com", role="admin"),
            )
            self.tokens[tenant, "agent"] = agent.secret.reveal()
            self.tokens[tenant, "admin"] = admin.secret.reveal()
        self.pool = stack.enter_context(ThreadPoolExecutor(FLOOD + 8))

    def serve(self, **options: Any) -> RunningServer:
        server = self.served.serve(service=self.service, **options)
        for token in self.tokens.values():  # from now on each is known to be of its tenant
            assert self.served.client(server, token).get("/v1/tokens/self").status_code == 200
        return server

    def client(self, server: RunningServer, tenant: str, who: str = "agent") -> httpx.Client:
        return self.served.client(server, self.tokens[tenant, who])

    @contextmanager
    def held_up(self, what: str) -> Iterator["HeldUp"]:
        """Whoever writes, or reads, waits until it may go on."""
        go_on = HeldUp()
        usual = getattr(self.engine, what)

        def wait(*arguments: Any, **options: Any) -> Any:
            go_on.has_begun.set()
            assert go_on.wait(30)
            return usual(*arguments, **options)

        setattr(self.engine, what, wait)
        try:
            yield go_on
        finally:
            go_on.set()
            setattr(self.engine, what, usual)


@pytest.fixture(params=["sqlite", "postgres"])
def stage(request: pytest.FixtureRequest, fast_path: Path) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(request.param, fast_path, stack)


def lease(client: httpx.Client) -> int:
    return client.post("/v1/leases", json={"credentialName": "key"}).status_code


def look(client: httpx.Client) -> int:
    return client.get("/v1/credentials").status_code


def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come."""
    for _ in range(20_000):
        if condition():
            return
        threading.Event().wait(0.001)
    pytest.fail("it did not come")


@pytest.mark.parametrize(("what", "act", "fine"), [("write", lease, 201), ("read", look, 200)])
def test_a_flood_of_one_tenant_fills_its_own_queue_and_another_is_served(
    stage: Stage, what: str, act: Callable[[httpx.Client], int], fine: int
) -> None:
    server = stage.serve()
    noisy = [stage.client(server, "noisy-org") for _ in range(1 + FLOOD)]
    quiet = [stage.client(server, "quiet-org") for _ in range(ROOM)]
    with stage.held_up(what) as go_on:
        first = stage.pool.submit(act, noisy[0])
        until(go_on.has_begun.is_set)
        flood: list[Future[int]] = [stage.pool.submit(act, client) for client in noisy[1:]]
        # As many as there is room for wait; all the others are told so at once.
        until(lambda: _waiting(stage, what) == ROOM and sum(future.done() for future in flood) == FLOOD - ROOM)
        served = [stage.pool.submit(act, client) for client in quiet]
        until(lambda: _waiting(stage, what) == 2 * ROOM)
        go_on.set()
        assert [future.result(30) for future in served] == [fine] * ROOM
    statuses = [future.result(30) for future in (first, *flood)]
    assert statuses.count(fine) == 1 + ROOM
    assert statuses.count(429) == FLOOD - ROOM
    assert act(noisy[0]) == fine


def _waiting(stage: Stage, what: str) -> int:
    return stage.service.waiting_writes if what == "write" else stage.service.waiting_reads


def test_tokens_that_nobody_knows_do_not_take_the_place_of_those_that_are_known(stage: Stage) -> None:
    server = stage.serve(failures=FailedAuthentications())
    unknown = [stage.served.client(server, new_token_secret(os.urandom).reveal()) for _ in range(FLOOD)]
    known = stage.client(server, "quiet-org")
    with stage.held_up("write") as go_on:
        first = stage.pool.submit(lease, stage.client(server, "quiet-org"))
        until(go_on.has_begun.is_set)
        flood = [stage.pool.submit(lease, client) for client in unknown]
        until(lambda: _waiting(stage, "write") == ROOM and sum(future.done() for future in flood) == FLOOD - ROOM)
        served = stage.pool.submit(lease, known)
        until(lambda: stage.service.waiting_writes == ROOM + 1)
        go_on.set()
        assert served.result(30) == first.result(30) == 201
    statuses = [future.result(30) for future in flood]
    assert (statuses.count(401), statuses.count(429)) == (ROOM, FLOOD - ROOM)


def test_one_tenant_has_only_so_many_streams_whatever_tokens_it_makes(stage: Stage) -> None:
    server = stage.serve(limits=USUAL._replace(streams=4, streams_of_tenant=2, poll_seconds=0.05))
    admins = [stage.tokens["noisy-org", "admin"]]
    with ExitStack() as streams:

        def open_stream(token: str) -> int:
            client = stage.served.client(server, token)
            return streams.enter_context(client.stream("GET", "/v1/audit/stream")).status_code

        for number in range(3):
            made = stage.served.client(server, admins[0]).post(
                "/v1/tokens", json={"email": f"admin{number}@example.com", "role": "admin"}
            )
            admins.append(made.json()["token"])
        assert [open_stream(token) for token in admins] == [200, 200, 429, 429]
        assert open_stream(stage.tokens["quiet-org", "admin"]) == 200
