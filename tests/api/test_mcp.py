"""MCP at ``/mcp`` of a vault's server: whose a run is, how long it lasts, and what keeps others out."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import CREDENTIAL, VALUE, Site
from tests.api.harness import RunningServer
from tests.api.speaking_mcp import ALONE, ERAS, GET, GREETING, LEGACY, RawAgent, alone, speaking
from tests.cli.serving import serving
from tests.vaults import new_vault
from vaultctl.api.limits import USUAL
from vaultctl.client import Vault
from vaultctl.domain.records import AuditEntry, Event, LeaseState, Session, SessionState
from vaultctl.domain.requests import CreateLease
from vaultctl.engine.service import Service
from vaultctl.mcp.http import runs
from vaultctl.mcp.http.guard import Guard
from vaultctl.mcp.http.terms import Terms

PATIENCE = 15.0
TOOLS = {"vault_get_credential", "vault_list_credentials", "vault_renew_lease", "vault_revoke_lease"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for ``condition``, looking again and again; its value."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return value


def raw(site: Site, server: RunningServer, token: str | None = None) -> RawAgent:
    return RawAgent(site.client(server, token or site.agent))


def lease(agent: RawAgent) -> dict[str, Any]:
    answer = agent.call("vault_get_credential", **GET)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["result"]
    assert not result.get("isError"), result
    structured: dict[str, Any] = result["structuredContent"]
    return structured


def trail(site: Site, session: str) -> list[AuditEntry]:
    return site.owner.audit_log.query(session=session, limit=None)


@contextmanager
def connection(server: RunningServer) -> Iterator[socket.socket]:
    """A connection that closes, whatever is on its way, when the context ends."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as wire:
        yield wire


def said(token: str, body: bytes, headers: dict[str, str] | None = None, length: int | None = None) -> bytes:
    """A POST as it travels, with a Content-Length of its own if one is named."""
    head = {"Host": "localhost", "Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    head |= {"Accept": "application/json", "Content-Length": str(len(body) if length is None else length)}
    lines = [f"{name}: {value}" for name, value in (head | (headers or {})).items()]
    return "\r\n".join(["POST /mcp HTTP/1.1", *lines, "\r\n"]).encode() + body


class Silence:
    """The clock by which a server measures silence, and terms under which it looks at it often."""

    def __init__(self) -> None:
        self.now = 0.0
        self.terms = Terms(judge_seconds=0.05, monotonic=lambda: self.now)

    def lasts(self, seconds: float) -> None:
        self.now += seconds


def sessions(site: Site) -> list[Session]:
    return site.owner.sessions.list()


class TestBothEras:
    @pytest.mark.anyio
    @pytest.mark.parametrize("era", ERAS)
    async def test_the_tools_and_the_trail_are_those_of_stdio(
        self, site: Site, server: RunningServer, era: Any
    ) -> None:
        async with speaking(server.url + "/mcp", site.agent, era) as client:
            assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
            got = (await client.call_tool("vault_get_credential", GET)).structured_content
            assert got is not None
            assert (got["value"], got["credentialName"]) == (VALUE, CREDENTIAL)
            refused = await client.call_tool("vault_get_credential", GET | {"name": "absent"})
            assert refused.is_error
            assert refused.structured_content is None
            revoked = await client.call_tool("vault_revoke_lease", {"leaseId": got["leaseId"]})
            assert revoked.structured_content == {"leaseId": got["leaseId"], "state": "revoked"}
        (session,) = sessions(site)
        assert session.id.startswith("mcp_sess_")
        assert session.agent == "deploy-agent"
        events = [entry.event for entry in trail(site, session.id)]
        expected = [
            Event.SESSION_STARTED,
            Event.TOKEN_EXCHANGED,
            Event.LEASE_CREATED,
            Event.LEASE_DENIED,
            Event.LEASE_REVOKED,
        ]
        assert events[:5] == expected
        created = next(entry for entry in trail(site, session.id) if entry.event is Event.LEASE_CREATED)
        assert created.identity.session_id == session.id
        assert created.identity.purpose == GET["purpose"]
        if era == LEGACY:  # the client has said goodbye
            assert sessions(site)[0].state is SessionState.ENDED
        server.stop(5)
        assert sessions(site)[0].state is SessionState.ENDED

    @pytest.mark.anyio
    @pytest.mark.parametrize("era", ERAS)
    async def test_a_sessions_token_is_used_as_it_is_and_the_session_left_to_whoever_named_it(
        self, site: Site, server: RunningServer, era: Any
    ) -> None:
        named = site.client(server, site.agent).post("/v1/sessions", json={"id": "cortex_sess_abc123"}).json()
        async with speaking(server.url + "/mcp", named["token"], era) as client:
            got = (await client.call_tool("vault_get_credential", GET)).structured_content
            assert got is not None
        server.stop(5)
        (session,) = sessions(site)
        assert (session.id, session.state) == ("cortex_sess_abc123", SessionState.ACTIVE)
        left = site.owner.leases.get(got["leaseId"])
        assert (left.identity.session_id, left.state) == ("cortex_sess_abc123", LeaseState.REVOKED)

    @pytest.mark.anyio
    @pytest.mark.parametrize("era", ERAS)
    async def test_what_a_caller_calls_its_run_is_a_claim(self, site: Site, server: RunningServer, era: Any) -> None:
        headers = {"X-Vault-Session": "cortex_sess_forged"}
        async with speaking(server.url + "/mcp", site.agent, era, **headers) as client:
            await client.call_tool("vault_get_credential", GET)
        (session,) = sessions(site)
        assert session.id != "cortex_sess_forged"
        for entry in trail(site, session.id):
            if entry.event in (Event.SESSION_STARTED, Event.LEASE_CREATED):
                assert entry.details["claimed"]["sessionId"] == "cortex_sess_forged"
                assert entry.identity.session_id == session.id

    def test_calls_that_come_at_once_are_of_one_run(self, site: Site, server: RunningServer) -> None:
        message, headers = alone("vault_list_credentials")
        headers |= {"Authorization": f"Bearer {site.agent}", "Accept": "application/json"}

        async def crowd() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20) as client:
                return await asyncio.gather(*(client.post("/mcp", json=message) for _ in range(8)))

        assert {answer.status_code for answer in asyncio.run(crowd())} == {200}
        assert len(sessions(site)) == 1

    def test_a_run_that_has_its_own_name_is_apart_from_others_of_its_token(
        self, site: Site, server: RunningServer
    ) -> None:
        client = RawAgent(site.client(server, site.agent))
        leases = {}
        for run in ("one", "two"):
            message, headers = alone("vault_get_credential", **GET)
            for _ in range(2):  # the same run each time
                answer = client.post(message, **headers, **{"X-Vault-Session": run}).json()["result"]
            leases[run] = answer["structuredContent"]["leaseId"]
        assert len(sessions(site)) == 2
        message, headers = alone("vault_revoke_lease", leaseId=leases["one"])
        foreign = client.post(message, **headers, **{"X-Vault-Session": "two"}).json()["result"]
        assert foreign["isError"]
        assert site.owner.leases.get(leases["one"]).state is LeaseState.ACTIVE
        assert client.post(message, **headers, **{"X-Vault-Session": "a b"}).status_code == 422

    def test_leases_are_renewed_without_being_asked(self, site: Site) -> None:
        # Renewal is by this machine's clock, from which the vault's clock here is years away: the tests of stdio
        # show that it works; here, that it is what the server was told.
        from vaultctl.domain.durations import Duration
        from vaultctl.domain.secrets import Secret
        from vaultctl.mcp.settings import Settings

        settings = Settings(token=Secret(""), max_ttl=Duration.parse("5m"))
        server = site.serve(mcp=Terms(settings=settings))
        agent = raw(site, server)
        agent.greet()
        got = lease(agent)
        assert (got["ttl"], got["renewable"]) == ("5m", False)


class TestOwnership:
    def test_sessions_share_nothing(self, site: Site, server: RunningServer) -> None:
        one, two = raw(site, server), raw(site, server)
        one.greet()
        two.greet()
        leases = [lease(one), lease(two)]
        assert len({session.id for session in sessions(site)}) == 2
        refused = two.call("vault_revoke_lease", leaseId=leases[0]["leaseId"]).json()["result"]
        unknown = two.call("vault_revoke_lease", leaseId="lease_0000000000000000000000").json()["result"]
        assert refused == unknown
        assert refused["isError"]
        assert site.owner.leases.get(leases[0]["leaseId"]).state is LeaseState.ACTIVE

    def test_the_session_of_another_is_as_one_that_does_not_exist(self, site: Site, server: RunningServer) -> None:
        victim = raw(site, server)
        victim.greet()
        held = lease(victim)
        other = site.token(agent="deploy-agent", credentials=[CREDENTIAL])  # the same agent, even
        elsewhere = site.world.owner("other-org")
        foreign = elsewhere.tokens.create(agent="deploy-agent", credentials=["*"]).secret.reveal()
        for token in (other, foreign):
            thief = raw(site, server, token)
            thief.headers = dict(victim.headers)
            answers = [thief.call("vault_list_credentials")]
            answers += [thief.client.request(verb, "/mcp", headers=victim.headers) for verb in ("GET", "DELETE")]
            thief.headers["Mcp-Session-Id"] = "0" * 32
            absent = thief.call("vault_list_credentials")
            for answer in answers:
                assert answer.status_code == absent.status_code == 404
                assert {**answer.json(), "requestId": ""} == {**absent.json(), "requestId": ""}
        assert victim.call("vault_renew_lease", leaseId=held["leaseId"]).json()["result"]["structuredContent"]

    def test_two_tenants_are_served_apart(self, site: Site, server: RunningServer) -> None:
        elsewhere = site.world.owner("other-org")
        elsewhere.credentials.create(CREDENTIAL, "generic-secret", "the-other-value-0123")
        token = elsewhere.tokens.create(agent="deploy-agent", credentials=["*"]).secret.reveal()
        agents = [raw(site, server), raw(site, server, token)]
        for agent in agents:
            agent.greet()
        assert [lease(agent)["value"] for agent in agents] == [VALUE, "the-other-value-0123"]
        wrong = agents[0].post({}, **{"X-Vault-Tenant": "other-org"})
        assert wrong.status_code == 401

    def test_a_revoked_token_stops_at_once_and_its_leases_with_it(self, site: Site, server: RunningServer) -> None:
        issued = site.owner.tokens.create(agent="deploy-agent", credentials=[CREDENTIAL])
        shaken, standing = (raw(site, server, issued.secret.reveal()) for _ in range(2))
        shaken.greet()
        held = lease(shaken)
        message, headers = alone("vault_list_credentials")
        assert standing.post(message, **headers).status_code == 200
        site.owner.tokens.revoke(issued.token.id)
        assert shaken.call("vault_list_credentials").status_code == 401
        assert standing.post(message, **headers).status_code == 401
        assert site.owner.leases.get(held["leaseId"]).state is LeaseState.REVOKED

    def test_what_a_caller_calls_its_run_opens_and_closes_nothing(self, site: Site, server: RunningServer) -> None:
        agent, other = raw(site, server), raw(site, server, site.token(agent="report-agent"))
        agent.greet(**{"X-Vault-Session": "one"})
        assert agent.call("vault_list_credentials").status_code == 200  # without it
        other.headers = agent.headers | {"X-Vault-Session": "one"}
        assert other.call("vault_list_credentials").status_code == 404

    def test_after_a_rotation_the_new_secret_leads_to_the_session_and_the_old_one_nowhere(
        self, site: Site, server: RunningServer
    ) -> None:
        issued = site.owner.tokens.create(agent="deploy-agent", credentials=[CREDENTIAL])
        before = raw(site, server, issued.secret.reveal())
        before.greet()
        held = lease(before)
        after = raw(site, server, site.owner.tokens.rotate(issued.token.id).secret.reveal())
        after.headers = dict(before.headers)
        assert before.call("vault_list_credentials").status_code == 401
        renewed = after.call("vault_renew_lease", leaseId=held["leaseId"]).json()["result"]
        assert renewed["structuredContent"]["leaseId"] == held["leaseId"]

    def test_a_session_that_an_operator_ended_is_not_spoken_to_any_more(
        self, site: Site, server: RunningServer
    ) -> None:
        agent = raw(site, server)
        agent.greet()
        (session,) = sessions(site)
        site.owner.sessions.end(session.id)
        refused = agent.call("vault_get_credential", **GET).json()["result"]
        assert refused["isError"]
        assert agent.call("vault_list_credentials").status_code == 404
        message, headers = alone("vault_get_credential", **GET)
        assert not agent.post(message, **headers).json()["result"].get("isError")  # a run of its own

    def test_people_and_operators_are_told_that_this_is_for_agents(self, site: Site, server: RunningServer) -> None:
        answer = raw(site, server, site.admin).greet()
        assert (answer.status_code, "agent" in answer.json()["detail"]) == (403, True)
        assert raw(site, server, site.token(operator=True)).greet().status_code == 403
        assert sessions(site) == []


class TestLifetime:
    def test_saying_goodbye_ends_the_session_and_its_leases(self, site: Site, server: RunningServer) -> None:
        agent = raw(site, server)
        agent.greet()
        held = lease(agent)
        assert agent.client.delete("/mcp", headers=agent.headers).status_code == 204
        assert site.owner.leases.get(held["leaseId"]).state is LeaseState.REVOKED
        assert sessions(site)[0].state is SessionState.ENDED
        assert agent.call("vault_list_credentials").status_code == 404

    @pytest.mark.parametrize("era", ERAS)
    def test_a_client_that_vanished_is_noticed(self, site: Site, era: Any) -> None:
        silence = Silence()
        server = site.serve(mcp=silence.terms)
        agent = raw(site, server)
        if era == LEGACY:
            agent.greet()
            held = lease(agent)
        else:
            message, headers = alone("vault_get_credential", **GET)
            held = agent.post(message, **headers).json()["result"]["structuredContent"]
        silence.lasts(899)
        if era == LEGACY:
            agent.call("vault_list_credentials")
        else:
            message, headers = alone("vault_list_credentials")
            agent.post(message, **headers)
        silence.lasts(899)
        assert site.owner.leases.get(held["leaseId"]).state is LeaseState.ACTIVE
        silence.lasts(2)
        until(lambda: site.owner.leases.get(held["leaseId"]).state is LeaseState.REVOKED, "the release")
        until(lambda: {session.state for session in sessions(site)} == {SessionState.ENDED}, "the end")

    def test_an_open_stream_keeps_a_silent_agent_until_it_closes(self, site: Site) -> None:
        silence = Silence()
        server = site.serve(mcp=silence.terms)
        agent, other = raw(site, server), raw(site, server)
        agent.greet()
        other.greet()
        headers = agent.headers | {"Accept": "text/event-stream"}
        with agent.client.stream("GET", "/mcp", headers=headers) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            held = lease(agent)
            silence.lasts(901)
            until(lambda: len(site.owner.sessions.list(state="active")) == 1, "the end of the one without a stream")
            assert site.owner.leases.get(held["leaseId"]).state is LeaseState.ACTIVE

        def is_released() -> bool:
            silence.lasts(901)  # again, if the server had not noticed yet that the stream is closed
            return site.owner.leases.get(held["leaseId"]).state is LeaseState.REVOKED

        until(is_released, "the release")

    def test_a_stream_closes_when_its_token_counts_no_more(self, site: Site) -> None:
        server = site.serve(mcp=Terms(judge_seconds=0.05))
        issued = site.owner.tokens.create(agent="deploy-agent", credentials=[CREDENTIAL])
        agent = raw(site, server, issued.secret.reveal())
        agent.greet()
        with agent.client.stream("GET", "/mcp", headers=agent.headers | {"Accept": "text/event-stream"}) as stream:
            site.owner.tokens.rotate(issued.token.id)
            assert not [line for line in stream.iter_lines() if line.startswith("data:")]  # which ends

    def test_stopping_releases_everything_and_leaves_no_stream_open(self, site: Site, server: RunningServer) -> None:
        agents = [raw(site, server) for _ in range(3)]
        for agent in agents:
            agent.greet()
            lease(agent)
        with agents[0].client.stream("GET", "/mcp", headers=agents[0].headers | {"Accept": "text/event-stream"}):
            assert server.stop(5)
        assert {held.state for held in site.owner.leases.list()} == {LeaseState.REVOKED}
        assert {session.state for session in sessions(site)} == {SessionState.ENDED}

    def test_a_value_that_nobody_waits_for_is_taken_back(self, site: Site) -> None:
        service = Service(site.door.engine)
        server = site.serve(service=service)
        message, headers = alone("vault_get_credential", **GET)
        raw(site, server).post(message, **headers)
        with site.door.store.write():  # the vault is busy
            with connection(server) as impatient:
                impatient.sendall(said(site.agent, json.dumps(message).encode(), headers))
                until(lambda: any(isinstance(job.call.request, CreateLease) for job in service._pending), "the request")
            until(lambda: '"status":499' in server.log, "the server's noticing")
        until(lambda: sorted(held.state for held in site.owner.leases.list()) == ["active", "revoked"], "both leases")

    def test_a_session_that_opens_too_late_is_not_kept(
        self, site: Site, server: RunningServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        agent = raw(site, server)
        with monkeypatch.context() as patch, site.door.store.write():  # the vault is busy
            patch.setattr(runs, "CALL_BOUND", 0.2)
            answer = agent.greet()
            assert (answer.status_code, "busy" in answer.json()["detail"]) == (503, True)
        until(lambda: [session.state for session in sessions(site)] == [SessionState.ENDED], "the end")
        assert agent.greet().status_code == 200


class TestBounds:
    def test_sessions_of_a_token_are_bounded_and_those_left_empty_make_room(self, site: Site) -> None:
        server = site.serve(mcp=Terms(runs_of_token=2))
        first, second, third = (raw(site, server) for _ in range(3))
        first.greet()
        second.greet()
        lease(second)
        assert third.greet().status_code == 200  # in place of the first, which holds nothing
        assert first.call("vault_list_credentials").status_code == 404
        lease(third)
        refused = raw(site, server).greet()
        assert refused.status_code == 429
        assert "Retry-After" in refused.headers
        assert lease(second)["value"] == VALUE
        other = raw(site, server, site.token(agent="deploy-agent", credentials=[CREDENTIAL]))
        assert other.greet().status_code == 200
        second.client.delete("/mcp", headers=second.headers)
        assert raw(site, server).greet().status_code == 200

    def test_sessions_of_a_tenant_and_in_all_are_bounded_and_nobody_is_pushed_out_by_others(self, site: Site) -> None:
        for bounds in (Terms(runs_of_tenant=1), Terms(runs=1)):
            server = site.serve(mcp=bounds)
            one = raw(site, server)
            one.greet()
            other = raw(site, server, site.token(agent="report-agent"))
            assert other.greet().status_code == 429
            assert one.call("vault_list_credentials").status_code == 200

    def test_a_flood_of_messages_with_one_id_is_answered_or_refused_and_holds_nothing_up(self, site: Site) -> None:
        server = site.serve(mcp=Terms(call_seconds=0.5))
        agent = raw(site, server)
        agent.greet()

        async def flood() -> list[int]:
            headers = agent.headers | {"Authorization": f"Bearer {site.agent}"}
            async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20) as client:
                call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "vault_list_credentials"}}
                return [
                    answer.status_code
                    for answer in await asyncio.gather(*(client.post("/mcp", json=call) for _ in range(20)))
                ]

        assert set(asyncio.run(flood())) <= {200, 400}
        assert agent.call("vault_list_credentials").status_code == 200

    def test_the_requests_of_a_token_are_counted(self, site: Site, server: RunningServer) -> None:
        agent = raw(site, server, site.token(agent="deploy-agent", credentials=[CREDENTIAL], requests_per_minute=4))
        agent.greet()
        statuses = [agent.call("vault_list_credentials").status_code for _ in range(4)]
        assert statuses == [200, 200, 429, 429]

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"[" * 100_000,
            b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "\\ud800"}}',
            b'{"jsonrpc": "2.0", "id": {"a": 1}, "method": "ping"}',
            b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]',
            b"\xff\xfe",
        ],
    )
    def test_what_is_no_message_is_refused_without_a_word_of_it(
        self, site: Site, server: RunningServer, body: bytes
    ) -> None:
        agent = raw(site, server)
        assert agent.post(body).status_code == 400
        agent.greet()
        for headers in ({}, alone("vault_list_credentials")[1]):
            answer = agent.post(body, **headers)
            assert answer.status_code == 400
            assert answer.json()["error"]["message"]
            assert "\\ud800" not in answer.text
        assert agent.call("vault_list_credentials").status_code == 200
        assert len(sessions(site)) == 1

    def test_a_body_that_is_too_large_or_no_json_is_refused_in_time(self, site: Site, server: RunningServer) -> None:
        agent = raw(site, server)
        assert agent.post(b" " * (USUAL.body_bytes + 1)).status_code == 413
        assert agent.post(b"{}", **{"Content-Type": "text/plain"}).status_code == 415
        slow = site.serve(limits=USUAL._replace(body_seconds=0.2))
        with connection(slow) as wire:
            wire.sendall(said(site.agent, b"{", length=2))
            assert wire.recv(100).startswith(b"HTTP/1.1 408")


class TestTheDoor:
    @pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has loaded shows in /proc")
    def test_the_sdk_is_loaded_by_the_first_agent_and_by_nobody_else(self, tmp_path: Path) -> None:
        new_vault(tmp_path)
        with Vault.embedded(home=tmp_path, tenant="my-org") as owner:
            token = owner.tokens.create(agent="deploy-agent").secret.reveal()
        with (
            serving(VAULTCTL_HOME=str(tmp_path)) as server,
            httpx.Client(base_url=server.base_url, timeout=60) as client,
        ):
            maps = Path(f"/proc/{server.process.pid}/maps")
            assert RawAgent(client).greet().status_code == 401
            assert "pydantic_core" not in maps.read_text()
            client.headers["Authorization"] = f"Bearer {token}"
            assert RawAgent(client).greet().status_code == 200
            assert "pydantic_core" in maps.read_text()
            assert client.get("/metrics").text.count("vaultctl_mcp_runs 1.0") == 1
            assert server.stop()[0] == 0

    @pytest.mark.parametrize("token", [None, "vault_token_nonsense", "Basic"])
    def test_whoever_has_no_token_is_told_how_to_bring_one(
        self, site: Site, server: RunningServer, token: str | None
    ) -> None:
        client = site.client(server)
        if token:
            client.headers["Authorization"] = f"Bearer {token}"
        for method in ("POST", "GET", "DELETE"):
            answer = client.request(method, "/mcp", headers={"Mcp-Session-Id": "0" * 32})
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert client.get("/mcp", params={"token": site.agent}).status_code == 401
        assert client.put("/mcp").status_code == 405
        assert "mcp.server" not in server.log

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"Host": "evil.example"}, 403),
            ({"Host": "127.0.0.1.evil.example"}, 403),
            ({"Host": "localhost:1"}, 200),
            ({"Origin": "http://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": "http://localhost.evil.example"}, 403),
            ({"Origin": "http://localhost:3000"}, 200),
            ({"Origin": "https://app.example.com"}, 200),
            ({"Host": "vault.example.com"}, 200),
        ],
    )
    def test_pages_and_names_that_are_not_let_in_are_refused(
        self, site: Site, headers: dict[str, str], status: int
    ) -> None:
        server = site.serve(mcp=Terms(guard=Guard(["vault.example.com"], ["https://app.example.com"])))
        assert raw(site, server).greet(**headers).status_code == status

    def test_answers_are_kept_by_nobody_and_the_log_holds_no_secret(self, site: Site, server: RunningServer) -> None:
        agent = raw(site, server)
        assert agent.greet().headers["cache-control"] == "no-store"
        answer = agent.call("vault_get_credential", **GET)
        assert VALUE in answer.text
        assert answer.headers.get_list("cache-control") == ["no-store"]
        assert agent.post(b"{" + VALUE.encode()).status_code == 400
        server.stop(5)
        assert VALUE not in server.log
        assert site.agent not in server.log
        assert agent.headers["Mcp-Session-Id"] not in server.log
        assert {line["route"] for line in server.lines()} == {"/mcp"}

    def test_an_unknown_revision_is_told_which_there_are(self, site: Site, server: RunningServer) -> None:
        message, headers = alone("vault_list_credentials")
        answer = raw(site, server).post(message, **headers | {"Mcp-Protocol-Version": "2099-01-01"})
        assert answer.status_code == 400
        greeting = GREETING | {"protocolVersion": "2099-01-01"}
        agreed = raw(site, server).post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": greeting})
        assert agreed.json()["result"]["protocolVersion"] < ALONE
