"""``vaultctl audit watch``: what it says, whom it tells, and how it ends."""

import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import PATIENCE, VAULTCTL, Cli
from vaultctl.domain.errors import ExitStatus


class Hook:
    """A webhook on this machine, and what it was told."""

    def __init__(self, status: int) -> None:
        told = self.told = list[Any]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?key=s3cr3t-w0rd"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "witness.json"


@pytest.fixture(params=[204])
def hook(request: pytest.FixtureRequest) -> Iterator[Hook]:
    made = Hook(request.param)
    yield made
    made.close()


def grow(cli: Cli, count: int = 1, **environment: str) -> None:
    for _ in range(count):
        cli.ok("token", "create", "--agent", "a", **environment)


def test_the_first_look_trusts_the_key_and_says_so_and_the_next_proves_that_the_log_goes_on(
    stocked: Path, cli: Cli, state: Path
) -> None:
    argv = ("audit", "watch", "--state", str(state), "--once", "-o", "json")
    first = cli.ok(*argv)
    assert first.json["verifierKey"] in first.err
    assert "trusted from now on" in first.err
    grow(cli)
    second = cli.ok(*argv)
    assert second.json == json.loads(state.read_text())
    assert f"begin with the {first.json['size']} from before" in second.err
    assert cli.ok(*argv, "--key", first.json["verifierKey"]).err == ""


@pytest.mark.parametrize(("grown", "said"), [(0, "The log shrank"), (3, "The log was rewritten")])
def test_a_vault_that_was_set_back_or_forked_is_an_alarm(
    stocked: Path, cli: Cli, state: Path, tmp_path: Path, hook: Hook, grown: int, said: str
) -> None:
    argv = ("audit", "watch", "--state", str(state), "--once")
    fork = {"VAULTCTL_HOME": str(shutil.copytree(stocked, tmp_path / "fork"))}
    grow(cli)
    cli.ok(*argv)
    seen = state.read_text()
    grow(cli, grown, **fork)
    result = cli(*argv, "--webhook", hook.url, **fork)
    assert result.status == ExitStatus.VERIFICATION_FAILED
    assert f"ALARM: {said}" in result.err
    assert result.out == ""
    assert state.read_text() == seen
    (told,) = hook.told
    assert said in told["message"]
    assert told["witnessed"] == json.loads(seen)


@pytest.mark.parametrize("hook", [500], indirect=True)
def test_a_webhook_that_fails_is_said_and_the_alarm_stays_one(
    stocked: Path, cli: Cli, state: Path, tmp_path: Path, hook: Hook
) -> None:
    fork = {"VAULTCTL_HOME": str(shutil.copytree(stocked, tmp_path / "fork"))}
    grow(cli)
    cli.ok("audit", "watch", "--state", str(state), "--once")
    result = cli("audit", "watch", "--state", str(state), "--once", "--webhook", hook.url, **fork)
    assert result.status == ExitStatus.VERIFICATION_FAILED
    assert "The webhook was not told: it answered 500." in result.err
    assert "s3cr3t-w0rd" not in result.err


def test_a_vault_out_of_reach_is_said_and_is_no_alarm(stocked: Path, cli: Cli, state: Path, hook: Hook) -> None:
    token = cli.ok("token", "create", "--human", "v@example.com", "--role", "viewer", "-q").out.strip()
    url = hook.url.partition("/hook")[0]
    argv = ("audit", "watch", "--url", f"{url}/nothing", "--state", str(state), "--once", "--webhook", hook.url)
    result = cli(*argv, VAULT_TOKEN=token)
    assert result.status == ExitStatus.UNAVAILABLE
    assert (hook.told, state.exists()) == ([], False)


@pytest.mark.parametrize("url", ["http://example.com/hook", "ftp://127.0.0.1/", "nonsense"])
def test_a_webhook_is_on_this_machine_or_https(stocked: Path, cli: Cli, state: Path, url: str) -> None:
    result = cli("audit", "watch", "--state", str(state), "--once", "--webhook", url)
    assert result.status == ExitStatus.USAGE
    assert url not in result.err
    assert not state.exists()


def test_it_goes_on_until_it_is_told_to_stop(stocked: Path, state: Path) -> None:
    watching = subprocess.Popen(
        [VAULTCTL, "audit", "watch", "--state", str(state)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert watching.stderr
    try:
        assert "First look at" in watching.stderr.readline()
        watching.send_signal(signal.SIGTERM)
        out, _ = watching.communicate(timeout=PATIENCE)
    finally:
        watching.kill()
        watching.communicate()
    assert (watching.returncode, out) == (0, "")
    assert state.exists()
