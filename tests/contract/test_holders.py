"""Who had a credential at a moment: the leases that were active then, whatever became of them since."""

import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from tests.contract.world import World
from vaultctl.domain.errors import InvalidInput, LeaseAtMaximum
from vaultctl.domain.times import from_micros


class Model:
    """From when until when each lease was active, as whoever made and ended it was told."""

    def __init__(self) -> None:
        self.spans: dict[str, tuple[str, datetime, datetime]] = {}

    def holders(self, credential: str, at: datetime) -> set[str]:
        return {id for id, (name, begin, end) in self.spans.items() if name == credential and begin <= at < end}

    def ends(self, id: str, at: datetime) -> None:
        name, begin, end = self.spans[id]
        self.spans[id] = name, begin, min(end, at)


def test_the_holders_at_any_moment_are_those_of_a_model(world: World) -> None:
    chance, model, owner = random.Random(6), Model(), world.owner()
    for name in ("api", "mail"):
        owner.credentials.create(name, "api-key", f"key-of-{name}-1", max_ttl="2h" if name == "api" else None)
    agent = world.agent("ours", "*")
    session = world.session(agent, "cortex_sess_1")
    begin = from_micros(world.clock())
    for _ in range(60):
        now = from_micros(world.clock())
        active = [id for id, (_, _, end) in model.spans.items() if end > now]
        match chance.randrange(5):
            case 0 | 1 | 2:
                name = chance.choice(["api", "mail"])
                holder = chance.choice([agent, session])
                lease = holder.leases.create(name, ttl=f"{chance.randrange(1, 240)}m", purpose="Deploying").lease
                model.spans[lease.id] = name, lease.issued_at, lease.expires_at
            case 3 if active:
                id = chance.choice(active)
                owner.leases.revoke(id)
                model.ends(id, now)
            case _ if active:
                id = chance.choice(active)
                name, start, _ = model.spans[id]
                with suppress(LeaseAtMaximum):
                    model.spans[id] = name, start, agent.leases.renew(id).expires_at
        world.clock.advance(chance.choice(["1s", "5m", "10m"]))
        session.sessions.get("cortex_sess_1")
    owner.leases.revoke_where(session="cortex_sess_1")
    now = from_micros(world.clock())
    for lease in owner.leases.list(session="cortex_sess_1"):
        model.ends(lease.id, now)
    edges = [edge for _, start, end in model.spans.values() for edge in (start, end) if edge <= now]
    moments = [begin - timedelta(seconds=1), now, *chance.sample(edges, 25)]
    moments += [moment - timedelta(microseconds=1) for moment in edges[:10]]
    asked = {(name, at): owner.leases.list(credential=name, active_at=at) for at in moments for name in ("api", "mail")}
    found = {key: {lease.id for lease in leases} for key, leases in asked.items()}
    assert found == {key: model.holders(*key) for key in asked}
    assert max(len(leases) for leases in found.values()) > 3
    assert all(lease.identity.name == "ours" for leases in asked.values() for lease in leases)
    assert all(lease.identity.purpose == "Deploying" for leases in asked.values() for lease in leases)


def test_an_agent_finds_its_own_and_nobody_the_future(world: World) -> None:
    owner = world.owner()
    owner.credentials.create("api", "api-key", "key-of-api-1")
    mine, other = world.agent("mine", "*"), world.agent("other", "*")
    lease = mine.leases.create("api").id
    other.leases.create("api")
    now = from_micros(world.clock())
    assert [found.id for found in mine.leases.list(credential="api", active_at=now)] == [lease]
    assert len(owner.leases.list(credential="api", active_at=now)) == 2
    assert owner.leases.list(credential="none", active_at=now) == []
    assert [found.id for found in owner.leases.list(credential="api", agent="mine", active_at=now)] == [lease]
    for options in ({"credential": "api", "active_at": datetime(2999, 1, 1, tzinfo=UTC)}, {"active_at": now}):
        with pytest.raises(InvalidInput):
            owner.leases.list(**options)
