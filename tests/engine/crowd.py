"""Callers without a client around them, as a server has them, and a store that can be told to fail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.contract.world import Embedded
from vaultctl.domain import requests as ask
from vaultctl.domain.records import AuditEntry, CredentialType, IssuedLease, IssuedToken, OpenedSession
from vaultctl.domain.secrets import Secret
from vaultctl.engine.authentication import Bearer, Owner
from vaultctl.engine.engine import Engine, answer_of

TENANTS = ("my-org", "other-org")


class Crowd:
    """Two tenants with an agent and a credential each."""

    def __init__(self, door: Embedded) -> None:
        self.door = door
        self.engine = door.engine
        self.engine.perform(self.owner(), ask.CreateTenant(id="other-org"))
        self.tokens: dict[str, IssuedToken] = {}
        for tenant in TENANTS:
            self.store_credential("api", tenant)
            self.tokens[tenant] = self.mint(tenant)
        self.agents = {tenant: Bearer.of(token.secret) for tenant, token in self.tokens.items()}

    @staticmethod
    def owner(tenant: str = "my-org") -> Owner:
        return Owner(tenant, "owner@localhost")

    def store_credential(self, name: str, tenant: str = "my-org") -> None:
        request = ask.CreateCredential(name=name, type=CredentialType.API_KEY, value=Secret(f"{tenant}-{name}-0123456"))
        self.engine.perform(self.owner(tenant), request)

    def mint(self, tenant: str = "my-org", **options: Any) -> IssuedToken:
        request = ask.CreateToken(**({"agent": "ours", "credentials": ("*",)} | options))
        return self.engine.perform(self.owner(tenant), request)

    def open_session(self, tenant: str = "my-org") -> Bearer:
        opened: OpenedSession = self.engine.perform(self.agents[tenant], ask.OpenSession())
        return Bearer.of(opened.token)

    def log(self, tenant: str = "my-org") -> list[AuditEntry]:
        found: list[AuditEntry] = []
        while True:
            request = ask.QueryAudit(after_seq=len(found) - 1, limit=1000)
            page = self.engine.perform(self.owner(tenant), request)
            found += page.items
            if page.next_cursor is None:
                assert [entry.seq for entry in found] == list(range(len(found)))
                return found

    def events(self, tenant: str = "my-org") -> list[str]:
        return [entry.event.value for entry in self.log(tenant)]


def lease(name: str = "api", **options: Any) -> ask.CreateLease:
    return ask.CreateLease(credential_name=name, **options)


def leases_of(results: list[Any]) -> list[IssuedLease]:
    return [answer_of(result) for result in results]


class Meddler:
    """The real store, with somebody between it and the engine.

    Attributes:
        before_commit: Called before each commit.
        before_insert: Called before each row that is added.
        on_read: Called with the type of each row that is read.
        on_upkeep: Called before the store sees to itself.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self.before_commit: Callable[[], None] = lambda: None
        self.before_insert: Callable[[Any], None] = lambda row: None
        self.on_read: Callable[[Any], None] = lambda row_type: None
        self.on_upkeep: Callable[[], None] = lambda: None

    def read(self, **options: Any) -> Any:
        return self._store.read(**options)

    @contextmanager
    def write(self, patience: float | None = None) -> Iterator[Any]:
        with self._store.write(patience) as tx:
            yield _MeddledTransaction(tx, self)
            self.before_commit()

    def maintain(self) -> None:
        self.on_upkeep()
        self._store.maintain()

    def close(self) -> None:
        self._store.close()


class _MeddledTransaction:
    def __init__(self, tx: Any, meddler: Meddler) -> None:
        self._tx = tx
        self._meddler = meddler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def get(self, row_type: Any, *key: Any) -> Any:
        self._meddler.on_read(row_type)
        return self._tx.get(row_type, *key)

    def find(self, row_type: Any, *conditions: Any, **options: Any) -> Any:
        self._meddler.on_read(row_type)
        return self._tx.find(row_type, *conditions, **options)

    def insert(self, row: Any) -> None:
        self._meddler.before_insert(row)
        self._tx.insert(row)


def meddled(crowd: Crowd) -> tuple[Meddler, Engine]:
    """Another engine on the same store, with a meddler in between."""
    meddler = Meddler(crowd.door.store)
    return meddler, Engine(meddler, crowd.door.root)
