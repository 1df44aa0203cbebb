"""Tallies: kept in step with the log by those who write to it, made again where they are not, found out if wrong."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.engine.crowd import Crowd, lease, meddled
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultUnavailable, VerificationFailed
from vaultctl.domain.records import Event, Identity, LogVerification
from vaultctl.engine import tallies
from vaultctl.engine.dispatch import Call
from vaultctl.engine.tallies import MONTH_HOURS, QUARTER_HOURS, parts_of
from vaultctl.store.interface import Where
from vaultctl.store.rows import LogRow, TallyMarkRow, TallyRow

HERE = Where("tenant", "=", "my-org")


@pytest.fixture
def log(crowd: Crowd, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Crowd:
    """Some weeks of leases, tallied in small steps."""
    monkeypatch.setattr(tallies, "STEP", 8)
    crowd.store_credential("mail")
    for day in range(9):
        crowd.engine.write([Call(crowd.agents["my-org"], lease("mail" if day % 2 else "api")) for _ in range(3)])
        clock.advance("5d")
        crowd.engine.reap()
    return crowd


def state(crowd: Crowd) -> tuple[int, int, list[TallyRow]]:
    """How long the log is, up to where it is tallied, and the tallies."""
    with crowd.door.store.read() as tx:
        (head,), marks = tx.find(LogRow, HERE), tx.find(TallyMarkRow, HERE)
        return head.size, marks[0].seq if marks else 0, tx.find(TallyRow, HERE, order=", ".join(TallyRow.key))


def by_event(crowd: Crowd) -> dict[str | None, int]:
    counted = crowd.engine.perform(crowd.owner(), ask.CountAudit(by="event"))
    return {count.name: count.entries for count in counted.items}


def verified(crowd: Crowd) -> LogVerification:
    return crowd.engine.perform(crowd.owner(), ask.VerifyLog())


def forget(crowd: Crowd) -> None:
    """What a vault from before there were tallies has of them."""
    with crowd.door.store.write() as tx:
        tx.delete(TallyRow, HERE)
        tx.delete(TallyMarkRow, HERE)


@given(
    st.integers(0, 3000), st.integers(0, 3000), st.sampled_from([QUARTER_HOURS, 24]), st.sampled_from([24, MONTH_HOURS])
)
def test_parts_cover_each_hour_once_and_are_few(first: int, beyond: int, hours: int, longest: int) -> None:
    parts = list(parts_of(first, beyond, hours, longest))
    covered = [hour for part in parts for hour in range(part.first * part.hours, part.beyond * part.hours)]
    assert sorted(covered) == list(range(first * hours, beyond * hours))
    assert len(parts) <= 5


def test_a_log_is_tallied_by_whoever_writes_to_it_but_for_its_last_entries(log: Crowd) -> None:
    size, mark, rows = state(log)
    assert size > 50
    assert 0 <= size - mark < tallies.STEP
    days = [row for row in rows if (row.aspects, row.hours) == (0, 24)]
    assert sum(row.entries for row in days) == mark
    assert len(days) > 5
    assert by_event(log) == Counter(log.events())
    assert verified(log).verified


def test_what_fails_to_commit_leaves_the_tallies_as_they_were(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "STEP", 8)
    meddler, engine = meddled(crowd)
    calls = [Call(crowd.agents["my-org"], lease()) for _ in range(20)]
    engine.write(list(calls))
    before = state(crowd)

    def fail() -> None:
        raise VaultUnavailable("The disk is full.", hint="Make room.")

    meddler.before_commit = fail
    with pytest.raises(VaultUnavailable):
        engine.write(list(calls))
    assert state(crowd) == before
    meddler.before_commit = lambda: None
    engine.write(list(calls))
    assert state(crowd)[1] > before[1]
    assert by_event(crowd) == Counter(crowd.events())
    assert verified(crowd).verified


def test_a_log_from_before_there_were_tallies_is_counted_all_the_same_and_catches_up(log: Crowd) -> None:
    tallied = state(log)
    forget(log)
    assert by_event(log) == Counter(log.events())
    assert verified(log).verified
    log.engine.catch_up()
    size, mark, rows = state(log)
    assert size - mark <= tallies.STEP
    assert by_event(log) == Counter(log.events())
    assert verified(log).verified
    if mark == tallied[1]:
        assert rows == tallied[2]


def test_a_log_that_somebody_spoiled_keeps_no_other_from_catching_up(log: Crowd) -> None:
    forget(log)
    with log.door.store.write() as tx:
        (head,) = tx.find(LogRow, Where("tenant", "=", "_vault"))
        tx.update(replace(head, mac=None))
    log.engine.catch_up()
    size, mark, _ = state(log)
    assert size - mark <= tallies.STEP
    with pytest.raises(VerificationFailed):
        log.engine.note(Event.VAULT_RESTORED, Identity(type="human", user_id="owner"), {})


def test_whoever_writes_lets_it_catch_up_bit_by_bit(log: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(log)
    monkeypatch.setattr(tallies, "_MOST", 20)
    marks = []
    for _ in range(8):
        log.engine.write([Call(log.agents["my-org"], lease()) for _ in range(8)])
        marks.append(state(log)[1])
        assert by_event(log) == Counter(log.events())
    assert marks == sorted(set(marks))
    assert verified(log).verified


CHANGES = {
    "another number": lambda row: row.__class__(*key_of(row), row.entries + 1),
    "another event": lambda row: row.__class__(*key_of(row)[:-1], "lease.imagined", row.entries),
    "another day": lambda row: row.__class__(*key_of(row)[:3], row.period + 1000, *key_of(row)[4:], row.entries),
}


def key_of(row: TallyRow) -> tuple[Any, ...]:
    return tuple(getattr(row, column) for column in TallyRow.key)


def where(row: TallyRow) -> list[Where]:
    return [Where(column, "=", value) for column, value in zip(TallyRow.key, key_of(row), strict=True)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_tally_that_something_else_has_changed_is_found(log: Crowd, change: str) -> None:
    for row in state(log)[2][::17]:
        with log.door.store.write() as tx:
            tx.delete(TallyRow, *where(row))
            tx.insert(CHANGES[change](row))
        found = verified(log)
        assert not found.verified
        assert "tallies" in found.problems[0].message
        with log.door.store.write() as tx:
            other = CHANGES[change](row)
            tx.delete(TallyRow, *where(other))
            tx.insert(row)
    assert verified(log).verified


@pytest.mark.parametrize("moved", [-8, -1, 1, 10_000])
def test_a_mark_that_something_else_has_moved_is_found(log: Crowd, moved: int) -> None:
    with log.door.store.write() as tx:
        tx.update(TallyMarkRow("my-org", state(log)[1] + moved))
    assert not verified(log).verified


def test_a_tally_that_something_else_has_removed_is_found(log: Crowd) -> None:
    for row in state(log)[2][::23]:
        with log.door.store.write() as tx:
            tx.delete(TallyRow, *where(row))
        assert not verified(log).verified
        with log.door.store.write() as tx:
            tx.insert(row)
    assert verified(log).verified
