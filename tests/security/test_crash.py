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

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from tests.ledger.recomputed import assert_log_agrees
from tests.security import crashing
from vaultctl import Vault
from vaultctl.client.backup import back_up, restore
from vaultctl.client.doctor import diagnose
from vaultctl.client.home import load_settings, locate
from vaultctl.client.root_key import move_root_key, show_root_key
from vaultctl.client.setup import initialise
from vaultctl.crypto import passphrases
from vaultctl.crypto.root_keys import ProviderContext, passphrase
from vaultctl.domain.errors import AlreadyExists, NotAuthenticated, VaultMissing
from vaultctl.domain.records import AuditEntry
from vaultctl.domain.secrets import Secret
from vaultctl.store.rows import CredentialRow, EntryRow, KeyRow, LeaseRow, LogRow, SessionRow, TokenRow, VersionRow
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
        for tenant in ("my-org", "_vault"):
            assert assert_log_agrees(store, tenant) > 0, where
    finally:
        store.close()
    with Vault.embedded(home=home) as owner:
        assert owner.audit_log.verify().problems == (), where

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
    assert events["token.exchanged"] == Counter(row.session_id for row in tokens.values() if row.kind == "session"), (
        where
    )
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
        found = owner._adapter._engine.inspect()  # type: ignore[attr-defined]
    assert found == ([], [], []), where


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
    for step in killed_at_every_step(start, "found", fast_path, half=40):
        assert_there_is_a_whole_vault_or_none(fast_path / str(step), f"step {step}")


def killed_at_every_step(start: Start, work: str, homes: Path, *template: Path, half: int) -> list[int]:
    """Do ``work`` in a home for each of its steps, killed there, two of them at a time; answers the steps."""
    spans = (("1", str(half)), (str(half), str(STEPS_AT_MOST)))
    processes = [start("steps", work, str(homes), *span, *map(str, template)) for span in spans]
    said = []
    for process in processes:
        output, _ = process.communicate(timeout=60)
        said += [Said(*line.split()) for line in output.decode().splitlines() if line.count(" ") == 2]
    steps = {int(one.extra): one.what for one in said if one.what in ("killed", "finished")}
    assert len(steps) > 20
    assert "finished" in steps.values(), "the last step was not reached"
    return list(steps)


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


# Rotating keys


def stocked(home: Path, count: int) -> list[str]:
    """A new vault with so many values."""
    initialise(tenant="my-org", home=home, root_key="file")
    values = [f"value-number-{n:03}" for n in range(count)]
    with Vault.embedded(home=home) as owner:
        for n, value in enumerate(values):
            owner.credentials.create(f"c-{n:03}", "generic-secret", value)
    return values


def assert_all_values_are_there(home: Path, values: list[str], where: str) -> None:
    with Vault.embedded(home=home) as owner:
        found = [owner.leases.create(f"c-{n:03}").value.reveal() for n in range(len(values))]
        assert found == values, where
        assert owner._adapter._engine.inspect() == ([], [], []), where  # type: ignore[attr-defined]


def test_a_rotation_of_a_tenants_key_that_is_killed_again_and_again_loses_no_value(
    tmp_path: Path, start: Start
) -> None:
    seed = os.environ.get("VAULTCTL_TEST_SEED") or str(random.SystemRandom().randrange(10**9))
    chance = random.Random(seed)
    home = tmp_path / "home"
    values = stocked(home, 10)
    steps = 0
    waiting = start("rewrap", str(home))
    for number in range(6):
        process, waiting = waiting, start("rewrap", str(home))
        wait_until_ready(process)
        steps += len(heard(process, chance.uniform(0.01, 0.1)))
        assert_all_values_are_there(home, values, f"seed {seed}, round {number}")
    assert steps > 6
    waiting.kill()  # else it goes on with rotations of its own
    waiting.wait()
    with Vault.embedded(home=home) as owner:
        owner.tenants.rotate_kek("my-org")
    store = SqliteStore(home / "vault.db")
    with store.read() as tx:
        assert len([row for row in tx.find(KeyRow) if (row.tenant, row.purpose) == ("my-org", "kek")]) == 1
    store.close()
    assert_all_values_are_there(home, values, f"seed {seed}, at the end")


def seal_cheaply(home: Path) -> None:
    """Seal the root key so that opening it takes no time, since that happens a hundred times."""
    secret = Secret(crashing.PASSPHRASE)
    root = passphrase.load(show_root_key(home=home).key_id, ProviderContext(home, "", environ=os.environ))
    cheap = passphrase._Sealed(root.id, os.urandom(16), os.urandom(12), b"", passes=1, lanes=1, memory_kib=128)
    key = passphrase._derive(secret, cheap)
    ciphertext = AESGCM(key).encrypt(cheap.nonce, root.key, cheap.associated_data)
    (home / "root.key.sealed").write_bytes(msgspec.json.encode(replace(cheap, ciphertext=ciphertext)))


@pytest.mark.parametrize("work", ["rotate", "move"])
def test_a_root_key_that_is_changed_and_killed_at_every_step_opens_all_and_leaves_no_other(
    fast_path: Path, start: Start, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = fast_path / "template"
    values = stocked(template, 2)
    if work == "move":
        monkeypatch.setenv("VAULT_PASSPHRASE", crashing.PASSPHRASE)
        move_root_key("passphrase", home=template)
        seal_cheaply(template)
    ids = {show_root_key(home=template).key_id}
    homes = fast_path / "homes"
    homes.mkdir()
    for step in killed_at_every_step(start, work, homes, template, half=60):
        home, where = homes / str(step), f"step {step}"
        assert_all_values_are_there(home, values, where)
        assert load_settings(locate(home)).other_root_key is None, where
        keys = [path.name for path in home.iterdir() if "root.key" in path.name]
        assert keys in (["root.key"], ["root.key.sealed"]), where
        ids.add(show_root_key(home=home).key_id)
    assert (len(ids) > 1) == (work == "rotate")


# Backups


@pytest.fixture
def cheap_backups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backups are sealed as :mod:`tests.security.crashing` does it, and with its passphrase."""
    monkeypatch.setattr(passphrases, "derive", passphrases.derive)  # put back afterwards
    crashing.derive_cheaply()
    monkeypatch.setenv("VAULT_BACKUP_PASSPHRASE", crashing.PASSPHRASE)


@pytest.mark.usefixtures("cheap_backups")
def test_a_backup_that_is_killed_at_every_step_is_whole_or_has_no_name(fast_path: Path, start: Start) -> None:
    template, homes = fast_path / "template", fast_path / "homes"
    values = stocked(template / "vault", 2)
    homes.mkdir()
    made = {}
    for step in killed_at_every_step(start, "backup", homes, template, half=40):
        where, backup = f"step {step}", homes / str(step) / "backup"
        assert_all_values_are_there(homes / str(step) / "vault", values, where)
        made[step] = backup.exists()
        if made[step]:
            restore(backup, home=homes / str(step) / "new", root_key="file")
            assert_all_values_are_there(homes / str(step) / "new", values, where)
        else:
            crashing.backup(str(homes / str(step)))
    assert set(made.values()) == {False, True}


@pytest.mark.usefixtures("cheap_backups")
def test_a_restore_that_is_killed_at_every_step_leaves_a_whole_vault_or_none(fast_path: Path, start: Start) -> None:
    template, homes = fast_path / "template", fast_path / "homes"
    values = stocked(fast_path / "vault", 2)
    with Vault.embedded(home=fast_path / "vault") as owner:
        token = owner.tokens.create(agent="before", credentials=["*"]).secret
    template.mkdir()
    back_up(template / "backup", home=fast_path / "vault")
    homes.mkdir()
    outcomes = set()
    for step in killed_at_every_step(start, "restore", homes, template, half=60):
        where, home = f"step {step}", homes / str(step) / "vault"
        outcomes.add((home / "vault.db").exists())
        if not (home / "vault.db").exists():
            crashing.restored(str(homes / str(step)))
            assert not list(home.glob(".vault.db.new-*")), where  # neither its own nor of the one that was killed
        with pytest.raises(AlreadyExists):
            crashing.restored(str(homes / str(step)))
        assert_all_values_are_there(home, values, where)
        with pytest.raises(NotAuthenticated), Vault.connect(home=home, token=token) as vault:
            vault.whoami()
    assert outcomes == {False, True}
