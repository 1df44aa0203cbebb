"""``vaultctl login``, ``logout``, ``status`` and ``doctor`` at a server: what is kept, sent, and said."""

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tests.cli.conftest import Cli, Result
from tests.client.answers import WHOAMI
from tests.client.scripted_server import ScriptedServer, answer, problem, raw
from vaultctl.client import logins
from vaultctl.client.location import locate
from vaultctl.crypto.tokens import new_token_secret
from vaultctl.domain.errors import ExitStatus

ME: dict[str, Any] = WHOAMI | {
    "identity": {"type": "human", "email": "alice@example.com"},
    "role": "admin",
    "token": {
        "id": "tok_1",
        "kind": "human",
        "role": "admin",
        "credentials": [],
        "email": "alice@example.com",
        "state": "active",
        "createdAt": "2026-11-24T12:00:00.000000Z",
        "createdBy": "owner",
        "expiresAt": "2999-01-01T00:00:00Z",
    },
}
SOON = ME | {"token": ME["token"] | {"expiresAt": "2020-01-01T00:00:00.000000Z"}}
HEALTHY = {"live": True, "ready": True, "version": "0.1.0"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A server that knows the token; no keyring is there."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    with ScriptedServer() as server:
        server.script = [answer(200, ME)]
        yield server


@pytest.fixture
def token() -> str:
    return new_token_secret(os.urandom).reveal()


def log_in(cli: Cli, token: str, *argv: str, **environment: str) -> Result:
    return cli.ok("login", *argv, "--token-stdin", stdin=f"{token}\n", **environment)


class TestLogin:
    def test_the_server_is_asked_and_then_the_token_is_kept(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        result = log_in(cli, token, "--base-url", server.base_url, "-o", "json")
        (asked,) = server.received
        assert (asked.method, asked.target) == ("GET", "/v1/tokens/self")
        assert asked.headers["authorization"] == f"Bearer {token}"
        assert result.json == {
            "baseUrl": server.base_url,
            "tenant": "my-org",
            "identity": "alice@example.com",
            "role": "admin",
            "tokenId": "tok_1",
            "expiresAt": "2999-01-01T00:00:00Z",
            "keptIn": "file",
        }
        (path,) = locate().logins_path.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert f"No usable OS keyring answered (there is none), so the token is in the file {path}" in result.err
        assert f"Next: vaultctl context add NAME --base-url {server.base_url} --use" in result.err
        assert token not in result.out + result.err

    def test_it_is_then_used_for_that_server(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        log_in(cli, token, "--base-url", server.base_url)
        assert cli.ok("whoami", "-q", VAULT_BASE_URL=f"{server.base_url}/").out == "alice@example.com\n"
        assert server.received[-1].headers["authorization"] == f"Bearer {token}"

    def test_it_is_sent_to_no_other(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        log_in(cli, token, "--base-url", server.base_url)
        with ScriptedServer() as other:
            for url in (other.base_url, f"{server.base_url}/prefix", server.base_url.replace("127.0.0.1", "localhost")):
                assert cli("whoami", "--base-url", url).status == ExitStatus.NOT_AUTHENTICATED
            assert other.received == []
        assert len(server.received) == 1

    def test_a_context_lends_its_tenant_and_the_login_is_bound_to_it(
        self, server: ScriptedServer, cli: Cli, token: str
    ) -> None:
        cli.ok("context", "add", "prod", "--base-url", server.base_url, "--tenant", "my-org")
        shown = log_in(cli, token, "--context", "prod", "-o", "json").json
        assert shown["context"] == "prod"
        assert server.received[-1].headers["x-vault-tenant"] == "my-org"
        cli.ok("whoami", "--context", "prod")
        assert server.received[-1].headers["x-vault-tenant"] == "my-org"
        assert cli("whoami", "--context", "prod", "--tenant", "other").status == ExitStatus.NOT_AUTHENTICATED
        assert cli("whoami", "--base-url", server.base_url).status == ExitStatus.NOT_AUTHENTICATED

    def test_on_a_terminal_the_token_is_asked_for(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        result = cli.ok("login", "--base-url", server.base_url, terminal=True, hidden=(token,))
        assert result.err.startswith(f"Logging in to {server.base_url}.\n")
        assert logins.has_login(server.base_url)

    def test_a_token_that_the_server_refuses_is_not_kept(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        server.script = [problem(401, "not_authenticated", "The token is not known.")]
        result = cli("login", "--base-url", server.base_url, "--token-stdin", stdin=token)
        assert result.status == ExitStatus.NOT_AUTHENTICATED
        assert "The token is not known." in result.err
        assert not logins.has_login(server.base_url)

    def test_a_redirect_does_not_get_the_token(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        with ScriptedServer() as other:
            moved = f"HTTP/1.1 307 -\r\nLocation: {other.base_url}/v1/tokens/self\r\nContent-Length: 0\r\n\r\n"
            server.script = [raw(moved.encode())]
            result = cli("login", "--base-url", server.base_url, "--token-stdin", stdin=token)
            assert result.status == ExitStatus.UNAVAILABLE
            assert other.received == []
        assert not logins.has_login(server.base_url)

    def test_a_mistyped_token_is_sent_nowhere(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
        result = cli("login", "--base-url", server.base_url, "--token-stdin", stdin=wrong)
        assert result.status == ExitStatus.NOT_AUTHENTICATED
        assert "mistyped" in result.err
        assert server.received == []

    def test_a_variable_that_outweighs_it_is_warned_of(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        other = new_token_secret(os.urandom).reveal()
        result = log_in(cli, token, "--base-url", server.base_url, VAULT_TOKEN=other)
        assert "VAULT_TOKEN is set, and outweighs this login." in result.err
        assert server.received[-1].headers["authorization"] == f"Bearer {token}"
        cli.ok("whoami", "--base-url", server.base_url, VAULT_TOKEN=other)
        assert server.received[-1].headers["authorization"] == f"Bearer {other}"

    def test_logging_out_forgets_the_token_and_asks_nobody(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        log_in(cli, token, "--base-url", server.base_url)
        result = cli.ok("logout", "--base-url", server.base_url)
        assert "vaultctl token revoke tok_1" in result.err
        assert len(server.received) == 1
        assert cli("whoami", "--base-url", server.base_url).status == ExitStatus.NOT_AUTHENTICATED

    def test_logging_out_of_a_tenant_without_a_login_of_its_own_forgets_the_one_that_serves_it(
        self, server: ScriptedServer, cli: Cli, token: str
    ) -> None:
        log_in(cli, token, "--base-url", server.base_url)
        cli.ok("logout", "--base-url", server.base_url, "--tenant", "my-org")
        assert not logins.has_login(server.base_url)


class TestStatus:
    @pytest.fixture(autouse=True)
    def _environment(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VAULT_BASE_URL", server.base_url)

    def test_a_server_that_is_ready_and_who_asks(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        server.script = [answer(200, HEALTHY), answer(200, ME)]
        assert cli.ok("status", "-o", "json", VAULT_TOKEN=token).json == {
            "state": "ready",
            "baseUrl": server.base_url,
            "reachable": True,
            "ready": True,
            "version": "0.1.0",
            "token": "VAULT_TOKEN",
            "tenant": "my-org",
            "identity": "alice@example.com",
            "role": "admin",
        }

    def test_how_a_server_is_is_asked_without_a_token(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        server.script = [answer(200, HEALTHY), answer(200, ME)]
        cli.ok("status", VAULT_TOKEN=token)
        assert server.received[0].target == "/v1/health"
        assert "authorization" not in server.received[0].headers

    def test_without_a_token_nobody_asks(self, server: ScriptedServer, cli: Cli) -> None:
        server.script = [answer(200, HEALTHY)]
        shown = cli.ok("status", "-o", "json").json
        assert (shown["state"], shown.get("identity")) == ("ready", None)
        assert cli.ok("status", "-q").out == "ready\n"

    @pytest.mark.parametrize(
        ("act", "state", "said"),
        [
            (answer(503, HEALTHY | {"ready": False}), "unready", "The vault is unready."),
            (answer(200, b"<html>", "text/html"), "unreachable", "not as a vaultctl server does"),
            (answer(200, {"status": "ok"}), "unreachable", "not as a vaultctl server does"),
            (answer(200, [1]), "unreachable", "not as a vaultctl server does"),
            (answer(200, b"{"), "unreachable", "not as a vaultctl server does"),
            (answer(200, {"ready": True, "x": "x" * 100_000}), "unreachable", "more than is read"),
            (answer(404, {}), "unreachable", "not as a vaultctl server does"),
            (raw(b""), "unreachable", "broke the connection"),
        ],
    )
    def test_one_that_is_not_ready_is_7(
        self, server: ScriptedServer, cli: Cli, token: str, act: Any, state: str, said: str
    ) -> None:
        server.script = [act]
        result = cli("status", "-o", "json", VAULT_TOKEN=token)
        assert result.status == ExitStatus.UNAVAILABLE
        assert result.json["state"] == state
        assert said in result.err
        assert "authorization" not in server.received[0].headers

    @pytest.mark.parametrize("token", ["", "nonsense"])
    def test_a_token_that_is_none_is_3(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        server.script = [answer(200, HEALTHY)]
        result = cli("status", "-o", "json", VAULT_TOKEN=token)
        assert (result.status, result.json["state"]) == (ExitStatus.NOT_AUTHENTICATED, "ready")
        assert len(server.received) == 1

    def test_a_token_that_the_server_refuses_is_3(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        server.script = [answer(200, HEALTHY), problem(401, "not_authenticated", "The token was revoked.")]
        result = cli("status", VAULT_TOKEN=token)
        assert result.status == ExitStatus.NOT_AUTHENTICATED
        assert "The token was revoked." in result.err


class TestDoctor:
    @pytest.fixture(autouse=True)
    def _environment(self, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VAULT_BASE_URL", server.base_url)

    def findings(self, result: Result) -> list[tuple[str, str]]:
        return [(finding["check"], finding["level"]) for finding in result.json]

    def test_all_is_well(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        log_in(cli, token)
        server.script = [answer(200, HEALTHY), answer(200, ME)]
        result = cli.ok("doctor", "-o", "json")
        assert self.findings(result) == [("context", "ok"), ("server", "ok"), ("ready", "ok"), ("token", "ok")]
        assert result.err == "No problems.\n"

    @pytest.mark.parametrize(
        ("script", "findings"),
        [
            ([raw(b"")], [("server", "problem")]),
            ([answer(503, HEALTHY | {"ready": False})], [("server", "ok"), ("ready", "problem")]),
            (
                [answer(200, HEALTHY), problem(401, "not_authenticated")],
                [("server", "ok"), ("ready", "ok"), ("token", "problem")],
            ),
            ([answer(200, HEALTHY), answer(200, SOON)], [("server", "ok"), ("ready", "ok"), ("token", "warning")]),
        ],
    )
    def test_what_is_wrong(
        self, server: ScriptedServer, cli: Cli, token: str, script: Any, findings: list[tuple[str, str]]
    ) -> None:
        server.script = script
        result = cli("doctor", "-o", "json", VAULT_TOKEN=token)
        assert self.findings(result) == [("context", "ok"), *findings]
        problems = any(level == "problem" for _, level in findings)
        assert result.status == (ExitStatus.CONFLICT if problems else ExitStatus.DONE)

    @pytest.mark.parametrize(("ahead", "told"), [(0, []), (3600, ["behind"]), (-3600, ["ahead of"])])
    def test_a_clock_that_is_not_the_servers_is_warned_of(
        self, server: ScriptedServer, cli: Cli, token: str, ahead: int, told: list[str]
    ) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=ahead), usegmt=True)
        server.script = [answer(200, HEALTHY, Date=date), answer(200, ME)]
        found = [f for f in cli.ok("doctor", "-o", "json", VAULT_TOKEN=token).json if f["check"] == "clock"]
        assert [word for f in found for word in ("behind", "ahead of") if word in f["message"]] == told

    def test_a_token_of_another_product_goes_to_no_server(self, server: ScriptedServer, cli: Cli) -> None:
        server.script = [answer(200, HEALTHY)]
        result = cli("doctor", "-o", "json", VAULT_TOKEN="hvs.c4n4ry")
        assert self.findings(result)[-1] == ("token", "problem")
        assert "HashiCorp" in result.out
        assert "c4n4ry" not in result.out + result.err

    def test_a_token_that_is_missing_or_outweighs_a_login_is_warned_of(
        self, server: ScriptedServer, cli: Cli, token: str
    ) -> None:
        server.script = [answer(200, HEALTHY)]
        assert self.findings(cli.ok("doctor", "-o", "json"))[-1] == ("token", "warning")
        server.script = [answer(200, ME)]
        log_in(cli, token)
        server.script = [answer(200, HEALTHY), answer(200, ME)]
        shown = cli.ok("doctor", "-o", "json", VAULT_TOKEN=new_token_secret(os.urandom).reveal())
        assert self.findings(shown)[-2:] == [("token", "warning"), ("token", "ok")]


class TestFollow:
    def test_entries_are_followed_at_the_server(self, server: ScriptedServer, cli: Cli, token: str) -> None:
        from tests.client.answers import entry
        from tests.client.scripted_server import events

        def event(seq: int) -> bytes:
            import json

            return f"id: {seq}\nevent: entry\ndata: {json.dumps(entry(seq))}\n\n".encode()

        over = b'event: problem\ndata: {"status": 401, "code": "not_authenticated", "detail": "Revoked."}\n\n'
        server.script = [answer(200, {"items": [entry(4)]}), events(event(5), event(6)), events(event(7) + over)]
        result = cli("audit", "--follow", "-o", "json", VAULT_BASE_URL=server.base_url, VAULT_TOKEN=token)
        assert [line.split('"seq":')[1].split(",")[0] for line in result.lines] == ["4", "5", "6", "7"]
        assert result.status == ExitStatus.NOT_AUTHENTICATED
        assert "Revoked." in result.err
        assert "afterSeq=4" in server.received[1].target
