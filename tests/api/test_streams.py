"""The audit log as server-sent events: nothing lost, nothing repeated."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import pytest

from tests.api.conftest import CREDENTIAL, Site
from tests.api.harness import RunningServer, running_server
from vaultctl.api.limits import USUAL
from vaultctl.domain.errors import VaultUnavailable
from vaultctl.engine.engine import Engine
from vaultctl.engine.service import Service
from vaultctl.store.sqlite import SqliteStore

QUICK = USUAL._replace(poll_seconds=0.05, heartbeat_seconds=0.1)


class Event(NamedTuple):
    """One event of a stream; a comment has no fields."""

    id: int | None = None
    event: str = ""
    data: Any = None
    retry: int | None = None


class Stream:
    """A stream that a test reads. Its reader is small and not the product's."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.iter_lines()

    def events(self) -> Iterator[Event]:
        """All that comes, comments included."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if line:
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
                continue
            yield Event(
                id=int(fields["id"]) if "id" in fields else None,
                event=fields.get("event", ""),
                data=json.loads(fields["data"]) if "data" in fields else None,
                retry=int(fields["retry"]) if "retry" in fields else None,
            )
            fields = {}

    def entries(self, count: int) -> list[dict[str, Any]]:
        """The next entries."""
        found: list[dict[str, Any]] = []
        for event in self.events():
            if event.event == "entry":
                assert event.data["seq"] == event.id
                found.append(event.data)
                if len(found) == count:
                    break
        return found


Open = Callable[..., Stream]


@pytest.fixture
def open_stream(site: Site) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_one(
            server: RunningServer, token: str | None = None, last_event_id: int | str | None = None, **query: Any
        ) -> Stream:
            client = site.client(server, token or site.admin)
            headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
            return Stream(stack.enter_context(client.stream("GET", "/v1/audit/stream", params=query, headers=headers)))

        yield open_one


def work(site: Site, times: int = 1) -> None:
    """Make an entry of the audit log, or several."""
    for _ in range(times):
        site.owner.credentials.update(CREDENTIAL, metadata={"n": str(random.random())})


def seqs(entries: list[dict[str, Any]]) -> list[int]:
    return [entry["seq"] for entry in entries]


def end(site: Site) -> int:
    """The last entry of the log."""
    return site.owner.audit_log.query(limit=1)[0].seq


def test_a_stream_tells_what_happens_from_now_on(site: Site, open_stream: Open) -> None:
    server = site.serve(limits=QUICK)
    before = end(site)
    stream = open_stream(server)
    assert stream.response.headers["content-type"].startswith("text/event-stream")
    assert stream.response.headers["cache-control"] == "no-store"
    assert next(stream.events()) == Event(id=before, retry=1000)
    work(site, 3)
    entries = stream.entries(3)
    assert seqs(entries) == [before + 1, before + 2, before + 3]
    assert entries[0]["event"] == "credential.updated"


def test_an_entry_is_the_same_as_in_the_log(site: Site, open_stream: Open) -> None:
    server = site.serve(limits=QUICK)
    entries = open_stream(server, afterSeq=-1).entries(end(site) + 1)
    assert entries == site.client(server, site.admin).get("/v1/audit", params={"afterSeq": -1}).json()["items"]


def test_a_stream_begins_behind_any_entry(site: Site, open_stream: Open) -> None:
    work(site, 5)
    server, last = site.serve(limits=QUICK), end(site)
    assert seqs(open_stream(server, afterSeq=-1).entries(last + 1)) == list(range(last + 1))
    assert seqs(open_stream(server, afterSeq=2).entries(last - 2)) == list(range(3, last + 1))


def test_the_last_event_id_outweighs_the_query(site: Site, open_stream: Open) -> None:
    last = end(site)
    assert seqs(open_stream(site.serve(), afterSeq=-1, last_event_id=last - 1).entries(1)) == [last]


def test_a_long_backlog_comes_in_pages_and_whole(site: Site, open_stream: Open) -> None:
    work(site, 450)
    last = end(site)
    assert seqs(open_stream(site.serve(), afterSeq=-1).entries(last + 1)) == list(range(last + 1))


def test_nothing_is_lost_or_repeated_across_reconnects_while_others_write(site: Site, open_stream: Open) -> None:
    server = site.serve(limits=QUICK)
    agent = site.client(server, site.agent)
    start, found = end(site), []
    writing = threading.Thread(
        target=lambda: [agent.post("/v1/leases", json={"credentialName": CREDENTIAL}) for _ in range(60)]
    )
    writing.start()
    while len(found) < 60:
        stream = open_stream(server, last_event_id=found[-1] if found else start)
        found += seqs(stream.entries(min(random.randint(1, 25), 60 - len(found))))
        stream.response.close()
    writing.join()
    assert found == list(range(start + 1, start + 61))


def test_what_another_node_writes_is_told_too(site: Site, open_stream: Open) -> None:
    store = SqliteStore(site.door.store.path, clock=site.clock)
    with running_server(Engine(store, site.door.root), store, limits=QUICK) as other:
        stream = open_stream(site.serve(limits=QUICK))
        start = end(site)
        next(stream.events())
        client = site.client(other, site.agent)
        for _ in range(3):
            client.post("/v1/leases", json={"credentialName": CREDENTIAL})
        assert seqs(stream.entries(3)) == [start + 1, start + 2, start + 3]
        client.close()
    store.close()


def test_this_node_s_own_writes_wake_a_stream_long_before_it_would_look(site: Site, open_stream: Open) -> None:
    server = site.serve(limits=USUAL._replace(poll_seconds=60))
    stream = open_stream(server)
    next(stream.events())
    site.client(server, site.agent).post("/v1/leases", json={"credentialName": CREDENTIAL})
    assert stream.entries(1)[0]["event"] == "lease.created"


# Filters


def test_filters_choose_what_is_sent(site: Site, open_stream: Open) -> None:
    server = site.serve(limits=QUICK)
    stream = open_stream(server, **{"event": ["lease.created", "lease.revoked"], "identity.name": "deploy-agent"})
    agent = site.client(server, site.agent)
    work(site)
    lease = agent.post("/v1/leases", json={"credentialName": CREDENTIAL}).json()
    work(site)
    agent.post(f"/v1/leases/{lease['id']}/revoke")
    assert [entry["event"] for entry in stream.entries(2)] == ["lease.created", "lease.revoked"]


def test_how_far_the_log_was_searched_is_told_where_nothing_matches(site: Site, open_stream: Open) -> None:
    server = site.serve(limits=QUICK)
    stream = open_stream(server, event="lease.expired")
    start = next(stream.events()).id
    assert start == end(site)
    work(site, 3)
    for event in stream.events():
        assert event.event == ""
        if event.id is not None:
            assert event.id == start + 3
            break


def test_a_silent_stream_gives_signs_of_life(site: Site, open_stream: Open) -> None:
    stream = open_stream(site.serve(limits=QUICK))
    events = stream.events()
    next(events)
    assert [next(events) for _ in range(2)] == [Event(), Event()]


@pytest.mark.parametrize(
    "query",
    [{"limit": 5}, {"cursor": "x"}, {"afterSeq": -2}, {"afterSeq": 2**60}, {"nothing": 1}, {"event": "nothing"}],
)
def test_a_malformed_question_is_a_problem_before_the_stream_begins(
    query: dict[str, Any], site: Site, admin: httpx.Client
) -> None:
    assert admin.get("/v1/audit/stream", params=query).status_code == 422


@pytest.mark.parametrize("last", ["", "x", "-2", "1.5", "9" * 30, "1 2"])
def test_a_last_event_id_that_is_none_of_ours_is_a_problem(last: str, admin: httpx.Client) -> None:
    assert admin.get("/v1/audit/stream", headers={"Last-Event-ID": last}).status_code == 422


# Whose


def test_an_agent_follows_its_own_session_and_nothing_else(site: Site, open_stream: Open) -> None:
    server = site.serve(limits=QUICK)
    agent = site.world.connect(site.agent)
    opened = agent.sessions.open("mcp_sess_1")
    session = opened.token.reveal()
    stream = open_stream(server, token=session, afterSeq=-1)
    work(site, 3)
    site.world.connect(session).leases.create(CREDENTIAL, purpose="sync")
    assert [entry["event"] for entry in stream.entries(3)] == [
        "session.started",
        "token.exchanged",
        "lease.created",
    ]
    others = site.client(server, site.agent).get("/v1/audit/stream")
    assert others.status_code == 403


def test_only_admins_follow_the_whole_log(site: Site) -> None:
    server = site.serve()
    for role, status in (("manager", 403), ("viewer", 403)):
        token = site.token(human="someone@example.com", role=role)
        assert site.client(server, token).get("/v1/audit/stream").status_code == status
    assert site.client(server).get("/v1/audit/stream").status_code == 401


def test_a_revoked_token_ends_the_stream_with_the_reason(site: Site, open_stream: Open) -> None:
    second = site.owner.tokens.create(human="second@example.com", role="admin")
    stream = open_stream(site.serve(limits=QUICK), token=second.secret.reveal())
    events = stream.events()
    next(events)
    site.owner.tokens.revoke(second.token.id)
    *entries, last = list(events)
    assert last.event == "problem"
    assert (last.data["status"], last.data["code"]) == (401, "not_authenticated")
    revocations = [entry for entry in entries if entry.event == "entry"]
    assert len(revocations) <= 1


def test_another_tenant_s_entries_are_never_sent(site: Site, open_stream: Open) -> None:
    other = site.world.owner("another")
    token = other.tokens.create(human="o@example.com", role="admin").secret.reveal()
    stream = open_stream(site.serve(limits=QUICK), token=token, afterSeq=-1)
    work(site, 5)
    other.credentials.create("theirs", "generic-secret", "value-123")
    for event in stream.events():
        if event.event == "entry":
            assert event.data["tenantId"] == "another"
            if event.data["event"] == "credential.created":
                break


# How many, and how they end


def test_one_token_has_only_so_many_streams(site: Site, open_stream: Open) -> None:
    server = site.serve(limits=QUICK._replace(streams_of_token=2))
    streams = [open_stream(server) for _ in range(2)]
    refused = site.client(server, site.admin).get("/v1/audit/stream")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    second = site.token(human="second@example.com", role="admin")
    open_stream(server, token=second)
    assert "vaultctl_audit_streams 3.0" in site.client(server).get("/metrics").text
    streams[0].response.close()
    client = site.client(server, site.admin)
    for _ in range(500):
        with client.stream("GET", "/v1/audit/stream") as again:
            if again.status_code == 200:
                return
    pytest.fail("a stream whose client went away still counts")


def test_all_tokens_together_have_only_so_many_streams(site: Site, open_stream: Open) -> None:
    server = site.serve(limits=QUICK._replace(streams=1))
    open_stream(server)
    second = site.token(human="second@example.com", role="admin")
    assert site.client(server, second).get("/v1/audit/stream").status_code == 429


def test_a_stop_ends_streams_at_once_and_says_when_to_come_back(site: Site, open_stream: Open) -> None:
    server = site.serve(limits=USUAL._replace(poll_seconds=60))
    stream = open_stream(server)
    events = stream.events()
    next(events)
    assert server.stop(10)
    assert [event.retry for event in events] == [2000]


def test_a_vault_that_is_unavailable_for_a_moment_does_not_end_a_stream(site: Site, open_stream: Open) -> None:
    class Flaky(Service):
        down = False

        async def perform(self, *arguments: Any, **options: Any) -> Any:
            if self.down:
                raise VaultUnavailable("The database is away.")
            return await super().perform(*arguments, **options)

    service = Flaky(site.door.engine)
    stream = open_stream(site.serve(limits=QUICK, service=service))
    events = stream.events()
    next(events)
    service.down = True
    next(events)
    work(site)
    service.down = False
    assert stream.entries(1)[0]["event"] == "credential.updated"
