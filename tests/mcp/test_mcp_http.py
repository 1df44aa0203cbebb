"""``mcp serve --transport http``: the real process, before the vault of this machine and before a server."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from tests.api.speaking_mcp import ERAS, GET, LEGACY, RawAgent, alone, speaking
from tests.cli.serving import serving
from vaultctl.domain.records import LeaseState, SessionState

if TYPE_CHECKING:
    from conftest import Bench

pytestmark = pytest.mark.anyio
WaitUntil = Callable[[Callable[[], Any], str], Any]

SECRET = "sk_live_CANARY51Hq8s7Zf0aLw3"
PATIENCE = 30


COMMAND = [sys.executable, "-m", "vaultctl", "mcp", "serve", "--transport", "http"]
COMMAND += ["--listen", "127.0.0.1:0", "--log-format", "json"]


class Gateway:
    """A server that runs."""

    def __init__(self, bench: "Bench", *arguments: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            env={"PATH": os.environ["PATH"], "VAULTCTL_HOME": str(bench.home), **variables},
            cwd=bench.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr
        line = self.process.stderr.readline()
        assert line.startswith("{"), line
        self.url = json.loads(line)["url"]

    def stop(self) -> tuple[int, str]:
        """Tell it to stop; its exit status and what it wrote."""
        self.process.send_signal(signal.SIGTERM)
        output, log = self.process.communicate(timeout=PATIENCE)
        assert output == ""
        return self.process.returncode, log


@contextmanager
def gateway(bench: "Bench", *arguments: str, **variables: str) -> Iterator[Gateway]:
    """A server until the context ends."""
    server = Gateway(bench, *arguments, **variables)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


@pytest.fixture
def shop(bench: "Bench") -> "Bench":
    bench.owner.credentials.create("shopify-api-key", "api-key", SECRET)
    return bench


@pytest.mark.parametrize("behind", ["embedded", "server"])
async def test_agents_are_served_in_both_eras_each_in_a_session_and_a_signal_ends_them_all(
    shop: "Bench", behind: str, wait_until: WaitUntil
) -> None:
    tokens = [shop.token(f"{name}-agent", "shopify-*") for name in ("deploy", "report")]
    with serving(VAULTCTL_HOME=str(shop.home)) as server:
        variables = {"VAULTCTL_HOME": str(shop.directory / "away"), "VAULT_BASE_URL": server.base_url}
        variables |= {"VAULT_AUTO_RENEW": "true", "VAULT_MAX_TTL": "20m"}
        if behind == "embedded":
            variables |= {"VAULTCTL_HOME": str(shop.home), "VAULT_BASE_URL": ""}
        with gateway(shop, "--path", "/agents/mcp", **variables, VAULT_TOKEN=tokens[0]) as agents:
            assert agents.url.endswith("/agents/mcp")
            got = []
            for token, era in zip(tokens, ERAS, strict=True):
                async with speaking(agents.url, token, era) as client:
                    answer = await client.call_tool("vault_get_credential", GET | {"ttl": "4s"})
                    assert answer.structured_content is not None
                    assert answer.structured_content["value"] == SECRET
                    got.append(answer.structured_content["leaseId"])
                    refused = await client.call_tool("vault_get_credential", GET | {"name": "absent"})
                    assert refused.is_error
                    await anyio.to_thread.run_sync(
                        wait_until, lambda: shop.audit("lease.renewed", lease=got[-1]), "a renewal"
                    )
            async with httpx.AsyncClient(trust_env=False) as anybody:
                # They don't become the agent of the server's VAULT_TOKEN.
                assert (await anybody.post(agents.url)).status_code == 401
                assert (await anybody.post(agents.url.replace("agents/", ""))).status_code == 404
            by_agent = {session.agent: session for session in shop.owner.sessions.list()}
            assert by_agent["deploy-agent"].state is SessionState.ENDED  # said goodbye, which the other era can't
            assert by_agent["report-agent"].state is SessionState.ACTIVE
            status, log = agents.stop()
        assert status == 0
        assert {session.state for session in shop.owner.sessions.list()} == {SessionState.ENDED}
        assert LeaseState.ACTIVE not in {lease.state for lease in shop.owner.leases.list()}
        for token in (*tokens, SECRET):
            assert token not in log
        assert json.loads(log.splitlines()[-1])["finished"] is True


def test_an_agents_trail_is_of_its_session_and_a_lost_vault_is_a_tool_error(shop: "Bench") -> None:
    token = shop.token("deploy-agent", "shopify-*")
    with serving(VAULTCTL_HOME=str(shop.home)) as server:
        away = {"VAULTCTL_HOME": str(shop.directory / "away"), "VAULT_BASE_URL": server.base_url}
        with (
            gateway(shop, **away) as agents,
            httpx.Client(
                base_url=agents.url.removesuffix("/mcp"), headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE
            ) as client,
        ):
            agent = RawAgent(client)
            agent.greet()
            lease = agent.call("vault_get_credential", **GET).json()["result"]["structuredContent"]
            (created,) = shop.audit("lease.created", lease=lease["leaseId"])
            assert created.identity.session_id == shop.session_of("deploy-agent")
            server.stop()
            answer = agent.call("vault_list_credentials")
            assert answer.status_code == 503  # nobody can say any more whose token it is
            assert agents.stop()[0] == 0


def test_a_server_for_one_tenant_and_one_agent_serves_no_other(shop: "Bench") -> None:
    shop.owner.tenants.create("other-org")
    tokens = [shop.token("deploy-agent", "shopify-*"), shop.token("report-agent", "shopify-*")]
    message, headers = alone("vault_list_credentials")
    with gateway(shop, "--tenant", "my-org", VAULT_AGENT_NAME="deploy-agent") as agents:
        statuses = []
        for token, extra in zip([*tokens, tokens[0]], [{}, {}, {"X-Vault-Tenant": "other-org"}], strict=True):
            bearing = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=agents.url.removesuffix("/mcp"), headers=bearing, timeout=PATIENCE) as client:
                statuses.append(RawAgent(client).post(message, **headers, **extra).status_code)
    assert statuses == [200, 403, 401]
    with gateway(shop, "--tenant", "other-org") as agents:
        bearing = {"Authorization": f"Bearer {tokens[0]}"}
        with httpx.Client(base_url=agents.url.removesuffix("/mcp"), headers=bearing, timeout=PATIENCE) as client:
            assert RawAgent(client).post(message, **headers).status_code == 401


def test_one_source_has_as_many_connections_as_it_is_given(shop: "Bench") -> None:
    with gateway(shop, "--connections-per-source", "1") as agents, ExitStack() as stack:
        address = httpx.URL(agents.url)
        first, second = (
            stack.enter_context(socket.create_connection((address.host, address.port or 0), PATIENCE)) for _ in "12"
        )
        assert second.recv(12) == b"HTTP/1.1 429"
        first.sendall(b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert first.recv(12) == b"HTTP/1.1 404"


def test_a_start_that_can_not_succeed_says_why(shop: "Bench") -> None:
    def refused(*arguments: str, **variables: str) -> tuple[int, str]:
        return shop.refused_start("", *arguments, **variables)

    status, said = refused("--listen", "127.0.0.1:0")
    assert (status, "--transport http" in said) == (2, True)
    assert refused("--grace", "0")[0] == 2
    assert refused("--connections-per-source", "5")[0] == 2
    assert refused("--transport", "carrier-pigeon")[0] == 2
    assert refused("--transport", "http", "--path", "mcp")[0] == 2
    assert refused("--transport", "http", "--listen", "0.0.0.0:0")[0] == 2  # plain HTTP to everybody
    path = shop.directory / ".vault-mcp.json"
    path.write_text(json.dumps({"baseUrl": "https://evil.example"}))
    status, said = refused("--transport", "http")
    assert status == 2
    assert "working directory" in said
    assert "clients" in said
    path.unlink()
    assert refused("--transport", "http", VAULT_MAX_TTL="soon")[0] == 2
    assert refused("--transport", "http", VAULTCTL_HOME=str(shop.directory / "nothing"))[0] == 7


def test_an_era_of_no_handshake_is_in_the_list_that_is_tested() -> None:
    from mcp_types.version import LATEST_MODERN_VERSION

    assert [LEGACY, LATEST_MODERN_VERSION] == ERAS
