"""Lists come in pages: together they are complete, in order and without repeats, even among things made at once."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.world import World, pages, perform
from vaultctl.client.vault import Vault
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput

COUNT = 11

LISTS: dict[str, tuple[Callable[..., ask.Request[Any]], Callable[[Vault], list[Any]]]] = {
    "credentials": (ask.ListCredentials, lambda v: v.credentials.list()),
    "versions": (lambda **page: ask.ListVersions(name="c-00", **page), lambda v: v.credentials.versions("c-00")),
    "leases": (ask.ListLeases, lambda v: v.leases.list()),
    "tokens": (ask.ListTokens, lambda v: v.tokens.list()),
    "sessions": (ask.ListSessions, lambda v: v.sessions.list()),
    "tenants": (ask.ListTenants, lambda v: v.tenants.list()),
}


@pytest.fixture(scope="module")
def owner(shared_world: World) -> Vault:
    """The owner of a vault with much in it, for the tests that only look."""
    return fill(shared_world)


def fill(world: World) -> Vault:
    owner = world.owner()
    agent = world.agent("ours", "*")
    for i in range(COUNT):
        owner.credentials.create(f"c-{i:02}", "api-key", f"key-number-{i}")
        owner.tokens.create(agent=f"agent-{i}")
        owner.tenants.create(f"tenant-{i}")
        world.session(agent).leases.create("c-00")
        owner.credentials.rotate("c-00", f"key-of-version-{i}")
        if i % 3 == 2:
            world.clock.advance("1s")
    return owner


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(LISTS)), size=st.integers(1, COUNT + 2))
def test_the_pages_of_a_list_are_the_list(owner: Vault, name: str, size: int) -> None:
    request, whole = LISTS[name]
    found = pages(owner, lambda cursor: request(limit=size, cursor=cursor))
    assert [item for page in found for item in page] == whole(owner)
    assert len(whole(owner)) >= COUNT
    assert all(len(page) == size for page in found[:-1])


@pytest.mark.parametrize("name", LISTS)
def test_a_cursor_of_another_list_is_refused_or_harmless(owner: Vault, name: str) -> None:
    request, whole = LISTS[name]
    everything = whole(owner)
    for other, _ in LISTS.values():
        cursor = perform(owner, other(limit=1)).next_cursor
        with suppress(InvalidInput):
            assert all(item in everything for item in perform(owner, request(limit=5, cursor=cursor)).items)


def test_the_newest_come_first_and_names_in_order(owner: Vault) -> None:
    issued = [lease.issued_at for lease in owner.leases.list()]
    assert issued == sorted(issued, reverse=True)
    names = [credential.name for credential in owner.credentials.list()]
    assert names == sorted(names)
    assert [version.version for version in owner.credentials.versions("c-00")] == list(range(COUNT + 1, 0, -1))


def test_an_agents_pages_hold_what_it_reaches_and_no_gaps(shared_world: World, owner: Vault) -> None:
    agent = shared_world.agent("some", "c-?1", "c-03", "c-10")
    found = pages(agent, lambda cursor: ask.ListCredentials(limit=1, cursor=cursor))
    assert [[credential.name for credential in page] for page in found] == [["c-01"], ["c-03"], ["c-10"]]


def test_the_leases_of_a_token_are_those_it_got_whenever_that_was(world: World) -> None:
    """Of several tokens of one agent, of one that was rotated to end sooner, and of a person's."""
    owner = world.owner()
    owner.credentials.create("api", "api-key", "key-of-api-1")
    holders = [world.agent("ours", "*"), world.agent("ours", "*"), world.human("ada@example.com", "user")]
    tokens = [token.id for token in (holder.whoami().token for holder in holders) if token is not None]
    expected: list[list[str]] = [[], [], []]
    for turn in range(4):
        for number, holder in enumerate(holders):
            expected[number].insert(0, holder.leases.create("api").lease.id)
        world.clock.advance("1d")
        if turn == 2:
            rotated = owner.tokens.rotate(tokens[0], ttl="2d")
            holders[0] = world.connect(rotated.secret)
    for id, leases in zip(tokens, expected, strict=True):
        assert [lease.id for lease in owner.leases.list(token=id)] == leases
    assert owner.leases.list(token="tok_of_nobody") == []


def test_leases_are_filtered_by_each_field(shared_world: World, owner: Vault) -> None:
    agent = shared_world.agent("other", "*")
    session = shared_world.session(agent, "cortex_sess_x")
    mine = session.leases.create("c-05").lease
    ended = session.leases.create("c-06").revoke()
    token = agent.whoami().token
    assert token is not None
    for options in ({"agent": "other"}, {"session": "cortex_sess_x"}, {"token": token.id}):
        assert {lease.id for lease in owner.leases.list(**options)} == {mine.id, ended.id}
        assert owner.leases.list(**options, state="active") == [mine]
        assert owner.leases.list(**options, state="revoked") == [ended]
    assert owner.leases.list(credential="c-05") == [mine]
    assert len(owner.leases.list(limit=4)) == 4
    with pytest.raises(InvalidInput):
        owner.leases.list(state="borrowed")
