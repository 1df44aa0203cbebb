"""Health, and the counters."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from tests.api.conftest import CREDENTIAL, VALUE, Site
from tests.api.harness import RunningServer
from vaultctl import __version__
from vaultctl.api.health import Health
from vaultctl.domain.errors import VaultUnavailable


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/health", {"live": True, "ready": True, "version": __version__}),
        ("/v1/health/live", {"live": True, "version": __version__}),
        ("/v1/health/ready", {"ready": True, "version": __version__}),
    ],
)
def test_health_is_told_to_anybody(path: str, body: dict[str, Any], nobody: httpx.Client) -> None:
    answer = nobody.get(path)
    assert (answer.status_code, answer.json()) == (200, body)
    assert nobody.head(path).status_code == 200


class Reading:
    """A read of the store that a test lets succeed, fail or hang; and a clock that it moves."""

    def __init__(self) -> None:
        self.times = 0
        self.now = 0.0
        self.fails = False
        self.hangs: threading.Event | None = None

    def __call__(self) -> None:
        self.times += 1
        if self.hangs is not None:
            self.hangs.wait(10)
        if self.fails:
            raise VaultUnavailable("postgresql://secret@host")


@pytest.fixture
def reading() -> Reading:
    return Reading()


def run(act: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(act())


def test_a_store_that_can_t_be_read_is_not_ready_but_live(reading: Reading) -> None:
    reading.fails = True

    async def ask() -> None:
        health = Health(reading, lambda: reading.now)
        assert (await health.ready()).status == 503
        assert (await health.both()).status == 503
        assert (await health.live()).status == 200
        assert b"secret" not in (await health.both()).body

    run(ask)


def test_the_store_is_read_once_a_second_however_many_ask(reading: Reading) -> None:
    async def ask() -> None:
        health = Health(reading, lambda: reading.now)
        for _ in range(100):
            assert (await health.ready()).status == 200
        assert reading.times == 1
        reading.now += 1
        reading.fails = True
        assert (await health.ready()).status == 503
        assert reading.times == 2

    run(ask)


def test_a_server_that_is_about_to_stop_is_not_ready(reading: Reading) -> None:
    async def ask() -> None:
        health = Health(reading)
        health.stopping = True
        assert (await health.ready()).status == 503
        assert (await health.live()).status == 200

    run(ask)


def test_a_store_that_hangs_is_not_ready_and_not_asked_again_meanwhile(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaultctl.api.health._PATIENCE", 0.05)
    reading.hangs = threading.Event()

    async def ask() -> None:
        health = Health(reading, lambda: reading.now)
        for _ in range(3):
            assert (await health.ready()).status == 503
        assert reading.times == 1
        assert reading.hangs is not None
        reading.hangs.set()

    run(ask)


# Counters


def test_requests_are_counted_by_route_method_and_status(admin: httpx.Client, agent: httpx.Client) -> None:
    agent.post("/v1/leases", json={"credentialName": CREDENTIAL})
    agent.post("/v1/leases", json={"credentialName": "not-there"})
    admin.get(f"/v1/credentials/{CREDENTIAL}")
    admin.get("/v1/nothing/at/all")
    page = admin.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    for line in (
        'vaultctl_http_requests_total{method="POST",route="/v1/leases",status="201"} 1.0',
        'vaultctl_http_requests_total{method="POST",route="/v1/leases",status="404"} 1.0',
        'vaultctl_http_requests_total{method="GET",route="/v1/credentials/{name}",status="200"} 1.0',
        'vaultctl_http_requests_total{method="GET",route="other",status="404"} 1.0',
        'vaultctl_problems_total{code="not_found"} 1.0',
        'vaultctl_http_request_seconds_count{method="POST",route="/v1/leases"} 2.0',
        "vaultctl_refusals_total 1.0",
        'vaultctl_group_size_bucket{le="1.0"} 2.0',
        'vaultctl_waiting{kind="write"} 0.0',
        "process_resident_memory_bytes",
    ):
        assert line in page.text


def test_counters_name_nobody_and_nothing(admin: httpx.Client, agent: httpx.Client, site: Site) -> None:
    for client in (admin, agent):
        client.post("/v1/leases", json={"credentialName": CREDENTIAL})
        client.request("MADEUP", "/v1/leases")
    page = admin.get("/metrics").text
    ids = [token.id for token in site.owner.tokens.list()]
    for name in (CREDENTIAL, VALUE, "deploy-agent", "my-org", "admin@example.com", "MADEUP", *ids):
        assert name not in page


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"])
def test_through_a_proxy_the_counters_are_for_admins_and_operators(
    header: str, site: Site, server: RunningServer, nobody: httpx.Client
) -> None:
    forwarded = {header: "192.0.2.1"}
    assert nobody.get("/metrics", headers=forwarded).status_code == 401
    for options, status in (
        ({"human": "m@example.com", "role": "manager"}, 403),
        ({"agent": "some-agent", "credentials": ["*"]}, 403),
        ({"human": "a@example.com", "role": "admin"}, 200),
        ({"operator": True}, 200),
    ):
        client = site.client(server, site.token(**options))
        assert client.get("/metrics", headers=forwarded).status_code == status
