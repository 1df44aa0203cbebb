"""What is read of a vault: everything once and in order, at once where a server tells of it, whatever breaks."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.api.harness import running_server
from tests.client.cutting_proxy import CuttingProxy
from tests.conftest import Clock
from tests.vaults import new_database
from vaultctl.api.limits import USUAL, Limits
from vaultctl.client import Vault
from vaultctl.client.adapters import Adapter, OnState
from vaultctl.client.embedded import EmbeddedAdapter
from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain import requests as ask
from vaultctl.domain.records import AuditEntry, Identity
from vaultctl.engine.authentication import Owner
from vaultctl.engine.engine import Engine
from vaultctl.engine.founding import found_vault
from vaultctl.store.sqlite import SqliteStore
from vaultctl.tui import feed as feeding
from vaultctl.tui.feed import Entries, Feed, Live, Lost, News, take_snapshot
from vaultctl.tui.model import Snapshot

PATIENCE = 20
NEVER = 1_000.0
OWNER = Identity(type="human", user_id="owner", email="owner@localhost")


ROOT = RootKey("rk_of_the_tests", bytes(range(32)))


class Site:
    """A vault in a folder, and whoever owns it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = directory / "vault.db"
        is_new = not path.exists()
        if is_new:
            new_database(path)
        self.store = SqliteStore(path, clock=Clock())
        if is_new:
            found_vault(self.store, ROOT, tenant="my-org", owner=OWNER)
        self.engine = Engine(self.store, ROOT)
        self.owner = Vault(EmbeddedAdapter(self.engine, Owner("my-org", "owner@localhost")))

    def begin(self) -> "Site":
        self.owner.credentials.create("deploy-key", "generic-secret", "s3cr3t-0123456789")
        self.token = self.owner.tokens.create(human="ann@example.com", role="admin")
        return self

    def backup(self, directory: Path) -> Path:
        shutil.copytree(self.directory, directory)
        return directory

    def lease(self, number: int) -> list[str]:
        return [self.owner.leases.create("deploy-key").id for _ in range(number)]

    @property
    def end(self) -> int:
        return self.owner.audit_log.query(limit=1)[-1].seq


class Reader:
    """Takes what a feed brings."""

    def __init__(self, vault: Vault, *, poll: float = 0.01, watch: float = NEVER) -> None:
        self.first = take_snapshot(vault)
        self.feed = Feed(vault, poll_seconds=poll, watch_seconds=watch)
        self.news: list[News] = []
        self.feed.start(self.first)

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.news
            self.news += self.feed.take()
            time.sleep(0.002)

    def until_read(self, seq: int) -> None:
        self.until(lambda: self.seqs and self.seqs[-1] == seq)

    def until_last(self, kind: type) -> None:
        self.until(lambda: self.news and isinstance(self.news[-1], kind))

    def all(self, kind: type) -> list[News]:
        return [item for item in self.news if isinstance(item, kind)]

    @property
    def seqs(self) -> list[int]:
        return [entry.seq for item in self.news if isinstance(item, Entries) for entry in item.entries]


@pytest.fixture(autouse=True)
def _in_less_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "_FIRST_PAUSE", 0.02)
    monkeypatch.setattr("vaultctl.client.remote.exchange.FIRST_PAUSE", 0.01)


@pytest.fixture
def site(fast_path: Path) -> Iterator[Site]:
    directory = fast_path / "vault"
    directory.mkdir()
    made = Site(directory).begin()
    yield made
    made.owner.close()


class Silent(Adapter):
    """A way on which nothing comes by itself, as behind a proxy that keeps a stream to itself until it ends."""

    def __init__(self, vault: Vault) -> None:
        self._adapter = vault._adapter
        self.perform = self._adapter.perform
        self._closed = threading.Event()

    def follow(self, request: ask.QueryAudit, *, poll_seconds: float, on_state: OnState) -> Iterator[AuditEntry]:
        self._closed.wait(PATIENCE)
        yield from ()

    def close(self) -> None:
        self._closed.set()


class Served:
    """A vault behind a server, reached through a proxy."""

    def __init__(self, site: Site, stack: ExitStack, limits: Limits = USUAL) -> None:
        self.site = site
        self._server = stack.enter_context(running_server(site.engine, site.store, limits=limits))
        self.proxy = stack.enter_context(CuttingProxy(self._server.url))
        self.vault = stack.enter_context(Vault.connect(self.proxy.base_url, token=site.token.secret))

    def read(self) -> Reader:
        """A reader that follows: it got an entry that nobody has looked for."""
        reader = Reader(self.vault)
        reader.until_last(Live)
        self.site.lease(1)
        reader.until_read(self.site.end)
        return reader


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def served(site: Site, stack: ExitStack) -> Served:
    return Served(site, stack)


class TestAtAServer:
    def test_the_stream_wakes_it_and_nothing_is_asked_for_again_and_again(self, served: Served) -> None:
        reader = served.read()
        for _ in range(3):
            served.site.lease(2)
            reader.until_read(served.site.end)
        assert reader.seqs == list(range(reader.first.seq + 1, served.site.end + 1))
        assert [item.polled for item in reader.all(Live)] == [False]  # type: ignore[union-attr]
        reader.feed.stop()

    def test_a_break_is_said_and_made_good_without_a_hole_or_a_repetition(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feeding, "_BATCH", 10)
        reader = served.read()
        served.proxy.is_down = True
        served.proxy.cut_all()
        reader.until_last(Lost)
        served.site.lease(35)
        served.proxy.is_down = False
        reader.until_read(served.site.end)
        reader.until(lambda: isinstance(reader.news[-1], Live))
        served.site.lease(3)
        reader.until_read(served.site.end)
        assert reader.seqs == list(range(reader.first.seq + 1, served.site.end + 1))
        assert not any(isinstance(item, Snapshot) and item is not reader.first for item in reader.news)
        reader.feed.stop()

    def test_where_no_stream_is_to_be_had_it_polls_and_says_so(self, site: Site, stack: ExitStack) -> None:
        served = Served(site, stack, USUAL._replace(streams=0, poll_seconds=0.01))
        reader = Reader(served.vault)
        reader.until(lambda: any(item.polled for item in reader.all(Live)))  # type: ignore[union-attr]
        site.lease(3)
        reader.until_read(site.end)
        assert not reader.all(Lost)
        reader.feed.stop()

    def test_another_log_in_its_place_is_begun_anew(self, served: Served, stack: ExitStack, fast_path: Path) -> None:
        """A backup that was restored, in which other things have happened since."""
        served.site.lease(1)
        backup = served.site.backup(fast_path / "backup")
        lost = served.site.lease(3)
        reader = served.read()
        served.proxy.is_down = True
        served.proxy.cut_all()
        restored = Site(backup)
        stack.callback(restored.owner.close)
        kept = restored.lease(6)
        server = stack.enter_context(running_server(restored.engine, restored.store))
        served.proxy.lead_to(server.url)
        served.proxy.is_down = False
        reader.until(lambda: len(reader.all(Snapshot)) == 2 and isinstance(reader.news[-1], Live))
        snapshot = reader.all(Snapshot)[-1]
        assert isinstance(snapshot, Snapshot)
        held = {lease.id for lease in snapshot.leases}
        assert set(kept) <= held
        assert not set(lost) & held
        restored.lease(1)
        reader.until_read(restored.end)
        reader.feed.stop()

    def test_far_behind_it_takes_a_new_snapshot_instead(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(feeding, "_FAR_BEHIND", 5)
        reader = served.read()
        served.proxy.is_down = True
        served.proxy.cut_all()
        reader.until_last(Lost)
        leases = served.site.lease(10)
        served.proxy.is_down = False
        reader.until(lambda: len(reader.all(Snapshot)) == 2 and isinstance(reader.news[-1], Live))
        snapshot = reader.all(Snapshot)[-1]
        assert isinstance(snapshot, Snapshot)
        assert {lease.id for lease in snapshot.leases} > set(leases)
        assert reader.seqs == [reader.first.seq + 1]
        reader.feed.stop()

    def test_a_token_that_is_revoked_is_said(self, served: Served) -> None:
        reader = served.read()
        served.site.owner.tokens.revoke(served.site.token.token.id)
        reader.until_last(Lost)
        lost = reader.all(Lost)[-1]
        assert isinstance(lost, Lost)
        assert "token" in lost.error.message
        reader.feed.stop()


class TestOnThisMachine:
    def test_it_reads_everything_once_and_in_order(self, site: Site) -> None:
        reader = Reader(site.owner)
        site.lease(20)
        reader.until_read(site.end)
        assert reader.seqs == list(range(reader.first.seq + 1, site.end + 1))
        reader.feed.stop()

    def test_what_was_just_done_is_looked_for_at_once(self, site: Site) -> None:
        reader = Reader(site.owner, poll=NEVER)
        reader.until_last(Live)
        site.lease(1)
        reader.feed.hurry()
        reader.until_read(site.end)
        reader.feed.stop()

    def test_following_that_brings_nothing_is_noticed_and_made_good_by_looking(self, site: Site) -> None:
        reader = Reader(Vault(Silent(site.owner)), watch=0.01)
        for _ in range(2):
            site.lease(1)
            reader.until_read(site.end)
        reader.until(lambda: reader.all(Live)[-1].polled)  # type: ignore[union-attr]
        assert reader.seqs == list(range(reader.first.seq + 1, site.end + 1))
        reader.feed.stop()

    def test_it_ends_when_it_is_told_even_if_nobody_takes_what_it_brought(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(feeding, "_BATCH", 1)
        monkeypatch.setattr(feeding, "_BATCHES_WAITING", 2)
        feed = Feed(site.owner, poll_seconds=0.01)
        feed.start(take_snapshot(site.owner))
        site.lease(10)
        feed.stop()
        assert not feed._threads[0].is_alive()

    def test_it_ends_when_the_vault_is_closed(self, site: Site) -> None:
        reader = Reader(site.owner)
        reader.until_last(Live)
        site.owner.close()
        reader.feed.stop()
        for thread in reader.feed._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
