"""The model against the vault itself, and against what it must keep for ever: its size, and its order."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import TempPathFactory  # noqa: PT013

from tests.conftest import Clock
from tests.contract.world import DOORS, World
from vaultctl.client import LeaseHandle, Vault
from vaultctl.domain.errors import VaultError
from vaultctl.domain.records import AuditEntry, Event, Identity
from vaultctl.domain.times import SECOND, from_micros, to_micros
from vaultctl.tui.feed import take_snapshot
from vaultctl.tui.model import RECENT_EVENTS, Model, Snapshot, live_lease
from vaultctl.tui.offset import ClockOffset
from vaultctl.tui.ordering import ORDERS, OrderedLeases

EMPTY = Snapshot(seq=-1, leases=(), sessions=(), recent=(), is_whole_log=True)

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["lease", "renew", "revoke", "deny", "wait", "end session", "open session", "snapshot"]),
        st.integers(0, 9),
    ),
    min_size=1,
    max_size=25,
)


class History:
    """A vault in which things happen."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.owner = world.owner()
        self.owner.credentials.create("deploy-key", "generic-secret", "s3cr3t-0123456789", max_ttl="10m")
        self.agent = world.agent("deploy-agent", "deploy-*")
        self.run: Vault = world.session(self.agent)
        self.held: list[LeaseHandle] = []

    def step(self, what: str, number: int) -> None:
        try:
            match what:
                case "lease":
                    self.held.append(self.run.leases.create("deploy-key", ttl=f"{1 + number}m"))
                case "renew" if self.held:
                    self.held[number % len(self.held)].renew()
                case "revoke" if self.held:
                    self.owner.leases.revoke(self.held[number % len(self.held)].id)
                case "deny":
                    self.run.leases.create("nothing-there")
                case "wait":
                    self.world.clock.advance(f"{1 + 20 * number}s")
                case "end session":
                    self.owner.sessions.end(self.run.whoami().identity.session_id or "")
                case "open session":
                    self.run = self.world.session(self.agent)
        except VaultError:
            pass  # refused, which the log tells too


@settings(max_examples=15)
@given(before=STEPS, between=STEPS, after=STEPS)
def test_after_any_history_it_holds_what_the_vault_lists(
    tmp_path_factory: TempPathFactory, before: list[tuple[str, int]], between: list[tuple[str, int]], after: object
) -> None:
    """Even when things happen while the snapshot is taken: its parts are then of different moments."""
    clock = Clock()
    world = World(DOORS["embedded-sqlite"], tmp_path_factory.mktemp("model"), clock)
    try:
        history = History(world)
        for step in before:
            history.step(*step)
        early = take_snapshot(history.owner)
        for step in between:
            history.step(*step)
        late = take_snapshot(history.owner)
        mixed = Snapshot(early.seq, late.leases, late.sessions, early.recent, is_whole_log=True)
        models = [Model(), Model()]
        models[0].start(early)
        models[1].start(mixed)
        assert isinstance(after, list)
        for step in after:
            history.step(*step)
        listed = {lease.id: lease for lease in history.owner.leases.list(state="active")}
        running = {session.id for session in history.owner.sessions.list(state="active")}
        for model in models:
            entries = list(history.owner.audit_log.after(model.seq))
            model.apply(entries)
            model.apply(entries)
            model.advance(clock.micros)
            assert model.leases == {id: live_lease(lease) for id, lease in listed.items()}
            assert set(model.sessions) == running
    finally:
        world.close()


def entry(seq: int, event: Event, lease: str | None = None, at: int = 0, **details: object) -> AuditEntry:
    return AuditEntry(
        id=f"entry-{seq}",
        seq=seq,
        event=event,
        timestamp=from_micros(at),
        tenant_id="my-org",
        identity=Identity(type="agent", name="deploy-agent"),
        details=dict(details),
        credential_name="deploy-key",
        lease_id=lease,
    )


def created(seq: int, lease: str, at: int = 0, ttl: int = 60) -> AuditEntry:
    ends = from_micros(at + ttl * SECOND).isoformat()
    return entry(seq, Event.LEASE_CREATED, lease, at, ttl=f"{ttl}s", expiresAt=ends, maxExpiresAt=ends)


def test_a_lease_that_ran_out_before_its_renewal_was_read_comes_back() -> None:
    model = Model()
    model.start(EMPTY)
    model.apply([created(0, "lease_a", ttl=60)])
    assert model.advance(61 * SECOND) == {"lease_a"}
    assert not model.leases
    ends = from_micros(120 * SECOND).isoformat()
    model.apply([entry(1, Event.LEASE_RENEWED, "lease_a", 59 * SECOND, renewals=1, expiresAt=ends)])
    assert model.leases["lease_a"].expires_at == 120 * SECOND


def test_an_hour_of_events_leaves_it_as_small_as_a_minute_of_them() -> None:
    """Leases that come, are renewed and run out, and refusals: 43,200 events."""
    model = Model()
    model.start(EMPTY)
    rows = OrderedLeases(model.leases)
    sizes = []
    seq = 0
    for second in range(3_600):
        now = second * SECOND
        batch = []
        for number in range(3):
            name = f"lease_{second}_{number}"
            batch.append(created(seq, name, now, ttl=30))
            renewed = from_micros(now + 40 * SECOND).isoformat()
            batch.append(entry(seq + 1, Event.LEASE_RENEWED, name, now, renewals=1, expiresAt=renewed))
            batch.append(entry(seq + 2, Event.LEASE_DENIED, at=now, rule="token-scope"))
            ended = f"lease_{second - 40}_{number}"
            batch.append(entry(seq + 3, Event.LEASE_EXPIRED, ended, now))
            seq += 4
        rows.update(model.apply(batch) | model.advance(now))
        if second in (300, 3_599):
            series = model.issued._counts
            sizes.append((len(model.leases), len(rows), len(model._overdue), len(model.events)))
            assert len(series) <= 120
            assert len(model._deadlines) <= 2 * len(model.leases) + 1_000
    assert sizes[0] == sizes[1] == (120, 120, 0, RECENT_EVENTS)
    assert model.issued.total(3_599 * SECOND) == 3 * 3_600


def test_minutes_that_nobody_watched_are_not_shown_as_quiet() -> None:
    model = Model()
    start = 1_800_000_000 * SECOND
    model.start(Snapshot(10, (), (), (created(10, "lease_a", start),), is_whole_log=False))
    minutes = model.issued.last(start + 120 * SECOND, 5)
    assert minutes == [None, None, None, 0, 0]


def test_denials_before_the_start_are_old_news_and_later_ones_wait_to_be_seen() -> None:
    model = Model()
    old = entry(0, Event.LEASE_DENIED, at=0, rule="role")
    model.start(Snapshot(0, (), (), (old,), is_whole_log=True))
    assert model.unseen_denials == 0
    model.apply([entry(1, Event.ACCESS_DENIED, at=0, rule="role")])
    assert model.unseen_denials == 1
    model.acknowledge()
    assert model.unseen_denials == 0


CHANGES = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 5), st.integers(1, 100)), max_size=60)


@given(
    changes=CHANGES,
    by=st.sampled_from(sorted(ORDERS)),
    reverse=st.booleans(),
    words=st.sampled_from(["", "5", "gent 1"]),
)
def test_an_order_that_is_kept_up_is_the_order_that_sorting_gives(
    changes: list[tuple[int, int, int]], by: str, reverse: bool, words: str
) -> None:
    model = Model()
    model.start(EMPTY)
    rows = OrderedLeases(model.leases)
    rows.order(by, reverse=reverse)
    rows.filter(words)
    for seq, (lease, action, number) in enumerate(changes):
        id = f"lease_{lease}"
        match action:
            case 0 | 1 | 2:
                news = created(seq, id, seq * SECOND, ttl=number)
            case 3 | 4:
                ends = from_micros(number * SECOND).isoformat()
                news = entry(seq, Event.LEASE_RENEWED, id, 0, renewals=seq, expiresAt=ends)
            case _:
                news = entry(seq, Event.LEASE_REVOKED, id, 0)
        rows.update(model.apply([news]))
    key: Callable[[object], object] = ORDERS[by]  # type: ignore[assignment]
    matching = [lease for lease in model.leases.values() if all(word in lease.haystack for word in words.split())]
    expected = sorted(matching, key=lambda lease: (key(lease), lease.id), reverse=reverse)  # type: ignore[arg-type]
    assert [rows[i] for i in range(len(rows))] == expected
    assert [rows.index(lease.id) for lease in expected] == list(range(len(expected)))


def test_the_clocks_are_taken_as_equal_until_fresh_entries_say_otherwise() -> None:
    read = 1_800_000_000 * SECOND
    offset = ClockOffset()
    for late in (0, 100_000, 1_900_000):
        offset.observe(from_micros(read - late), read)
        assert offset.micros == 0
    ahead = ClockOffset()
    ahead.observe(from_micros(read + 90 * SECOND), read)
    assert ahead.micros == 90 * SECOND
    behind = ClockOffset()
    for late in (61 * SECOND, 60 * SECOND, 75 * SECOND):
        behind.observe(from_micros(read - late), read)
    assert behind.micros == -60 * SECOND
    assert to_micros(from_micros(read)) == read
