"""Counts of the audit log are those of its entries, one by one."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import InvalidInput, NotAllowed
from vaultctl.domain.records import AuditEntry


@pytest.fixture(scope="module")
def owner(shared_world: World) -> Vault:
    owner, clock = shared_world.owner(), shared_world.clock
    for name in ("api", "mail"):
        owner.credentials.create(name, "api-key", f"key-of-{name}-1")
    agents = [shared_world.agent(name, "*") for name in ("ours", "other")]
    for turn in range(6):
        for agent in agents[: 1 + turn % 2]:
            agent.leases.create("api" if turn % 3 else "mail", ttl="1m")
        clock.advance("7h")
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


def test_they_are_for_admins(shared_world: World, owner: Vault) -> None:
    for vault in (shared_world.human("m@example.com", "manager"), shared_world.agent("curious", "*")):
        with pytest.raises(NotAllowed):
            vault.audit_log.stats("event")
    with pytest.raises(InvalidInput):
        owner.audit_log.stats("color")
