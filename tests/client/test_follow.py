"""Following the audit log: by looking again and again, and by a server's stream of events."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client import answers
from tests.client.scripted_server import ScriptedServer, answer, events, hang_up, problem
from tests.vaults import new_vault
from vaultctl.client import AsyncVault, Vault
from vaultctl.client.following import Poll, newest
from vaultctl.client.remote.adapter import RemoteAdapter
from vaultctl.client.remote.async_adapter import AsyncRemoteAdapter
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import NotAllowed, NotAuthenticated, VaultError, VaultUnavailable
from vaultctl.domain.records import AuditEntry, Page
from vaultctl.domain.secrets import Secret
from vaultctl.domain.wire import from_json_object

SHORT = 0.01


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaultctl.client.remote.exchange.FIRST_PAUSE", 0.005)


def seqs(entries: Iterator[AuditEntry], count: int) -> list[int]:
    return [entry.seq for entry in islice(entries, count)]


class FakeLog:
    """Answers queries from a log of which some entries match, a page of ``size`` at a time."""

    def __init__(self, matching: list[bool], size: int) -> None:
        self.matching = matching
        self.size = size
        self.searched = 0

    def __call__(self, request: Any) -> Any:
        if request.after_seq is None:
            last = len(self.matching) - 1
            return Page(items=(self.entry(last),) if last >= 0 else ())
        start = int(request.cursor) if request.cursor else request.after_seq + 1
        end = min(start + self.size, len(self.matching))
        self.searched += max(0, end - start)
        items = tuple(self.entry(seq) for seq in range(start, end) if self.matching[seq])
        return Page(items=items, next_cursor=str(end) if end < len(self.matching) else None)

    @staticmethod
    def entry(seq: int) -> AuditEntry:
        return from_json_object(answers.entry(seq), AuditEntry)


@given(
    st.lists(st.lists(st.booleans(), max_size=12), max_size=6),
    st.integers(1, 5),
    st.integers(-1, 5),
)
def test_a_poll_finds_each_entry_once_and_searches_none_twice(growth: list[list[bool]], size: int, after: int) -> None:
    log = FakeLog([], size)
    poll = Poll(log, ask.QueryAudit(after_seq=after))
    found: list[int] = []
    for grown in growth:
        log.matching += grown
        for _ in range(100):
            found += [entry.seq for entry in poll.step()]
            if poll.caught_up:
                break
        assert poll.caught_up
    assert found == [seq for seq, matches in enumerate(log.matching) if matches and seq > after]
    assert log.searched <= len(log.matching)


def test_the_end_of_the_log_is_that_of_the_session_that_may_be_read() -> None:
    assert newest(ask.QueryAudit(agent="x", session_id="s")) == ask.QueryAudit(session_id="s", limit=1)
    assert newest(ask.QueryAudit(identity_session_id="s")) == ask.QueryAudit(session_id="s", limit=1)


class TestEmbedded:
    """The vault of this machine."""

    @pytest.fixture
    def vault(self, fast_path: Path) -> Iterator[Vault]:
        new_vault(fast_path)
        with Vault.embedded(home=fast_path) as vault:
            yield vault

    def test_it_begins_where_it_is_told(self, vault: Vault) -> None:
        vault.tokens.create(agent="a")
        vault.tokens.create(agent="b")
        assert seqs(vault.audit_log.follow(-1, poll_seconds=SHORT), 3) == [0, 1, 2]
        assert seqs(vault.audit_log.follow(1, poll_seconds=SHORT), 1) == [2]

    def test_it_begins_with_what_comes_from_now_on(self, vault: Vault) -> None:
        coming = vault.audit_log.follow(poll_seconds=SHORT)
        vault.tokens.create(agent="a")
        assert seqs(coming, 1) == [1]

    def test_it_waits_for_what_comes(self, vault: Vault) -> None:
        coming = vault.audit_log.follow(poll_seconds=SHORT, events=["token.revoked"])
        made = vault.tokens.create(agent="a")
        timer = threading.Timer(0.05, vault.tokens.revoke, [made.token.id])
        timer.start()
        assert next(coming).event == "token.revoked"
        timer.join()

    def test_closing_the_vault_ends_it(self, vault: Vault) -> None:
        timer = threading.Timer(0.05, vault.close)
        timer.start()
        assert list(vault.audit_log.follow(poll_seconds=60)) == []
        timer.join()

    def test_whoever_may_not_read_the_log_may_not_follow_it(self, vault: Vault, fast_path: Path) -> None:
        token = vault.tokens.create(human="ann@example.com", role="manager").secret
        with Vault.connect(token=token, home=fast_path) as manager:
            with pytest.raises(NotAllowed):
                manager.audit_log.follow()
            with pytest.raises(NotAllowed):
                next(manager.audit_log.follow(-1))

    def test_an_agent_follows_its_own_session(self, vault: Vault, fast_path: Path) -> None:
        token = vault.tokens.create(agent="a", credentials=["*"]).secret
        with Vault.connect(token=token, home=fast_path) as agent:
            opened = agent.sessions.open()
        with Vault.connect(token=opened.token, home=fast_path) as session:
            coming = session.audit_log.follow(poll_seconds=SHORT)
            vault.tokens.create(agent="b")  # nothing that it may read
            session.sessions.end(opened.session.id)
            with pytest.raises(NotAuthenticated):
                next(coming)


def entry_event(seq: int) -> bytes:
    return f"id: {seq}\nevent: entry\ndata: {json.dumps(answers.entry(seq))}\n\n".encode()


def problem_event(status: int, code: str) -> bytes:
    content = {"status": status, "code": code, "detail": "Refused.", "hint": "Do this."}
    return f"event: problem\ndata: {json.dumps(content)}\n\n".encode()


END = problem_event(401, "not_authenticated")


class Follower:
    """Follows a server through one of the two adapters."""

    def __init__(self, kind: str, base_url: str, token: Secret) -> None:
        self._kind = kind
        self._server = (base_url, token)
        self.states: list[bool] = []

    def to_the_end(self, after_seq: int | None = -1, **filters: Any) -> tuple[list[int], type[VaultError] | None]:
        """Everything that comes, and the error that ends it."""
        found: list[int] = []
        try:
            if self._kind == "sync":
                with Vault(RemoteAdapter(*self._server)) as vault:
                    for entry in vault.audit_log.follow(after_seq, on_state=self.states.append, **filters):
                        found.append(entry.seq)
            else:
                asyncio.run(self._to_the_end(found, after_seq, filters))
        except VaultError as error:
            return found, type(error)
        return found, None

    async def _to_the_end(self, found: list[int], after_seq: int | None, filters: dict[str, Any]) -> None:
        async with AsyncVault(AsyncRemoteAdapter(*self._server)) as vault:
            async for entry in vault.audit_log.follow(after_seq, on_state=self.states.append, **filters):
                found.append(entry.seq)


@pytest.fixture(params=["sync", "async"])
def follower(request: pytest.FixtureRequest, server: ScriptedServer, token: Secret) -> Follower:
    return Follower(request.param, server.base_url, token)


def targets(server: ScriptedServer) -> list[str]:
    return [received.target for received in server.received]


class TestRemote:
    """A server, which may go away and come back."""

    def test_a_stream_is_asked_for_with_its_filters(self, server: ScriptedServer, follower: Follower) -> None:
        server.script = [events(entry_event(8), END)]
        assert follower.to_the_end(7, agent="deploy-agent", events=["lease.created"]) == ([8], NotAuthenticated)
        assert targets(server) == ["/v1/audit/stream?agent=deploy-agent&event=lease.created&afterSeq=7"]
        assert server.received[0].headers["accept"] == "text/event-stream"

    def test_without_a_place_to_begin_the_end_of_the_log_is_asked_for_first(
        self, server: ScriptedServer, follower: Follower
    ) -> None:
        server.script = [answer(200, {"items": [answers.entry(41)]}), events(END)]
        follower.to_the_end(None)
        assert targets(server) == ["/v1/audit?limit=1", "/v1/audit/stream?afterSeq=41"]

    def test_after_a_break_it_goes_on_where_it_was(self, server: ScriptedServer, follower: Follower) -> None:
        whole = entry_event(2)
        server.script = [
            events(entry_event(0), entry_event(1), whole[:50]),
            hang_up,
            problem(503, "vault_unavailable"),
            problem(429, "too_many_requests"),
            answer(502, b"<html>", "text/html"),
            events(entry_event(1), whole[:9], whole[9:], b"id: 99\n\n"),
            events(END),
        ]
        assert follower.to_the_end() == ([0, 1, 2], NotAuthenticated)
        assert [target.rpartition("=")[2] for target in targets(server)] == ["-1", *["1"] * 5, "99"]
        assert follower.states == [False, True, False, True]

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_problem_that_passes_is_a_break(self, server: ScriptedServer, follower: Follower, status: int) -> None:
        server.script = [events(entry_event(0), problem_event(status, "vault_unavailable")), events(END)]
        assert follower.to_the_end() == ([0], NotAuthenticated)

    @pytest.mark.parametrize("nonsense", [b"event: entry\ndata: {}\n\n", b"event: problem\ndata: x\n\n"])
    def test_nonsense_is_a_break(self, server: ScriptedServer, follower: Follower, nonsense: bytes) -> None:
        server.script = [events(nonsense), events(entry_event(0), END)]
        assert follower.to_the_end() == ([0], NotAuthenticated)

    def test_a_refusal_ends_it(self, server: ScriptedServer, follower: Follower) -> None:
        server.script = [events(entry_event(0)), problem(403, "not_allowed")]
        assert follower.to_the_end() == ([0], NotAllowed)

    def test_a_server_of_another_kind_ends_it(self, server: ScriptedServer, follower: Follower) -> None:
        server.script = [answer(200, b"<html>", "text/html")]
        assert follower.to_the_end() == ([], VaultUnavailable)

    def test_a_server_that_never_answered_is_given_up(self, server: ScriptedServer, follower: Follower) -> None:
        server.script = [hang_up]
        assert follower.to_the_end() == ([], VaultUnavailable)
        assert len(server.received) == 4
        assert follower.states == []

    def test_the_server_says_how_soon_to_come_back(self, server: ScriptedServer, follower: Follower) -> None:
        server.script = [events(b"retry: 300\n\n"), events(END)]
        started = time.monotonic()
        follower.to_the_end()
        assert time.monotonic() - started >= 0.3

    def test_closing_the_vault_ends_it(self, server: ScriptedServer, token: Secret) -> None:
        server.script = [self._endless(server)]
        vault = Vault(RemoteAdapter(server.base_url, token))
        coming = vault.audit_log.follow(-1)
        assert next(coming).seq == 0
        timer = threading.Timer(0.05, vault.close)
        started = time.monotonic()
        timer.start()
        assert list(coming) == []
        assert time.monotonic() - started < 5
        timer.join()

    def test_closing_the_vault_ends_it_in_an_event_loop_too(self, server: ScriptedServer, token: Secret) -> None:
        server.script = [self._endless(server)]

        async def follow() -> list[int]:
            vault = AsyncVault(AsyncRemoteAdapter(server.base_url, token))
            found = []
            async with asyncio.timeout(5):
                async for entry in vault.audit_log.follow(-1):
                    found.append(entry.seq)
                    asyncio.get_running_loop().call_later(0.05, lambda: closing.append(create(vault.close())))
            return found

        closing: list[asyncio.Task[None]] = []
        create: Callable[..., asyncio.Task[None]] = lambda coroutine: asyncio.create_task(coroutine)  # noqa: E731
        assert asyncio.run(follow()) == [0]

    def test_whoever_stops_reading_gives_the_connection_back(self, server: ScriptedServer, token: Secret) -> None:
        server.script = [self._endless(server)]

        async def read_one() -> None:
            async with AsyncVault(AsyncRemoteAdapter(server.base_url, token)) as vault:
                coming = vault.audit_log.follow(-1)
                assert (await anext(coming)).seq == 0
                await coming.aclose()
                assert vault._adapter._connections._made._pool.connections == []  # type: ignore[attr-defined]

        asyncio.run(read_one())
        with Vault(RemoteAdapter(server.base_url, token)) as vault:
            sync_coming = vault.audit_log.follow(-1)
            assert next(sync_coming).seq == 0
            sync_coming.close()  # type: ignore[attr-defined]
            assert vault._adapter._made._pool.connections == []  # type: ignore[attr-defined]

    @staticmethod
    def _endless(server: ScriptedServer) -> Callable[..., bool]:
        def act(connection: Any, received: object) -> bool:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + entry_event(0))
            server.ending.wait(10)
            return False

        return act
