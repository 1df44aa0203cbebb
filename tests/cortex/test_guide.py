"""The guide's examples, in Python, run; and what the README shows of them."""

import json
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mcp.server import MCPServer

from tests.cli.conftest import Cli
from tests.conftest import Clock
from tests.cortex.stage import ORDERS_DB, SHOPIFY, Provider, Script, Seen, Stage, Step, get
from vaultctl import CortexAgent
from vaultctl.cli.app import root
from vaultctl.domain.records import SessionState

README = (Path(__file__).parents[2] / "README.md").read_text()

TASK = "Fetch the latest orders from our Shopify store and summarize them."


@pytest.mark.anyio
async def test_registering_the_vault_s_mcp_server(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", stage.token("deploy-agent", "deploy-*"))
    monkeypatch.setenv("VAULTCTL_HOME", str(stage.home))
    monkeypatch.setenv("CORTEX_MODEL", "test")
    agent = CortexAgent(
        name="deploy-agent",
        mcp_servers={
            "vault": {
                "command": "vaultctl",
                "args": ["mcp", "serve"],
                "env": {
                    "VAULT_TOKEN": os.environ["VAULT_TOKEN"],
                    "VAULT_TENANT": "my-org",
                },
            },
        },
    )
    result = await stage.run(agent, "Deploy v2.1.0 to production.")
    assert {call.tool for call in result.tool_calls} >= {
        "vault.vault_get_credential",
        "vault.vault_list_credentials",
        "vault.vault_renew_lease",
        "vault.vault_revoke_lease",
    }


@pytest.mark.anyio
async def test_using_credentials_in_agent_tasks(stage: Stage) -> None:
    called_with: list[str] = []
    shop = stage.tools["shopify"] = MCPServer("shopify")

    @shop.tool()
    def get_orders(api_key: str) -> list[dict[str, Any]]:
        called_with.append(api_key)
        return [{"order": 1001, "total": "20.00"}, {"order": 1002, "total": "22.00"}]

    def fetch(seen: Seen) -> Step:
        return "shopify_get_orders", {"api_key": seen.answer["value"]}

    def summarize(seen: Seen) -> Step:
        assert "1001" in seen.told
        return "Two orders, 42.00 in all."

    script = Script(get("shopify-api-key", "Fetch the latest orders to summarize them"), fetch, summarize)
    token = stage.token("api-integration-agent", "shopify-*")
    agent = CortexAgent(
        name="api-integration-agent",
        model=script,
        system_prompt="""You have access to Vault for credential management.
When you need API keys or database credentials, request them
through the vault_get_credential tool. Always declare why you
need the credential.""",
        mcp_servers=stage.servers(token),
    )
    result = await stage.run(agent, TASK)
    assert result.output == "Two orders, 42.00 in all."
    assert called_with == [SHOPIFY]
    assert script.seen[0].info
    assert "Always declare why you\nneed the credential." in str(script.seen[0].info.instructions)
    trail = stage.audit(session=result.session_id)
    assert [entry.event.value for entry in sorted(trail, key=lambda entry: entry.seq)] == [
        "session.started",
        "token.exchanged",
        "lease.created",
        "lease.revoked",
        "session.ended",
    ]


@pytest.mark.anyio
async def test_scoping_agent_permissions(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN_DEPLOY", stage.token("deploy-agent", "deploy-*"))
    monkeypatch.setenv("VAULT_TOKEN_ANALYTICS", stage.token("analytics-agent", "analytics-*"))
    monkeypatch.setenv("VAULTCTL_HOME", str(stage.home))
    asks_both = get("deploy-key"), get("analytics-orders-db"), "Done."

    def agent(name: str, token: str, script: Script) -> CortexAgent:
        env = {"VAULT_TOKEN": os.environ[token]}
        vault = {"command": "vaultctl", "args": ["mcp", "serve"], "env": env}
        return CortexAgent(name=name, model=script, mcp_servers={"vault": vault})

    deploy, analytics = Script(*asks_both), Script(*asks_both)
    # Deploy agent: access to deploy keys and cloud credentials
    first = await stage.run(agent("deploy-agent", "VAULT_TOKEN_DEPLOY", deploy))
    # Analytics agent: access to read-only database credentials only
    second = await stage.run(agent("analytics-agent", "VAULT_TOKEN_ANALYTICS", analytics))
    assert [call.refused for call in first.tool_calls] == [False, True]
    assert [call.refused for call in second.tool_calls] == [True, False]
    assert "the-deploy-key-itself" not in analytics.seen[-1].text
    assert ORDERS_DB not in deploy.seen[-1].text


@pytest.mark.anyio
@pytest.mark.parametrize("clock", [timedelta(minutes=-4)], indirect=True)
async def test_lease_management_in_long_running_agents(stage: Stage, tmp_path: Path, clock: Clock) -> None:
    """The guide's file in the working directory of the vault's server, whose vault's clock is 4 minutes behind."""
    stage.owner.credentials.create("build-key", "api-key", "bk_0123456789abcdef0123", default_ttl="8m", max_ttl="9m")
    settings = {
        "tenant": "my-org",
        "defaultTTL": "8m",
        "maxTTL": "4h",
        "autoRenew": True,
        "renewBeforeExpiry": "5m",
    }
    (tmp_path / ".vault-mcp.json").write_text(json.dumps(settings))

    def wait(_: Seen) -> Step:
        clock.advance("2m")
        return "vault_list_credentials", {}

    def go_on(seen: Seen) -> Step:
        if len([part for part in seen.returns if part.tool_name == "vault_get_credential"]) > 1:
            return "Done."
        return get("build-key", "Go on") if "notices" in seen.answer else ("vault_list_credentials", {})

    servers = stage.servers(stage.token("deploy-agent", "build-*"))
    servers["vault"]["cwd"] = str(tmp_path)
    script = Script(get("build-key"), wait, *[go_on] * 150)
    result = await stage.run(CortexAgent(name="deploy-agent", model=script, mcp_servers=servers))
    first, second = sorted(stage.audit("lease.created", session=result.session_id), key=lambda entry: entry.seq)
    assert stage.audit("lease.renewed", lease=first.lease_id)
    assert second.lease_id != first.lease_id


@pytest.mark.anyio
async def test_monitoring_agent_credential_usage(stage: Stage) -> None:
    token = stage.token("deploy-agent", "deploy-*")
    one, _ = await stage.play(token, get("deploy-key", "Deploying v2.1.0 to production"), "Done.")
    await stage.play(token, get("deploy-key", "Deploying v2.2.0 to production"), "Done.")
    logs = stage.owner.audit_log.query(
        filter={
            "identity.name": "deploy-agent",
            "identity.sessionId": one.session_id,
        }
    )
    used = [(entry.credential_name, entry.identity.purpose) for entry in logs if entry.event == "lease.created"]
    assert used == [("deploy-key", "Deploying v2.1.0 to production")]


# What the README shows.


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: Stage) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAULTCTL_HOME", str(stage.home))
    token = stage.token("deploy-agent", "shopify-*")
    monkeypatch.setenv("VAULT_TOKEN_DEPLOY", token)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-local")
    return Cli(monkeypatch)


def block(language: str, holds: str) -> str:
    """The README's block that holds a text."""
    found = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (only,) = [text for text in found if holds in text]
    return str(only)


def test_the_readme_s_example_in_python_works_as_pasted(
    cli: Cli, stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", stage.token("deploy-agent", "shopify-*"))
    with Provider(get("shopify-api-key"), "Three orders.") as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        exec(block("python", "CortexAgent").replace("openai:gpt-5", "openai-chat:local"), {})
    (session,) = stage.owner.sessions.list()
    assert capsys.readouterr().out == f"Three orders.\nvaultctl audit --session {session.id}\n"
    assert session.state is SessionState.ENDED


def test_the_readme_s_file_and_command_and_the_examples_of_the_help_work_as_pasted(
    cli: Cli, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    agent = json.loads(block("json", "systemPrompt"))
    references = json.loads(block("json", "referenceTools"))
    shop = {"command": "shop"}
    whole = CortexAgent.from_file(written({**agent, **references, "mcpServers": {**agent["mcpServers"], "shop": shop}}))
    assert whole.plan().reference_tools == {"shopify-api-key": {"shop.http_get"}}
    written({**agent, "model": "openai-chat:local"})
    pasted = block("sh", "cortex run").strip()
    command: Any = root()
    epilog = command.get_command(None, "cortex").commands["run"].epilog
    assert pasted in epilog.splitlines()
    with Provider(*["Three orders."] * 2) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        for line in epilog.splitlines():
            said, _, shown = line.rpartition("| ")
            done = cli.ok(*shlex.split(shown)[1:], stdin=" ".join(shlex.split(said)[1:]))
            assert "Three orders." in done.out


def written(agent: Any) -> str:
    """The agent's file, in the working directory."""
    Path("agent.json").write_text(json.dumps(agent))
    return "agent.json"
