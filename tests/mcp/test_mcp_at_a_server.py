"""The MCP server of an agent whose vault is behind a server: from a machine that has nothing but a token."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.cli.serving import Serving, serving
from tests.client.cutting_proxy import CuttingProxy
from vaultctl.client import contexts
from vaultctl.client.location import locate
from vaultctl.domain.records import LeaseState, SessionState

if TYPE_CHECKING:
    from conftest import Bench

pytestmark = pytest.mark.anyio
WaitUntil = Callable[[Callable[[], Any], str], Any]

SECRET = "sk_live_CANARY51Hq8s7Zf0aLw3"


@pytest.fixture
def server(bench: "Bench") -> Iterator[Serving]:
    bench.owner.credentials.create("shopify-api-key", "api-key", SECRET)
    with serving(VAULTCTL_HOME=str(bench.home)) as server:
        yield server


@pytest.fixture
def away(tmp_path: Path) -> dict[str, str]:
    """What makes a home that has no vault."""
    return {"VAULTCTL_HOME": str(tmp_path / "away")}


@pytest.mark.parametrize("named_by", ["environment", "context", "file"])
async def test_a_credential_is_leased_at_the_server_and_released_at_the_end(
    bench: "Bench", server: Serving, away: dict[str, str], named_by: str
) -> None:
    token: str | None = bench.token("deploy-agent", "shopify-*")
    variables = dict(away)
    match named_by:
        case "environment":
            variables["VAULT_BASE_URL"] = server.base_url
        case "context":
            contexts.add(locate(away["VAULTCTL_HOME"]), "team", server.base_url, "my-org", use=True)
        case "file":
            path = bench.directory / ".vault-mcp.json"
            path.write_text(json.dumps({"baseUrl": server.base_url, "token": token}))
            path.chmod(0o600)
            token = None
    arguments = {"name": "shopify-api-key", "purpose": "Fetch orders", "ttl": "15m"}
    async with bench.client(token, **variables) as client:
        leased = (await client.call_tool("vault_get_credential", arguments)).structured_content
        assert leased is not None
        assert leased["value"] == SECRET
        renewed = await client.call_tool("vault_renew_lease", {"leaseId": leased["leaseId"]})
        assert not renewed.is_error
        refused = await client.call_tool("vault_get_credential", arguments | {"name": "absent"})
        assert refused.is_error
        assert bench.owner.leases.get(leased["leaseId"]).state is LeaseState.ACTIVE
    assert bench.owner.leases.get(leased["leaseId"]).state is LeaseState.REVOKED
    (session,) = bench.owner.sessions.list(agent="deploy-agent")
    assert session.state is SessionState.ENDED


async def test_leases_are_renewed_without_being_asked(
    bench: "Bench", server: Serving, away: dict[str, str], wait_until: WaitUntil
) -> None:
    token = bench.token("deploy-agent", "shopify-*")
    async with bench.client(token, VAULT_BASE_URL=server.base_url, VAULT_AUTO_RENEW="true", **away) as client:
        arguments = {"name": "shopify-api-key", "purpose": "Fetch orders", "ttl": "2s"}
        await client.call_tool("vault_get_credential", arguments)
        await anyio.to_thread.run_sync(wait_until, lambda: bench.audit("lease.renewed"), "a renewal")


async def test_a_signal_ends_the_session_at_the_server(bench: "Bench", server: Serving, away: dict[str, str]) -> None:
    agent = bench.raw(bench.token("deploy-agent", "shopify-*"), VAULT_BASE_URL=server.base_url, **away)
    agent.greet()
    answer = agent.call("vault_get_credential", name="shopify-api-key", purpose="Fetch orders")
    agent.process.send_signal(signal.SIGTERM)
    assert agent.wait() == 0
    lease = answer["structuredContent"]["leaseId"]
    assert bench.owner.leases.get(lease).state is LeaseState.REVOKED


async def test_a_server_that_stopped_is_said_to_the_model_and_the_end_is_prompt(
    bench: "Bench", server: Serving, away: dict[str, str]
) -> None:
    agent = bench.raw(bench.token("deploy-agent", "shopify-*"), VAULT_BASE_URL=server.base_url, **away)
    agent.greet()
    server.stop()
    answer = agent.call("vault_get_credential", name="shopify-api-key", purpose="Fetch orders")
    assert answer["isError"]
    (content,) = answer["content"]
    assert "server" in content["text"] or "busy" in content["text"]
    agent.end()
    assert agent.wait() == 7
    assert "not released" in bench.stderr() or "did not answer in time" in bench.stderr()


async def test_an_answer_that_never_comes_keeps_no_later_call_waiting(
    bench: "Bench", server: Serving, away: dict[str, str]
) -> None:
    with CuttingProxy(server.base_url) as proxy:
        agent = bench.raw(bench.token("deploy-agent", "shopify-*"), VAULT_BASE_URL=proxy.base_url, **away)
        agent.greet()
        assert not agent.call("vault_list_credentials").get("isError")
        proxy.mute_all()
        refused = agent.call("vault_get_credential", name="shopify-api-key", purpose="Fetch orders")
        assert refused["isError"]
        answer = agent.call("vault_get_credential", name="shopify-api-key", purpose="Fetch orders")
        assert answer["structuredContent"]["value"] == SECRET
        agent.end()
        assert agent.wait() == 0
