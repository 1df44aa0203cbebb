"""``vaultctl server start``, and the commands that work at it: the same answers as on the vault itself."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import API_KEY, PATIENCE, VAULTCTL, Cli
from tests.cli.serving import Serving, serving
from tests.cli.test_process import loaded
from vaultctl.domain.errors import ExitStatus


@pytest.fixture
def server(stocked: Path) -> Iterator[Serving]:
    """The vault that is stocked, over HTTP."""
    with serving() as server:
        yield server


@pytest.fixture
def away(server: Serving, mint: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An admin's environment on a machine that has no vault; the base URL."""
    monkeypatch.setenv("VAULT_TOKEN", mint(human="alice@example.com", role="admin"))
    monkeypatch.setenv("VAULTCTL_HOME", str(tmp_path / "away"))
    monkeypatch.setenv("VAULT_BASE_URL", server.base_url)
    return server.base_url


class TestTheServer:
    def test_it_ends_well_when_it_is_told_to(self, server: Serving) -> None:
        status, log = server.stop()
        assert status == ExitStatus.DONE
        assert json.loads(log.splitlines()[-1])["event"] == "stopped"

    @pytest.mark.parametrize(
        ("argv", "environment", "status", "said"),
        [
            (["--listen", "0.0.0.0:0"], {}, ExitStatus.USAGE, "--allow-plain-http"),
            (["--tls-cert", "absent.crt", "--tls-key", "absent.key"], {}, ExitStatus.UNAVAILABLE, "TLS certificate"),
            ([], {"VAULTCTL_HOME": "{tmp_path}/nowhere"}, ExitStatus.UNAVAILABLE, "vaultctl init"),
        ],
    )
    def test_what_keeps_it_from_starting_is_said(
        self,
        stocked: Path,
        tmp_path: Path,
        argv: list[str],
        environment: dict[str, str],
        status: ExitStatus,
        said: str,
    ) -> None:
        done = subprocess.run(
            [VAULTCTL, "server", "start", "--listen", "127.0.0.1:0", *argv],
            env=os.environ | {name: value.format(tmp_path=tmp_path) for name, value in environment.items()},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=tmp_path,
        )
        assert done.returncode == status
        assert said in done.stderr
        assert len(done.stderr.splitlines()) <= 2

    def test_variables_of_clients_do_not_concern_it(self, stocked: Path) -> None:
        with serving(VAULT_BASE_URL="https://vault.example.com", VAULT_TOKEN="") as server:
            assert server.stop()[0] == ExitStatus.DONE


class TestCommands:
    def test_each_answers_as_on_the_vault_itself(
        self, server: Serving, session: str, cli: Cli, mint: Callable[..., str]
    ) -> None:
        """Read by the same admin at both doors: whatever the form, byte for byte."""
        token = mint(human="alice@example.com", role="admin")
        lease = cli.ok("lease", "create", "shopify-api-key", "-q").out.strip()
        for argv in (
            ["whoami"],
            ["credential", "list"],
            ["credential", "show", "orders-db"],
            ["credential", "versions", "orders-db"],
            ["token", "list"],
            ["lease", "list", "--state", "active"],
            ["lease", "show", lease],
            ["session", "list"],
            ["session", "show", session],
            ["audit", "--session", session],
            ["audit", "--event", "lease.denied", "--filter", "identity.name=deploy-agent"],
            ["tenant", "show"],
        ):
            for form in ("table", "json", "csv"):
                here = cli(*argv, "-o", form, VAULT_TOKEN=token)
                there = cli(*argv, "-o", form, VAULT_TOKEN=token, VAULT_BASE_URL=server.base_url)
                assert here.status == 0
                assert there == here

    def test_so_do_refusals(self, server: Serving, cli: Cli, mint: Callable[..., str]) -> None:
        token = mint(agent="deploy-agent", credentials=["shopify-*"])
        for argv in (
            ["credential", "show", "orders-db"],
            ["credential", "show", "absent"],
            ["credential", "show", "Not A Name"],
            ["lease", "create", "orders-db"],
            ["token", "create", "--agent", "other"],
            ["lease", "renew", "lease_1"],
            ["tenant", "list"],
        ):
            here = cli(*argv, VAULT_TOKEN=token)
            there = cli(*argv, VAULT_TOKEN=token, VAULT_BASE_URL=server.base_url)
            assert here.status not in (ExitStatus.DONE, ExitStatus.UNEXPECTED, ExitStatus.UNAVAILABLE)
            assert there == here

    def test_a_day_at_the_server(self, away: str, cli: Cli) -> None:
        cli.ok("credential", "create", "stripe-key", "--type", "api-key", "--max-ttl", "1h", stdin=API_KEY)
        token = cli.ok("token", "create", "--agent", "billing", "--credential", "stripe-*", "-q").out.strip()
        lease = cli.ok(
            "lease", "create", "stripe-key", "--ttl", "5m", "--purpose", "Bill", "-o", "json", VAULT_TOKEN=token
        ).json
        assert lease["value"] == API_KEY
        cli.ok("lease", "renew", lease["id"], VAULT_TOKEN=token)
        cli.ok("lease", "revoke", lease["id"], VAULT_TOKEN=token)
        trail = cli.ok("audit", "--agent", "billing", "-o", "json").json
        assert [entry["event"] for entry in trail] == [
            "token.created",
            "lease.created",
            "lease.renewed",
            "lease.revoked",
        ]
        cli.ok("credential", "delete", "stripe-key", "--yes")
        assert not (Path(os.environ["VAULTCTL_HOME"])).exists()

    def test_status_and_doctor(self, away: str, cli: Cli) -> None:
        shown = cli.ok("status", "-o", "json").json
        assert (shown["state"], shown["identity"], shown["tenant"]) == ("ready", "alice@example.com", "my-org")
        assert {finding["level"] for finding in cli.ok("doctor", "-o", "json").json} == {"ok"}

    def test_a_login_and_a_context_are_all_that_a_machine_needs(
        self, away: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = os.environ["VAULT_TOKEN"]
        for name in ("VAULT_TOKEN", "VAULT_BASE_URL"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
        cli.ok("context", "add", "team", "--base-url", away, "--use")
        assert cli.ok("login", "--token-stdin", "-q", stdin=token).out == "alice@example.com\n"
        assert cli.ok("credential", "list", "-q").lines == ["orders-db", "shopify-api-key"]
        cli.ok("logout")
        assert cli("credential", "list").status == ExitStatus.NOT_AUTHENTICATED

    def test_a_server_that_stopped_is_7(self, away: str, server: Serving, cli: Cli) -> None:
        server.stop()
        for argv in (["whoami"], ["credential", "list"], ["status"], ["audit", "--follow"]):
            result = cli(*argv)
            assert result.status == ExitStatus.UNAVAILABLE
            assert f"The server {away} can't be reached" in result.err

    @pytest.mark.parametrize("argv", [["audit", "-o", "json"], ["credential", "list", "-q"]])
    def test_a_command_loads_neither_a_vault_nor_a_keyring(self, away: str, argv: list[str]) -> None:
        modules = loaded(*argv)
        heavy = {"rich", "keyring", "asyncio", "platformdirs", "pydantic", "mcp", "textual", "cryptography", "sqlite3"}
        assert not (heavy | {"click", "pygments"}) & modules
        assert not {module for module in modules if re.match(r"vaultctl\.(engine|store|ledger|api|mcp)\b", module)}


class TestFollow:
    def test_entries_come_as_they_are_written(self, away: str, cli: Cli) -> None:
        process = subprocess.Popen(
            [VAULTCTL, "audit", "--follow", "--limit", "1", "-o", "json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        assert process.stderr
        try:
            first = json.loads(process.stdout.readline())
            for purpose in ("One", "Two"):
                cli.ok("lease", "create", "shopify-api-key", "--purpose", purpose)
            following = [json.loads(process.stdout.readline()) for _ in range(2)]
            assert [item["identity"]["purpose"] for item in following] == ["One", "Two"]
            assert [item["seq"] for item in following] == [first["seq"] + 1, first["seq"] + 2]
            process.stdout.close()  # whoever reads has had enough
            assert process.wait(PATIENCE) == ExitStatus.DONE
            assert process.stderr.read() == ""
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def test_a_token_with_a_limit_shows_it(away: str, cli: Cli) -> None:
    issued: dict[str, Any] = cli.ok(
        "token", "create", "--agent", "busy", "--requests-per-minute", "120", "-o", "json"
    ).json
    assert issued["requestsPerMinute"] == 120
    assert cli.ok("token", "show", issued["id"], "-o", "json").json["requestsPerMinute"] == 120
    assert cli.ok("token", "list").lines[0].endswith("REQUESTS A MINUTE  CREATED BY")
    refused = cli("token", "create", "--agent", "busy", "--requests-per-minute", "0")
    assert refused.status == ExitStatus.USAGE
