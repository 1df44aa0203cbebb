"""What the ledger costs: commits with it and without, and how long it takes to verify a log of a million entries."""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench import audit_log
from vaultctl import Vault
from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain import requests as ask
from vaultctl.domain.records import CredentialType, Identity
from vaultctl.domain.secrets import Secret
from vaultctl.engine import log_tree
from vaultctl.engine.authentication import Bearer, Owner
from vaultctl.engine.dispatch import Call
from vaultctl.engine.engine import Engine
from vaultctl.engine.founding import found_vault
from vaultctl.engine.group_commit import GroupCommit
from vaultctl.engine.transaction import Transaction
from vaultctl.store.sqlite import SqliteStore, create_database

GROUPS = (1, 16, 64)
ROUNDS = 12


@contextmanager
def without_ledger() -> Iterator[None]:
    """The same commits with no tree, no checkpoints and no code over the head: what there was before."""

    def grown(_store: Any, log: Any, entries: Any, time: int, _partial: Any) -> Any:
        return msgspec.structs.replace(log, size=log.size + len(entries), last_time=time, unsigned_entries=0), None

    def replace_head(self: Any, log: Any) -> None:
        self._logs[log.tenant] = log
        self._store.update(log)

    patches = (
        mock.patch.object(log_tree, "grown", grown),
        mock.patch.object(Transaction, "_replace_head", replace_head),
        mock.patch.object(Transaction, "_opened", lambda _, log: log),
    )
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def commits(directory: Path) -> dict[int, tuple[float, float]]:
    """Seconds that leases take with the ledger and without it, by how many share a commit; the best of many rounds."""
    owner = Identity(type="human", user_id="owner", email="owner@localhost")
    sides: list[tuple[GroupCommit, Bearer]] = []
    for name in ("with", "without"):
        create_database(directory / name)
        store, root = SqliteStore(directory / name), RootKey.new(os.urandom)
        found_vault(store, root, tenant="bench", owner=owner)
        engine = Engine(store, root)
        human = Owner("bench", "owner@localhost")
        value = Secret("value-0123456789")
        engine.perform(human, ask.CreateCredential(name="api", type=CredentialType.API_KEY, value=value))
        token = engine.perform(human, ask.CreateToken(agent="ours", credentials=("*",)))
        sides.append((GroupCommit(engine, _fail), Bearer.of(token.secret)))
    found = {}
    for size in GROUPS:
        best = [float("inf"), float("inf")]
        for _ in range(ROUNDS):
            for side, (groups, agent) in enumerate(sides):
                calls = [Call(agent, ask.CreateLease(credential_name="api", purpose="Benchmark"))] * size
                if side:
                    with without_ledger():
                        seconds = _time(groups, calls)
                else:
                    seconds = _time(groups, calls)
                best[side] = min(best[side], seconds)
        found[size] = (best[0], best[1])
    return found


def _fail(error: Exception) -> None:
    raise error


def _time(groups: GroupCommit, calls: list[Call]) -> float:
    start = time.perf_counter()
    for _ in range(max(1, 256 // len(calls))):  # one tile is filled
        groups.run(calls)
    return time.perf_counter() - start


def verification(entries: int) -> tuple[float, float, float]:
    """Seconds that tree and tallies of so many entries take, and verifying them; and MiB that verifying adds."""
    with tempfile.TemporaryDirectory(prefix="vaultctl-bench-") as folder:
        home = Path(folder)
        audit_log.make_vault(home, entries)
        built = audit_log.catch_up(home)
        with Vault.embedded(home=home) as owner:
            owner.audit_log.checkpoint()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            start = time.perf_counter()
            found = owner.audit_log.verify()
            seconds = time.perf_counter() - start
        if not found.verified or found.entries != entries:
            raise SystemExit(f"the log does not verify: {found.problems[:3]}")
        return built, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        print({size: (f"{one:.3f}", f"{one / other:.2f}") for size, (one, other) in commits(Path(place)).items()})
    print(verification(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
