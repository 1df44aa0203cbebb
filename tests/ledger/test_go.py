"""What the vault makes is verified by Go's ``sumdb/note`` and ``tlog``, where Go and that module can be had."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Clock
from tests.contract.world import EmbeddedSqlite
from tests.engine.crowd import Crowd
from vaultctl.domain import requests as ask
from vaultctl.engine.dispatch import Call
from vaultctl.ledger.merkle import leaf_hash
from vaultctl.ledger.tiles import TILE_WIDTH, hash_tiles
from vaultctl.store.interface import Where
from vaultctl.store.rows import EntryRow, TileRow

SOURCE = Path(__file__).parent / "go"


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program that :mod:`tests.ledger.go` is."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed")
    program = tmp_path_factory.mktemp("go") / "verify"
    built = subprocess.run(
        ["go", "build", "-mod=readonly", "-o", str(program), "."],
        cwd=SOURCE,
        env=os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if built.returncode:
        pytest.skip(f"the program can't be built here: {built.stderr.strip().splitlines()[-1]}")
    return program


def write(directory: Path, crowd: Crowd, old: str) -> None:
    """The log of ``my-org`` as the program reads it: what is stored, and the right edge made of the entries."""
    newest = crowd.engine.perform(crowd.owner(), ask.CreateCheckpoint())
    with crowd.door.store.read() as tx:
        entries = tx.find(EntryRow, Where("tenant", "=", "my-org"), order="seq")
        tiles = {(row.level, row.number): row.hashes for row in tx.find(TileRow, Where("tenant", "=", "my-org"))}
    last = len(entries) // TILE_WIDTH
    tiles[0, last] = b"".join(leaf_hash(row.body) for row in entries[last * TILE_WIDTH :])
    for tile in hash_tiles(newest.size):
        path = directory / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(tiles[tile.level or 0, tile.number])
    (directory / "entries").write_bytes(b"".join(struct.pack(">I", len(row.body)) + row.body for row in entries))
    (directory / "key").write_text(newest.verifier_key)
    (directory / "checkpoint").write_text(newest.note)
    (directory / "old").write_text(old)


def test_another_implementation_verifies_entries_checkpoints_and_tiles(
    verifier: Path, fast_path: Path, clock: Clock
) -> None:
    crowd = Crowd(EmbeddedSqlite(fast_path, clock, reaps=False))
    old = crowd.engine.perform(crowd.owner(), ask.CreateCheckpoint())
    crowd.engine.write([Call(crowd.agents["my-org"], ask.ListTokens())] * 700)
    bundle = fast_path / "bundle"
    bundle.mkdir()
    write(bundle, crowd, old.note)

    def verified() -> "subprocess.CompletedProcess[str]":
        return subprocess.run([verifier, bundle], capture_output=True, text=True, timeout=60)

    assert verified().stdout == f"{old.size + 700} entries, from {old.size} on\n"
    for name in ("entries", "checkpoint", "old", "tile/0/001"):
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
        assert verified().returncode != 0, name
        (bundle / name).write_bytes(content)
    crowd.door.close()
