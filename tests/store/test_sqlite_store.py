"""The SQLite store: any number of processes, full commits, private files, and errors that are ours."""

import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import Clock
from tests.store.conftest import Child, counted, put, until, write_log
from vaultctl.domain.errors import InvalidInput, VaultError, VaultMissing, VaultUnavailable, VerificationFailed
from vaultctl.domain.times import SECOND
from vaultctl.store.interface import Where
from vaultctl.store.migrations import MIGRATIONS
from vaultctl.store.rows import EntryRow, LogRow, TenantRow
from vaultctl.store.sqlite import SqliteStore, create_database, settle

StartChild = Callable[..., Child]
SetUmask = Callable[[int], None]

FILES = ("", "-wal", "-shm", "-gate", "-lock")
ODD_NAMES = [
    *("with space", "a?b", "a?mode=memory", "a#b", "a%41b", "100%", "trailing\n", "-dash", "file:x"),
    *("it's", 'quote"', "semi;colon", "a&b", "ünïcode", "back\\slash", "two  spaces "),
]


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


@contextmanager
def opened(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    try:
        yield store
    finally:
        store.close()


def open_files_of(directory: Path) -> list[str]:
    """The files in ``directory`` that this process has open."""
    links = list(Path("/proc/self/fd").iterdir())
    targets = [str(link.readlink()) for link in links if link.is_symlink()]
    return [target for target in targets if target.startswith(f"{directory}/")]


# Transactions


def test_a_commit_is_seen_by_other_connections(store: SqliteStore, database: Path) -> None:
    put(store, count=3)
    with opened(database) as other:
        assert counted(other) == 3


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, VaultUnavailable])
def test_an_exception_undoes_all_of_its_transaction(store: SqliteStore, error: type[BaseException]) -> None:
    put(store, count=1)

    def fail() -> None:
        with store.write() as tx:
            tx.update(TenantRow("counter", 2, 0, 0))
            tx.insert(TenantRow("another", 9, 0, 0))
            raise error("stop")

    with pytest.raises(error):
        fail()
    assert counted(store) == 1
    with store.read() as tx:
        assert tx.count(TenantRow) == 1


def test_after_an_exception_the_next_transaction_works(store: SqliteStore) -> None:
    for _ in range(2):
        with pytest.raises(VerificationFailed), store.write() as tx:
            tx.update(TenantRow("nobody", 2, 0, 0))
    put(store)
    assert counted(store) == 0


def test_a_reader_sees_one_state_from_beginning_to_end(store: SqliteStore) -> None:
    put(store, count=1)
    with store.read() as reader:
        before = reader.get(TenantRow, "counter")
        with store.write() as tx:
            tx.update(TenantRow("counter", 2, 0, 0))
        assert reader.get(TenantRow, "counter") == before
    assert counted(store) == 2


def test_a_reader_does_not_wait_for_a_writer(store: SqliteStore, database: Path) -> None:
    put(store, count=1)
    with opened(database) as other, store.write() as tx:
        tx.update(TenantRow("counter", 2, 0, 0))
        assert counted(other) == 1


def test_a_reader_can_not_write(store: SqliteStore) -> None:
    with pytest.raises(VaultUnavailable), store.read() as tx:
        tx.insert(TenantRow("counter", 1, 0, 0))


def test_a_commit_is_on_the_disk_before_it_is_acknowledged(store: SqliteStore) -> None:
    """No test can cut the power; SQLite's manual says what it takes (pragma.html#pragma_synchronous)."""
    with store.write() as tx:
        settings = {
            name: tx._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")
        }
    assert settings == {"synchronous": 2, "journal_mode": "wal"}


def test_a_writer_has_the_database_to_itself_from_its_first_read(store: SqliteStore, database: Path) -> None:
    """Else somebody who knows nothing of our turns could write between its reading and its writing."""
    outsider = sqlite3.connect(database, timeout=0, isolation_level=None)
    with store.write(), pytest.raises(sqlite3.OperationalError, match="locked"):
        outsider.execute("BEGIN IMMEDIATE")
    outsider.execute("BEGIN IMMEDIATE")
    outsider.close()


def test_deleting_without_a_condition_is_refused(store: SqliteStore) -> None:
    with pytest.raises(ValueError, match="condition"), store.write() as tx:
        tx.delete(TenantRow)


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb"])
def test_text_that_is_no_unicode_is_refused_without_being_quoted(store: SqliteStore, text: str) -> None:
    with pytest.raises(InvalidInput) as refused, store.read() as tx:
        tx.get(TenantRow, text)
    assert text not in str(refused.value)


def test_a_number_beyond_64_bits_is_refused(store: SqliteStore) -> None:
    with pytest.raises(InvalidInput), store.read() as tx:
        tx.find(TenantRow, Where("created_at", "=", 2**64))


def test_text_with_a_nul_in_it_comes_back_whole(store: SqliteStore) -> None:
    put(store, "a\0b", 5)
    assert counted(store, "a\0b") == 5


# Processes


def test_processes_that_write_at_once_lose_no_update_and_see_no_locked_database(
    store: SqliteStore, child: StartChild
) -> None:
    put(store)
    writer = """
    wait_for_go()
    for _ in range(60):
        store = SqliteStore(database)
        for _ in range(2):
            with store.write() as tx:
                row = tx.get(TenantRow, "counter")
                tx.update(TenantRow("counter", row.default_lease_ttl + 1, 0, 0))
        store.close()
    """
    reader = """
    wait_for_go()
    seen = 0
    while seen < 360:
        store = SqliteStore(database)
        with store.read() as tx:
            now = tx.get(TenantRow, "counter").default_lease_ttl
            assert now >= seen
            seen = now
        store.close()
    """
    children = [*(child(writer) for _ in range(3)), child(reader)]
    for one in children:
        one.expect("ready")
    for one in children:
        one.go()
    for one in children:
        assert one.rest() == ""
    assert counted(store) == 360
    assert store.problems() == []


def test_a_writer_that_is_killed_leaves_what_it_committed_and_nothing_else(
    store: SqliteStore, child: StartChild
) -> None:
    put(store)
    writer = child("""
    store = SqliteStore(database)
    with store.write() as tx:
        tx.update(TenantRow("counter", 1, 0, 0))
    with store.write() as tx:
        tx.update(TenantRow("counter", 2, 0, 0))
        say("inside")
        sys.stdin.readline()
    """)
    writer.expect("inside")
    writer.kill()
    assert counted(store) == 1
    with store.write() as tx:
        tx.update(TenantRow("counter", 3, 0, 0))
    assert counted(store) == 3
    assert store.problems() == []


def test_a_lock_that_is_held_for_long_is_an_error_of_ours(database: Path, child: StartChild) -> None:
    holder = child("""
    store = SqliteStore(database)
    with store.write():
        say("inside")
        sys.stdin.readline()
    """)
    holder.expect("inside")
    impatient = SqliteStore(database, lock_timeout=0.1)
    with pytest.raises(VaultUnavailable, match="write lock"), impatient.write():
        raise AssertionError
    with impatient.read() as tx:
        assert tx.count(TenantRow) == 0
    holder.go()
    impatient.close()


def test_a_full_disk_is_an_error_of_ours_and_harms_nothing(
    database: Path, store: SqliteStore, child: StartChild
) -> None:
    put(store, count=7)
    writer = child("""
    import resource
    store = SqliteStore(database)
    with store.write() as tx:
        tx.update(TenantRow("counter", 8, 0, 0))
    room = os.path.getsize(f"{database}-wal") + 10_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    for _ in range(2):
        try:
            with store.write() as tx:
                tx.update(TenantRow("counter", 9, 0, 0))
                for n in range(50):
                    tx.insert(TenantRow("x" * 4000 + str(n), 0, 0, 0))
        except VaultError as error:
            say(error.code)
    """)
    assert writer.rest().split() == ["vault_unavailable"] * 2
    assert counted(store) == 8
    with store.read() as tx:
        assert tx.count(TenantRow) == 1
    assert store.problems() == []


# Files


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_every_file_is_private_whatever_the_umask(tmp_path: Path, with_umask: SetUmask, mask: int) -> None:
    with_umask(mask)
    path = tmp_path / "vault.db"
    create_database(path)
    with opened(path) as store:
        put(store)
        assert counted(store) == 0
        for end in FILES:
            assert stat.S_IMODE(Path(f"{path}{end}").stat().st_mode) == 0o600, end
    assert {file.name for file in tmp_path.iterdir()} <= {f"vault.db{end}" for end in FILES}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_the_path_may_hold_any_character(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    for path in (directory / "vault.db", tmp_path / f"{name}.db"):
        create_database(path)
        with opened(path) as store:
            put(store, count=4)
        with opened(path) as store:
            assert counted(store) == 4
    assert {file.name for file in directory.iterdir()} == {f"vault.db{end}" for end in FILES}


def test_creating_never_replaces_a_file_nor_follows_a_link(tmp_path: Path) -> None:
    taken, link, target = tmp_path / "taken", tmp_path / "link", tmp_path / "target"
    taken.write_bytes(b"precious")
    link.symlink_to(target)
    for path in (taken, link):
        with pytest.raises(VaultUnavailable):
            create_database(path)
    assert taken.read_bytes() == b"precious"
    assert not target.exists()


def test_through_a_symbolic_link_the_same_lock_is_taken(database: Path, tmp_path: Path) -> None:
    """Otherwise two writers could each have a lock of their own."""
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(database)
    impatient = SqliteStore(database, lock_timeout=0.1)
    with (
        opened(link) as store,
        store.write(),
        pytest.raises(VaultUnavailable, match="Another process held"),
        impatient.write(),
    ):
        raise AssertionError
    impatient.close()
    assert [file.name for file in link.parent.iterdir()] == ["link.db"]


def write_much(store: SqliteStore, wal: Path, *, first: int, commits: int) -> int:
    """Some megabytes in small commits; answers how long the write-ahead log ever was."""
    longest = 0
    for seq in range(first, first + commits):
        with store.write() as tx:
            tx.insert(EntryRow("my-org", seq, seq, "test", None, None, None, None, b"x" * 30_000))
        longest = max(longest, wal.stat().st_size)
    return longest


def test_the_write_ahead_log_stays_short(store: SqliteStore, database: Path) -> None:
    assert write_much(store, Path(f"{database}-wal"), first=0, commits=300) < 6_000_000
    assert database.stat().st_size > 6_000_000


def test_the_write_ahead_log_stays_short_when_opened_through_a_symbolic_link(database: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(database)
    with opened(link) as store:
        assert write_much(store, Path(f"{database}-wal"), first=0, commits=300) < 6_000_000


def test_the_write_ahead_log_becomes_short_again_once_a_long_reader_is_gone(store: SqliteStore, database: Path) -> None:
    wal = Path(f"{database}-wal")
    with store.read() as reader:
        assert reader.count(EntryRow) == 0
        write_much(store, wal, first=0, commits=200)
        assert wal.stat().st_size > 8_000_000
    write_much(store, wal, first=200, commits=5)
    assert wal.stat().st_size < 6_000_000


def test_a_server_s_upkeep_takes_the_checkpoint_before_a_commit_has_to(database: Path) -> None:
    def write_rows(store: SqliteStore, first: int, count: int) -> None:
        with store.write() as tx:
            for seq in range(first, first + count):
                tx.insert(EntryRow("my-org", seq, seq, "test", None, None, None, None, b"x" * 3_000))

    with opened(database) as store, opened(database) as another:
        size = database.stat().st_size
        write_rows(store, 0, 500)
        store.maintain()  # there is not enough to do yet
        write_rows(store, 500, 200)
        assert database.stat().st_size == size
        with another.write():
            store.maintain()  # not while somebody else writes
        assert database.stat().st_size == size
        store.maintain()
        assert database.stat().st_size > size + 2_000_000
        changed = database.stat().st_mtime_ns
        store.maintain()
        write_rows(store, 700, 100)  # the log begins anew: it is far from the length at which a commit does it
        assert database.stat().st_mtime_ns == changed


def test_upkeep_of_a_store_that_was_never_written_to_or_is_closed_does_nothing(database: Path) -> None:
    with opened(database) as store:
        store.maintain()
    store.maintain()


def test_a_writer_that_leaves_empties_a_long_write_ahead_log(database: Path) -> None:
    wal = Path(f"{database}-wal")
    with opened(database) as store:
        assert write_much(store, wal, first=0, commits=100) > 1_000_000
        with store.read() as reader:
            assert reader.count(EntryRow) > 0
    assert wal.stat().st_size < 400_000


def test_what_is_folded_into_the_one_file_is_all_there(store: SqliteStore, database: Path, tmp_path: Path) -> None:
    put(store, count=6)
    store.close()
    settle(database)
    alone = tmp_path / "alone.db"
    shutil.copyfile(database, alone)
    with opened(alone) as copy:
        assert counted(copy) == 6


def test_deleted_values_do_not_stay_in_the_file(store: SqliteStore, database: Path) -> None:
    marker = b"this-was-deleted-" * 20
    with store.write() as tx:
        tx.insert(EntryRow("my-org", 0, 0, "test", None, None, None, None, marker))
    with store.write() as tx:
        tx.delete(EntryRow, Where("seq", "=", 0))
    store.close()
    settle(database)
    assert marker not in database.read_bytes()


# Files that are not what they should be


def assert_opens_or_says_so(path: Path) -> None:
    """Whatever happens is an error of ours, on one line."""
    problem = None
    try:
        with opened(path) as store:
            store.problems()
            with store.read() as tx:
                for row_type in (TenantRow, LogRow, EntryRow):
                    tx.find(row_type)
            with store.write() as tx:
                tx.insert(TenantRow("new", 0, 0, 0))
    except VaultError as error:
        problem = error
    if problem is not None:
        assert problem.code in ("vault_unavailable", "verification_failed")
        assert "\n" not in problem.message


def test_no_file_is_no_vault(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.db", tmp_path, tmp_path / "nothing" / "vault.db"):
        with pytest.raises(VaultMissing, match="no vault"):
            SqliteStore(path)
    assert list(tmp_path.iterdir()) == []


def other_database(path: Path) -> None:
    connection = connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()


def database_with_empty_schema_versions(path: Path) -> None:
    connection = connect(path)
    connection.execute("CREATE TABLE schema_versions (version BIGINT)")
    connection.close()


def database_with_other_schema_versions(path: Path) -> None:
    connection = connect(path)
    connection.execute("CREATE TABLE schema_versions (version TEXT)")
    connection.execute("INSERT INTO schema_versions VALUES ('2026-01-01-initial')")
    connection.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("my passwords\n"),
        lambda path: path.write_bytes(b"\0" * 8192),
        lambda path: path.write_bytes(b"SQLite format 3\0" + b"\0" * 4080),
        other_database,
        database_with_empty_schema_versions,
        database_with_other_schema_versions,
    ],
    ids=["empty", "text", "zeros", "header", "other database", "no schema version", "other schema versions"],
)
def test_what_is_no_vault_is_refused_and_left_as_it_is(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "other.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(VaultUnavailable) as refused:
        SqliteStore(path)
    assert str(path) in refused.value.message
    assert refused.value.hint
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_and_left_as_it_is(database: Path) -> None:
    connection = connect(database)
    connection.execute("INSERT INTO schema_versions VALUES (?)", (MIGRATIONS[-1].version + 1,))
    connection.close()
    settle(database)
    before = database.read_bytes()
    with pytest.raises(VaultUnavailable, match="newer vaultctl") as refused:
        SqliteStore(database)
    assert "pip install" in refused.value.hint
    assert database.read_bytes() == before


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_file_never_gives_anything_but_an_error_of_ours(
    store: SqliteStore, database: Path, share: float
) -> None:
    write_much(store, Path(f"{database}-wal"), first=0, commits=20)
    store.close()
    settle(database)
    os.truncate(database, int(database.stat().st_size * share))
    assert_opens_or_says_so(database)


@pytest.mark.parametrize("seed", range(12))
def test_damage_anywhere_never_gives_anything_but_an_error_of_ours(
    store: SqliteStore, database: Path, seed: int
) -> None:
    for n in range(30):
        put(store, f"tenant-{n}")
    store.close()
    settle(database)
    chance = random.Random(seed)
    content = bytearray(database.read_bytes())
    for _ in range(chance.choice([1, 20, 400])):
        content[chance.randrange(len(content))] = chance.randrange(256)
    database.write_bytes(bytes(content))
    assert_opens_or_says_so(database)


def test_a_damaged_write_ahead_log_never_gives_anything_but_an_error_of_ours(
    store: SqliteStore, database: Path, tmp_path: Path
) -> None:
    put(store, count=1)
    for n in range(20):
        put(store, f"tenant-{n}")
    wal = Path(f"{database}-wal").read_bytes()
    for seed in range(6):
        copy = tmp_path / f"copy-{seed}.db"
        shutil.copyfile(database, copy)
        chance = random.Random(seed)
        content = bytearray(wal[: chance.randrange(len(wal))])
        if content:
            content[chance.randrange(len(content))] ^= 1
        Path(f"{copy}-wal").write_bytes(bytes(content))
        assert_opens_or_says_so(copy)


# Rights

_AS_NOBODY = """
import encodings.ascii, encodings.idna, encodings.latin_1, encodings.utf_16_be, os, sys, traceback
from pathlib import Path
from vaultctl.domain.errors import VaultError
from vaultctl.store.rows import TenantRow
from vaultctl.store.sqlite import SqliteStore, create_database
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
path = Path(sys.argv[1])
def attempt(name, act):
    try:
        act()
        print(name, "done")
    except VaultError as error:
        print(name, error.code)
    except Exception as error:
        print(name, type(error).__name__)
def write():
    store = SqliteStore(path)
    try:
        with store.write() as tx: tx.insert(TenantRow(os.urandom(4).hex(), 0, 0, 0))
    finally:
        store.close()
def read():
    store = SqliteStore(path)
    try:
        with store.read() as tx: tx.count(TenantRow)
    finally:
        store.close()
"""


@pytest.fixture
def as_nobody() -> Callable[[Path, str], list[str]]:
    """Runs code as a user for whom file modes bind; answers the lines that it says."""

    def run(path: Path, code: str) -> list[str]:
        finished = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY + code, str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        if finished.returncode and os.geteuid() == 0 and "Operation not permitted" in finished.stderr:
            pytest.skip("root here may not become another user")
        assert finished.returncode == 0, finished.stderr
        return finished.stdout.split("\n")[:-1]

    return run


@pytest.fixture
def everybodys_folder() -> Iterator[Path]:
    """A folder that other users reach too, which those of pytest are not."""
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    folder.chmod(0o777)
    yield folder
    for directory, _, _ in os.walk(folder):
        Path(directory).chmod(0o777)
    shutil.rmtree(folder)


def test_in_a_read_only_folder_the_errors_are_ours(
    everybodys_folder: Path, as_nobody: Callable[[Path, str], list[str]]
) -> None:
    path = everybodys_folder / "mine" / "vault.db"
    said = as_nobody(
        path,
        """
path.parent.mkdir(); create_database(path); write()
path.parent.chmod(0o500)
attempt("everything is there: write", write); attempt("read", read)
attempt("create", lambda: create_database(path.with_name("another.db")))
path.parent.chmod(0o700); Path(f"{path}-lock").unlink(); path.parent.chmod(0o500)
attempt("no lock file: write", write); attempt("read", read)
path.parent.chmod(0o700)
for end in ("-gate", "-wal", "-shm"): Path(f"{path}{end}").unlink(missing_ok=True)
path.parent.chmod(0o500)
attempt("nothing else is there: write", write)
path.chmod(0o400)
attempt("read-only file: write", write)
path.chmod(0)
attempt("unreadable: write", write); attempt("read", read)
""",
    )
    assert said == [
        *("everything is there: write done", "read done", "create vault_unavailable"),
        *("no lock file: write vault_unavailable", "read done", "nothing else is there: write vault_unavailable"),
        *("read-only file: write vault_unavailable", "unreadable: write vault_unavailable", "read vault_unavailable"),
    ]


def test_in_a_folder_that_may_not_be_searched_the_error_is_ours(
    everybodys_folder: Path, as_nobody: Callable[[Path, str], list[str]]
) -> None:
    path = everybodys_folder / "mine" / "vault.db"
    code = """
path.parent.mkdir(); create_database(path); path.parent.chmod(0)
attempt("read", read); attempt("write", write)
"""
    assert as_nobody(path, code) == ["read vault_unavailable", "write vault_unavailable"]


@pytest.mark.parametrize("name", ["x" * 300, "nul\0byte"])
def test_a_path_that_no_file_can_have_is_an_error_of_ours(tmp_path: Path, name: str) -> None:
    for act in (SqliteStore, create_database):
        with pytest.raises(VaultError):
            act(tmp_path / name)


# Closing


def test_closing_is_done_twice_as_well_as_once(database: Path) -> None:
    store = SqliteStore(database)
    put(store)
    store.close()
    store.close()
    assert open_files_of(database.parent) == []


def test_closing_while_a_read_goes_on_leaves_no_file_open_after_it(database: Path) -> None:
    store = SqliteStore(database)
    with store.read() as tx:
        store.close()
        assert tx.count(TenantRow) == 0
    assert open_files_of(database.parent) == []


def test_closing_while_others_write_gives_errors_of_ours_and_loses_nothing(database: Path) -> None:
    with opened(database) as store:
        put(store)
    done, strange = [0] * 3, []
    stop = threading.Event()
    stores = [SqliteStore(database)]

    def write(worker: int) -> None:
        while not stop.is_set():
            try:
                with stores[-1].write() as tx:
                    row = tx.get(TenantRow, "counter")
                    assert row is not None
                    tx.update(TenantRow("counter", row.default_lease_ttl + 1, 0, 0))
                done[worker] += 1
            except VaultError:
                pass
            except Exception as error:
                strange.append(repr(error))

    workers = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for worker in workers:
        worker.start()
    for target in range(10, 210, 10):
        until(lambda target=target: sum(done) >= target or bool(strange))
        stores.append(SqliteStore(database))
        stores[-2].close()
    stop.set()
    for worker in workers:
        worker.join()
    stores[-1].close()
    assert strange == []
    assert open_files_of(database.parent) == []
    with opened(database) as again:
        assert counted(again) == sum(done)


def test_closing_inside_ones_own_transaction_does_not_hang(database: Path) -> None:
    """A handler of a signal closes the vault wherever the program happens to be."""
    store = SqliteStore(database, lock_timeout=0.1)

    def close_inside() -> None:
        with store.write():
            store.close()

    def try_it() -> None:
        with suppress(VaultError):
            close_inside()

    thread = threading.Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()


def test_what_was_closed_says_so(database: Path) -> None:
    store = SqliteStore(database)
    store.close()
    with pytest.raises(VaultUnavailable), store.write():
        raise AssertionError


# The clock


def test_time_is_the_clocks(store: SqliteStore, clock: Clock) -> None:
    write_log(store, clock.micros - 10 * SECOND)
    for transaction in (store.read, store.write):
        with transaction() as tx:
            assert tx.now == clock.micros


def test_time_stands_still_in_a_transaction(store: SqliteStore, clock: Clock) -> None:
    with store.write() as tx:
        before = tx.now
        clock.advance("1h")
        assert tx.now == before


@pytest.mark.parametrize("seconds", [1, 299, 300])
def test_time_never_falls_below_the_last_entry(store: SqliteStore, clock: Clock, seconds: int) -> None:
    last = clock.micros
    write_log(store, last)
    clock.advance(-timedelta(seconds=seconds))
    for transaction in (store.read, store.write):
        with transaction() as tx:
            assert tx.now == last


def test_a_clock_far_behind_the_last_entry_is_an_error_that_says_how_far(store: SqliteStore, clock: Clock) -> None:
    write_log(store, clock.micros)
    clock.advance(-timedelta(minutes=5, microseconds=1))
    for transaction in (store.read, store.write):
        with pytest.raises(VaultUnavailable, match="5 minutes behind"), transaction():
            raise AssertionError
    clock_now, last = store.clock_and_last_entry()
    assert last - clock_now == 5 * 60 * SECOND + 1


def test_the_newest_log_counts_whichever_tenants_it_is(store: SqliteStore, clock: Clock) -> None:
    write_log(store, clock.micros - 60 * SECOND, "quiet")
    write_log(store, clock.micros + 60 * SECOND, "busy")
    with store.read() as tx:
        assert tx.now == clock.micros + 60 * SECOND
