"""Servers that are real processes: how they start, how they fail, and that none is left."""

import asyncio
import json
import logging
import os
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.cortex.stage import SHOPIFY, Provider, Script, Stage, Step, exported, get, ref
from vaultctl.cortex import CortexAgent, RunResult, processes, run
from vaultctl.domain.disclosure import discloses
from vaultctl.domain.errors import ToolServerFailed
from vaultctl.domain.records import SessionState

pytestmark = pytest.mark.anyio

SPEAKER = """
import json, os, sys

def speak(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

for line in sys.stdin:
    asked = json.loads(line)
    match asked["method"]:
        case "initialize":
            speak(id=asked["id"], result={"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                                          "serverInfo": {"name": "speaker", "version": "1"}})
        case "tools/list":
            speak(id=asked["id"], result={"tools": [{"name": "act", "inputSchema": {"type": "object"}}]})
        case "tools/call":
            act(asked)
        case _ if "id" in asked:
            speak(id=asked["id"], error={"code": -32601, "message": "no such method"})
"""


def python(act: str, **env: str) -> dict[str, Any]:
    """A server with one tool, ``act``, that does that."""
    code = f"def act(asked):\n{textwrap.indent(textwrap.dedent(act), '    ')}\n{SPEAKER}"
    return {"command": sys.executable, "args": ["-I", "-S", "-c", code], "env": env}


def shell(script: str, **env: str) -> dict[str, Any]:
    """A server that is a shell script."""
    return {"command": "/bin/sh", "args": ["-c", script], "env": env}


class Mixed:
    """Launches the vault's server in this process and the others as the processes that they are."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.processes: list[processes.ServerProcess] = []

    def __call__(self, config: Any, environment: Any, censor: Any) -> Any:
        if config.name == "vault":
            return self.stage.launch(config, environment, censor)
        self.processes.append(processes.ServerProcess(config, environment, censor))
        return self.processes[-1]


async def play(stage: Stage, server: dict[str, Any], *steps: Any, **options: Any) -> tuple[RunResult, Script]:
    script = Script(*steps)
    servers = {**stage.servers(stage.token("deploy-agent", "*")), "other": server}
    agent = CortexAgent(name="deploy-agent", model=script, mcp_servers=servers, **options)
    return await run.perform(agent.plan(), "Do it.", stage.events.append, Mixed(stage)), script


def running(marker: str) -> list[str]:
    """The processes that have ``marker`` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if marker in line and str(os.getpid()) != path.parent.name:
            found.append(line)
    return found


async def test_a_server_that_wont_start_ends_the_run_with_its_last_words_and_without_its_secrets(stage: Stage) -> None:
    secret = "kSecretOfTheServer99"
    server = shell('echo "starting" >&2; printf "cannot log in with \\033[31m$KEY" >&2; exit 3', KEY=secret)
    with pytest.raises(ToolServerFailed) as failed:
        await play(stage, server, "Never.")
    assert failed.value.message == "The MCP server other did not start with status 3."
    assert failed.value.hint == "It said last: cannot log in with \\x1b[31m****"
    assert [session.state for session in stage.owner.sessions.list()] == [SessionState.ENDED]


async def test_a_command_that_is_not_there_is_said(stage: Stage) -> None:
    with pytest.raises(ToolServerFailed, match="did not start: there is no such command"):
        await play(stage, {"command": "no-such-command"}, "Never.")
    with pytest.raises(ToolServerFailed, match="did not start: "):
        await play(stage, {"command": "/bin/sh", "cwd": "/no/such/place"}, "Never.")
    assert {session.state for session in stage.owner.sessions.list()} == {SessionState.ENDED}


async def test_a_server_that_hangs_and_does_not_want_to_end_is_gone_with_all_that_it_started(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "START_BOUND", 0.3)
    monkeypatch.setattr(processes, "STOP_BOUND", 0.2)
    marker = f"86399.{os.getpid()}"
    stubborn = shell(f"trap '' TERM HUP INT; (trap '' TERM; sleep {marker}) & while :; do sleep {marker}; done")
    with pytest.raises(ToolServerFailed, match=r"did not answer within 0\.3 seconds"):
        await play(stage, stubborn, "Never.")
    deadline = time.monotonic() + 5
    while running(marker):  # the kernel is about to take them away
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_server_that_ends_in_the_middle_ends_the_run(stage: Stage) -> None:
    server = python("print('out of memory', file=sys.stderr); sys.exit(9)")
    with pytest.raises(ToolServerFailed, match="other has ended with status 9") as failed:
        await play(stage, server, ("other_act", {}), "Never.")
    assert failed.value.hint == "It said last: out of memory"


async def test_what_a_server_prints_beside_the_protocol_is_ignored_and_not_logged(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    act = f"""
    print("debug: {SHOPIFY}")
    print('{{"jsonrpc": "2.0", "half": "{SHOPIFY}"}}')
    print("[" * 100_000)
    speak(id=asked["id"], result={{"content": [{{"type": "text", "text": "done"}}], "extra": 1}})
    """
    result, script = await play(stage, python(act), ("other_act", {}), "Done.")
    assert (result.output, script.seen[-1].told) == ("Done.", "done")
    assert SHOPIFY not in caplog.text
    assert "prints to stdout what is no message" in caplog.text


async def test_a_line_without_end_ends_the_run_and_not_the_memory(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LONGEST_LINE", 65_536)
    with pytest.raises(ToolServerFailed, match="has ended"):
        await play(stage, python("print('x' * 1_000_000)"), ("other_act", {}), "Never.")


async def test_pictures_and_files_reach_the_model(stage: Stage) -> None:
    act = """
    speak(id=asked["id"], result={"content": [
        {"type": "text", "text": "a picture"},
        {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"},
        {"type": "resource", "resource": {"uri": "file:///notes", "text": "some notes"}},
        {"type": "resource", "resource": {"uri": "file:///blob", "blob": "AAEC", "mimeType": "application/pdf"}},
        {"type": "resource_link", "uri": "https://example.com/x", "name": "x"},
        {"type": "audio", "data": "no base64", "mimeType": "audio/wav"},
    ]})
    """
    _, script = await play(stage, python(act), ("other_act", {}), "Done.")
    text, *files = script.seen[-1].returns[-1].content
    assert text == "a picture\nsome notes\nhttps://example.com/x\n[audio/wav that can't be read]"
    assert [(file.media_type, file.data) for file in files] == [
        ("image/png", b"\x89PNG\r\n\x1a\n"),
        ("application/pdf", b"\x00\x01\x02"),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        r'{"jsonrpc": "2.0", "id": %d, "result": {"content": [{"type": "text", "text": "half \ud800"}]}}',
        '{"jsonrpc": "2.0", "id": %d, "results": 5}',
        '{"jsonrpc": "2.0", "id": %d, "result": {"content": ' + "[" * 500 + "]" * 500 + "}}",
    ],
    ids=["half a character", "no result", "nested"],
)
async def test_an_answer_that_cant_be_read_is_an_error_to_the_model(stage: Stage, answer: str) -> None:
    act = f"print({answer!r} % asked['id'], flush=True)"
    result, _ = await play(stage, python(act), ("other_act", {}), "Done.", tool_timeout="20s")
    assert result.output == "Done."
    assert [call.refused for call in result.tool_calls] == [True]


async def test_an_answer_that_is_not_what_the_tool_declares_is_an_error_to_the_model(stage: Stage) -> None:
    act = 'speak(id=asked["id"], result={"content": "no list"})'
    result, script = await play(stage, python(act), ("other_act", {}), "Done.")
    assert "does not declare" in script.seen[-1].told
    assert [call.refused for call in result.tool_calls] == [True]


async def test_a_real_tool_gets_the_value_and_no_message_log_or_trace_does(
    stage: Stage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    traces: InMemorySpanExporter,
) -> None:
    """The tool repeats what it was given wherever it can; the model is behind a provider that keeps what it is sent."""
    caplog.set_level(logging.DEBUG)
    received = tmp_path / "received"
    act = f"""
    import base64
    key = asked["params"]["arguments"]["key"]
    with open({str(received)!r}, "a") as file:
        file.write(key + "\\n")
    print("to stdout", key, flush=True)
    print("to stderr", key, file=sys.stderr, flush=True)
    speak(method="notifications/message", params={{"level": "info", "data": key}})
    if "fail" in asked["params"]["arguments"]:
        speak(id=asked["id"], error={{"code": -32000, "message": "denied for " + key, "data": key}})
    else:
        texts = [key, base64.b64encode(b"x" + key.encode()).decode(), key.encode().hex(), key[:9], key[9:]]
        speak(id=asked["id"], result={{"content": [{{"type": "text", "text": text}} for text in texts]}})
    """

    def use(seen: Any) -> Step:
        return [("other_act", {"key": ref(seen)}), ("other_act", {"key": ref(seen), "fail": True})]

    def die(seen: Any) -> Step:
        return "other_act", {"key": ref(seen) + "\n", "fail": True}

    with Provider(get("shopify-api-key"), use, die, "Done.") as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-local")
        token = stage.token("deploy-agent", "*")
        agent = CortexAgent(
            name="deploy-agent",
            model="openai-chat:local",
            mcp_servers={**stage.servers(token, VAULT_RESPONSE_FORMAT="reference"), "other": python(act)},
            reference_tools={"shopify-api-key": ["other.act"]},
        )
        launch = Mixed(stage)
        result = await run.perform(agent.plan(), "Do it.", stage.events.append, launch)
    assert received.read_text().split() == [SHOPIFY] * 3
    assert launch.processes[0].last_words == "to stderr ****"
    told = [message["content"] for message in json.loads(provider.bodies[-1])["messages"] if message["role"] == "tool"]
    assert any(text.startswith("****") for text in told)
    assert any("The tool failed: denied for ****" in text for text in told)
    everything = {
        "messages": provider.sent,
        "logs": caplog.text + "".join(repr(record.__dict__) for record in caplog.records),
        "traces": exported(traces),
        "output": "".join(capfd.readouterr()) + repr(result) + repr(stage.events),
        "audit log": repr(stage.audit()),
    }
    assert "vault:lease:" in everything["messages"]
    assert "vault:lease:" in everything["traces"]
    assert "denied for ****" in everything["traces"]
    assert {where for where, text in everything.items() if discloses(text, [SHOPIFY])} == set()


async def test_the_real_server_serves_a_run_and_leaves_no_process(stage: Stage) -> None:
    """Everything as in earnest, but for the model."""
    token = stage.token("deploy-agent", "shopify-*")
    script = Script(get("shopify-api-key"), get("deploy-key"), "Done.")
    servers = stage.servers(token)
    result = await CortexAgent(name="deploy-agent", model=script, mcp_servers=servers).run("Fetch the orders.")
    given, refused = script.seen[-1].returns
    assert SHOPIFY in str(given.content)
    assert refused.outcome == "failed"
    (created,) = stage.audit("lease.created", session=result.session_id)
    assert created.details["claimed"]["clientName"] == "cortex"
    assert stage.audit("lease.revoked", session=result.session_id)
    assert stage.owner.sessions.get(result.session_id).state is SessionState.ENDED
    assert running(str(stage.home)) == []
