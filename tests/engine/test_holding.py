"""Several nodes on one vault: the writes of a tenant form one sequence, whichever node they come from."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.contract.world import EmbeddedPostgres
from tests.engine.crowd import Crowd, lease, meddled
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import NotAuthenticated, VaultError
from vaultctl.domain.times import SECOND
from vaultctl.engine.authentication import VAULT_TENANT, Bearer
from vaultctl.engine.engine import Engine
from vaultctl.engine.idempotency import Idempotency
from vaultctl.store.postgres import PostgresStore
from vaultctl.store.rows import TokenRow

on_postgres = pytest.mark.parametrize("door", ["postgres"], indirect=True)
"""SQLite has one writer at a time."""


class Node:
    """Another server on the database of the first."""

    def __init__(self, crowd: Crowd) -> None:
        door = crowd.door
        assert isinstance(door, EmbeddedPostgres)
        self.store = PostgresStore(door._url, clock=crowd.door.store._clock)
        self.engine = Engine(self.store, door.root)


@pytest.fixture
def node(crowd: Crowd) -> Iterator[Node]:
    made = Node(crowd)
    yield made
    made.store.close()


def together(*functions: Callable[[], None]) -> None:
    """Run them at the same time; whatever one of them raises is raised."""
    errors: list[BaseException] = []

    def run(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


def held_by(engine: Engine, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """Which tenants the transactions of ``act`` ask to hold, one after the other."""
    asked: list[set[str]] = []
    write = engine._store.write

    @contextmanager
    def watched(patience: float | None = None) -> Iterator[Any]:
        with write(patience) as tx:
            hold = tx.hold

            def note(tenants: Any, *, wait: bool = True) -> frozenset[str]:
                asked.append(set(tenants))
                return hold(tenants, wait=wait)

            tx.hold = note
            yield tx

    monkeypatch.setattr(engine._store, "write", watched)
    act()
    monkeypatch.undo()
    return asked


def test_a_call_holds_the_tenants_that_it_can_change_before_it_reads(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, owner, agent = crowd.engine, crowd.owner(), crowd.agents["other-org"]
    operator = Bearer.of(engine.perform(owner, ask.CreateToken(operator=True)).secret)
    token = crowd.mint().token.id
    for principal, request, expected in (
        (agent, lease(), {"other-org"}),
        (owner, ask.UpdateTenant(id="other-org", max_lease_ttl=None, default_lease_ttl=None), {"my-org", "other-org"}),
        (owner, ask.CreateToken(operator=True), {"my-org", VAULT_TENANT}),
        (owner, ask.RotateToken(id=token), {"my-org", VAULT_TENANT}),
        (operator, ask.CreateTenant(id="third-org"), {VAULT_TENANT, "third-org"}),
        (agent, ask.UpdateTenant(id="my-org"), {"other-org"}),  # which it may not change
        (Bearer(b"?" * 32), lease(), set()),
    ):

        def act(principal: Any = principal, request: Any = request) -> None:
            with suppress(VaultError):
                engine.perform(principal, request)

        asked = held_by(engine, act, monkeypatch)
        assert set().union(*asked) == expected, request


def test_a_token_that_is_made_while_its_call_begins_is_looked_for_again(crowd: Crowd) -> None:
    _, engine = meddled(crowd)
    write = crowd.door.store.write
    hidden = True

    class _Blind:
        def __init__(self, tx: Any) -> None:
            self._tx = tx

        def __getattr__(self, name: str) -> Any:
            return getattr(self._tx, name)

        def find(self, row_type: Any, *conditions: Any, **options: Any) -> Any:
            nonlocal hidden
            if row_type is TokenRow and hidden:
                hidden = False
                return []
            return self._tx.find(row_type, *conditions, **options)

    @contextmanager
    def blind(patience: float | None = None) -> Iterator[Any]:
        with write(patience) as tx:
            yield _Blind(tx)

    engine._store.write = blind  # type: ignore[method-assign]
    assert engine.perform(crowd.agents["my-org"], lease()).lease.credential_name == "api"
    assert not hidden
    assert crowd.events()[-1] == "lease.created"


@on_postgres
def test_no_lease_outlives_its_token_when_two_nodes_issue_and_revoke(crowd: Crowd, node: Node) -> None:
    for _ in range(12):
        token = crowd.mint()
        bearer = Bearer.of(token.secret)
        begun = threading.Event()

        def issue(bearer: Bearer = bearer, begun: threading.Event = begun) -> None:
            try:
                while True:
                    node.engine.perform(bearer, lease())
                    begun.set()
            except NotAuthenticated:
                pass

        def revoke(token_id: str = token.token.id, begun: threading.Event = begun) -> None:
            assert begun.wait(30)
            crowd.engine.perform(crowd.owner(), ask.RevokeToken(id=token_id))

        together(issue, revoke)
        states = {item.state for item in crowd.engine.perform(crowd.owner(), ask.ListLeases(limit=1000)).items}
        assert states == {"revoked"}
    crowd.log()  # which checks that seq has no hole


@on_postgres
def test_entries_of_two_nodes_are_one_sequence_in_which_time_never_goes_back(crowd: Crowd, node: Node) -> None:
    def issue(engine: Engine, tenants: tuple[str, ...]) -> Callable[[], None]:
        def run() -> None:
            for number in range(30):
                engine.perform(crowd.agents[tenants[number % 2]], lease())
                crowd.door.store._clock.micros += 7 if engine is node.engine else -3

        return run

    together(issue(crowd.engine, ("my-org", "other-org")), issue(node.engine, ("other-org", "my-org")))
    for tenant in ("my-org", "other-org"):
        log = crowd.log(tenant)
        assert [entry.event for entry in log].count("lease.created") == 30
        assert [entry.timestamp for entry in log] == sorted(entry.timestamp for entry in log)


@on_postgres
def test_nodes_share_the_reaper_s_work(crowd: Crowd, node: Node) -> None:
    for tenant in ("my-org", "other-org"):
        crowd.engine.perform(crowd.agents[tenant], lease())
    crowd.door.store._clock.micros += 7200 * SECOND
    with crowd.door.store.write() as tx:
        assert tx.hold({"my-org"}).keys() == {"my-org"}
        assert node.engine.reap() == 1  # it does not wait for what another one holds
    assert crowd.events("other-org")[-1] == "lease.expired"
    assert crowd.events("my-org")[-1] == "lease.created"
    assert node.engine.reap() == 1
    assert crowd.events("my-org")[-1] == "lease.expired"
    assert node.engine.reap() == 0


@on_postgres
def test_one_idempotency_key_at_two_nodes_makes_one_thing(crowd: Crowd, node: Node) -> None:
    for number in range(10):
        made: list[str] = []

        def ask_for(engine: Engine, key: str = f"key-{number}", made: list[str] = made) -> None:
            issued = engine.perform(crowd.agents["my-org"], lease(), Idempotency(key, b"body"))
            made.append(issued.lease.id)

        together(lambda ask_for=ask_for: ask_for(crowd.engine), lambda ask_for=ask_for: ask_for(node.engine))
        assert len(made) == 2
        assert len(set(made)) == 1
    assert [crowd.events().count(event) for event in ("lease.created", "lease.replayed")] == [10, 10]
