"""The doors that a vault is reached through, and the world in which the tests meet it.

A test of the contract knows ``Vault``, its world and nothing else, so that another door is one more entry in
:data:`DOORS`.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from psycopg.errors import SerializationFailure

from tests.api.harness import running_server
from tests.conftest import Clock
from tests.postgres import LENT
from tests.vaults import new_database
from vaultctl.api import operations
from vaultctl.api.bearer import bearer_of
from vaultctl.api.exchange import Exchange
from vaultctl.api.throttle import FailedAuthentications
from vaultctl.client.embedded import EmbeddedAdapter
from vaultctl.client.remote.adapter import RemoteAdapter
from vaultctl.client.vault import Adapter, Vault
from vaultctl.crypto.root_keys import RootKey
from vaultctl.crypto.tokens import new_token_secret, token_hash
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultError
from vaultctl.domain.records import Identity, IssuedToken, OpenedSession, Page, Role
from vaultctl.domain.secrets import Secret
from vaultctl.engine.authentication import Bearer, Owner, Principal
from vaultctl.engine.engine import REAP_BATCH, Engine
from vaultctl.engine.founding import found_vault
from vaultctl.engine.service import Service
from vaultctl.store.interface import Store
from vaultctl.store.postgres import Isolation, PostgresStore
from vaultctl.store.sqlite import SqliteStore

T = TypeVar("T")

HOME_TENANT = "my-org"
"""The tenant that every world has."""

Bearing = str | Secret | IssuedToken | OpenedSession


class Door(Protocol):
    """One way into one vault."""

    def admin(self, tenant: str) -> Vault:
        """A human with the role admin in a tenant, who may also administer the vault."""
        ...

    def connect(self, token: Secret, tenant: str | None) -> Vault:
        """Whoever a token says."""
        ...

    def reap(self, limit: int) -> int:
        """Let the reaper run once, for at most ``limit`` records of each kind."""
        ...

    def close(self) -> None:
        """Shut the door."""
        ...


class Embedded:
    """The engine in this process."""

    def __init__(self, store: Store, clock: Clock, *, reaps: bool) -> None:
        self.store = store
        self.clock = clock
        self.root = RootKey.new(os.urandom)
        owner = Identity(type="human", user_id="owner", email="owner@localhost")
        found_vault(self.store, self.root, tenant=HOME_TENANT, owner=owner)
        self.engine = Engine(self.store, self.root)
        self._reaps = reaps

    def admin(self, tenant: str) -> Vault:
        return self._vault(Owner(tenant, "owner@localhost"))

    def connect(self, token: Secret, tenant: str | None) -> Vault:
        return self._vault(Bearer(token_hash(token), tenant))

    def reap(self, limit: int) -> int:
        return self.engine.reap(limit)

    def close(self) -> None:
        self.engine.close()

    def _vault(self, principal: Principal) -> Vault:
        adapter: Adapter = EmbeddedAdapter(self.engine, principal)
        return Vault(adapter if self._reaps else _LateReaper(self.engine, principal))


def sqlite_store(directory: Path, clock: Clock) -> Store:
    """A new SQLite file."""
    path = directory / "vault.db"
    new_database(path)
    return SqliteStore(path, clock=clock)


class EmbeddedSqlite(Embedded):
    """On an SQLite file."""

    def __init__(self, directory: Path, clock: Clock, *, reaps: bool) -> None:
        super().__init__(sqlite_store(directory, clock), clock, reaps=reaps)


class EmbeddedPostgres(Embedded):
    """On a PostgreSQL database, as ``isolation`` says."""

    isolation: Isolation = "READ COMMITTED"

    def __init__(self, directory: Path, clock: Clock, *, reaps: bool) -> None:
        self._url = LENT.borrow()
        super().__init__(
            PostgresStore(self._url, clock=clock, isolation=self.isolation, before_commit=self.before_commit),
            clock,
            reaps=reaps,
        )

    def before_commit(self, connection: object) -> None:
        """Nothing happens to a commit."""

    def close(self) -> None:
        super().close()
        LENT.give_back(self._url)


class UnderSerializable(EmbeddedPostgres):
    """On PostgreSQL under SERIALIZABLE, where every third commit fails at first and is run again."""

    isolation = "SERIALIZABLE"
    _commits = 0

    def before_commit(self, connection: object) -> None:
        self._commits += 1
        if self._commits % 3 == 0:
            raise SerializationFailure


class _LateReaper:
    """The embedded adapter, but for its reaping: as if the reaper were always late."""

    def __init__(self, engine: Engine, principal: Principal) -> None:
        self._engine = engine
        self._principal = principal

    def perform(self, request: ask.Request[T]) -> T:
        return self._engine.perform(self._principal, request)

    def close(self) -> None:
        self._engine.close()


class OverHTTP:
    """A server on loopback, in a thread, and a remote adapter for each caller; ``inner`` has the engine."""

    def __init__(self, inner: Embedded, *, reaps: bool) -> None:
        self._inner = inner
        self._reaps = reaps
        self._service = Service(inner.engine, reap_seconds=NEVER)
        self._server = running_server(
            inner.engine, inner.store, failures=FailedAuthentications(sleep=_no_time), service=self._service
        )
        self._url = self._server.__enter__().url
        self._vaults: list[Vault] = []
        self._reaped_at: int | None = None

    @property
    def store(self) -> Store:
        return self._inner.store

    def admin(self, tenant: str) -> Vault:
        # A server knows no owner, who has no token. For the tests it takes this one for the owner's.
        secret = new_token_secret(os.urandom)
        _OWNERS[token_hash(secret)] = tenant
        return self.connect(secret, None)

    def connect(self, token: Secret, tenant: str | None) -> Vault:
        adapter: Adapter = RemoteAdapter(self._url, token, tenant)
        self._vaults.append(Vault(_Prompt(adapter, self)))
        return self._vaults[-1]

    def before(self) -> None:
        """Before a request the reaper runs, unless it is late. While the clock stands, nothing more can have ended."""
        now = self._inner.clock()
        if self._reaps and now != self._reaped_at:
            with suppress(VaultError):
                while self._inner.engine.reap():
                    pass
                self._reaped_at = now

    def after(self) -> None:
        """A sign of life is recorded behind the answer; the clock must not be moved before that."""
        while self._service._touching:
            time.sleep(0.001)

    def reap(self, limit: int) -> int:
        return self._inner.reap(limit)

    def close(self) -> None:
        for vault in self._vaults:
            vault.close()
        self._server.__exit__(None, None, None)
        self._inner.close()


class _Prompt:
    """An adapter at a server that does at once what others do in their own time."""

    def __init__(self, adapter: Adapter, door: OverHTTP) -> None:
        self._adapter = adapter
        self._door = door
        self.follow = adapter.follow

    def perform(self, request: ask.Request[T]) -> T:
        self._door.before()
        try:
            return self._adapter.perform(request)
        finally:
            self._door.after()

    def close(self) -> None:
        self._adapter.close()


class _OwnerOverHTTP(Owner):
    """The owner as one who has a token."""

    @property
    def token_hash(self) -> bytes:
        return self.tenant.encode()


NEVER = 1e6
_OWNERS: dict[bytes, str] = {}
"""Tenants by the hashes of the tokens that the tests' servers take for their owner's."""


def _bearer_of(exchange: Exchange) -> Principal:
    bearer = bearer_of(exchange)
    tenant = _OWNERS.get(bearer.token_hash)
    return bearer if tenant is None else _OwnerOverHTTP(tenant, "owner@localhost")


operations.bearer_of = _bearer_of  # type: ignore[assignment]


async def _no_time(_: float) -> None:
    """Wait for nothing."""


def _http(make_inner: Callable[..., Embedded]) -> "MakeDoor":
    def make(directory: Path, clock: Clock, *, reaps: bool) -> Door:
        return OverHTTP(make_inner(directory, clock, reaps=reaps), reaps=reaps)

    return make


class MakeDoor(Protocol):
    """Founds a vault in an empty folder. ``reaps``: the reaper runs by itself, before every answer at the latest."""

    def __call__(self, directory: Path, clock: Clock, *, reaps: bool) -> Door: ...


DOORS: dict[str, MakeDoor] = {
    "embedded-sqlite": EmbeddedSqlite,
    "embedded-postgres": EmbeddedPostgres,
    "http-sqlite": _http(EmbeddedSqlite),
    "http-postgres": _http(UnderSerializable),
}


class World:
    """A vault with everybody who uses it, and the time."""

    def __init__(self, make_door: MakeDoor, directory: Path, clock: Clock, *, reaps: bool = True) -> None:
        self.clock = clock
        self._door = make_door(directory, clock, reaps=reaps)
        self._admins = {HOME_TENANT: self._door.admin(HOME_TENANT)}

    def owner(self, tenant: str = HOME_TENANT) -> Vault:
        """Who runs the vault, as admin of ``tenant``, which is made if it is not there."""
        if tenant not in self._admins:
            self._admins[HOME_TENANT].tenants.create(tenant)
            self._admins[tenant] = self._door.admin(tenant)
        return self._admins[tenant]

    def connect(self, token: Bearing, tenant: str | None = None) -> Vault:
        """Whoever ``token`` says, expecting it to be of ``tenant`` if one is named."""
        return self._door.connect(secret_of(token), tenant)

    def agent(self, name: str, *credentials: str, tenant: str = HOME_TENANT, **options: str) -> Vault:
        """An agent with a new token."""
        return self.connect(self.owner(tenant).tokens.create(agent=name, credentials=credentials, **options))

    def human(self, email: str, role: Role | str, *credentials: str, tenant: str = HOME_TENANT) -> Vault:
        """A human with a new token."""
        return self.connect(self.owner(tenant).tokens.create(human=email, role=role, credentials=credentials))

    def operator(self) -> Vault:
        """An operator with a new token."""
        return self.connect(self.owner().tokens.create(operator=True))

    def session(self, agent: Vault, id: str | None = None) -> Vault:
        """A new session of an agent."""
        return self.connect(agent.sessions.open(id))

    def reap(self, limit: int = REAP_BATCH) -> int:
        """Let the reaper run once, for at most ``limit`` records of each kind; answers how much it recorded."""
        return self._door.reap(limit)

    def close(self) -> None:
        """End the world."""
        self._door.close()


def secret_of(token: Bearing) -> Secret:
    """The secret of a token, however it was got."""
    match token:
        case IssuedToken():
            return token.secret
        case OpenedSession():
            return token.token
        case Secret():
            return token
    return Secret(token)


def store_behind(vault: Vault) -> Store:
    """The store of the vault that ``vault`` is connected to, whatever door is between."""
    adapter = vault._adapter
    if isinstance(adapter, _Prompt):
        return adapter._door.store
    assert isinstance(adapter, EmbeddedAdapter | _LateReaper)
    return adapter._engine._store


def perform(vault: Vault, request: ask.Request[T]) -> T:
    """The answer to a request that ``Vault`` has no method for, such as one page of a list."""
    return vault._adapter.perform(request)


def pages(vault: Vault, page: Callable[[str | None], ask.Request[Page[T]]]) -> list[tuple[T, ...]]:
    """All pages of a list."""
    cursor = None
    found = []
    while True:
        answer = perform(vault, page(cursor))
        found.append(answer.items)
        cursor = answer.next_cursor
        if cursor is None:
            return found
