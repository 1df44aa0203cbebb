"""Whatever is changed in an exported bundle is found, with the entries that it concerns, and without any vault."""

import random
import shutil
from pathlib import Path

import pytest

from tests.conftest import Clock, fast_directory
from tests.contract.world import EmbeddedSqlite
from tests.engine.crowd import Crowd
from vaultctl.client.bundles import export_bundle, verify_bundle
from vaultctl.client.embedded import EmbeddedAdapter
from vaultctl.client.vault import Vault
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InvalidInput, VerificationFailed
from vaultctl.domain.records import LogCheckpoint
from vaultctl.engine.dispatch import Call
from vaultctl.ledger.checkpoint import Checkpoint, sign_checkpoint
from vaultctl.ledger.merkle import leaf_hash, root_of
from vaultctl.ledger.note import SigningKey
from vaultctl.ledger.tiles import decode_bundle, encode_bundle


class Exported:
    """A bundle of a log of two full tiles and some entries, and an older one of the same log."""

    def __init__(self, directory: Path) -> None:
        crowd = Crowd(EmbeddedSqlite(directory, Clock(), reaps=False))
        vault = Vault(EmbeddedAdapter(crowd.engine, crowd.owner()))
        self.older: LogCheckpoint = vault.audit_log.checkpoint()
        crowd.engine.write([Call(crowd.agents["my-org"], ask.ListTokens())] * 600)
        self.bundle = directory / "bundle"
        self.end = export_bundle(vault, self.bundle)
        vault.close()


@pytest.fixture(scope="module")
def exported() -> "Exported":
    with fast_directory() as directory:
        yield Exported(directory)


@pytest.fixture
def bundle(exported: Exported, fast_path: Path) -> Path:
    return Path(shutil.copytree(exported.bundle, fast_path / "copy"))


def problems(bundle: Path, exported: Exported) -> list[tuple[str, int | None, int | None]]:
    found = verify_bundle(bundle, key=exported.end.verifier_key)
    assert found.verified is (not found.problems)
    return [(problem.message, problem.first_entry, problem.last_entry) for problem in found.problems]


def rewrite(bundle: Path, seq: int, change: bytes) -> None:
    """Put other bytes in the place of an entry."""
    (path,) = [
        path
        for path in (bundle / "tile/entries").rglob("*")
        if path.is_file() and str(path.relative_to(bundle / "tile/entries")).startswith(f"{seq // 256:03d}")
    ]
    width = int(path.name) if path.parent.name.endswith(".p") else 256
    entries = decode_bundle(path.read_bytes(), width)
    entries[seq % 256] = change
    path.write_bytes(encode_bundle(entries))


def test_a_bundle_that_nobody_touched_verifies(bundle: Path, exported: Exported) -> None:
    seen: list[tuple[int, int]] = []
    found = verify_bundle(bundle, against=[exported.older.note], progress=lambda *done: seen.append(done))
    assert (found.verified, found.entries, found.checkpoints) == (True, exported.end.size, 2)
    assert seen[-1] == (exported.end.size, exported.end.size)


@pytest.mark.parametrize("seq", [0, 255, 300, 600])
def test_an_entry_that_was_rewritten_is_named(bundle: Path, exported: Exported, seq: int) -> None:
    rewrite(bundle, seq, b'{"id":"x"}')
    assert problems(bundle, exported) == [
        (f"Entry {seq}: its bytes are not an audit entry.", seq, seq),
        (f"Entry {seq} is not what was hashed when written.", seq, seq),
    ]


@pytest.mark.parametrize("tile", ["tile/0/000", "tile/0/002.p", "tile/1/000.p"])
def test_a_tile_that_was_changed_or_removed_is_named(bundle: Path, exported: Exported, tile: str) -> None:
    path = bundle / tile
    path = next(path.iterdir()) if path.is_dir() else path
    data = path.read_bytes()
    path.write_bytes(bytes(32) + data[32:])
    (changed,) = problems(bundle, exported)
    assert "disagrees with" in changed[0]
    path.unlink()
    (removed,) = problems(bundle, exported)
    assert "is missing" in removed[0]


def test_entries_that_are_missing_are_told(bundle: Path, exported: Exported) -> None:
    (bundle / "tile/entries/001").unlink()
    assert problems(bundle, exported) == [("The bundle tile/entries/001 is missing.", 256, 511)]


def test_an_entry_and_its_tiles_rewritten_together_disagree_with_what_was_signed(
    bundle: Path, exported: Exported
) -> None:
    end = exported.end
    path = bundle / f"tile/entries/002.p/{end.size % 256}"
    entries = decode_bundle(path.read_bytes(), end.size % 256)
    entries[-1] = entries[-1].replace(b"ListTokens", b"LookTokens").replace(b"denied", b"denies")
    path.write_bytes(encode_bundle(entries))
    (bundle / f"tile/0/002.p/{end.size % 256}").write_bytes(b"".join(map(leaf_hash, entries)))
    assert any("does not agree with the entries" in message for message, _, _ in problems(bundle, exported))


def test_another_history_that_is_signed_anew_disagrees_with_a_checkpoint_kept_elsewhere(
    bundle: Path, exported: Exported
) -> None:
    key = SigningKey(exported.end.origin, bytes(32))
    entries = []
    for part in ("000", "001", f"002.p/{exported.end.size % 256}"):
        path = bundle / "tile/entries" / part
        entries += decode_bundle(path.read_bytes(), 256 if "." not in part else exported.end.size % 256)
    forged = Checkpoint(exported.end.origin, exported.end.size, root_of(map(leaf_hash, entries)))
    (bundle / "checkpoint").write_bytes(sign_checkpoint(forged, key))
    (bundle / "verifier-key").write_text(str(key.verifier))
    assert verify_bundle(bundle).verified
    with pytest.raises(VerificationFailed):
        verify_bundle(bundle, key=exported.end.verifier_key)
    with pytest.raises(VerificationFailed):
        verify_bundle(bundle, against=[exported.older.note])


def test_a_bundle_that_ends_before_a_checkpoint_kept_elsewhere_was_cut_off(bundle: Path, exported: Exported) -> None:
    (bundle / "checkpoint").write_text(exported.older.note)
    size = exported.older.size
    entries = decode_bundle((bundle / "tile/entries/000").read_bytes(), 256)[:size]
    for part, data in ((f"tile/entries/000.p/{size}", encode_bundle(entries)), (f"tile/0/000.p/{size}", b"")):
        path = bundle / part
        path.parent.mkdir()
        path.write_bytes(data or b"".join(map(leaf_hash, entries)))
    assert verify_bundle(bundle).verified
    found = verify_bundle(bundle, against=[exported.end.note])
    assert [problem.message for problem in found.problems] == [
        f"The checkpoint that was kept elsewhere is over {exported.end.size} entries, and the log has {size}."
    ]


def test_a_hundred_random_changes_are_each_found(bundle: Path, exported: Exported) -> None:
    chance = random.Random(6)
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != "verifier-key")
    for _ in range(100):
        path = chance.choice(files)
        data = path.read_bytes()
        at = chance.randrange(len(data))
        match chance.randrange(4):
            case 0:
                changed = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
            case 1:
                changed = data[:at]
            case 2:
                changed = data[:at] + chance.randbytes(1) + data[at:]
            case _:
                changed = data[:at] + data[at + 1 :]
        path.write_bytes(changed)
        if path.name == "checkpoint":
            with pytest.raises(VerificationFailed):
                problems(bundle, exported)
        else:
            assert problems(bundle, exported), (path, at)
        path.write_bytes(data)
    assert problems(bundle, exported) == []


@pytest.mark.parametrize("name", ["checkpoint", "verifier-key"])
def test_what_is_no_bundle_is_said_to_be_none(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(InvalidInput, match=name):
        verify_bundle(bundle)
