"""``vaultctl cortex run`` as people and scripts meet it: real processes, and a model over the wire."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cortex.stage import SHOPIFY, Provider, Stage, get
from tests.cortex.test_processes import python
from vaultctl.domain.errors import ExitStatus
from vaultctl.domain.records import SessionState

VAULTCTL = str(Path(sys.executable).with_name("vaultctl"))
PATIENCE = 30

KEY = "sk-CANARY-of-the-provider-51Hq8s7Z"


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stage: Stage) -> Cli:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAULTCTL_HOME", str(stage.home))
    monkeypatch.setenv("VAULT_TOKEN_DEPLOY", stage.token("deploy-agent", "shopify-*"))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return Cli(monkeypatch)


def write(**changes: Any) -> None:
    """The agent's file, in the working directory."""
    env = {"VAULT_TOKEN": "${VAULT_TOKEN_DEPLOY}", "VAULT_TENANT": "my-org"}
    agent = {
        "name": "deploy-agent",
        "systemPrompt": "You have access to Vault for credential management.",
        "model": "openai-chat:local",
        "mcpServers": {"vault": {"command": "vaultctl", "args": ["mcp", "serve"], "env": env}},
    }
    Path("agent.json").write_text(json.dumps(agent | changes))


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    with Provider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        yield provider


def test_a_run_prints_the_answer_and_shows_the_calls_and_the_way_to_the_trail(
    cli: Cli, stage: Stage, provider: Provider
) -> None:
    def tell(seen: Any) -> str:
        return f"Three orders.\nThe key is {json.loads(seen.all_told[0])['value']}\x1b[2J"

    provider.steps = [[get("shopify-api-key"), get("deploy-key")], tell]
    write()
    done = cli.ok("cortex", "run", "agent.json", "--task", "Fetch the latest orders from our Shopify store.")
    (session,) = stage.owner.sessions.list()
    assert done.out == "Three orders.\nThe key is ****\\x1b[2J\n"
    first, *calls, last = done.err.splitlines()
    assert first == f"session {session.id}"
    assert last == f"audit trail: vaultctl audit --session {session.id}"
    name, purpose = '"name":"shopify-api-key"', '"purpose":"Fetch the latest orders"'
    assert f"vault.vault_get_credential {{{name},{purpose}}}" in calls
    assert sum("vault.vault_get_credential answered in" in line for line in calls) == 1
    assert sum("vault.vault_get_credential refused: There is no credential" in line for line in calls) == 1
    assert SHOPIFY not in done.err
    assert session.state is SessionState.ENDED
    trail = cli.ok(*last.split()[3:], "-o", "json").json
    assert {"session.started", "lease.created", "lease.denied", "session.ended"} <= {entry["event"] for entry in trail}
    asked = json.loads(provider.bodies[0])
    system, task = (message["content"] for message in asked["messages"])
    assert system.startswith("You have access to Vault")
    assert "Credentials come from a vault as leases" in system
    assert task == "Fetch the latest orders from our Shopify store."
    offered = {tool["function"]["name"] for tool in asked["tools"]}
    assert {"vault_get_credential", "vault_list_credentials", "vault_renew_lease", "vault_revoke_lease"} <= offered


def test_for_programs_there_is_json_and_the_bare_session_id(cli: Cli, stage: Stage, provider: Provider) -> None:
    provider.steps = [get("shopify-api-key"), "Done.", "Done again."]
    write()
    answer = cli.ok("cortex", "run", "agent.json", "-o", "json", stdin="Fetch the latest orders.\n").json
    assert answer == {
        "output": "Done.",
        "agent": "deploy-agent",
        "sessionId": stage.owner.sessions.list()[0].id,
        "sessionEnded": True,
        "toolCalls": [{"tool": "vault.vault_get_credential", "refused": False}],
        "usage": {"requests": 2, "inputTokens": 20, "outputTokens": 10},
    }
    quiet = cli.ok("cortex", "run", "agent.json", "-q", stdin="Again.")
    assert quiet.out == f"{stage.owner.sessions.list()[0].id}\n"
    assert quiet.err == ""


@pytest.mark.parametrize(
    ("argv", "stdin", "message"),
    [
        (["absent.json", "--task", "x"], "", "There is no file absent.json."),
        (["agent.json"], "", "There is no task."),
        (["agent.json", "--task", " "], "", "There is no task."),
        (["agent.json", "--task", "x", "--tenant", "other"], "", "An agent goes to the vault that its file names."),
    ],
)
def test_what_cant_be_run_is_a_usage_error(cli: Cli, argv: list[str], stdin: str, message: str) -> None:
    write()
    result = cli("cortex", "run", *argv, stdin=stdin)
    assert (result.status, result.out) == (ExitStatus.USAGE, "")
    assert result.err.startswith(f"error: {message}\nhint: ")


def test_a_missing_variable_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VAULT_TOKEN_DEPLOY")
    write()
    result = cli("cortex", "run", "agent.json", "--task", "x")
    assert result.status == ExitStatus.USAGE
    assert "VAULT_TOKEN_DEPLOY" in result.err


def test_a_run_that_fails_has_the_status_of_its_error_and_still_says_where_its_trail_is(
    cli: Cli, stage: Stage, provider: Provider
) -> None:
    provider.status, provider.failure = 401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    write()
    failed = cli("cortex", "run", "agent.json", "--task", "x", "-o", "json")
    assert (failed.status, failed.out) == (ExitStatus.UNAVAILABLE, "")
    assert "error: The model's provider answered with HTTP status 401." in failed.err
    assert KEY not in failed.err
    assert f"vaultctl audit --session {stage.owner.sessions.list()[0].id}" in failed.err
    write(name="analytics-agent")
    assert cli("cortex", "run", "agent.json", "--task", "x").status == ExitStatus.NOT_ALLOWED


def test_without_the_extra_it_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = cli("cortex", "run", "agent.json", "--task", "x")
    assert result.status == ExitStatus.UNAVAILABLE
    assert result.err.endswith("hint: Install them: pip install 'vaultctl[cortex]'\n")


def test_on_a_terminal_the_task_is_asked_for(cli: Cli) -> None:
    write(model=None)
    asked = cli("cortex", "run", "agent.json", stdin="Fetch the latest orders.", terminal=True)
    assert "What is the agent to do? End with Ctrl-D." in asked.err
    assert "There is no task" not in asked.err
    assert asked.status == ExitStatus.USAGE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_session_and_the_servers(
    cli: Cli, stage: Stage, provider: Provider, number: signal.Signals
) -> None:
    provider.steps = [("other_act", {})]
    write()
    agent = json.loads(Path("agent.json").read_text())
    other = python("sys.stdin.read()")
    agent["mcpServers"]["other"] = {**other, "args": [*other["args"], str(stage.home)]}
    Path("agent.json").write_text(json.dumps(agent))
    with subprocess.Popen(
        [VAULTCTL, "cortex", "run", "agent.json", "--task", "Wait."],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr
        seen = []
        for line in running.stderr:
            seen.append(line)
            if line.startswith("other.act"):
                break
        running.send_signal(number)
        time.sleep(0.01)
        running.send_signal(number)  # who is impatient does not make it worse
        out, err = running.communicate(timeout=PATIENCE)
    assert (running.returncode, out) == (ExitStatus.INTERRUPTED, ""), err
    (session,) = stage.owner.sessions.list()
    assert "".join(seen).startswith(f"session {session.id}\n")
    assert f"vaultctl audit --session {session.id}" in err
    assert "Traceback" not in err
    assert session.state is SessionState.ENDED
    assert stage.owner.leases.list(state="active") == []
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _mentions(path, str(stage.home))]
    assert left == []


def _mentions(path: Path, text: str) -> bool:
    try:
        return text in path.read_bytes().decode(errors="replace") and path.parent.name != str(os.getpid())
    except OSError:
        return False
