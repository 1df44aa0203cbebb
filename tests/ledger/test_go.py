"""An exported bundle is verified by programs that nobody here wrote, where Go and their modules can be had.

Go's own ``sumdb/note`` and ``tlog`` verify it here. Tessera's ``fsck``, which also reads the log of a running server,
has many dependencies: ``make interop`` runs it.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.harness import running_server
from tests.conftest import Clock, fast_directory
from tests.contract.world import EmbeddedSqlite
from tests.engine.crowd import Crowd
from vaultctl.client.bundles import export_bundle
from vaultctl.client.embedded import EmbeddedAdapter
from vaultctl.client.vault import Vault
from vaultctl.domain import requests as ask
from vaultctl.domain.records import Role
from vaultctl.engine.dispatch import Call

HERE = Path(__file__).parent
FSCK = "github.com/transparency-dev/tessera/cmd/fsck"


def built(module: str, package: str, directory: Path) -> Path:
    """The program that a package is."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed")
    program = directory / module
    done = subprocess.run(
        ["go", "build", "-mod=readonly", "-o", str(program), package],
        cwd=HERE / module,
        env=os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        pytest.skip(f"the program can't be built here: {done.stderr.strip().splitlines()[-1]}")
    return program


class Exported:
    """A vault whose log has two full tiles and some entries, and a bundle of it."""

    def __init__(self, directory: Path) -> None:
        self.crowd = Crowd(EmbeddedSqlite(directory, Clock(), reaps=False))
        self.vault = Vault(EmbeddedAdapter(self.crowd.engine, self.crowd.owner()))
        self.old = directory / "old"
        old = self.vault.audit_log.checkpoint()
        self.old.write_text(old.note)
        self.crowd.engine.write([Call(self.crowd.agents["my-org"], ask.ListTokens())] * 700)
        self.bundle = directory / "bundle"
        self.size, self.old_size = export_bundle(self.vault, self.bundle).size, old.size

    def changed(self, part: str) -> Path:
        """Another bundle, of which a bit is another one."""
        copy = self.bundle.with_name(f"changed-{part.replace('/', '-')}")
        shutil.copytree(self.bundle, copy, dirs_exist_ok=True)
        content = (copy / part).read_bytes()
        (copy / part).write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
        return copy


@pytest.fixture(scope="module")
def exported() -> Iterator[Exported]:
    with fast_directory() as directory:
        made = Exported(directory)
        yield made
        made.crowd.door.close()


def test_go_verifies_entries_checkpoints_and_tiles(exported: Exported, tmp_path: Path) -> None:
    verifier = built("go", ".", tmp_path)

    def verified(bundle: Path) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([verifier, bundle, exported.old], capture_output=True, text=True, timeout=60)

    assert verified(exported.bundle).stdout == f"{exported.size} entries, from {exported.old_size} on\n"
    for part in ("checkpoint", "tile/entries/001", "tile/0/001"):
        assert verified(exported.changed(part)).returncode != 0, part


@pytest.mark.skipif("VAULTCTL_INTEROP" not in os.environ, reason="Tessera's fsck is run by make interop")
def test_tessera_verifies_a_bundle_and_the_log_of_a_server(exported: Exported, tmp_path: Path) -> None:
    fsck = built("fsck", FSCK, tmp_path)
    key = exported.bundle / "verifier-key"

    def verified(url: str, *options: str) -> bool:
        """Whether it says so; its exit status does not always tell."""
        argv = [fsck, f"--storage_url={url}/", f"--public_key={key}", "--ui=false", *options]
        said = subprocess.run(argv, capture_output=True, text=True, timeout=60).stderr
        return f"Successfully fsck'd log with size {exported.size} " in said

    assert verified(exported.bundle.as_uri())
    assert not verified(exported.changed("checkpoint").as_uri())  # on other changes it may wait for ever
    admin = exported.crowd.mint(agent=None, email="a@example.com", role=Role.ADMIN, credentials=()).secret.reveal()
    exported.size = exported.vault.audit_log.checkpoint().size
    with running_server(exported.crowd.door.engine, exported.crowd.door.store) as server:
        assert verified(f"{server.url}/v1/audit", f"--bearer_token={admin}")
