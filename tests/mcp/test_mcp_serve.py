"""The MCP server as its clients meet it: the real subprocess on a real vault."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from vaultctl.client import Vault
from vaultctl.domain.durations import Duration
from vaultctl.domain.records import LeaseState, SessionState
from vaultctl.store.turnstile import Turnstile

if TYPE_CHECKING:
    from conftest import Bench
    from mcp import Client

pytestmark = pytest.mark.anyio
WaitUntil = Callable[[Callable[[], Any], str], Any]

SECRET = "sk_live_CANARY51Hq8s7Zf0aLw3"


@pytest.fixture
def shop(bench: "Bench") -> "Bench":
    """A vault with a credential that the agent may lease, and one that it may not."""
    bench.owner.credentials.create("shopify-api-key", "api-key", SECRET, metadata={"team": "sales"})
    bench.owner.credentials.create("prod-database", "database-url", "postgresql://u:pw12345678@db.example/prod")
    return bench


async def get(client: "Client", name: str = "shopify-api-key", **arguments: str) -> dict[str, Any]:
    result = await client.call_tool("vault_get_credential", {"name": name, "purpose": "Fetch orders", **arguments})
    assert not result.is_error, result.content
    answer: dict[str, Any] = result.structured_content
    return answer


async def refusal(client: "Client", tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert result.structured_content is None
    (content,) = result.content
    return str(content.text)  # type: ignore[union-attr]


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


# What the tools answer.


async def test_four_tools_are_offered_and_listing_shows_what_the_agent_may_lease(shop: "Bench") -> None:
    async with shop.client(shop.token("deploy-agent", "shopify-*")) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        listed = (await client.call_tool("vault_list_credentials", {})).structured_content
    assert set(tools) == {
        "vault_get_credential",
        "vault_list_credentials",
        "vault_renew_lease",
        "vault_revoke_lease",
    }
    get_credential = tools["vault_get_credential"].input_schema
    assert get_credential["required"] == ["name", "purpose"]
    assert set(get_credential["properties"]) == {"name", "purpose", "ttl", "responseFormat"}
    for tool in tools.values():
        assert tool.input_schema["additionalProperties"] is False
        assert tool.description
        assert all(schema.get("description") for schema in tool.input_schema["properties"].values())
    (credential,) = listed["credentials"]
    assert (credential["name"], credential["type"]) == ("shopify-api-key", "api-key")
    assert credential["metadata"] == {"team": "sales"}
    assert SECRET not in json.dumps(listed)


async def test_a_credential_comes_as_a_lease_with_structure(shop: "Bench") -> None:
    async with shop.client(shop.token("deploy-agent", "shopify-*")) as client:
        answer = await get(client, ttl="15m")
        lease = shop.owner.leases.get(answer["leaseId"])
    assert set(answer) == {
        "leaseId",
        "credentialName",
        "type",
        "value",
        "ttl",
        "expiresAt",
        "maxExpiresAt",
        "renewable",
    }
    assert (answer["value"], answer["type"], answer["ttl"]) == (SECRET, "api-key", "15m")
    assert answer["renewable"] is True
    assert seconds_between(answer["expiresAt"], answer["maxExpiresAt"]) > 0
    assert lease.identity.name == "deploy-agent"
    assert lease.identity.purpose == "Fetch orders"
    assert lease.identity.session_id == shop.session_of("deploy-agent")
    (created,) = shop.audit("lease.created")
    assert "clientName" in created.details["claimed"]


async def test_a_credential_that_is_delivered_by_reference_comes_without_its_value(shop: "Bench") -> None:
    shop.owner.credentials.update("shopify-api-key", delivery="reference")
    async with shop.client(shop.token("deploy-agent", "shopify-*")) as client:
        for wanted in ({}, {"responseFormat": "value"}, {"responseFormat": "reference"}):
            answer = await get(client, **wanted)
            reference = answer["credentialReference"]
            assert "value" not in answer
            assert reference["ref"].startswith("vault:lease:")
            assert reference["metadata"]["credentialName"] == "shopify-api-key"
            assert SECRET not in json.dumps(answer)
            assert answer.keys() >= {"leaseId", "type", "expiresAt", "maxExpiresAt", "renewable"}
        renewed = await client.call_tool("vault_renew_lease", {"leaseId": answer["leaseId"]})
        assert not renewed.is_error


async def test_a_server_that_is_told_to_deliver_references_delivers_no_value(shop: "Bench") -> None:
    (shop.directory / ".vault-mcp.json").write_text('{"responseFormat": "reference"}')
    async with shop.client(shop.token("deploy-agent", "shopify-*")) as client:
        answers = [await get(client), await get(client, responseFormat="value")]
    assert all("value" not in answer and "credentialReference" in answer for answer in answers)


async def test_a_lease_is_renewed_and_revoked(shop: "Bench") -> None:
    async with shop.client(shop.token("deploy-agent", "shopify-*")) as client:
        answer = await get(client, ttl="15m")
        renewed = (await client.call_tool("vault_renew_lease", {"leaseId": answer["leaseId"]})).structured_content
        assert set(renewed) == {"leaseId", "expiresAt", "maxExpiresAt", "renewable"}
        assert seconds_between(answer["expiresAt"], renewed["expiresAt"]) > 0
        revoked = (await client.call_tool("vault_revoke_lease", {"leaseId": answer["leaseId"]})).structured_content
        assert revoked == {"leaseId": answer["leaseId"], "state": "revoked"}
        assert shop.owner.leases.get(answer["leaseId"]).state is LeaseState.REVOKED
        told = await refusal(client, "vault_renew_lease", leaseId=answer["leaseId"])
    assert "vault_get_credential" in told


async def test_a_purpose_is_required_and_other_mistakes_are_explained(shop: "Bench") -> None:
    async with shop.client(shop.token("deploy-agent", "shopify-*")) as client:
        for arguments in ({}, {"purpose": ""}, {"purpose": " \t"}):
            told = await refusal(client, "vault_get_credential", name="shopify-api-key", **arguments)
            assert "purpose is required" in told
        known = {"name": "shopify-api-key", "purpose": "p"}
        assert "not a duration" in await refusal(client, "vault_get_credential", **known, ttl="5x")
        assert "`ttl`" in (await refusal(client, "vault_get_credential", **known, ttl=5)).replace("$.ttl", "ttl")
        assert "unknown field" in await refusal(client, "vault_get_credential", **known, force=True)
        assert "responseFormat" in await refusal(client, "vault_get_credential", **known, responseFormat="both")
        assert "missing" in await refusal(client, "vault_renew_lease")
        assert "no such tool" in await refusal(client, "vault_get_everything")
        assert "holds the value" in await refusal_after_disclosure(client)
    assert shop.audit("lease.created") == shop.audit("lease.created", credential="shopify-api-key")


async def refusal_after_disclosure(client: "Client") -> str:
    answer = await get(client)
    return await refusal(client, "vault_get_credential", name="shopify-api-key", purpose=f"use {answer['value']}")


async def test_what_is_not_the_agents_looks_like_what_does_not_exist(shop: "Bench") -> None:
    async with (
        shop.client(shop.token("deploy-agent", "shopify-*")) as client,
        shop.client(shop.token("analytics-agent", "prod-*")) as other,
    ):
        foreign = await get(other, "prod-database")
        refusals = {
            (await refusal(client, "vault_get_credential", name=name, purpose="p")).replace(name, "NAME")
            for name in ("prod-database", "no-such-thing")
        }
        assert len(refusals) == 1
        for tool in ("vault_renew_lease", "vault_revoke_lease"):
            assert await refusal(client, tool, leaseId=foreign["leaseId"]) == await refusal(
                client, tool, leaseId="lease_0000000000000000000000"
            )
        assert shop.owner.leases.get(foreign["leaseId"]).state is LeaseState.ACTIVE
    denied = shop.audit("lease.denied")
    assert [entry.credential_name for entry in denied if entry.details["operation"] == "lease.create"] == [
        "prod-database",
        "no-such-thing",
    ]


async def test_ttl_follows_the_settings_and_is_capped_by_them(shop: "Bench") -> None:
    token = shop.token("deploy-agent", "shopify-*")
    async with shop.client(token, VAULT_DEFAULT_TTL="10m", VAULT_MAX_TTL="20m") as client:
        assert (await get(client))["ttl"] == "10m"
        capped = await get(client, ttl="2h")
        lease = shop.owner.leases.get(capped["leaseId"])
        assert (capped["ttl"], capped["renewable"]) == ("20m", False)
        assert capped["maxExpiresAt"] == capped["expiresAt"]
        assert lease.expires_at - lease.issued_at == timedelta(minutes=20)
        told = await refusal(client, "vault_renew_lease", leaseId=capped["leaseId"])
        assert "maximum" in told
        assert "vault_get_credential" in told


async def test_a_credentials_own_default_does_not_exceed_the_settings_maximum(shop: "Bench") -> None:
    async with shop.client(shop.token("deploy-agent", "shopify-*"), VAULT_MAX_TTL="5m") as client:
        answer = await get(client)
        assert answer["ttl"] == "5m"
        (active,) = shop.owner.leases.list(state="active")
        assert active.id == answer["leaseId"]


# Sessions.


async def test_two_sessions_of_one_agent_at_once_have_separate_trails(shop: "Bench") -> None:
    token = shop.token("deploy-agent", "shopify-*")
    async with shop.client(token) as one, shop.client(token) as two:
        first, second = await get(one), await get(two)
        sessions = [shop.owner.leases.get(lease["leaseId"]).identity.session_id for lease in (first, second)]
        await refusal(two, "vault_revoke_lease", leaseId=first["leaseId"])
    assert len(set(sessions)) == 2
    for session, own, other in ((sessions[0], first, second), (sessions[1], second, first)):
        trail = shop.audit(session=str(session))
        assert {entry.identity.session_id for entry in trail} == {session}
        leases = {entry.lease_id for entry in trail if entry.event == "lease.created"}
        assert own["leaseId"] in leases
        assert other["leaseId"] not in leases


async def test_a_session_that_cortex_named_is_left_active_and_its_leases_are_not(
    shop: "Bench", wait_until: WaitUntil
) -> None:
    async with shop.client(shop.token("deploy-agent", "shopify-*"), CORTEX_SESSION_ID="cortex_sess_abc123") as client:
        answer = await get(client)
    wait_until(lambda: shop.owner.leases.get(answer["leaseId"]).state is LeaseState.REVOKED, "the revocation")
    assert shop.owner.sessions.get("cortex_sess_abc123").state is SessionState.ACTIVE


async def test_a_sessions_token_is_used_as_it_is(shop: "Bench") -> None:
    token = shop.token("deploy-agent", "shopify-*")
    with Vault.connect(token=token, home=shop.home) as agent:
        opened = agent.sessions.open("cortex_sess_given")
    async with shop.client(opened.token.reveal()) as client:
        answer = await get(client)
        assert shop.owner.leases.get(answer["leaseId"]).identity.session_id == "cortex_sess_given"
    assert shop.owner.leases.get(answer["leaseId"]).state is LeaseState.REVOKED
    assert shop.owner.sessions.get("cortex_sess_given").state is SessionState.ACTIVE
    assert len(shop.owner.sessions.list()) == 1


async def test_a_session_that_was_ended_elsewhere_is_explained(shop: "Bench") -> None:
    async with shop.client(shop.token("deploy-agent", "shopify-*")) as client:
        shop.owner.sessions.end(shop.session_of("deploy-agent"))
        told = await refusal(client, "vault_get_credential", name="shopify-api-key", purpose="p")
    assert "start the vault's MCP server again" in told


# Renewal.


@pytest.mark.parametrize("bound", ["credential", "settings"])
async def test_a_long_running_agents_lease_is_renewed_twice_and_then_at_its_maximum(
    bench: "Bench", wait_until: WaitUntil, bound: str
) -> None:
    most = {"credential": "4s", "settings": "6s"}[bound]  # the settings' is met within 2 s: TTLs are whole seconds
    by_credential = most if bound == "credential" else None
    bench.owner.credentials.create("shopify-api-key", "api-key", SECRET, max_ttl=by_credential)
    variables = {"VAULT_MAX_TTL": most} if bound == "settings" else {}
    async with bench.client(
        bench.token("deploy-agent", "shopify-*"),
        VAULT_DEFAULT_TTL="2s",
        VAULT_AUTO_RENEW="true",
        VAULT_RENEW_BEFORE_EXPIRY="1s",
        **variables,
    ) as client:
        answer = await get(client)

        def renewals() -> bool:
            return len(bench.audit("lease.renewed", lease=answer["leaseId"])) == 2

        await anyio.to_thread.run_sync(wait_until, renewals, "two renewals")
        await anyio.to_thread.run_sync(wait_until, lambda: "its maximum" in bench.stderr(), "the word on stderr")
        lease = bench.owner.leases.get(answer["leaseId"])
        assert lease.expires_at <= lease.issued_at + Duration.parse(most)
        listed = (await client.call_tool("vault_list_credentials", {})).structured_content
        (notice,) = listed["notices"]
        assert answer["leaseId"] in notice
        assert "shopify-api-key" in notice
        assert "request a new lease" in notice
        assert "notices" not in (await client.call_tool("vault_list_credentials", {})).structured_content
        assert "maximum" in await refusal(client, "vault_renew_lease", leaseId=answer["leaseId"])
        again = await get(client)
        assert again["leaseId"] != answer["leaseId"]
    assert len(bench.audit("lease.renewed", lease=answer["leaseId"])) == 2
    events = [entry.event.value for entry in bench.audit(lease=answer["leaseId"])]
    assert events[:3] == ["lease.created", "lease.renewed", "lease.renewed"]


async def test_a_lease_shorter_than_the_notice_is_renewed_at_half_its_time(
    shop: "Bench", wait_until: WaitUntil
) -> None:
    token = shop.token("deploy-agent", "shopify-*")
    async with shop.client(token, VAULT_AUTO_RENEW="1") as client:
        answer = await get(client, ttl="2s")

        def renewed() -> bool:
            return bool(shop.audit("lease.renewed", lease=answer["leaseId"]))

        await anyio.to_thread.run_sync(wait_until, renewed, "a renewal")
    first = shop.audit("lease.renewed", lease=answer["leaseId"])[0].timestamp
    issued = shop.audit("lease.created", lease=answer["leaseId"])[0].timestamp
    assert timedelta(seconds=0.9) <= first - issued < timedelta(seconds=2)


async def test_without_auto_renew_nothing_is_renewed_and_a_refused_renewal_is_said(
    shop: "Bench", wait_until: WaitUntil
) -> None:
    token = shop.token("deploy-agent", "shopify-*")
    async with (
        shop.client(token) as idle,
        shop.client(token, VAULT_AUTO_RENEW="true", VAULT_RENEW_BEFORE_EXPIRY="1s") as keeping,
    ):
        left, kept = await get(idle, ttl="1s"), await get(keeping, ttl="2s")
        shop.owner.leases.revoke(kept["leaseId"])
        await anyio.to_thread.run_sync(wait_until, lambda: "not renewed any more" in shop.stderr(), "the refusal")
        listed = (await keeping.call_tool("vault_list_credentials", {})).structured_content
        assert kept["leaseId"] in listed["notices"][0]
    assert shop.audit("lease.renewed", lease=left["leaseId"]) == []


# The end.


def assert_all_released(bench: "Bench") -> None:
    assert bench.owner.leases.list(state="active") == []
    assert bench.owner.sessions.list(state="active") == []


async def test_a_client_that_goes_away_leaves_no_lease_and_no_session(shop: "Bench") -> None:
    async with shop.client(shop.token("deploy-agent", "shopify-*")) as client:
        await get(client)
        began = time.monotonic()
    assert time.monotonic() - began < 1.5
    assert_all_released(shop)
    ended = shop.audit("session.ended")
    assert len(ended) == 1


CLIENT = """
import asyncio, os, sys
from mcp import Client, StdioServerParameters

async def main():
    command = "echo $$ > server.pid; exec " + sys.executable + " -m vaultctl mcp serve"
    server = StdioServerParameters(command="/bin/sh", args=["-c", command], env=dict(os.environ))
    async with Client(server) as client:
        wanted = {"name": "shopify-api-key", "purpose": "Fetch orders"}
        result = await client.call_tool("vault_get_credential", wanted)
        print(result.structured_content["leaseId"], flush=True)
        await client.call_tool("vault_get_credential", wanted)
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["idle", "during a call"])
def test_a_killed_client_leaves_no_process_no_lease_and_no_session(
    shop: "Bench", wait_until: WaitUntil, moment: str
) -> None:
    lock = Turnstile(shop.home / "vault.db", 10)
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        env=shop.environment(shop.token("deploy-agent", "shopify-*")),
        cwd=shop.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert client.stdout
    with client.stdout:
        assert client.stdout.readline().startswith(b"lease_")
        server = int((shop.directory / "server.pid").read_text())
        if moment == "idle":
            wait_until(lambda: len(shop.owner.leases.list(state="active")) == 2, "the second lease")
            client.send_signal(signal.SIGKILL)
            client.wait()
        else:
            with lock.turn():
                time.sleep(0.1)  # the second call is under way, or about to be: either must end well
                client.send_signal(signal.SIGKILL)
                client.wait()
                time.sleep(0.2)
    lock.close()
    wait_until(lambda: not is_running(server), "the server to leave")
    assert_all_released(shop)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Orphans are reaped by whatever is process 1 here, if anything is.
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state) and not state.startswith("Z")


def test_a_signal_ends_the_session_and_exits_with_0(shop: "Bench") -> None:
    token = shop.token("deploy-agent", "shopify-*")
    servers = {number: shop.raw(token) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    for number, server in servers.items():
        server.greet()
        server.call("vault_get_credential", name="shopify-api-key", purpose="p")
        server.process.send_signal(number)
    assert [server.wait() for server in servers.values()] == [0, 0, 0]
    assert_all_released(shop)


def test_a_client_that_stops_reading_ends_the_session(shop: "Bench") -> None:
    server = shop.raw(shop.token("deploy-agent", "shopify-*"))
    server.greet()
    server.stdout.close()
    server.ask(1, "vault_get_credential", name="shopify-api-key", purpose="p")
    assert server.wait() == 0
    assert_all_released(shop)


def test_a_busy_vault_is_said_in_time_and_the_late_lease_is_not_kept(shop: "Bench", wait_until: WaitUntil) -> None:
    server = shop.raw(shop.token("deploy-agent", "shopify-*"))
    server.greet()
    lock = Turnstile(shop.home / "vault.db", 10)
    with lock.turn():
        began = time.monotonic()
        answer = server.call("vault_get_credential", name="shopify-api-key", purpose="p")
        assert time.monotonic() - began < 1.5
    lock.close()
    assert answer["isError"]
    assert "busy" in answer["content"][0]["text"]
    wait_until(lambda: shop.audit("lease.revoked"), "the late lease's revocation")
    assert shop.owner.leases.list(state="active") == []
    assert not server.call("vault_get_credential", name="shopify-api-key", purpose="p").get("isError")
    server.end()
    assert server.wait() == 0


def test_a_vault_that_hangs_does_not_keep_the_server(shop: "Bench") -> None:
    server = shop.raw(shop.token("deploy-agent", "shopify-*"))
    server.greet()
    lock = Turnstile(shop.home / "vault.db", 10)
    with lock.turn():
        began = time.monotonic()
        server.end()
        assert server.wait() == 7
        assert time.monotonic() - began < 3
    lock.close()
    assert "may live until they expire" in shop.stderr()


# What arrives on stdin.


def test_garbage_on_stdin_is_ignored_and_serving_goes_on(shop: "Bench") -> None:
    server = shop.raw(shop.token("deploy-agent", "shopify-*"), VAULT_LOG_LEVEL="debug")
    canary = b"CANARY-IN-GARBAGE"
    server.send(
        canary,
        b"\xff\xfe\x00" + canary,
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"jsonrpc":"2.0","method":' + canary,
        b'{"jsonrpc":"2.0","id":"' + canary + b'"}',
        b"x" * 5_000_000,
        b"   ",
    )
    server.greet()
    server.send(b'{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":["' + canary + b'"]}}')
    assert "error" in server.receive()
    server.send(
        b'{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"vault_get_credential",'
        b'"arguments":{"name":"shopify-api-key","purpose":"\\ud83d"}}}'
    )
    assert server.receive()["id"] == 4
    answer = server.call("vault_get_credential", name="shopify-api-key", purpose="p")
    assert answer["structuredContent"]["value"] == SECRET
    server.end()
    assert server.wait() == 0
    assert canary.decode() not in shop.stderr()
    assert "Traceback" not in shop.stderr()


async def test_no_secret_reaches_stderr(shop: "Bench") -> None:
    token = shop.token("deploy-agent", "shopify-*")
    async with shop.client(token, VAULT_LOG_LEVEL="debug", VAULT_AUTO_RENEW="1") as client:
        answer = await get(client, ttl="2s")
        await client.call_tool("vault_renew_lease", {"leaseId": answer["leaseId"]})
        await refusal(client, "vault_renew_lease", leaseId=SECRET)
        await refusal(client, "vault_get_credential", name=SECRET, purpose="p")
        await refusal(client, "vault_get_credential", name="shopify-api-key", purpose=SECRET)
        await refusal(client, "vault_get_credential", name="shopify-api-key", purpose="p", ttl=SECRET)
        await refusal(client, "vault_get_credential", **{SECRET: SECRET})
        await refusal(client, SECRET)
    said = shop.stderr()
    assert "Serving deploy-agent" in said
    assert "Traceback" not in said
    raw = SECRET.encode()
    for form in (SECRET, base64.b64encode(raw).decode()[:24], raw.hex(), urllib.parse.quote(SECRET), token):
        assert form not in said


# Starting.


def test_a_start_that_can_not_succeed_says_why(bench: "Bench") -> None:
    agent = bench.token("deploy-agent", "*")
    revoked = bench.owner.tokens.create(agent="deploy-agent")
    bench.owner.tokens.revoke(revoked.token.id)
    human = bench.owner.tokens.create(human="alice@example.com", role="admin").secret.reveal()
    nowhere = str(bench.directory / "nowhere")
    for status, token, variables in (
        (3, "", {}),
        (3, "vault_token_nonsense", {}),
        (3, revoked.secret.reveal(), {}),
        (3, agent, {"VAULT_TENANT": "another"}),
        (4, human, {}),
        (4, agent, {"VAULT_AGENT_NAME": "analytics-agent"}),
        (2, agent, {"VAULT_MAX_TTL": "5x"}),
        (2, agent, {"CORTEX_SESSION_ID": "nonsense"}),
        (7, agent, {"VAULTCTL_HOME": nowhere}),
        (7, agent, {"VAULT_BASE_URL": "http://127.0.0.1:1"}),
        (2, agent, {"VAULT_BASE_URL": "http://vault.example"}),
    ):
        ended = bench.refused_start(token, **variables)
        assert ended[0] == status, (variables, ended)
        assert not token or token not in ended[1]
    assert bench.owner.sessions.list() == []


def test_an_ended_session_is_not_taken_up_again(bench: "Bench") -> None:
    token = bench.token("deploy-agent", "*")
    with Vault.connect(token=token, home=bench.home) as agent:
        agent.sessions.open("cortex_sess_past")
        agent.sessions.end("cortex_sess_past")
    status, said = bench.refused_start(token, CORTEX_SESSION_ID="cortex_sess_past")
    assert status == 6
    assert "session id" in said


async def test_the_file_in_the_working_directory_configures_the_server(shop: "Bench") -> None:
    path = shop.directory / ".vault-mcp.json"
    path.write_text(json.dumps({"tenant": "my-org", "defaultTTL": "7m", "agentName": "deploy-agent"}))
    async with shop.client(shop.token("deploy-agent", "shopify-*")) as client:
        assert (await get(client))["ttl"] == "7m"
    (started,) = shop.audit("session.started")
    assert started.details["claimed"] == {"agentName": "deploy-agent"}
