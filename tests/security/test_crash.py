"""A crash at any instruction loses nothing that was acknowledged, and leaves nothing half done.

``VAULTCTL_TEST_SEED`` repeats a run: the seed is in the name of the failing round.
"""

import json
import os
import random
import select
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.security import crashing
from vaultctl import Vault
from vaultctl.client.doctor import diagnose
from vaultctl.client.setup import initialise
from vaultctl.domain.errors import AlreadyExists, VaultMissing
from vaultctl.domain.records import AuditEntry
from vaultctl.store.rows import CredentialRow, EntryRow, LeaseRow, LogRow, SessionRow, TokenRow, VersionRow
from vaultctl.store.sqlite import SqliteStore

ROUNDS = 15
LONGEST_ROUND = 0.4
STEPS_AT_MOST = 400

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts :mod:`tests.security.crashing`; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str) -> "subprocess.Popen[bytes]":
        root = Path(__file__).parents[2]
        environment = os.environ | {"PYTHONPATH": str(root)}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", crashing.__name__, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=root,
                env=environment,
            )
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


class Said(NamedTuple):
    what: str
    id: str
    extra: str


def heard(process: "subprocess.Popen[bytes]", seconds: float) -> list[Said]:
    """What a process says within so many seconds; it is killed then, and what was in the pipe still counts."""
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    deadline, content = time.monotonic() + seconds, b""
    while (left := deadline - time.monotonic()) > 0:
        if select.select([process.stdout], [], [], left)[0]:
            content += process.stdout.read() or b""
    process.kill()
    process.wait()
    content += process.stdout.read() or b""
    return [Said(*line.split()) for line in content.decode().splitlines() if line.count(" ") == 2]


def wait_until_ready(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready - 0\n"


def test_whatever_was_acknowledged_before_a_kill_is_there_with_its_entry(tmp_path: Path, start: Start) -> None:
    seed = os.environ.get("VAULTCTL_TEST_SEED") or str(random.SystemRandom().randrange(10**9))
    chance = random.Random(seed)
    home = tmp_path / "home"
    initialise(tenant="my-org", home=home, root_key="file")
    with Vault.embedded(home=home) as owner:
        owner.credentials.create("crash", "generic-secret", "value-000000000000")
    acknowledged: list[Said] = []
    # The next one starts while this one works, so that rounds do not wait for imports.
    waiting = start("use", str(home), f"{seed}.0")
    for number in range(1, ROUNDS + 1):
        process, waiting = waiting, start("use", str(home), f"{seed}.{number}")
        wait_until_ready(process)
        acknowledged += heard(process, chance.uniform(0.02, LONGEST_ROUND))
        assert_nothing_is_lost_or_half_done(home, acknowledged, f"seed {seed}, round {number}")
    assert Counter(said.what for said in acknowledged)["issued"] > ROUNDS
    assert {said.what for said in acknowledged} >= {"issued", "renewed", "revoked", "rotated", "opened"}


def test_two_processes_that_are_killed_in_turn_do_not_undo_each_other(tmp_path: Path, start: Start) -> None:
    home = tmp_path / "home"
    initialise(tenant="my-org", home=home, root_key="file")
    with Vault.embedded(home=home) as owner:
        owner.credentials.create("crash", "generic-secret", "value-000000000000")
    processes = [start("use", str(home), f"7.{n}") for n in range(2)]
    for process in processes:
        wait_until_ready(process)
    acknowledged = [said for process in processes for said in heard(process, 0.3)]
    assert len({said.id for said in acknowledged if said.what == "issued"}) > 2
    assert_nothing_is_lost_or_half_done(home, acknowledged, "two processes")


def assert_nothing_is_lost_or_half_done(home: Path, acknowledged: list[Said], where: str) -> None:
    store = SqliteStore(home / "vault.db")
    try:
        assert store.problems() == [], where
        with store.read() as tx:
            for log in tx.find(LogRow):
                count = Counter(row.seq for row in tx.find(EntryRow) if row.tenant == log.tenant)
                assert count == dict.fromkeys(range(log.size), 1), where
            entries = [json.loads(row.body) for row in tx.find(EntryRow, order="seq") if row.tenant == "my-org"]
            leases = {row.id: row for row in tx.find(LeaseRow)}
            sessions = {row.id: row for row in tx.find(SessionRow)}
            tokens = {row.id: row for row in tx.find(TokenRow)}
            (credential,) = tx.find(CredentialRow)
            versions = sorted(row.version for row in tx.find(VersionRow))
    finally:
        store.close()

    events: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        events[entry["event"]][subject_of(entry)] += 1

    # No row without its entry, and no entry without its row.
    assert events["lease.created"] == dict.fromkeys(leases, 1), where
    assert events["lease.renewed"] == {row.id: row.renewals for row in leases.values() if row.renewals}, where
    ended = events["lease.revoked"] + events["lease.expired"]
    assert ended == {row.id: 1 for row in leases.values() if row.state != "active"}, where
    assert events["session.started"] == dict.fromkeys(sessions, 1), where
    assert events["session.ended"] == {row.id: 1 for row in sessions.values() if row.state == "ended"}, where
    assert events["token.exchanged"] == Counter(row.session_id for row in tokens.values() if row.session_id), where
    assert events["token.created"] == {row.id: 1 for row in tokens.values() if row.kind == "agent"}, where
    assert events["credential.rotated"]["crash"] == credential.version - 1, where
    assert versions == list(range(1, credential.version + 1)), where
    for row in leases.values():
        if row.session_id and sessions[row.session_id].state == "ended":
            assert row.state != "active", where

    # Nothing that was acknowledged is lost.
    for said in acknowledged:
        match said.what:
            case "issued":
                assert said.id in leases, where
            case "renewed":
                assert leases[said.id].renewals >= int(said.extra), where
            case "revoked":
                assert leases[said.id].state == "revoked", where
            case "rotated":
                assert credential.version >= int(said.extra), where
            case "opened":
                assert said.id in sessions, where
            case "ended":
                assert sessions[said.id].state == "ended", where

    # It opens, with the root key, and all that grants authority is as the vault wrote it.
    with Vault.embedded(home=home) as owner:
        assert [entry.seq for entry in all_entries(owner)][-1] >= entries[-1]["seq"]
        changed, incomplete = owner._adapter._engine.inspect()  # type: ignore[attr-defined]
    assert (changed, incomplete) == ([], []), where


def subject_of(entry: dict[str, Any]) -> str:
    """What an entry is about: the row that it must have."""
    event, identity, details = entry["event"], entry["identity"], entry["details"]
    if event.startswith("lease.") and "leaseId" in entry:
        return str(entry["leaseId"])
    if event.startswith("session.") or event == "token.exchanged":
        return str(identity.get("sessionId") or details.get("sessionId"))
    if event.startswith("credential."):
        return str(entry["credentialName"])
    return str(details.get("tokenId"))


def all_entries(vault: Vault) -> list[AuditEntry]:
    return vault.audit_log.query(limit=None)


# Creating a vault


def assert_there_is_a_whole_vault_or_none(home: Path, where: str) -> None:
    """And in both cases the next attempt to create one ends well."""
    try:
        with Vault.embedded(home=home) as owner:
            assert owner.whoami().tenant == "my-org", where
    except VaultMissing:
        initialise(tenant="my-org", home=home, root_key="file")
    else:
        with pytest.raises(AlreadyExists):
            initialise(tenant="my-org", home=home, root_key="file")
    with Vault.embedded(home=home) as owner:
        owner.credentials.create("a", "generic-secret", "value-0123456789")
        assert owner.leases.create("a").value.reveal() == "value-0123456789"
        assert [entry.seq for entry in all_entries(owner)] == [0, 1, 2], where
    # A key that no vault uses may be left; doctor says so.
    problems = [it for it in diagnose(home=home) if it.level != "ok" and ".root.key.new-" not in it.message]
    assert problems == [], where


def test_a_vault_that_is_killed_while_it_is_created_is_whole_or_not_there_at_every_step(
    fast_path: Path, start: Start
) -> None:
    """Every file that is opened, linked, renamed or removed, and every database that is opened, is a step."""
    half = 40
    processes = [start("steps", str(fast_path), *span) for span in (("1", str(half)), (str(half), str(STEPS_AT_MOST)))]
    said = []
    for process in processes:
        output, _ = process.communicate(timeout=60)
        said += [Said(*line.split()) for line in output.decode().splitlines() if line.count(" ") == 2]
    steps = {int(one.extra): one.what for one in said if one.what in ("killed", "finished")}
    assert len(steps) > 20
    assert "finished" in steps.values(), "the last step was not reached"
    for step in steps:
        assert_there_is_a_whole_vault_or_none(fast_path / str(step), f"step {step}")


def test_a_vault_that_is_killed_at_any_moment_of_its_creation_is_whole_or_not_there(
    tmp_path: Path, start: Start
) -> None:
    seed = os.environ.get("VAULTCTL_TEST_SEED") or str(random.SystemRandom().randrange(10**9))
    chance = random.Random(seed)
    longest, outcomes = 0.03, []
    waiting = start("found", str(tmp_path / "0"))
    for number in range(1, 16):
        process, waiting = waiting, start("found", str(tmp_path / str(number)))
        wait_until_ready(process)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        said = heard(process, 0.5 if number == 1 else chance.uniform(0, longest))
        if number == 1:
            longest = int(said[0].extra) / 1_000_000
        outcomes.append((tmp_path / str(number - 1) / "vault.db").exists())
        assert_there_is_a_whole_vault_or_none(tmp_path / str(number - 1), f"seed {seed}, round {number}")
    assert outcomes[0]
