"""Rules 1 and 9: a change and its entry are written together or not at all, whichever write fails."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.contract.world import Vault
from tests.engine.conftest import Workshop
from vaultctl.client.embedded import EmbeddedAdapter
from vaultctl.crypto.tokens import token_hash
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput, NotFound, VaultError, VaultUnavailable
from vaultctl.engine.authentication import Bearer, Owner, Principal
from vaultctl.engine.dispatch import Call, apply
from vaultctl.engine.engine import Engine
from vaultctl.engine.holding import tenants_of
from vaultctl.engine.keys import Keys
from vaultctl.engine.transaction import Transaction
from vaultctl.store.rows import EntryRow

OWNER = Owner("my-org", "owner@localhost")


class FailingStore:
    """The real store, whose writes fail from a certain one on."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.left: int | None = None
        """How many writes still succeed; None for all."""
        self.of = object
        """Only writes of rows of this type fail."""

    def read(self, **options: Any) -> Any:
        return self._store.read(**options)

    @contextmanager
    def write(self, patience: float | None = None) -> Iterator[Any]:
        with self._store.write(patience) as tx:
            yield _FailingTransaction(tx, self)

    def close(self) -> None:
        self._store.close()


class _FailingTransaction:
    def __init__(self, tx: Any, store: FailingStore) -> None:
        self._tx = tx
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def insert(self, row: Any) -> None:
        self._spend(row)
        self._tx.insert(row)

    def update(self, row: Any, columns: Any = None) -> None:
        self._spend(row)
        self._tx.update(row, columns)

    def delete(self, row_type: Any, *conditions: Any) -> None:
        self._spend(None)
        self._tx.delete(row_type, *conditions)

    def _spend(self, row: Any) -> None:
        if self._store.left is None or not (row is None or isinstance(row, self._store.of)):
            return
        if self._store.left == 0:
            raise VaultUnavailable("The disk is full.", hint="Make room.")
        self._store.left -= 1


def dump(workshop: Workshop) -> dict[str, list[Any]]:
    """All that is stored."""
    with sqlite3.connect(workshop.path) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}
    connection.close()
    return found


def entries(content: dict[str, list[Any]]) -> int:
    return len(content["entries"])


@pytest.fixture
def failing(workshop: Workshop) -> FailingStore:
    return FailingStore(workshop.store)


@pytest.fixture
def owner(workshop: Workshop, failing: FailingStore) -> Vault:
    vault = Vault(EmbeddedAdapter(Engine(failing, workshop.root), OWNER))
    vault.credentials.create("api", "api-key", "key-0123456789")
    vault.credentials.rotate("api", "key-9876543210")
    return vault


def _connect(workshop: Workshop, failing: FailingStore, token: Any) -> Vault:
    return Vault(EmbeddedAdapter(Engine(failing, workshop.root), Bearer(token_hash(token))))


OPERATIONS: dict[str, Callable[[Vault, Vault, Vault], object]] = {
    "credential create": lambda owner, agent, session: owner.credentials.create("new", "api-key", "key-0000000000"),
    "credential update": lambda owner, agent, session: owner.credentials.update("api", metadata={"a": "b"}, allow=[]),
    "credential rotate": lambda owner, agent, session: owner.credentials.rotate("api", "key-0000000000"),
    "credential rollback": lambda owner, agent, session: owner.credentials.rollback("api", 1),
    "credential revoke": lambda owner, agent, session: owner.credentials.revoke("api"),
    "credential delete": lambda owner, agent, session: owner.credentials.delete("api"),
    "lease create": lambda owner, agent, session: session.leases.create("api", purpose="Working"),
    "lease renew": lambda owner, agent, session: session.leases.renew(session.leases.list()[0].id, "30m"),
    "lease revoke": lambda owner, agent, session: session.leases.revoke(session.leases.list()[0].id),
    "leases revoke": lambda owner, agent, session: owner.leases.revoke_where(credential="api"),
    "token create": lambda owner, agent, session: owner.tokens.create(agent="new"),
    "token rotate": lambda owner, agent, session: owner.tokens.rotate(_token(agent), ttl="1h"),
    "token revoke": lambda owner, agent, session: owner.tokens.revoke(_token(agent)),
    "session open": lambda owner, agent, session: agent.sessions.open("cortex_sess_2"),
    "session reopen": lambda owner, agent, session: agent.sessions.open("cortex_sess_1"),
    "session end": lambda owner, agent, session: agent.sessions.end("cortex_sess_1"),
    "tenant create": lambda owner, agent, session: owner.tenants.create("new"),
    "tenant update": lambda owner, agent, session: owner.tenants.update("my-org", max_lease_ttl="2h"),
}


def _token(agent: Vault) -> str:
    token = agent.whoami().token
    assert token is not None
    return token.id


@pytest.mark.parametrize("name", OPERATIONS)
def test_whichever_write_fails_nothing_is_written_and_nothing_is_answered(
    workshop: Workshop, failing: FailingStore, owner: Vault, name: str
) -> None:
    agent = _connect(workshop, failing, owner.tokens.create(agent="ours", credentials=["*"]).secret)
    session = _connect(workshop, failing, agent.sessions.open("cortex_sess_1").token)
    session.leases.create("api", ttl="10m")
    agent.leases.create("api", ttl="10m")
    before = dump(workshop)
    for successes in range(100):
        failing.left = successes
        try:
            OPERATIONS[name](owner, agent, session)
        except VaultUnavailable:
            assert dump(workshop) == before
        else:
            break
    failing.left = None
    assert successes >= 3
    assert entries(dump(workshop)) > entries(before)


def test_a_tenant_whose_creation_failed_can_be_created_and_used(
    workshop: Workshop, failing: FailingStore, owner: Vault
) -> None:
    for successes in range(6):
        failing.left = successes
        with pytest.raises(VaultUnavailable):
            owner.tenants.create("new")
    failing.left = None
    owner.tenants.create("new")
    fresh = Engine(failing, workshop.root)
    for engine in (owner._adapter._engine, fresh):
        new = Vault(EmbeddedAdapter(engine, Owner("new", "owner@localhost")))
        name = f"api-{id(engine)}"
        new.credentials.create(name, "api-key", "key-0123456789")
        assert new.leases.create(name).value.reveal() == "key-0123456789"


def test_a_refusal_that_cannot_be_recorded_is_no_refusal_but_an_outage(
    workshop: Workshop, failing: FailingStore, owner: Vault
) -> None:
    agent = _connect(workshop, failing, owner.tokens.create(agent="ours", credentials=["other"]).secret)
    before = dump(workshop)
    failing.left, failing.of = 0, EntryRow
    for act in (lambda: agent.leases.create("api"), lambda: agent.credentials.get("api"), agent.tenants.list):
        with pytest.raises(VaultUnavailable, match="disk is full"):
            act()
    assert dump(workshop) == before


def test_no_value_leaves_if_its_entry_cannot_be_written(
    workshop: Workshop, failing: FailingStore, owner: Vault
) -> None:
    before = dump(workshop)
    failing.left, failing.of = 0, EntryRow
    with pytest.raises(VaultUnavailable):
        owner.leases.create("api")
    assert dump(workshop) == before


class TestSharedCommit:
    """Many operations in one transaction are what they are one by one."""

    def run(self, workshop: Workshop, *requests: tuple[Principal, ask.Request[Any]]) -> list[Any]:
        outcomes = []
        with workshop.store.write() as store_tx:
            tx = Transaction(store_tx, Keys(workshop.root, os.urandom), os.urandom)
            tx.hold(tenants_of(tx, [Call(*call) for call in requests]))
            outcomes = [apply(tx, Call(principal, request)) for principal, request in requests]
            tx.finish()
        return outcomes

    def test_entries_are_numbered_in_the_order_of_the_operations_in_each_tenant(self, workshop: Workshop) -> None:
        owner, other = workshop.world.owner(), workshop.world.owner("other")
        sizes = [len(vault.audit_log.query(limit=None)) for vault in (owner, other)]
        requests: list[tuple[Principal, ask.Request[Any]]] = []
        for i in range(64):
            principal = Owner(("my-org", "other")[i % 2], "owner@localhost")
            requests.append((principal, ask.CreateToken(agent=f"agent-{i}")))
        outcomes = self.run(workshop, *requests)
        assert all(outcome.refused is None for outcome in outcomes)
        for vault, size, start in ((owner, sizes[0], 0), (other, sizes[1], 1)):
            log = vault.audit_log.query(limit=None)
            assert [entry.seq for entry in log] == list(range(len(log)))
            assert [entry.details["agent"] for entry in log[size:]] == [f"agent-{i}" for i in range(start, 64, 2)]

    def test_a_refusal_among_them_is_recorded_and_the_others_stand(self, workshop: Workshop) -> None:
        owner = workshop.world.owner()
        owner.credentials.create("api", "api-key", "key-0123456789")
        owner.credentials.create("hidden", "api-key", "key-9876543210", allow=["agent:other"])
        agent = Bearer(token_hash(owner.tokens.create(agent="ours", credentials=["*"]).secret))
        outcomes = self.run(
            workshop,
            (agent, ask.CreateLease(credential_name="api")),
            (agent, ask.CreateLease(credential_name="hidden")),
            (OWNER, ask.RevokeCredential(name="api")),
            (agent, ask.CreateLease(credential_name="api")),
        )
        assert [None if o.refused is None else o.refused.refusal.rule for o in outcomes] == [
            None,
            "allowed-identities",
            None,
            "credential-revoked",
        ]
        events = [entry.event for entry in owner.audit_log.query(limit=5)]
        assert events == ["lease.created", "lease.denied", "lease.revoked", "credential.revoked", "lease.denied"]
        assert owner.leases.list(state="active") == []

    def test_one_that_fails_takes_nothing_of_the_batch_with_it_into_the_store(self, workshop: Workshop) -> None:
        before = dump(workshop)
        with pytest.raises(InvalidInput):
            self.run(workshop, (OWNER, ask.CreateToken(agent="fine")), (OWNER, ask.CreateToken(agent="Not A Name")))
        assert dump(workshop) == before


def test_an_unexpected_exception_leaves_nothing_either(
    workshop: Workshop, owner: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(workshop)

    def explode(*args: object, **kwargs: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(Transaction, "finish", explode)
    with pytest.raises(RuntimeError):
        owner.leases.create("api")
    monkeypatch.undo()
    assert dump(workshop) == before
    with pytest.raises(NotFound):
        owner.leases.get("lease_none")
    assert issubclass(VaultUnavailable, VaultError)
