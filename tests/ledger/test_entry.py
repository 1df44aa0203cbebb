"""Entries: their bytes, and the columns by which they are found, which say nothing that the bytes do not."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Clock
from tests.contract.world import HOME_TENANT, EmbeddedSqlite, World
from vaultctl.domain.errors import InternalError
from vaultctl.ledger.canonical import canonical_json
from vaultctl.ledger.entry import MAX_ENTRY_BYTES, Columns, columns_of, entry_bytes
from vaultctl.store.interface import Where
from vaultctl.store.rows import EntryRow, LogRow


def entry(identity: dict[str, Any], details: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"event": "lease.created", "identity": identity, "details": details} | others


def test_columns_are_the_actors() -> None:
    found = columns_of(
        entry(
            {"type": "agent", "name": "deploy-agent", "sessionId": "mcp_sess_1"},
            {"agent": "other", "sessionId": "mcp_sess_2"},
            credentialName="a",
            leaseId="lease_1",
        )
    )
    assert found == Columns("lease.created", "deploy-agent", "mcp_sess_1", "a", "lease_1")


def test_columns_are_those_acted_upon_where_the_actor_has_none() -> None:
    found = columns_of(entry({"type": "human", "email": "a@b.c"}, {"agent": "other", "sessionId": "mcp_sess_2"}))
    assert found == Columns("lease.created", "other", "mcp_sess_2", None, None)


def test_what_a_caller_merely_claims_is_in_no_column() -> None:
    claimed = {"agent": "other", "sessionId": "mcp_sess_2", "credentialName": "a", "leaseId": "lease_1"}
    found = columns_of(entry({"type": "human"}, {"claimed": claimed}))
    assert found == Columns("lease.created", None, None, None, None)


def test_an_entry_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    empty = len(canonical_json({"a": ""}))
    assert len(entry_bytes({"a": "x" * (MAX_ENTRY_BYTES - empty)})) == MAX_ENTRY_BYTES
    with pytest.raises(InternalError):
        entry_bytes({"a": "x" * (MAX_ENTRY_BYTES - empty + 1)})


@pytest.fixture
def world(fast_path: Path, clock: Clock) -> World:
    return World(EmbeddedSqlite, fast_path, clock)


def test_what_is_stored_is_canonical_agrees_with_its_columns_and_has_no_gap(fast_path: Path, clock: Clock) -> None:
    door = EmbeddedSqlite(fast_path, clock, reaps=True)
    world = World(lambda *_, **__: door, fast_path, clock)
    owner = world.owner()
    owner.credentials.create("a", "generic-secret", "value-0123456789", metadata={"size": "groß 😀"})
    agent = world.agent("deploy-agent", "*")
    session = world.session(agent, "cortex_sess_1")
    for _ in range(3):
        clock.advance("1s")
        session.leases.create("a", purpose="Überall 😀 \u2066bidi", claimed={"client": "ü"}).renew()
    owner.leases.revoke_where(session="cortex_sess_1")
    owner.sessions.end("cortex_sess_1")
    owner.credentials.delete("a")
    with door.store.read() as tx:
        for log in tx.find(LogRow):
            rows = tx.find(EntryRow, Where("tenant", "=", log.tenant), order="seq")
            assert [row.seq for row in rows] == list(range(log.size))
            assert sorted(row.time for row in rows) == [row.time for row in rows]
            assert log.last_time == rows[-1].time
            for row in rows:
                content = json.loads(row.body)
                assert canonical_json(content) == row.body
                assert columns_of(content) == (
                    *(row.event, row.agent, row.session_id),
                    *(row.credential_name, row.lease_id),
                )
                assert (content["tenantId"], content["seq"]) == (row.tenant, row.seq)
            assert len({json.loads(row.body)["id"] for row in rows}) == len(rows)
    world.close()


def test_the_longest_entries_that_callers_can_cause_fit(world: World) -> None:
    owner = world.owner()
    widest = "😀" * 500
    claims = {f"k{n}" + "k" * 62: '"' * 500 for n in range(7)} | {"w": widest}
    emails = [f"human:{'a' * 60}{n:03}@{'*' * 180}" for n in range(100)]
    metadata = {f"k{n:02}" + "k" * 61: widest for n in range(32)}
    owner.credentials.create("a" * 128, "generic-secret", "value-0123456789", allow=emails, metadata=metadata)
    owner.credentials.update("a" * 128, metadata=metadata, allow=emails)
    owner.credentials.update("a" * 128, allow=["agent:*", "human:*"])
    owner.tokens.create(agent="b" * 128, credentials=[f"{n:03}" + "*" * 125 for n in range(100)])
    agent = world.agent("c" * 128, "*")
    agent.sessions.open("cortex_sess_" + "d" * 64, claimed=claims)
    agent.leases.create("a" * 128, purpose=widest, claimed=claims)
    longest = max(len(canonical_json_of(one)) for one in owner.audit_log.query(limit=None))
    assert 10_000 < longest < MAX_ENTRY_BYTES
    assert owner.whoami().tenant == HOME_TENANT
    world.close()


def canonical_json_of(record: Any) -> bytes:
    from vaultctl.domain.wire import to_json_object

    return canonical_json(to_json_object(record))
