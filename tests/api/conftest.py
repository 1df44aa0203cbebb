"""A vault behind a real server, and everybody who asks it."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.harness import RunningServer, running_server
from tests.conftest import Clock
from tests.contract.world import Bearing, EmbeddedSqlite, World, secret_of
from vaultctl.client.vault import Vault

CREDENTIAL = "shopify-api-key"
VALUE = "value-0123456789-abcdef"


class Site:
    """A vault, the doors of its insides, and servers before it."""

    def __init__(self, directory: Path, clock: Clock, stack: ExitStack) -> None:
        doors: list[EmbeddedSqlite] = []

        def open_door(directory: Path, clock: Clock, *, reaps: bool) -> EmbeddedSqlite:
            doors.append(EmbeddedSqlite(directory, clock, reaps=reaps))
            return doors[0]

        self.world = World(open_door, directory, clock, reaps=False)
        stack.callback(self.world.close)
        self.door = doors[0]
        self.clock = clock
        self._stack = stack
        self.owner: Vault = self.world.owner()
        self.admin = self.token(human="admin@example.com", role="admin")
        self.owner.credentials.create(CREDENTIAL, "generic-secret", VALUE)
        self.agent = self.token(agent="deploy-agent", credentials=[CREDENTIAL])

    def token(self, **options: Any) -> str:
        """The secret of a new token."""
        return self.owner.tokens.create(**options).secret.reveal()

    def serve(self, **options: Any) -> RunningServer:
        """A server that runs until the test ends."""
        return self._stack.enter_context(running_server(self.door.engine, self.door.store, **options))

    def client(self, server: RunningServer, token: Bearing | None = None, **options: Any) -> httpx.Client:
        """A client that presents ``token``, until the test ends."""
        headers = {"Authorization": f"Bearer {secret_of(token).reveal()}"} if token is not None else {}
        client = httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=20, **options)
        return self._stack.enter_context(client)


@pytest.fixture
def site(fast_path: Path, clock: Clock) -> Iterator[Site]:
    before = threading.active_count()
    with ExitStack() as stack:
        yield Site(fast_path, clock, stack)
    assert threading.active_count() <= before, "a server left threads behind"


@pytest.fixture
def server(site: Site) -> RunningServer:
    return site.serve()


@pytest.fixture
def admin(site: Site, server: RunningServer) -> httpx.Client:
    return site.client(server, site.admin)


@pytest.fixture
def agent(site: Site, server: RunningServer) -> httpx.Client:
    return site.client(server, site.agent)


@pytest.fixture
def nobody(site: Site, server: RunningServer) -> httpx.Client:
    return site.client(server)
