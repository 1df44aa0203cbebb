"""Counts of the audit log are those of its entries, one by one."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import InvalidInput, NotAllowed
from vaultctl.domain.records import AuditEntry
from vaultctl.engine import tallies

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def owner(shared_world: World) -> Vault:
    """A log of some months, most of which is tallied."""
    owner, clock, chance = shared_world.owner(), shared_world.clock, random.Random(9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tallies, "STEP", 8)
        for name in ("api", "mail"):
            owner.credentials.create(name, "api-key", f"key-of-{name}-1")
        agents = [shared_world.agent(name, "*") for name in ("ours", "other")]
        for turn in range(24):
            for agent in agents[: 1 + turn % 2]:
                agent.leases.create("api" if turn % 3 else "mail", ttl="1m")
            clock.advance(chance.choice(["20m", "40m", "5h", "7h", "1d", "7d", "11d"]))
    agents[0].leases.create("api")
    return owner


def counted(entries: list[AuditEntry], by: str) -> Counter[str | None]:
    def name(entry: AuditEntry) -> str | None:
        if by == "day":
            return entry.timestamp.date().isoformat()
        if by == "event":
            return entry.event.value
        if by == "credential":
            return entry.credential_name
        return entry.identity.name or entry.details.get("agent")

    return Counter(name(entry) for entry in entries)


@pytest.mark.parametrize("by", ["agent", "credential", "event", "day"])
def test_they_are_those_of_the_entries_that_match(owner: Vault, by: str) -> None:
    entries = owner.audit_log.query(limit=None)
    begin, end = entries[0].timestamp + timedelta(hours=8), entries[-1].timestamp - timedelta(hours=8)
    narrowed: list[dict[str, Any]] = [
        {},
        {"since": begin, "until": end},
        {"since": begin},
        {"until": end, "agent": "ours"},
        {"credential": "api", "events": ["lease.created", "lease.expired"]},
        {"agent": "nobody"},
        {"since": entries[-1].timestamp + timedelta(days=1)},
    ]
    for options in narrowed:
        found = owner.audit_log.stats(by, **options)
        expected = counted(owner.audit_log.query(**options, limit=None), by)
        assert {count.name: count.entries for count in found} == expected, options
        ordered = [count.name for count in found] if by == "day" else [-count.entries for count in found]
        assert ordered == sorted(ordered)  # type: ignore[type-var]
    assert len(counted(entries, "day")) > 1


def test_they_are_those_of_any_span(owner: Vault) -> None:
    """Whether its ends are those of a quarter of a day, a day, a month or of none, and whatever is asked of them."""
    entries, chance = owner.audit_log.query(limit=None), random.Random(10)
    borders = [timedelta(0), timedelta(hours=6), timedelta(days=1), timedelta(days=30)]
    begin, end = entries[0].timestamp, entries[-1].timestamp

    def moment() -> datetime:
        at, border = begin + chance.random() * (end - begin), chance.choice(borders)
        return at - (at - EPOCH) % border if border else at

    for _ in range(40):
        options: dict[str, Any] = {}
        if chance.random() < 0.8:
            options["since"] = moment()
        if chance.random() < 0.8:
            options["until"] = moment()
        if chance.random() < 0.4:
            options["agent"] = chance.choice(["ours", "other"])
        if chance.random() < 0.4:
            options["credential"] = chance.choice(["api", "mail"])
        if chance.random() < 0.4:
            options["events"] = chance.sample(["lease.created", "lease.expired", "token.created"], 2)
        by = chance.choice(["agent", "credential", "event", "day"])
        found = {count.name: count.entries for count in owner.audit_log.stats(by, **options)}
        assert found == counted(owner.audit_log.query(**options, limit=None), by), (by, options)


def test_they_are_for_admins(shared_world: World, owner: Vault) -> None:
    for vault in (shared_world.human("m@example.com", "manager"), shared_world.agent("curious", "*")):
        with pytest.raises(NotAllowed):
            vault.audit_log.stats("event")
    with pytest.raises(InvalidInput):
        owner.audit_log.stats("color")
