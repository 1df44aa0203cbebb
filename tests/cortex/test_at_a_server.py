"""A run whose vault is behind a server, on a machine that has nothing but the agent's token."""

from pathlib import Path

import pytest

from tests.cli.serving import serving
from tests.cortex.stage import SHOPIFY, Script, Seen, Stage, Step, get, ref
from tests.cortex.test_references import Shop
from vaultctl.client import contexts
from vaultctl.client.location import locate
from vaultctl.cortex import CortexAgent
from vaultctl.domain.errors import VaultUnavailable
from vaultctl.domain.records import SessionState

pytestmark = pytest.mark.anyio


async def test_session_reference_and_end_are_the_servers(stage: Stage, tmp_path: Path) -> None:
    shop = Shop(stage)
    away = str(tmp_path / "away")

    def fetch(seen: Seen) -> Step:
        return "shop_http_get", {"url": "u", "headers": {"X-Token": ref(seen)}}

    def agent(script: Script, **variables: str) -> CortexAgent:
        servers = stage.servers(stage.token("deploy-agent", "shopify-*"), VAULT_RESPONSE_FORMAT="reference")
        servers["vault"]["env"] |= {"VAULTCTL_HOME": away, **variables}
        tools = {"shopify-api-key": ["shop.http_get"]}
        return CortexAgent(name="deploy-agent", model=script, mcp_servers=servers, reference_tools=tools)

    with serving(VAULTCTL_HOME=str(stage.home)) as server:
        named = Script(get("shopify-api-key"), fetch, "Done.")
        first = await stage.run(agent(named, VAULT_BASE_URL=server.base_url))
        contexts.add(locate(away), "team", server.base_url, "my-org", use=True)
        in_use = Script(get("shopify-api-key"), fetch, fetch, "Done.")
        second = await stage.run(agent(in_use))
        assert stage.launched["vault"].environment["VAULT_BASE_URL"] == server.base_url
    assert [call["X-Token"] for call in shop.received] == [SHOPIFY] * 3
    assert SHOPIFY not in named.seen[-1].text + in_use.seen[-1].text
    for result in (first, second):
        assert result.session_ended
        assert stage.owner.sessions.get(result.session_id).state is SessionState.ENDED
        assert len(stage.audit("lease.redeemed", session=result.session_id)) == 1
    with pytest.raises(VaultUnavailable):  # the server is gone
        await stage.run(agent(Script("Never.")))
