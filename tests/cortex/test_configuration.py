"""An agent's configuration: the guide's JSON, strict, with variables of the environment."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import vaultctl
from vaultctl.cortex import CortexAgent
from vaultctl.cortex.configuration import read_file
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput

VAULT = {"command": "vaultctl", "args": ["mcp", "serve"], "env": {"VAULT_TOKEN": "${VAULT_TOKEN_DEPLOY}"}}
GUIDE = {
    "name": "deploy-agent",
    "systemPrompt": "You have access to Vault for credential management.",
    "model": "openai:gpt-5",
    "mcpServers": {"vault": VAULT, "shop": {"command": "shop-mcp", "cwd": "/tmp"}},
    "referenceTools": {"shopify-api-key": ["shop.http_get", "shop.http.post"]},
    "toolTimeout": "2m",
    "maxRequests": 50,
}
TOKEN = "vault_token_CANARY"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(content: Any) -> Path:
        path = tmp_path / "agent.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_the_guides_json_is_an_agent(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN_DEPLOY", TOKEN)
    plan = CortexAgent.from_file(write(GUIDE)).plan()
    assert (plan.name, plan.system_prompt, plan.model) == ("deploy-agent", GUIDE["systemPrompt"], "openai:gpt-5")
    assert plan.vault.env == {"VAULT_TOKEN": TOKEN}
    assert (plan.vault.command, plan.vault.args) == ("vaultctl", ("mcp", "serve"))
    assert plan.servers["shop"].cwd == "/tmp"
    assert plan.reference_tools == {"shopify-api-key": {"shop.http_get", "shop.http.post"}}
    assert (plan.tool_timeout, plan.max_requests) == (Duration(minutes=2), 50)
    assert TOKEN not in repr(plan)


def test_the_package_offers_the_agent_without_loading_what_it_needs_to_run() -> None:
    assert vaultctl.CortexAgent is CortexAgent
    assert CortexAgent(name="a", mcp_servers={"vault": VAULT}).name == "a"


def test_a_variable_stands_anywhere_in_a_text_and_can_be_escaped() -> None:
    environ = {"A": "1", "B_2": "$A ${A}"}

    def expanded(text: str, tmp: Path) -> Any:
        tmp.write_text(json.dumps({"systemPrompt": text}))
        return read_file(tmp, environ)["system_prompt"]

    path = Path(os.environ["VAULTCTL_HOME"]).parent / "a.json"
    for text, meant in {
        "x${A}y${B_2}": "x1y$A ${A}",
        "$A $${A} ${1} ${} ${a-b}": "$A ${A} ${1} ${} ${a-b}",
        "$$${A}": "$${A}",
    }.items():
        assert expanded(text, path) == meant


@pytest.mark.parametrize(("value", "state"), [(None, "not set"), ("", "empty")])
def test_a_variable_that_is_missing_is_named(
    write: Any, monkeypatch: pytest.MonkeyPatch, value: str | None, state: str
) -> None:
    if value is not None:
        monkeypatch.setenv("VAULT_TOKEN_DEPLOY", value)
    with pytest.raises(InvalidInput) as refused:
        CortexAgent.from_file(write(GUIDE))
    where = "mcpServers.vault.env.VAULT_TOKEN"
    assert refused.value.message == f"The environment variable VAULT_TOKEN_DEPLOY of {where} is {state}."
    assert refused.value.hint == "Export VAULT_TOKEN_DEPLOY, and try again."


BROKEN: list[tuple[Any, str]] = [
    ("", "not a JSON object"),
    ("[]", "not a JSON object"),
    ("[" * 100_000, "not a JSON object"),
    (" " * 1_048_577, "not a JSON object"),
    ({"system_prompt": "x"}, "unknown key: of another name"),
    ({"tools": []}, "unknown key: tools"),
    ({TOKEN: 1}, "unknown key: of another name"),
    ({"mcpServers": {"vault": {"command": "x", "url": "y"}}}, "mcpServers.vault has an unknown key: url"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_a_file_that_is_no_agent_is_refused(write: Any, content: Any, message: str) -> None:
    if isinstance(content, dict):
        content = {"name": "a", "mcpServers": {"vault": {"command": "x"}}, **content}
    with pytest.raises(InvalidInput, match=message) as refused:
        CortexAgent.from_file(write(content))
    assert TOKEN not in refused.value.message + refused.value.hint


def test_a_file_that_cant_be_read_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for name, message in {
        "absent.json": "There is no file absent.json",
        "pipe.json": "is not a file",
        ".": "is not a file|can't be read",
    }.items():
        with pytest.raises(InvalidInput, match=message):
            CortexAgent.from_file(tmp_path / name)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a name": ({"name": "Deploy Agent"}, "agent"),
    "an empty prompt": ({"system_prompt": " "}, "systemPrompt is not a text"),
    "no servers": ({"mcp_servers": []}, "mcpServers is not an object"),
    "no vault": ({"mcp_servers": {"shop": {"command": "shop"}}}, "No MCP server of the agent is the vault's"),
    "two vaults": (
        {"mcp_servers": {"vault": {"command": "npx"}, "v2": {"command": "/bin/vaultctl", "args": ["mcp", "serve"]}}},
        "More than one MCP server",
    ),
    "a server's name": ({"mcp_servers": {"a.b": {"command": "x"}}}, "name of an MCP server"),
    "a server that is a text": ({"mcp_servers": {"vault": "vaultctl mcp serve"}}, "mcpServers.vault is not an object"),
    "no command": ({"mcp_servers": {"vault": {"args": []}}}, r"mcpServers\.vault\.command is not a text"),
    "arguments in one text": ({"mcp_servers": {"vault": {"command": "x", "args": "mcp serve"}}}, "args is not a list"),
    "arguments that are numbers": ({"mcp_servers": {"vault": {"command": "x", "args": [1]}}}, "args is not a list"),
    "variables that are none": ({"mcp_servers": {"vault": {"command": "x", "env": {"A": 1}}}}, "env is not an object"),
    "a null character": ({"mcp_servers": {"vault": {"command": "x", "env": {"A": "\0"}}}}, "no program can be given"),
    "a tool of no server": ({"reference_tools": {"key": ["web.get"]}}, "no tool of the agent's servers"),
    "a tool without its server": ({"reference_tools": {"key": ["http_get"]}}, "no tool of the agent's servers"),
    "a tool in a text": ({"reference_tools": {"key": "shop.get"}}, "not a list of texts"),
    "a tool of the vault": ({"reference_tools": {"key": ["vault.vault_get_credential"]}}, "the vault itself"),
    "a credential's name": ({"reference_tools": {"../x": []}}, "credential"),
    "reference tools in a list": ({"reference_tools": ["shop.get"]}, "referenceTools is not an object"),
    "no duration": ({"tool_timeout": "soon"}, "toolTimeout"),
    "no requests": ({"max_requests": 0}, "maxRequests"),
    "requests that are true": ({"max_requests": True}, "maxRequests"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_malformed_is_named(what: str) -> None:
    parameters, message = WRONG[what]
    with pytest.raises(InvalidInput, match=message):
        CortexAgent(**({"name": "deploy-agent", "mcp_servers": {"vault": VAULT}} | parameters))


@pytest.mark.parametrize(
    ("servers", "vault"),
    [
        ({"vault": {"command": "npx", "args": ["@ghoststack/vault-mcp", "serve"]}, "shop": {"command": "s"}}, "vault"),
        ({"shop": {"command": "s"}, "secrets": {"command": "/opt/bin/vaultctl", "args": ["mcp", "serve"]}}, "secrets"),
    ],
)
def test_the_vaults_server_is_the_one_of_that_name_else_ours(servers: Any, vault: str) -> None:
    assert CortexAgent(name="a", mcp_servers=servers).plan().vault.name == vault


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(GUIDE, _JSON)))
def test_whatever_a_file_holds_the_answer_is_an_agent_or_our_own_error(content: dict[str, Any]) -> None:
    names = {"systemPrompt": "system_prompt", "mcpServers": "mcp_servers", "referenceTools": "reference_tools"}
    names |= {"toolTimeout": "tool_timeout", "maxRequests": "max_requests"}
    parameters = {"name": "a", "mcp_servers": {"vault": VAULT}} | {names.get(k, k): v for k, v in content.items()}
    with suppress(InvalidInput):
        CortexAgent(**parameters)
