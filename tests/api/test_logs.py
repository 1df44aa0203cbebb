"""The server's log: who asked for what and how it ended, and never a secret."""

import io
import json
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.conftest import CREDENTIAL, VALUE, Site
from tests.api.harness import RunningServer
from tests.security.canaries import forms_of
from vaultctl.api.logs import Log, place_of, take_over
from vaultctl.domain.errors import VaultError
from vaultctl.engine.service import Service


def test_a_request_is_one_line_with_who_what_and_how_it_ended(
    site: Site, server: RunningServer, agent: httpx.Client
) -> None:
    answer = agent.post("/v1/leases", json={"credentialName": CREDENTIAL, "purpose": "sync"})
    agent.get("/v1/credentials/no%0Asuch")
    assert server.stop(10)
    lease, other = server.lines()
    assert lease.items() >= {
        "event": "request", "level": "info", "method": "POST", "route": "/v1/leases", "status": 201,
        "requestId": answer.headers["x-request-id"], "source": "127.0.0.1", "tenant": "my-org", "agent": "deploy-agent",
    }.items()  # fmt: skip
    assert lease["tokenId"].startswith("tok_")
    assert lease["ms"] > 0
    assert lease["time"].endswith("Z")
    assert (other["route"], other["status"]) == ("/v1/credentials/{name}", 422)


def test_a_session_is_named(site: Site, server: RunningServer) -> None:
    opened = site.world.connect(site.agent).sessions.open("mcp_sess_1")
    site.client(server, opened.token).get("/v1/leases")
    server.stop(10)
    assert server.lines()[0]["sessionId"] == "mcp_sess_1"


def test_whoever_was_refused_is_named_too(site: Site, server: RunningServer, agent: httpx.Client) -> None:
    agent.post("/v1/leases", json={"credentialName": "not-there"})
    server.stop(10)
    assert server.lines()[0].items() >= {"status": 404, "agent": "deploy-agent"}.items()


def test_no_secret_is_logged_however_a_request_ends(site: Site) -> None:
    class Sometimes(Service):
        broken = False

        async def perform(self, *arguments: Any, **options: Any) -> Any:
            if self.broken:
                raise RuntimeError(f"{arguments} {VALUE} {site.agent}")
            return await super().perform(*arguments, **options)

    service = Sometimes(site.door.engine)
    server = site.serve(service=service)
    client = site.client(server, site.agent)
    token = {"Authorization": f"Bearer {site.agent}"}
    for broken in (False, True):
        service.broken = broken
        client.post("/v1/leases", json={"credentialName": CREDENTIAL, "purpose": VALUE})
        client.post("/v1/leases", json={"credentialName": VALUE, "claimed": {"x": site.agent}})
        client.post(f"/v1/leases/{VALUE}/renew", json={VALUE: VALUE}, headers={"Idempotency-Key": site.agent})
        client.get("/v1/leases", params={"agent": VALUE, VALUE: site.agent})
        client.get(f"/v1/{site.agent}?{VALUE}#{VALUE}")
        client.get(f"/{VALUE}", headers={"X-Vault-Tenant": VALUE, "X-Request-Id": VALUE, "User-Agent": VALUE})
        client.get("/v1/tokens/self", headers={"Authorization": f"Bearer {site.agent}x"})
        client.request("SECRET", f"/v1/leases/{VALUE}", headers=token)
        client.post("/v1/leases", content=VALUE.encode() * 100_000, headers={"Content-Type": VALUE})
        client.post("/v1/leases", content=f'{{"{VALUE}'.encode(), headers={"Content-Type": "application/json"})
    assert server.stop(10)
    assert (len(server.lines()), len(server.lines("closed"))) == (18, 2)
    assert len(server.lines("unexpected")) == 2
    for secret in (VALUE, site.agent):
        for form in forms_of(secret):
            assert form not in server.log.encode()


def test_a_commit_that_fails_is_reported_by_its_kind_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    server = site.serve()
    client = site.client(server, site.agent)

    def broken(*arguments: object, **options: object) -> None:
        raise OSError(VALUE)

    monkeypatch.setattr(site.door.engine, "write", broken)
    assert client.post("/v1/leases", json={"credentialName": CREDENTIAL}).status_code == 500
    server.stop(10)
    assert {line["exception"] for line in server.lines("unexpected")} == {"OSError"}
    assert VALUE not in server.log


# The log itself


class Pipe:
    """A log of one kind, and what it wrote."""

    def __init__(self, format: Any) -> None:
        self.stream = io.StringIO()
        self.log = Log(format, self.stream)

    def text(self) -> str:
        return self.stream.getvalue()


def test_control_characters_can_t_break_a_line_or_a_terminal() -> None:
    hostile = "a\nb\x1b[2Jc\u202ed\x9b\x7f"
    for format in ("json", "text"):
        pipe = Pipe(format)
        pipe.log.info("listening", url=hostile)
        (line,) = pipe.text().splitlines()
        assert not [c for c in line if not c.isprintable()]
        if format == "json":
            assert json.loads(line)["url"] == hostile


def test_a_reader_that_stalls_does_not_stall_the_server() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        log = Log("json", stream)
        log.start(None)
        done = threading.Event()

        def much() -> None:
            for number in range(20_000):
                log.info("request", number=number, padding="x" * 100)
            done.set()

        threading.Thread(target=much).start()
        assert done.wait(20), "the log waited for its reader"
        assert log.dropped > 0
        draining = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 65_536), b"")])
        draining.start()
        log.stop()
    draining.join(10)
    os.close(reader)


def test_a_reader_that_is_gone_does_not_end_the_server() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    log = Log("json", stream)
    log.info("listening")
    assert log.dropped == 1
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_the_place_of_an_exception_is_its_module_and_line() -> None:
    with pytest.raises(ValueError, match="Expecting") as raised:
        json.loads("{")
    assert place_of(raised.value).startswith("json.decoder:")


@pytest.fixture
def taken() -> Iterator[Pipe]:
    """A log that has taken over the process's logging, which is given back afterwards."""
    import sys

    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging.raiseExceptions)
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    pipe = Pipe("json")
    take_over(pipe.log)
    yield pipe
    root.handlers[:], level, logging.raiseExceptions = before
    root.setLevel(level)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    logging.captureWarnings(False)


def test_of_what_libraries_log_only_the_place_is_kept(taken: Pipe) -> None:
    try:
        raise VaultError(VALUE)
    except VaultError:
        logging.getLogger("some.library").exception("it was %s", VALUE)
    logging.getLogger("some.library").info("%s", VALUE)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(VALUE, stacklevel=1)
    lines = [json.loads(line) for line in taken.text().splitlines()]
    assert [(line["logger"], line.get("exception")) for line in lines] == [
        ("some.library", "VaultError"),
        ("py.warnings", None),
    ]
    assert VALUE not in taken.text()


def test_a_thread_that_fails_is_reported_by_its_kind(taken: Pipe) -> None:
    def fail() -> None:
        raise RuntimeError(VALUE)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert json.loads(taken.text())["exception"] == "RuntimeError"
    assert VALUE not in taken.text()
