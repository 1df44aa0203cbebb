"""A witness moves on only to a log that provably continues the one that it has seen."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Clock
from tests.contract.world import EmbeddedSqlite, World
from tests.engine.crowd import Crowd
from vaultctl.client.embedded import EmbeddedAdapter
from vaultctl.client.vault import Vault
from vaultctl.client.watching import load, look
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput, NotAllowed, NotFound, VerificationFailed
from vaultctl.engine.dispatch import Call
from vaultctl.ledger.checkpoint import Checkpoint, sign_checkpoint
from vaultctl.ledger.note import SigningKey


class Watched:
    """A log that grows, and who watches it."""

    def __init__(self, crowd: Crowd, state: Path) -> None:
        self.crowd = crowd
        self.state = state
        self.vault = Vault(EmbeddedAdapter(crowd.engine, crowd.owner()))

    def grow(self, entries: int) -> None:
        if entries:
            self.crowd.engine.write([Call(self.crowd.agents["my-org"], ask.ListTokens())] * entries)
        self.vault.audit_log.checkpoint()

    def stored(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.state.read_text())
        return found

    def pretend(self, size: int, root: bytes, key: SigningKey) -> str:
        """Make the state what somebody saw who was shown this log."""
        note = sign_checkpoint(Checkpoint(key.name, size, root), key).decode()
        seen = self.stored() | {
            "size": size,
            "rootHash": base64.b64encode(root).decode(),
            "note": note,
            "verifierKey": str(key.verifier),
        }
        self.state.write_text(json.dumps(seen))
        return self.state.read_text()


@pytest.fixture
def watched(fast_path: Path, clock: Clock) -> Iterator[Watched]:
    crowd = Crowd(EmbeddedSqlite(fast_path, clock, reaps=False))
    yield Watched(crowd, fast_path / "witness.json")
    crowd.door.close()


def own_key(watched: Watched) -> SigningKey:
    with watched.crowd.door.store.read() as tx:
        return watched.crowd.engine._keys.signing_key(tx, "my-org")


def test_there_is_nothing_to_witness_before_the_first_checkpoint(watched: Watched) -> None:
    with pytest.raises(NotFound):
        look(watched.vault, watched.state)
    assert not watched.state.exists()


def test_growth_by_any_number_of_entries_is_followed(watched: Watched) -> None:
    size = 0
    for grown in (0, 1, 0, 2, 250, 1, 1, 3, 300, 700, 255):
        watched.grow(grown)
        seen = look(watched.vault, watched.state)
        assert (0 if seen.before is None else seen.before.size) == size
        size = seen.now.size
        assert load(watched.state) == seen.now
    assert size > 1500
    assert watched.state.stat().st_mode & 0o777 == 0o600


def test_a_log_that_does_not_begin_as_it_did_is_an_alarm_and_the_state_stays(watched: Watched) -> None:
    watched.grow(300)
    look(watched.vault, watched.state)
    key = own_key(watched)
    for size, said in ((290, "rewritten"), (int(str(watched.stored()["size"])), "rewritten"), (9999, "shrank")):
        kept = watched.pretend(size, bytes(32), key)
        with pytest.raises(VerificationFailed, match=said):
            look(watched.vault, watched.state)
        assert watched.state.read_text() == kept


def test_another_key_for_the_same_log_is_an_alarm(watched: Watched) -> None:
    watched.grow(1)
    seen = look(watched.vault, watched.state).now
    other = SigningKey(seen.origin, bytes(32))
    kept = watched.pretend(1, bytes(32), other)
    with pytest.raises(VerificationFailed, match="another key"):
        look(watched.vault, watched.state)
    watched.state.unlink()
    with pytest.raises(VerificationFailed, match="another key"):
        look(watched.vault, watched.state, key=str(other.verifier))
    assert not watched.state.exists()
    watched.state.write_text(kept)
    with pytest.raises(InvalidInput, match="another key"):
        look(watched.vault, watched.state, key=seen.verifier_key)


def test_another_log_is_an_alarm(watched: Watched) -> None:
    watched.grow(1)
    look(watched.vault, watched.state)
    other = Vault(EmbeddedAdapter(watched.crowd.engine, watched.crowd.owner("other-org")))
    other.audit_log.checkpoint()
    with pytest.raises(VerificationFailed, match="another log"):
        look(other, watched.state)


@pytest.mark.parametrize("damage", ["", "{}", "nonsense", "forged"])
def test_a_state_that_was_damaged_is_not_begun_anew(watched: Watched, damage: str) -> None:
    watched.grow(1)
    look(watched.vault, watched.state)
    size = watched.stored()["size"]
    text = watched.state.read_text().replace(f'"size": {size}', '"size": 1') if damage == "forged" else damage
    watched.state.write_text(text)
    with pytest.raises(InvalidInput, match="state file"):
        look(watched.vault, watched.state)
    assert watched.state.read_text() == text


def test_a_viewer_is_witness_enough_and_an_agent_is_none(fast_path: Path, clock: Clock) -> None:
    from tests.contract.world import DOORS

    world = World(DOORS["http-sqlite"], fast_path, clock)
    viewer, agent = world.human("v@example.com", "viewer"), world.agent("a", "*")
    for _ in range(2):
        world.owner().audit_log.checkpoint()
        look(viewer, fast_path / "state")
        world.owner().tokens.create(agent="b")
    with pytest.raises(NotAllowed):
        look(agent, fast_path / "state")
    world.close()
