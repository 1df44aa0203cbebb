"""What one caller can use up, and what is taken in of whatever size and shape."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.security.conftest import Scene
from vaultctl.client.embedded import EmbeddedAdapter
from vaultctl.client.vault import Vault
from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain import requests as ask
from vaultctl.domain.disclosure import discloses
from vaultctl.domain.errors import InvalidInput, VaultError
from vaultctl.domain.names import matches
from vaultctl.domain.records import CredentialType
from vaultctl.domain.secrets import Secret
from vaultctl.domain.wire import from_json_object
from vaultctl.engine.authentication import Owner
from vaultctl.engine.engine import Engine
from vaultctl.store.sqlite import SqliteStore

HUGE = "x" * 5_000_000
BOUND = 2.0
"""Seconds within which a refusal must have come, on the slowest machine."""


@pytest.fixture
def agent(scene: Scene) -> Vault:
    scene.owner.credentials.create("a", "generic-secret", "value-0123456789")
    return scene.world.session(scene.world.agent("ours", "*"), "mcp_sess_1")


def quickest(act: Callable[[], object], times: int = 5) -> float:
    spans = []
    for _ in range(times):
        started = time.perf_counter()
        act()
        spans.append(time.perf_counter() - started)
    return min(spans)


@pytest.mark.parametrize("text", [HUGE, "\n" * 1000, "\0", "\ud800", "\u202e" * 501, "e\u0301" * 600])
@pytest.mark.parametrize("place", ["purpose", "claim", "key", "name", "lease", "session", "cursor", "filter"])
def test_text_of_any_size_and_kind_is_refused_soon_and_is_not_repeated(
    scene: Scene, agent: Vault, place: str, text: str
) -> None:
    acts: dict[str, Callable[[], object]] = {
        "purpose": lambda: agent.leases.create("a", purpose=text),
        "claim": lambda: agent.leases.create("a", claimed={"client": text}),
        "key": lambda: agent.leases.create("a", claimed={text: "x"}),
        "name": lambda: agent.leases.create(text),
        "lease": lambda: agent.leases.renew(text),
        "session": lambda: agent.sessions.end(text),
        "cursor": lambda: agent._adapter.perform(ask.ListLeases(cursor=text)),
        "filter": lambda: agent.audit_log.query(credential=text, events=["no-such-event"]),
    }
    started = time.monotonic()
    with pytest.raises(VaultError) as refused:
        acts[place]()
    assert time.monotonic() - started < BOUND
    assert len(refused.value.message) < 500
    assert text[:100] not in refused.value.message
    assert scene.one("SELECT max(length(body)) FROM entries") < 5_000


@pytest.mark.parametrize("many", [{f"k{n}": "x" for n in range(100_000)}, {f"k{n}": HUGE[:500] for n in range(9)}])
def test_any_number_of_claims_is_refused(agent: Vault, many: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        agent.leases.create("a", claimed=many)
    with pytest.raises(VaultError):
        agent.sessions.open(claimed=many)


@pytest.mark.parametrize(
    "value", ['{"access_token":' * 50_000, '{"access_token":"abcd","x":' + "[" * 100_000, "[" * 60_000]
)
@pytest.mark.parametrize("type", list(CredentialType))
def test_a_deeply_nested_value_is_a_value_like_any_other(scene: Scene, type: CredentialType, value: str) -> None:
    started, said = time.monotonic(), ""
    try:
        scene.owner.credentials.create("nested", type, Secret(value))
    except VaultError as error:
        said = error.message + error.hint
    assert value[:20] not in said
    assert time.monotonic() - started < BOUND


@pytest.mark.parametrize("depth", [10, 100_000])
def test_deeply_nested_json_is_malformed_input(depth: int) -> None:
    nested: Any = "x"
    for _ in range(depth):
        nested = [nested]
    try:
        with pytest.raises(InvalidInput):
            from_json_object({"credentialName": nested}, ask.CreateLease)
    finally:
        while isinstance(nested, list):  # taken apart by hand: it is too deep to be dropped as a whole
            nested = nested.pop()


@pytest.mark.parametrize(
    ("glob", "name"),
    [
        ("*a" * 64, "a" * 127 + "b"),
        ("*" * 128, "a" * 128),
        ("?*" * 64, "a" * 128),
        ("*a*b*c*d*e*f*g*h", "abcdefg" * 18),
        ("a*" * 63 + "b", "a" * 128),
    ],
)
def test_a_hostile_glob_takes_no_longer_than_any_other(glob: str, name: str) -> None:
    assert quickest(lambda: matches(glob, name)) < 0.02


def test_a_note_is_searched_for_all_that_was_leased_about_as_soon_as_it_is_read(scene: Scene) -> None:
    """It is done while the write lock is held: a hundred values of the largest size, each of a thousand lines."""
    import secrets

    fragments = [secrets.token_hex(24) for _ in range(50_000)] + [secrets.token_hex(32_000) for _ in range(100)]
    note = " ".join([secrets.token_urlsafe(100), secrets.token_hex(100), "to see how long it takes"])
    plainly = quickest(lambda: sum(fragment in note for fragment in fragments))
    assert quickest(lambda: discloses(note, fragments)) < 30 * plainly


def test_the_reaper_takes_no_more_at_a_time_than_it_is_told(scene: Scene, agent: Vault) -> None:
    other = scene.world.agent("other", "*")
    for _ in range(40):
        other.leases.create("a", ttl="1m")
    scene.clock.advance("61s")
    assert scene.door.engine.reap(10) == 10
    assert scene.one("SELECT count(*) FROM leases WHERE state = 'active'") == 30


def test_a_filter_of_any_length_is_not_taken_for_a_damaged_database(scene: Scene) -> None:
    said = ""
    try:
        scene.owner.audit_log.query(events=["lease.created"] * 300_000)
    except VaultError as error:
        said = error.message
    assert "damaged" not in said


def test_who_only_reads_does_not_wait_for_a_writer_although_something_is_due(scene: Scene, agent: Vault) -> None:
    """A process that is stopped while it has the write lock must not stop those who look on."""
    agent.leases.create("a", ttl="1m")
    scene.clock.advance("62s")  # the lease has ended, and a sign of life of the session is due
    root = scene.door.engine._keys._root
    patient = Engine(SqliteStore(scene.database, clock=scene.clock, lock_timeout=1.5), RootKey(root.id, root.secret))
    readers = [
        Vault(EmbeddedAdapter(patient, principal))
        for principal in (Owner("my-org", "owner@localhost"), agent._adapter._principal)  # type: ignore[attr-defined]
    ]
    with scene.door.store.write():
        for reader in readers:
            started = time.monotonic()
            assert [credential.name for credential in reader.credentials.list()] == ["a"]
            assert time.monotonic() - started < 1
    patient.close()


def test_refusals_cost_one_entry_each_and_nothing_else(scene: Scene, agent: Vault) -> None:
    def counts() -> dict[str, int]:
        tables = ("credentials", "credential_versions", "tokens", "sessions", "leases", "tenant_keys")
        return {table: scene.one(f"SELECT count(*) FROM {table}") for table in tables}

    before, entries = counts(), scene.one("SELECT count(*) FROM entries")
    acts: list[Callable[[], object]] = [
        lambda: agent.leases.create("never-there"),
        lambda: agent.credentials.get("never-there"),
        lambda: agent.credentials.create("b", "generic-secret", "value-0123456789"),
        lambda: agent.tokens.create(agent="b"),
        lambda: agent.sessions.open("mcp_sess_2"),
        lambda: agent.leases.renew("lease_1"),
        lambda: agent.sessions.end("mcp_sess_9"),
        lambda: agent.tenants.list(),
        lambda: agent.tenants.create("b"),
        lambda: agent.audit_log.query(session="mcp_sess_9"),
    ]
    for number, act in enumerate(acts, 1):
        with pytest.raises(VaultError):
            act()
        assert counts() == before
        assert scene.one("SELECT count(*) FROM entries") == entries + number
