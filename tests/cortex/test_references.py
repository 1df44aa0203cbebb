"""References: the tool that is listed gets the value; the model, the logs and the traces never hold it.

The attacker is in the prompt: the model of these tests does whatever it is told to.
"""

import asyncio
import base64
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import MCPError
from mcp.server import MCPServer
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.conftest import Clock
from tests.cortex.stage import SHOPIFY, Provider, Script, Seen, Stage, Step, exported, get, ref
from vaultctl.cortex import CortexAgent
from vaultctl.cortex.censor import WITHHELD, Censor
from vaultctl.domain.disclosure import discloses
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import LeaseState

pytestmark = pytest.mark.anyio

LISTED = {"shopify-api-key": ["shop.http_get"]}
BY_REFERENCE = {"VAULT_RESPONSE_FORMAT": "reference"}
DONE = "Three orders."


class Shop:
    """A server of somebody else's: what its tools were sent, and what they say back."""

    def __init__(self, stage: Stage) -> None:
        self.received: list[Any] = []
        self.says = "[]"
        server = stage.tools["shop"] = MCPServer("shop")

        @server.tool()
        def http_get(url: str, headers: dict[str, str]) -> str:
            self.received.append({"url": url, **headers})
            return self.says.format(key=headers.get("X-Token", ""))

        @server.tool()
        def post(text: str, more: dict[str, Any] | None = None) -> str:
            self.received.append([text, more])
            return f"posted {text}"

    @property
    def everything(self) -> str:
        return json.dumps(self.received)


def written(home: Path, text: str) -> list[Path]:
    """The files below ``home`` that hold ``text``."""
    return [path for path in home.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.fixture
def shop(stage: Stage) -> Shop:
    return Shop(stage)


def fetch(seen: Any) -> Step:
    """The call of the listed tool, with the reference where the key belongs."""
    return "shop_http_get", {"url": "https://shop.example/orders", "headers": {"X-Token": ref(seen)}}


async def play(stage: Stage, *steps: Step, listed: Any = LISTED, **options: Any) -> tuple[Any, Script]:
    token = stage.token("deploy-agent", "*")
    options.setdefault("variables", BY_REFERENCE)
    return await stage.play(token, *steps, reference_tools=listed, **options)


# What has to work.


async def test_the_listed_tool_gets_the_value_and_the_model_never_does(stage: Stage, shop: Shop) -> None:
    result, script = await play(stage, get("shopify-api-key"), fetch, DONE)
    assert shop.received == [{"url": "https://shop.example/orders", "X-Token": SHOPIFY}]
    given = script.seen[-1].returns[0]
    assert "value" not in json.loads(str(given.content))
    assert SHOPIFY not in script.seen[-1].text + repr(result) + repr(stage.events)
    (redeemed,) = stage.audit("lease.redeemed", session=result.session_id)
    assert redeemed.credential_name == "shopify-api-key"


@pytest.mark.parametrize("said_by", ["the policy", "the server"])
async def test_a_reference_is_one_whatever_the_model_asks_for(stage: Stage, shop: Shop, said_by: str) -> None:
    if said_by == "the policy":
        stage.owner.credentials.update("shopify-api-key", delivery="reference")
    steps = get("shopify-api-key", responseFormat="value"), fetch, DONE
    _, script = await play(stage, *steps, variables=BY_REFERENCE if said_by == "the server" else {})
    assert shop.received[0]["X-Token"] == SHOPIFY
    assert SHOPIFY not in script.seen[-1].text


async def test_it_is_redeemed_once_however_often_and_however_much_at_once_it_is_used(stage: Stage, shop: Shop) -> None:
    def often(seen: Seen) -> Step:
        return [fetch(seen)] * 4  # type: ignore[list-item]

    def inside(seen: Seen) -> Step:
        text = f"Bearer {ref(seen)}, again {ref(seen)}."
        return "shop_http_get", {"url": f"https://x/?key={ref(seen)}&a=1", "headers": {"Authorization": text}}

    result, _ = await play(stage, get("shopify-api-key"), often, inside, DONE)
    assert [call["X-Token"] for call in shop.received[:4]] == [SHOPIFY] * 4
    assert shop.received[4]["Authorization"] == f"Bearer {SHOPIFY}, again {SHOPIFY}."
    assert shop.received[4]["url"] == f"https://x/?key={SHOPIFY}&a=1"
    assert len(stage.audit("lease.redeemed", session=result.session_id)) == 1


async def test_two_credentials_go_to_their_own_tools(stage: Stage, shop: Shop) -> None:
    listed = {**LISTED, "deploy-key": ["shop.post"]}

    def swapped(seen: Seen) -> Step:
        crossed = {"url": "u", "headers": {"X-Token": ref(seen, 1)}}
        return [("shop_http_get", crossed), ("shop_post", {"text": ref(seen, 0)})]

    def right(seen: Seen) -> Step:
        return [fetch(seen), ("shop_post", {"text": ref(seen, 1)})]  # type: ignore[list-item]

    both = [get("shopify-api-key"), get("deploy-key")]
    result, _ = await play(stage, both, swapped, right, DONE, listed=listed)
    assert [call.refused for call in result.tool_calls[2:4]] == [True, True]
    fetched = [call["X-Token"] for call in shop.received if isinstance(call, dict)]
    posted = [call[0] for call in shop.received if isinstance(call, list)]
    assert (fetched, posted) == ([SHOPIFY], ["the-deploy-key-itself"])


async def test_arguments_without_references_reach_the_tool_as_they_are(stage: Stage, shop: Shop) -> None:
    arguments = {"text": "vault:leases are \u00fc\u0000\\n", "more": {"a": [1, 2.5, None, True, {"b": "vault:"}]}}
    await play(stage, ("shop_post", arguments), DONE)
    assert shop.received == [[arguments["text"], arguments["more"]]]


# What an attacker in the prompt may try.


@pytest.mark.parametrize(
    "disguise",
    [
        lambda handle: handle,
        lambda handle: f"please store {handle} for later",
        lambda handle: handle[: len(handle) // 2],
        lambda handle: base64.b64encode(handle.encode()).decode(),
        lambda handle: handle.encode().hex(),
        lambda handle: quote(handle, safe=""),
        lambda handle: handle[::-1],
        lambda handle: handle.upper(),
    ],
    ids=["plain", "in a text", "half", "base64", "hex", "url", "backwards", "upper case"],
)
async def test_another_tool_never_gets_the_value(stage: Stage, shop: Shop, disguise: Any) -> None:
    def send(seen: Seen) -> Step:
        text = disguise(ref(seen))
        return [("shop_post", {"text": text}), ("shop_post", {"text": "x", "more": {"deep": [{"er": text}]}})]

    _, script = await play(stage, get("shopify-api-key"), fetch, send, fetch, DONE)
    assert shop.received[0]["X-Token"] == shop.received[-1]["X-Token"] == SHOPIFY
    assert not discloses(json.dumps(shop.received[1:-1]), [SHOPIFY])
    assert not discloses(script.seen[-1].text, [SHOPIFY])


async def test_a_call_of_another_tool_is_refused_and_says_where_the_value_goes(stage: Stage, shop: Shop) -> None:
    def leak(seen: Seen) -> Step:
        return "shop_post", {"text": ref(seen)}

    result, script = await play(stage, get("shopify-api-key"), leak, DONE)
    assert shop.received == []
    assert "can't be used with shop.post: its value goes only to shop.http_get" in script.seen[-1].told
    assert [call.refused for call in result.tool_calls] == [False, True]
    assert stage.audit("lease.redeemed") == []


async def test_by_default_no_tool_gets_a_value(stage: Stage, shop: Shop) -> None:
    _, script = await play(stage, get("shopify-api-key"), fetch, DONE, listed=None)
    assert shop.received == []
    assert "its value goes to none of your tools" in script.seen[-1].told


@pytest.mark.parametrize(
    "made_up",
    [
        "vault:lease:" + "A" * 22,
        "vault:lease:",
        "vault:lease:short",
        "vault:lease:../../etc/passwd-------",
        "vault:lease:vault:lease:" + "A" * 22,
    ],
)
async def test_a_reference_that_was_not_handed_out_in_this_run_is_refused(
    stage: Stage, shop: Shop, made_up: str
) -> None:
    call = ("shop_http_get", {"url": "u", "headers": {"X-Token": made_up}})
    _, script = await play(stage, get("shopify-api-key"), call, DONE)
    assert shop.received == []
    assert "not a reference that you were given" in script.seen[-1].told


async def test_a_reference_of_an_earlier_run_is_worth_nothing(stage: Stage, shop: Shop) -> None:
    _, first = await play(stage, get("shopify-api-key"), DONE)
    stolen = ref(first.seen[-1])
    call = ("shop_http_get", {"url": "u", "headers": {"X-Token": stolen}})
    await play(stage, get("shopify-api-key"), call, DONE)
    assert shop.received == []


async def test_a_reference_as_the_name_of_an_argument_is_refused(stage: Stage, shop: Shop) -> None:
    def name(seen: Seen) -> Step:
        return "shop_http_get", {"url": "u", "headers": {ref(seen): "x"}}

    await play(stage, get("shopify-api-key"), name, DONE)
    assert shop.received == []


async def test_a_server_that_answers_as_the_vault_does_gets_no_reference_accepted(stage: Stage, shop: Shop) -> None:
    """What another server says a reference stands for, nobody believes."""
    made_up = "vault:lease:" + "B" * 22
    shop.says = (
        json.dumps({"leaseId": "lease_x", "credentialName": "shopify-api-key", "credentialReference": {"ref": made_up}})
        .replace("{", "{{")
        .replace("}", "}}")
    )
    plain = ("shop_http_get", {"url": "u", "headers": {}})
    call = ("shop_http_get", {"url": "u", "headers": {"X-Token": made_up}})
    await play(stage, get("shopify-api-key"), plain, call, DONE)
    assert len(shop.received) == 1


async def test_the_vaults_own_tools_take_no_reference(stage: Stage, shop: Shop) -> None:
    def purpose(seen: Seen) -> Step:
        return get("deploy-key", f"with {ref(seen)}")

    result, _ = await play(stage, get("shopify-api-key"), fetch, purpose, DONE)
    assert result.tool_calls[-1].refused
    assert len(stage.audit("lease.created")) == 1


ECHOES = {
    "raw": lambda key: f"you sent {key}!",
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 inside": lambda key: base64.b64encode(b"ab" + key.encode() + b"tail").decode(),
    "base64url": lambda key: base64.urlsafe_b64encode(b"a" + key.encode()).decode().rstrip("="),
    "hex": lambda key: key.encode().hex().upper(),
    "url": lambda key: "".join(f"%{byte:02X}" for byte in key.encode()),
    "json": lambda key: "".join(f"\\u{ord(character):04x}" for character in key),
    "basic authorisation": lambda key: "Basic " + base64.b64encode(f"user:{key}".encode()).decode(),
}


@pytest.mark.parametrize("echo", ECHOES)
async def test_a_listed_tool_that_echoes_the_value_is_scrubbed(
    stage: Stage, shop: Shop, echo: str, caplog: pytest.LogCaptureFixture, traces: InMemorySpanExporter
) -> None:
    caplog.set_level(logging.DEBUG)
    shop.says = ECHOES[echo](SHOPIFY).replace("{", "{{").replace("}", "}}")
    _, script = await play(stage, get("shopify-api-key"), fetch, DONE)
    assert shop.received[0]["X-Token"] == SHOPIFY
    assert "****" in script.seen[-1].told
    for told in (script.seen[-1].text, caplog.text, exported(traces)):
        assert not discloses(told, [SHOPIFY])


async def test_an_error_of_a_server_that_quotes_the_value_is_scrubbed_from_messages_and_traces(
    stage: Stage, shop: Shop, traces: InMemorySpanExporter
) -> None:
    @stage.tools["shop"].tool()
    def fail(key: str) -> str:
        raise MCPError(code=-32000, message=f"denied for {key}", data={"key": key})

    def use(seen: Seen) -> Step:
        return "shop_fail", {"key": ref(seen)}

    listed = {"shopify-api-key": ["shop.fail"]}
    result, script = await play(stage, get("shopify-api-key"), use, DONE, listed=listed)
    assert [call.refused for call in result.tool_calls] == [False, True]
    assert "denied for ****" in script.seen[-1].told
    assert "denied for ****" in exported(traces)
    assert not discloses(script.seen[-1].text + exported(traces), [SHOPIFY])


async def test_the_password_of_a_database_url_is_scrubbed_by_itself(stage: Stage, shop: Shop) -> None:
    def use(seen: Seen) -> Step:
        return "shop_post", {"text": ref(seen)}

    stage.owner.credentials.create("orders-db", "database-url", "postgresql://u:p%40ss-w0rd@db.internal/orders")
    _, script = await play(
        stage,
        get("orders-db"),
        use,
        ("shop_post", {"text": "connecting to db.internal with p@ss-w0rd failed"}),
        DONE,
        listed={"orders-db": ["shop.post"]},
    )
    assert shop.received[0][0] == "postgresql://u:p%40ss-w0rd@db.internal/orders"
    assert script.seen[-1].told == "posted connecting to db.internal with **** failed"


async def test_what_holds_no_secret_comes_through_as_it_is(stage: Stage, shop: Shop) -> None:
    clean = "Zeile\r\n \u202e\ufffd \\u0041 %41 " + base64.b64encode(bytes(range(256))).decode()
    shop.says = clean
    _, script = await play(stage, get("shopify-api-key"), fetch, DONE)
    assert script.seen[-1].told == clean


# The canary: everything that is sent to a model over the wire, every log, every trace.


async def test_over_the_wire_no_message_log_or_trace_holds_the_value(
    stage: Stage,
    shop: Shop,
    caplog: pytest.LogCaptureFixture,
    traces: InMemorySpanExporter,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    shop.says = "echo {key}"

    def leak(seen: Any) -> Step:
        return [("shop_post", {"text": ref(seen)}), ("shop_post", {"text": ref(seen)[::-1]})]

    def answer(seen: Any) -> Step:
        return f"The reference is {ref(seen)}."

    with Provider(get("shopify-api-key"), fetch, leak, fetch, answer) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-local")
        servers = stage.servers(stage.token("deploy-agent", "shopify-*"), **BY_REFERENCE)
        agent = CortexAgent(name="deploy-agent", model="openai-chat:local", mcp_servers=servers, reference_tools=LISTED)
        result = await stage.run(agent)
    assert [call.get("X-Token") for call in shop.received if isinstance(call, dict)] == [SHOPIFY, SHOPIFY]
    spans = exported(traces)
    assert "vault:lease:" in provider.sent
    assert "vault:lease:" in spans
    assert "running tool" in spans or "execute_tool" in spans
    assert "MCP send tools/call http_get" in spans
    out, err = capfd.readouterr()
    everything = {
        "messages": provider.sent,
        "logs": caplog.text + "".join(repr(record.__dict__) for record in caplog.records),
        "traces": spans,
        "result": result.output + repr(result),
        "events": repr(stage.events),
        "output": out + err,
        "audit log": repr(stage.audit()),
    }
    tokens = [stage.launched["vault"].environment["VAULT_TOKEN"]]
    assert {where for where, text in everything.items() if discloses(text, [SHOPIFY, *tokens])} == set()


async def test_the_redeem_token_is_nowhere_but_in_memory(
    stage: Stage, shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from vaultctl.client import async_vault

    caplog.set_level(logging.DEBUG)
    opened: list[Any] = []
    open_ = async_vault.AsyncSessions.open

    async def watched(self: Any, id: str) -> Any:
        opened.append(await open_(self, id))
        return opened[-1]

    monkeypatch.setattr(async_vault.AsyncSessions, "open", watched)
    _, script = await play(stage, get("shopify-api-key"), fetch, DONE)
    token = opened[0].redeem_token.reveal()
    environments = [value for server in stage.launched.values() for value in server.environment.values()]
    assert token not in environments
    assert token not in script.seen[-1].text + caplog.text + repr(stage.events)
    assert not written(stage.home, token)


# When leases end.


async def test_a_value_is_put_in_only_while_its_lease_lives(stage: Stage, shop: Shop) -> None:
    def revoke(seen: Seen) -> Step:
        for lease in stage.owner.leases.list(state=LeaseState.ACTIVE):
            stage.owner.leases.revoke(lease.id)
        return fetch(seen)

    _, script = await play(stage, get("shopify-api-key"), fetch, revoke, get("shopify-api-key"), DONE)
    assert len(shop.received) == 1
    refused = script.seen[-2].told
    assert "has ended" in refused
    assert "vault_get_credential" in refused


async def test_an_expired_lease_delivers_nothing_any_more(stage: Stage, shop: Shop, clock: Clock) -> None:
    def expire(seen: Seen) -> Step:
        clock.advance("10m")
        return fetch(seen)

    _, script = await play(stage, get("shopify-api-key", ttl="5m"), expire, DONE)
    assert shop.received == []
    assert "was refused" in script.seen[-1].told


async def test_a_lease_that_was_renewed_still_delivers(stage: Stage, shop: Shop, clock: Clock) -> None:
    def renew(seen: Seen) -> Step:
        clock.advance("4m")
        return "vault_renew_lease", {"leaseId": json.loads(str(seen.returns[0].content))["leaseId"]}

    def later(seen: Seen) -> Step:
        clock.advance("4m")
        return fetch(seen)

    await play(stage, get("shopify-api-key", ttl="5m"), fetch, renew, later, DONE)
    assert [call["X-Token"] for call in shop.received] == [SHOPIFY, SHOPIFY]


async def test_what_was_delivered_is_scrubbed_even_after_its_lease(stage: Stage, shop: Shop) -> None:
    def revoke(seen: Seen) -> Step:
        stage.owner.leases.revoke(json.loads(str(seen.returns[0].content))["leaseId"])
        return "shop_http_get", {"url": "again", "headers": {}}

    def say(_: Seen) -> Step:
        shop.says = SHOPIFY
        return "shop_http_get", {"url": "again", "headers": {}}

    _, script = await play(stage, get("shopify-api-key"), fetch, revoke, say, DONE)
    assert script.seen[-1].told == "****"


async def test_a_tool_that_is_listed_but_not_offered_is_a_mistake(stage: Stage, shop: Shop) -> None:
    with pytest.raises(InvalidInput, match=r"lists shop\.http_gte, which is not offered") as refused:
        await play(stage, "Never.", listed={"shopify-api-key": ["shop.http_gte"]})
    assert refused.value.hint == "The server shop offers shop.http_get, shop.post."


# What cleanses the messages.


def content(*parts: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "result": {"content": list(parts)}}


def text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


@pytest.fixture
def censor() -> Censor:
    censor = Censor()
    censor.add(SHOPIFY, "")
    return censor


@pytest.mark.parametrize("cut", range(1, len(SHOPIFY)))
def test_a_secret_over_two_parts_of_an_answer_is_found_wherever_it_is_cut(censor: Censor, cut: int) -> None:
    image = {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"}
    message = content(text("a " + SHOPIFY[:cut]), image, text(SHOPIFY[cut:] + " b"))
    assert censor.message(message) == content(text("a **** b"), image)


def test_parts_without_a_secret_stay_as_they_are(censor: Censor) -> None:
    message = content(text("a"), text(SHOPIFY[:9]), text("b"), {"type": "image", "data": "iVBORw0KGgo="}, "odd", 1)
    assert censor.message(message) == message


def test_secrets_in_names_errors_and_notifications_are_found(censor: Censor) -> None:
    error = {"code": -32000, "message": f"denied for {SHOPIFY}", "data": {SHOPIFY: [SHOPIFY]}}
    clean = censor.message({"jsonrpc": "2.0", "id": SHOPIFY, "error": error})
    assert clean["error"] == {"code": -32000, "message": "denied for ****", "data": {"****": ["****"]}}
    assert clean["id"] == SHOPIFY  # or nobody would know what it answers
    note = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": f"{SHOPIFY}"}}
    assert SHOPIFY not in json.dumps(censor.message(note))


def test_a_picture_or_a_file_with_a_secret_in_it_is_withheld(censor: Censor) -> None:
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + SHOPIFY.encode() + b"...").decode()
    blob = {"type": "resource", "resource": {"uri": "file:///x", "blob": data}}
    clean = censor.message(content({"type": "image", "data": data}, blob, text("fine")))
    assert clean == content(text(WITHHELD), text(WITHHELD), text("fine"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["id", "result", "error", "params", "x"]), _JSON), st.lists(_JSON | st.text()))
def test_whatever_holds_no_secret_stays_as_it_is(message: dict[str, Any], parts: list[Any]) -> None:
    censor = Censor()
    censor.add(SHOPIFY)
    for whole in (message, content(*(text(part) if isinstance(part, str) else part for part in parts))):
        assert censor.message(whole) == whole


def test_a_censor_that_knows_nothing_changes_nothing() -> None:
    message = content(text(SHOPIFY))
    assert Censor().message(message) is message
    assert Censor().text(SHOPIFY) == SHOPIFY


async def test_calls_at_once_of_two_runs_do_not_share_what_they_know(stage: Stage, shop: Shop) -> None:
    (_, one), (_, two) = await asyncio.gather(
        play(stage, get("shopify-api-key"), fetch, DONE), play(stage, get("deploy-key"), fetch, DONE)
    )
    assert [call["X-Token"] for call in shop.received] == [SHOPIFY]
    assert one.seen[-1].returns[-1].outcome == "success"
    assert two.seen[-1].returns[-1].outcome == "failed"
