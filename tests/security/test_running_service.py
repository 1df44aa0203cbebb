"""A service that remembers rows grants by what it remembers no more than by what the database says.

Others write to the same database meanwhile: other nodes, by the rules; somebody who can write to it, by none.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Clock
from tests.engine.crowd import Crowd, lease
from tests.security.served import STORES, Database
from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import NotAuthenticated, NotFound, VaultError, VaultUnavailable
from vaultctl.domain.records import AllowedIdentity, CredentialType
from vaultctl.domain.secrets import Secret
from vaultctl.engine.authentication import Bearer
from vaultctl.engine.engine import Engine
from vaultctl.engine.service import Service
from vaultctl.store.postgres import PostgresStore
from vaultctl.store.sqlite import SqliteStore


class Running:
    """A service in a loop of its own, and another node on the same database."""

    def __init__(self, store: str, directory: Path, clock: Clock, stack: ExitStack, *, seconds: float = 20.0) -> None:
        door = STORES[store](directory, clock, reaps=True)
        stack.callback(door.close)
        self.clock = clock
        self.crowd = Crowd(door)
        self.database = Database(directory, door)
        stack.callback(self.database.close)
        url = getattr(door, "_url", None)
        other = SqliteStore(directory / "vault.db", clock=clock) if url is None else PostgresStore(url, clock=clock)
        self.other = Engine(other, door.root)
        stack.callback(self.other.close)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        stack.callback(self._end)
        self.service = Service(door.engine, reap_seconds=1e6, seconds=seconds)
        self.call(self._start())

    async def _start(self) -> None:
        self.service.start()

    def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(30)

    def ask(self, principal: Any, request: Any) -> Any:
        return self.call(self.service.perform(principal, request)).answer

    def failure(self, principal: Any, request: Any) -> VaultError | None:
        try:
            self.ask(principal, request)
        except VaultError as error:
            return error
        return None

    def elsewhere(self, request: Any) -> Any:
        """What another node does for the owner."""
        return self.other.perform(Crowd.owner(), request)

    @contextmanager
    def busy(self) -> Iterator[None]:
        """As long as another node writes to the tenant for ever."""
        with self.other._store.write() as tx:
            tx.hold({"my-org"})
            yield

    def _end(self) -> None:
        self.call(self.service.stop(5))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(params=STORES)
def running(request: pytest.FixtureRequest, fast_path: Path, clock: Clock) -> Iterator[Running]:
    with ExitStack() as stack:
        yield Running(request.param, fast_path, clock, stack)


REVOCATIONS: dict[str, Callable[[str], ask.Request[Any]]] = {
    "token revoked": lambda token: ask.RevokeToken(id=token),
    "token rotated": lambda token: ask.RotateToken(id=token),
    "token expired": lambda token: ask.RotateToken(id=token, ttl=Duration.parse("1m")),
    "credential revoked": lambda token: ask.RevokeCredential(name="api"),
    "credential deleted": lambda token: ask.DeleteCredential(name="api"),
    "policy narrowed": lambda token: ask.UpdateCredential(
        name="api", allowed_identities=(AllowedIdentity(type="agent", name="other"),)
    ),
}


@pytest.mark.parametrize("revocation", REVOCATIONS)
def test_what_another_node_has_taken_away_is_refused_at_once(running: Running, revocation: str) -> None:
    agent, token = running.crowd.agents["my-org"], running.crowd.tokens["my-org"].token.id
    session = Bearer.of(running.ask(agent, ask.OpenSession()).token)
    for _ in range(3):  # by now the service knows them
        assert running.ask(agent, lease())
        assert running.ask(session, lease())
    running.elsewhere(REVOCATIONS[revocation](token))
    if revocation == "token expired":
        running.clock.advance("61s")
    assert isinstance(running.failure(agent, lease()), NotAuthenticated | NotFound)
    if revocation != "token rotated":  # whose sessions stay
        assert isinstance(running.failure(session, lease()), NotAuthenticated | NotFound)
    assert running.failure(agent, ask.ListCredentials()) is None or revocation.startswith("token")


@pytest.mark.parametrize("how", ["ended", "reopened", "idle"])
def test_a_session_that_another_node_has_ended_is_refused_at_once(running: Running, how: str) -> None:
    agent = running.crowd.agents["my-org"]
    opened = running.ask(agent, ask.OpenSession(id="mcp_sess_0123456789abcd"))
    session = Bearer.of(opened.token)
    assert running.ask(session, lease())
    match how:
        case "ended":
            running.elsewhere(ask.EndSession(id=opened.session.id))
        case "reopened":
            running.other.perform(agent, ask.OpenSession(id=opened.session.id))
        case "idle":
            running.clock.advance("15m")
    assert isinstance(running.failure(session, lease()), NotAuthenticated)
    assert isinstance(running.failure(session, ask.ListCredentials()), NotAuthenticated)


def test_a_value_that_another_node_has_rotated_is_leased_anew(running: Running) -> None:
    agent = running.crowd.agents["my-org"]
    assert running.ask(agent, lease()).value.reveal() == "my-org-api-0123456"
    running.elsewhere(ask.RotateCredential(name="api", value=Secret("rotated-0123456")))
    assert running.ask(agent, lease()).value.reveal() == "rotated-0123456"


# Somebody who can write to the database

WIDENED = {
    "a token's scope": """UPDATE tokens SET credentials = '["*"]' WHERE agent = 'narrow'""",
    "a token's agent": "UPDATE tokens SET agent = 'ours' WHERE agent = 'narrow'",
    "a token's role": "UPDATE tokens SET role = 'admin', kind = 'human' WHERE agent = 'narrow'",
    "a policy": "UPDATE credentials SET allowed_identities = '[]' WHERE name = 'hidden'",
    "another's hash": "UPDATE tokens SET hash = (SELECT hash FROM tokens WHERE agent = 'narrow') WHERE agent = 'ours'",
    "a credential's name": "UPDATE credentials SET name = 'api2' WHERE name = 'hidden'",
}


@pytest.mark.parametrize("forgotten", [False, True], ids=["remembered", "forgotten"])
@pytest.mark.parametrize("how", WIDENED)
def test_a_row_that_was_edited_grants_a_running_service_s_caller_nothing(
    running: Running, how: str, forgotten: bool
) -> None:
    only_others = ask.UpdateCredential(name="hidden", allowed_identities=(AllowedIdentity(type="agent", name="other"),))
    running.crowd.store_credential("hidden")
    running.elsewhere(only_others)
    narrow = Bearer.of(running.crowd.mint(agent="narrow", credentials=("api*",)).secret)
    assert running.ask(narrow, lease())
    assert running.failure(narrow, lease("hidden")) is not None
    try:
        running.database.run(WIDENED[how])
    except Exception:  # the schema keeps it out
        assert how == "another's hash"
    if forgotten:
        running.elsewhere(
            ask.CreateCredential(name="any", type=CredentialType.GENERIC_SECRET, value=Secret("any-0123456789"))
        )
    for name in ("hidden", "api2"):
        assert running.failure(narrow, lease(name)) is not None
    assert running.failure(narrow, ask.ListTokens()) is not None


TAKEN_AWAY = {
    "token": lambda running: ask.RevokeToken(id=running.crowd.tokens["my-org"].token.id),
    "credential": lambda running: ask.RevokeCredential(name="api"),
}


@pytest.mark.parametrize("what", TAKEN_AWAY)
def test_a_log_that_was_set_back_does_not_bring_back_what_is_remembered_of_then(running: Running, what: str) -> None:
    """As by a restored backup, or a standby that took over without the last commits."""
    agent = running.crowd.agents["my-org"]
    assert running.ask(agent, lease())
    ((size, checkpoints),) = running.database.run("SELECT size, checkpoints FROM logs WHERE tenant = 'my-org'")
    running.database.run("CREATE TABLE kept AS SELECT * FROM logs")
    assert running.ask(agent, lease())
    running.database.run(f"DELETE FROM entries WHERE tenant = 'my-org' AND seq >= {size}")
    running.database.run(f"DELETE FROM checkpoints WHERE tenant = 'my-org' AND number >= {checkpoints}")
    running.database.run("DELETE FROM logs")
    running.database.run("INSERT INTO logs SELECT * FROM kept")
    running.database.run("DROP TABLE kept")
    # Where there are entries that are remembered, there are others now.
    running.elsewhere(TAKEN_AWAY[what](running))
    assert isinstance(running.failure(agent, lease()), NotAuthenticated | NotFound)


MADE_UP = ("size = 0", "size = 2", "last_time = 0", "size = 9000000000000000000")


@pytest.mark.parametrize("change", MADE_UP)
def test_a_head_that_was_made_up_loses_no_entry_and_stops_no_other_tenant(running: Running, change: str) -> None:
    agent, other = running.crowd.agents["my-org"], running.crowd.agents["other-org"]
    assert running.ask(agent, lease())
    assert running.ask(other, lease())
    body = "SELECT body FROM entries WHERE tenant = 'my-org' ORDER BY seq"
    entries = running.database.run(body)
    running.database.run(f"UPDATE logs SET {change} WHERE tenant = 'my-org'")
    failure = running.failure(agent, lease())
    found = running.database.run(body)
    assert found[: len(entries)] == entries
    assert (failure is None) == (len(found) > len(entries))  # what is released is recorded
    assert running.ask(other, lease())
    assert running.service.conflicts == 0  # nobody was kept waiting by tries that must fail


def test_a_tenant_that_was_deleted_from_the_database_is_served_no_more(running: Running) -> None:
    agent, other = running.crowd.agents["my-org"], running.crowd.agents["other-org"]
    assert running.ask(agent, lease())
    for table in ("logs", "tenants", "tenant_keys", "tokens", "credentials", "credential_versions"):
        running.database.run(f"DELETE FROM {table} WHERE tenant = 'my-org'")
    assert running.failure(agent, lease()) is not None
    assert running.failure(agent, ask.ListCredentials()) is not None
    assert running.ask(other, lease())


def test_a_clock_that_goes_back_revives_nothing(running: Running) -> None:
    short = Bearer.of(running.crowd.mint(ttl=Duration.parse("10m")).secret)
    agent = running.crowd.agents["my-org"]
    issued = running.ask(agent, lease(ttl=Duration.parse("10m")))
    assert running.ask(short, lease())
    start = running.clock.micros
    running.clock.advance("11m")
    assert running.ask(agent, lease())  # an entry is there from then
    for minutes in (2, 8):
        running.clock.micros = start + (11 - minutes) * 60 * 1_000_000
        for principal, request in ((short, lease()), (agent, ask.RenewLease(id=issued.lease.id))):
            failure = running.failure(principal, request)
            assert failure is not None, minutes
            assert minutes == 2 or isinstance(failure, VaultUnavailable)


@pytest.mark.parametrize("store", STORES)
def test_a_sign_of_life_that_waited_too_long_is_recorded_late_and_not_for_ever_missing(
    store: str, fast_path: Path, clock: Clock
) -> None:
    with ExitStack() as stack:
        running = Running(store, fast_path, clock, stack, seconds=0.01)
        agent = running.crowd.agents["my-org"]
        session = running.crowd.open_session()
        assert eventually(lambda: running.ask(agent, ask.ListCredentials()))
        for _ in range(2):
            clock.advance("2m")
            with running.busy():
                assert isinstance(running.failure(agent, lease()), VaultUnavailable)
                assert eventually(lambda: running.ask(session, ask.ListCredentials()))
                assert isinstance(running.failure(agent, lease()), VaultUnavailable)
            seen = "SELECT last_seen_at FROM sessions"
            assert eventually(lambda seen=seen: running.database.run(seen) == [(clock.micros,)])


def eventually(look: Callable[[], Any]) -> bool:
    """Whether ``look`` finds something before long."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with suppress(VaultUnavailable):
            if look():
                return True
    return False
