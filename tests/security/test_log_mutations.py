"""Whatever a writer to the database changes about an audit log, verifying it tells, with the entries concerned.

``VAULTCTL_TEST_SEED`` makes other mutations than the usual hundred.
"""

import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import Clock
from tests.contract.world import Embedded, EmbeddedPostgres, EmbeddedSqlite
from tests.engine.crowd import Crowd, lease
from tests.ledger.recomputed import defined_frontier, defined_tiles
from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import NotAllowed, VerificationFailed
from vaultctl.domain.records import LogVerification, Role
from vaultctl.engine.authentication import Bearer
from vaultctl.engine.dispatch import Call
from vaultctl.engine.engine import Engine
from vaultctl.store.sqlite import SqliteStore

SEED = os.environ.get("VAULTCTL_TEST_SEED", "7")
TENANT = "my-org"


def populate(crowd: Crowd, clock: Clock) -> None:
    """Some hundreds of entries of many kinds, and checkpoints in between."""
    agent = crowd.agents[TENANT]
    for number in range(12):
        clock.advance("2s")
        calls = [Call(agent, lease(purpose=f"Number {number}"))] * 25 + [Call(agent, lease("missing"))] * 20
        crowd.engine.write(
            [*calls, Call(agent, ask.OpenSession()), Call(crowd.owner(), ask.RevokeLeases(agent="ours"))]
        )
    crowd.engine.perform(crowd.owner(), ask.CreateCheckpoint())
    crowd.engine.write([Call(agent, lease())] * 3)


class Vault(NamedTuple):
    path: Path
    root: RootKey
    clock: Clock
    size: int


@pytest.fixture(scope="module")
def original() -> Iterator[Vault]:
    with tempfile.TemporaryDirectory(prefix="vaultctl-test-") as directory:
        clock = Clock()
        door = EmbeddedSqlite(Path(directory), clock, reaps=False)
        crowd = Crowd(door)
        populate(crowd, clock)
        size = len(crowd.log())
        door.store.close()  # not the engine, which would leave a checkpoint over everything
        yield Vault(Path(directory) / "vault.db", door.root, clock, size)


@pytest.fixture
def copied(original: Vault, fast_path: Path) -> Vault:
    path = fast_path / "vault.db"
    shutil.copy(original.path, path)
    return original._replace(path=path)


def verified(vault: Vault, **options: Any) -> LogVerification:
    engine = Engine(SqliteStore(vault.path, clock=vault.clock), vault.root)
    try:
        return engine.perform(Crowd.owner(), ask.VerifyLog(**options))
    finally:
        engine.close()


def note_of(vault: Vault, number: int) -> str:
    with closing(sqlite3.connect(vault.path)) as connection:
        sql = "SELECT note FROM checkpoints WHERE tenant = ? ORDER BY number LIMIT 1 OFFSET ?"
        ((note,),) = connection.execute(sql, (TENANT, number)).fetchall()
    return note.decode()


def test_a_log_that_nobody_touched_verifies(original: Vault) -> None:
    steps: list[tuple[int, int]] = []
    found = verified(original, progress=lambda done, size: steps.append((done, size)))
    assert (found.verified, found.problems, found.problem_count) == (True, (), 0)
    assert found.size == found.entries == original.size > 512
    assert found.checkpoints >= 12
    assert steps[-1] == (original.size, original.size)


def test_a_log_verifies_from_any_of_its_checkpoints_on_and_against_all_of_them(original: Vault) -> None:
    notes = [note_of(original, number) for number in range(13)]
    assert verified(original, against=tuple(notes)).verified
    for note in notes:
        found = verified(original, since=note, against=(notes[3],))
        assert (found.verified, found.problems) == (True, ())
        covered = int(note.split("\n")[1])
        assert found.entries == original.size - covered // 256 * 256


# Mutations


class Mutator:
    """Changes a database at random; each method answers which entry it is about, if it is about one."""

    def __init__(self, connection: sqlite3.Connection, chance: random.Random) -> None:
        self.connection = connection
        self.chance = chance
        self.size: int = self.one("SELECT max(seq) + 1 FROM entries WHERE tenant = ?")
        self.checkpoints: int = self.one("SELECT count(*) FROM checkpoints WHERE tenant = ?")

    def one(self, sql: str, *more: Any) -> Any:
        ((value,),) = self.connection.execute(sql, (TENANT, *more)).fetchall()
        return value

    def run(self, sql: str, *parameters: Any) -> None:
        assert self.connection.execute(sql, parameters).rowcount > 0

    def flipped(self, data: bytes) -> bytes:
        at = self.chance.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << self.chance.randrange(8)]) + data[at + 1 :]

    def any_entry(self) -> int:
        return self.chance.randrange(self.size)

    def any_checkpoint(self) -> int:
        return self.chance.randrange(self.checkpoints)

    # entries

    def flip_a_bit_of_an_entry(self) -> int:
        seq = self.any_entry()
        body = self.one("SELECT body FROM entries WHERE tenant = ? AND seq = ?", seq)
        self.run("UPDATE entries SET body = ? WHERE tenant = ? AND seq = ?", self.flipped(body), TENANT, seq)
        return seq

    def make_an_entry_text(self) -> int:
        seq = self.any_entry()
        self.run("UPDATE entries SET body = CAST(body AS TEXT) WHERE tenant = ? AND seq = ?", TENANT, seq)
        return seq

    def change_a_column(self) -> int:
        seq = self.any_entry()
        column = self.chance.choice(["event", "agent", "session_id", "credential_name", "lease_id"])
        value = self.chance.choice(["", "somebody", 5, b"x"])
        self.run(f"UPDATE entries SET {column} = ? WHERE tenant = ? AND seq = ?", value, TENANT, seq)
        return seq

    def change_the_time(self) -> int:
        seq = self.any_entry()
        change = self.chance.choice([-1, 1, 10**6, 10**18, -(10**16)])
        self.run("UPDATE entries SET time = time + ? WHERE tenant = ? AND seq = ?", change, TENANT, seq)
        return seq

    def rewrite_an_entry_and_its_columns(self) -> int:
        seq = self.any_entry()
        self.run("UPDATE entries SET body = replace(body, 'ours', 'mine'), agent = replace(agent, 'ours', 'mine')"
                 " WHERE tenant = ? AND seq = ?", TENANT, seq)  # fmt: skip
        self.run("UPDATE entries SET body = CAST(replace(body, '\"seq\"', '\"seq\"') AS BLOB)"
                 " WHERE tenant = ? AND seq = ?", TENANT, seq)  # fmt: skip
        return (
            seq
            if self.one("SELECT instr(body, 'mine') FROM entries WHERE tenant = ? AND seq = ?", seq)
            else (self.flip_a_bit_of_an_entry())
        )

    def delete_an_entry(self) -> int:
        seq = self.any_entry()
        self.run("DELETE FROM entries WHERE tenant = ? AND seq = ?", TENANT, seq)
        return seq

    def delete_the_last_entries(self) -> int:
        seq = self.any_entry()
        self.run("DELETE FROM entries WHERE tenant = ? AND seq >= ?", TENANT, seq)
        return seq

    def truncate_the_log(self) -> int:
        seq = self.delete_the_last_entries()
        self.run("UPDATE logs SET size = ? WHERE tenant = ?", seq, TENANT)
        return seq

    def exchange_two_entries(self) -> int:
        one = self.any_entry()
        other = (one + 1 + self.chance.randrange(self.size - 1)) % self.size
        self.run("UPDATE entries SET seq = -1 WHERE tenant = ? AND seq = ?", TENANT, one)
        self.run("UPDATE entries SET seq = ? WHERE tenant = ? AND seq = ?", one, TENANT, other)
        self.run("UPDATE entries SET seq = ? WHERE tenant = ? AND seq = -1", other, TENANT)
        return one

    def insert_an_entry_in_the_middle(self) -> int:
        seq = self.any_entry()
        self.run("UPDATE entries SET seq = -seq - 2 WHERE tenant = ? AND seq >= ?", TENANT, seq)
        self.run("UPDATE entries SET seq = -seq - 1 WHERE tenant = ? AND seq < 0", TENANT)
        self._copy_entry(seq + 1, seq)
        return seq + 1

    def add_an_entry(self) -> int:
        seq = self.size + self.chance.choice([0, 1, 1000])
        self._copy_entry(self.any_entry(), seq)
        return seq

    def add_an_entry_before_the_first(self) -> int:
        self._copy_entry(self.any_entry(), -1)
        return -1

    def move_an_entry_to_another_tenant(self) -> int:
        seq = self.any_entry()
        self.run("UPDATE entries SET tenant = 'nobodys' WHERE tenant = ? AND seq = ?", TENANT, seq)
        return seq

    def _copy_entry(self, which: int, seq: int) -> None:
        columns = "time, event, agent, session_id, credential_name, lease_id, body"
        self.run(f"INSERT INTO entries (tenant, seq, {columns}) SELECT tenant, ?, {columns} FROM entries"
                 " WHERE tenant = ? AND seq = ?", seq, TENANT, which)  # fmt: skip

    # tiles

    def any_tile(self) -> tuple[int, int, bytes]:
        sql = "SELECT level, number, hashes FROM tiles WHERE tenant = ? ORDER BY level, number"
        found: tuple[int, int, bytes] = self.chance.choice(self.connection.execute(sql, (TENANT,)).fetchall())
        return found

    def flip_a_bit_of_a_tile(self) -> None:
        level, number, hashes = self.any_tile()
        self.run("UPDATE tiles SET hashes = ? WHERE tenant = ? AND level = ? AND number = ?",
                 self.flipped(hashes), TENANT, level, number)  # fmt: skip

    def cut_a_tile(self) -> None:
        level, number, hashes = self.any_tile()
        self.run("UPDATE tiles SET hashes = ? WHERE tenant = ? AND level = ? AND number = ?",
                 hashes[: self.chance.randrange(len(hashes))], TENANT, level, number)  # fmt: skip

    def delete_a_tile(self) -> None:
        level, number, _ = self.any_tile()
        self.run("DELETE FROM tiles WHERE tenant = ? AND level = ? AND number = ?", TENANT, level, number)

    def move_a_tile(self) -> None:
        level, number, _ = self.any_tile()
        self.run("UPDATE tiles SET number = number + 1000 WHERE tenant = ? AND level = ? AND number = ?",
                 TENANT, level, number)  # fmt: skip

    def add_a_tile(self) -> None:
        level, number, hashes = self.any_tile()
        self.run("INSERT INTO tiles VALUES (?, ?, ?, ?)", TENANT, level + self.chance.choice([0, 1, 5]),
                 number + 100, hashes)  # fmt: skip

    # checkpoints

    def flip_a_bit_of_a_checkpoint(self) -> None:
        number = self.any_checkpoint()
        note = self.one("SELECT note FROM checkpoints WHERE tenant = ? AND number = ?", number)
        self.run("UPDATE checkpoints SET note = ? WHERE tenant = ? AND number = ?", self.flipped(note), TENANT, number)

    def sign_a_checkpoint_once_more(self) -> None:
        number = self.any_checkpoint()
        note = self.one("SELECT note FROM checkpoints WHERE tenant = ? AND number = ?", number)
        note += "— somebody AAAAAAAA\n".encode()
        self.run("UPDATE checkpoints SET note = ? WHERE tenant = ? AND number = ?", note, TENANT, number)

    def delete_a_checkpoint(self) -> None:
        self.run("DELETE FROM checkpoints WHERE tenant = ? AND number = ?", TENANT, self.any_checkpoint())

    def delete_the_last_checkpoints(self) -> None:
        self.run("DELETE FROM checkpoints WHERE tenant = ? AND number >= ?", TENANT, self.any_checkpoint())

    def change_a_checkpoints_size(self) -> None:
        self.run("UPDATE checkpoints SET size = size + 1000000 WHERE tenant = ? AND number = ?",
                 TENANT, self.any_checkpoint())  # fmt: skip

    def exchange_two_checkpoints(self) -> None:
        one = self.chance.randrange(self.checkpoints - 1)
        self.run("UPDATE checkpoints SET number = -1 WHERE tenant = ? AND number = ?", TENANT, one)
        self.run("UPDATE checkpoints SET number = ? WHERE tenant = ? AND number = ?", one, TENANT, one + 1)
        self.run("UPDATE checkpoints SET number = ? WHERE tenant = ? AND number = -1", one + 1, TENANT)

    def add_a_checkpoint(self) -> None:
        self.run("INSERT INTO checkpoints SELECT tenant, ?, size + 1000000, note FROM checkpoints"
                 " WHERE tenant = ? AND number = ?", self.chance.choice([-1, self.checkpoints, 10**6]), TENANT,
                 self.any_checkpoint())  # fmt: skip

    # the head, and the key

    def change_the_head(self) -> None:
        column = self.chance.choice(["size", "last_time", "checkpoints", "unsigned_entries", "checkpoint_time"])
        change = self.chance.choice([-1, 1, 1000])
        self.run(f"UPDATE logs SET {column} = {column} + ? WHERE tenant = ?", change, TENANT)

    def flip_a_bit_of_the_head(self) -> None:
        column = self.chance.choice(["frontier", "mac"])
        value = self.one(f"SELECT {column} FROM logs WHERE tenant = ?")
        self.run(f"UPDATE logs SET {column} = ? WHERE tenant = ?", self.flipped(value), TENANT)

    def spoil_the_head(self) -> None:
        column = self.chance.choice(["size", "last_time", "frontier", "mac"])
        value = self.chance.choice(["nonsense", b"\0", -1])
        self.run(f"UPDATE logs SET {column} = ? WHERE tenant = ?", value, TENANT)

    def take_the_head_of_another(self) -> None:
        self.run("UPDATE logs SET frontier = (SELECT frontier FROM logs WHERE tenant = 'other-org'),"
                 " size = (SELECT size FROM logs WHERE tenant = 'other-org'),"
                 " mac = (SELECT mac FROM logs WHERE tenant = 'other-org') WHERE tenant = ?", TENANT)  # fmt: skip

    def delete_the_head(self) -> None:
        self.run("DELETE FROM logs WHERE tenant = ?", TENANT)

    def exchange_the_signing_key(self) -> None:
        self.run("UPDATE tenant_keys SET wrapped = (SELECT wrapped FROM tenant_keys WHERE tenant = 'other-org' AND"
                 " purpose = 'signing') WHERE tenant = ? AND purpose = 'signing'", TENANT)  # fmt: skip

    def delete_the_signing_key(self) -> None:
        self.run("DELETE FROM tenant_keys WHERE tenant = ? AND purpose = 'signing'", TENANT)

    def write_another_history(self) -> int:
        """Change an entry, and everything that can be computed without a key."""
        seq = self.flip_a_bit_of_an_entry()
        sql = "SELECT body FROM entries WHERE tenant = ? ORDER BY seq"
        leaves = [sha256(b"\0" + body).digest() for (body,) in self.connection.execute(sql, (TENANT,))]
        for (level, number), hashes in defined_tiles(leaves).items():
            self.run("UPDATE tiles SET hashes = ? WHERE tenant = ? AND level = ? AND number = ?",
                     hashes, TENANT, level, number)  # fmt: skip
        self.run("UPDATE logs SET frontier = ? WHERE tenant = ?", defined_frontier(leaves), TENANT)
        return seq


KINDS = [name for name, member in vars(Mutator).items() if name[0] != "_" and callable(member)]
KINDS = [name for name in KINDS if name not in ("one", "run", "flipped", "any_entry", "any_checkpoint", "any_tile")]


@pytest.mark.parametrize("number", range(max(100, 3 * len(KINDS))))
def test_every_mutation_is_found(copied: Vault, number: int) -> None:
    chance = random.Random(f"{SEED}.{number}")
    kind = KINDS[number % len(KINDS)]
    with closing(sqlite3.connect(copied.path)) as connection:
        seq = getattr(Mutator(connection, chance), kind)()
        assert connection.total_changes > 0
        connection.commit()
    found = verified(copied)
    assert not found.verified, kind
    assert found.problem_count >= len(found.problems) > 0
    if seq is not None:
        concerned = [(p.first_entry, p.last_entry) for p in found.problems if p.first_entry is not None]
        assert any(first <= seq <= (last or first) for first, last in concerned), (kind, seq, found.problems)


def test_what_is_reported_is_what_was_changed_and_not_all_that_comes_after_it(copied: Vault) -> None:
    with closing(sqlite3.connect(copied.path)) as connection:
        connection.execute("UPDATE entries SET body = x'7b7d' WHERE tenant = ? AND seq = 100", (TENANT,))
        connection.execute("DELETE FROM entries WHERE tenant = ? AND seq BETWEEN 300 AND 310", (TENANT,))
        connection.commit()
    found = verified(copied)
    assert [(p.first_entry, p.last_entry) for p in found.problems] == [(100, 100), (100, 100), (300, 310)]


def test_a_log_from_a_checkpoint_on_is_looked_at_from_there(copied: Vault) -> None:
    late = note_of(copied, 12)
    with closing(sqlite3.connect(copied.path)) as connection:
        connection.execute("UPDATE entries SET agent = 'x' WHERE tenant = ? AND seq = ?", (TENANT, copied.size - 1))
        connection.commit()
    assert [p.first_entry for p in verified(copied, since=late).problems] == [copied.size - 1]


def test_a_log_that_does_not_begin_as_the_checkpoint_says_is_looked_at_as_a_whole(copied: Vault) -> None:
    late = note_of(copied, 12)
    with closing(sqlite3.connect(copied.path)) as connection:
        connection.execute("UPDATE tiles SET hashes = zeroblob(8192) WHERE tenant = ? AND level = 0", (TENANT,))
        connection.execute(
            "UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE tenant = ? AND level = 1", (TENANT,)
        )
        connection.commit()
    found = verified(copied, since=late)
    assert not found.verified
    assert found.entries == copied.size


# What only a checkpoint that was kept elsewhere shows


def test_a_database_that_was_set_back_as_a_whole_is_caught_by_a_checkpoint_kept_elsewhere(
    copied: Vault, fast_path: Path
) -> None:
    kept = copied._replace(path=fast_path / "kept.db")
    shutil.copy(copied.path, kept.path)
    engine = Engine(SqliteStore(copied.path, clock=copied.clock), copied.root)
    engine.perform(Crowd.owner(), ask.RevokeLeases(agent="ours"))
    newer = engine.perform(Crowd.owner(), ask.CreateCheckpoint())
    engine.close()
    assert verified(copied, against=(newer.note,)).verified
    assert verified(kept).verified
    (problem,) = verified(kept, against=(newer.note,)).problems
    assert (problem.first_entry, problem.last_entry) == (kept.size, newer.size - 1)
    assert not verified(kept, since=newer.note).verified


def test_a_history_that_was_set_back_and_went_on_otherwise_is_caught(copied: Vault, fast_path: Path) -> None:
    other = copied._replace(path=fast_path / "other.db")
    shutil.copy(copied.path, other.path)
    made = []
    for vault in (copied, other):
        engine = Engine(SqliteStore(vault.path, clock=vault.clock), vault.root)
        engine.perform(Crowd.owner(), ask.RevokeLeases(agent="ours"))
        made.append(engine.perform(Crowd.owner(), ask.CreateCheckpoint()))
        engine.close()
    assert made[0].size == made[1].size
    assert verified(other).verified
    found = verified(other, against=(made[0].note,))
    assert [(p.first_entry, p.last_entry) for p in found.problems] == [(copied.size - 3, made[0].size - 1)]


def test_another_vaults_database_is_caught(original: Vault, fast_path: Path) -> None:
    door = EmbeddedSqlite(fast_path, original.clock, reaps=False)
    crowd = Crowd(door)
    with pytest.raises(VerificationFailed, match="No key"):
        crowd.engine.perform(crowd.owner(), ask.VerifyLog(against=(note_of(original, 3),)))
    key = crowd.engine.perform(crowd.owner(), ask.CreateCheckpoint()).verifier_key
    assert crowd.engine.perform(crowd.owner(), ask.VerifyLog(key=key)).verified
    assert not verified(original, key=key).verified
    door.close()


def test_a_checkpoint_of_another_tenant_is_none_of_this_log(copied: Vault) -> None:
    engine = Engine(SqliteStore(copied.path, clock=copied.clock), copied.root)
    other = engine.perform(Crowd.owner("other-org"), ask.CreateCheckpoint())
    with pytest.raises(VerificationFailed, match="No key"):
        engine.perform(Crowd.owner(), ask.VerifyLog(against=(other.note,)))
    engine.close()


# On PostgreSQL, and for whom


@pytest.fixture
def on_postgres(fast_path: Path, clock: Clock) -> Iterator[Embedded]:
    door = EmbeddedPostgres(fast_path, clock, reaps=False)
    yield door
    door.close()


POSTGRES: dict[str, Callable[[int], str]] = {
    "an entry": lambda _: "UPDATE entries SET body = '{}' WHERE tenant = 'my-org' AND seq = 7",
    "a column": lambda _: "UPDATE entries SET agent = 'x' WHERE tenant = 'my-org' AND seq = 7",
    "a deletion": lambda _: "DELETE FROM entries WHERE tenant = 'my-org' AND seq = 7",
    "a truncation": lambda size: f"DELETE FROM entries WHERE tenant = 'my-org' AND seq >= {size - 2}",
    "a tile": lambda _: "UPDATE tiles SET hashes = '\\x00' WHERE tenant = 'my-org' AND level = 1",
    "a checkpoint": lambda _: "DELETE FROM checkpoints WHERE tenant = 'my-org' AND number = 2",
    "the head": lambda _: "UPDATE logs SET last_time = last_time + 1000000000000 WHERE tenant = 'my-org'",
}


def test_mutations_are_found_on_postgresql(on_postgres: Any, clock: Clock) -> None:
    import psycopg

    crowd = Crowd(on_postgres)
    populate(crowd, clock)
    size = len(crowd.log())
    assert crowd.engine.perform(crowd.owner(), ask.VerifyLog()).verified
    for name, change in POSTGRES.items():
        with psycopg.connect(on_postgres._url, autocommit=True) as connection:
            kept = ["entries", "tiles", "checkpoints", "logs"]
            for table in kept:
                connection.execute(f"CREATE TEMPORARY TABLE kept_{table} AS SELECT * FROM {table}")
            assert connection.execute(change(size).encode()).rowcount > 0
            assert not crowd.engine.perform(crowd.owner(), ask.VerifyLog()).verified, name
            for table in kept:
                connection.execute(f"DELETE FROM {table}")
                connection.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")
    assert crowd.engine.perform(crowd.owner(), ask.VerifyLog()).verified


def test_admins_and_operators_verify_a_log_and_nobody_else(fast_path: Path, clock: Clock) -> None:
    door = EmbeddedSqlite(fast_path, clock, reaps=False)
    crowd = Crowd(door)

    def human(role: Role) -> Bearer:
        return Bearer.of(crowd.mint(agent=None, email="a@example.com", role=role, credentials=()).secret)

    assert crowd.engine.perform(human(Role.ADMIN), ask.VerifyLog()).verified
    assert crowd.engine.perform(crowd.owner("_vault"), ask.VerifyLog()).verified
    for caller in (human(Role.MANAGER), crowd.agents[TENANT], crowd.open_session()):
        with pytest.raises(NotAllowed):
            crowd.engine.perform(caller, ask.VerifyLog())
        assert crowd.log()[-1].details["operation"] == "audit.verify"
    door.close()
