"""Creating a vault harms none that is there, and every place where one could be is survived."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vaultctl import Vault
from vaultctl.client.doctor import diagnose
from vaultctl.client.home import load_settings, locate
from vaultctl.client.setup import initialise
from vaultctl.client.status import vault_status
from vaultctl.domain.errors import AlreadyExists, InvalidInput, VaultError, VaultUnavailable


@pytest.fixture
def home(fast_path: Path) -> Path:
    return fast_path / "home"


def found(home: Path, tenant: str = "my-org", **options: str) -> None:
    initialise(tenant=tenant, home=home, root_key="file", **options)


def assert_it_works(home: Path, tenant: str = "my-org") -> None:
    with Vault.embedded(home=home) as owner:
        assert owner.whoami().tenant == tenant
        assert len(owner.tenants.list()) == 1
        owner.credentials.create("probe", "generic-secret", "value-0123456789")
        assert owner.leases.create("probe").value.reveal() == "value-0123456789"
    assert [finding for finding in diagnose(home=home) if finding.level != "ok"] == []


def test_a_second_vault_with_another_database_does_not_take_the_first_ones_settings(home: Path) -> None:
    found(home, "first", database=str(home.parent / "elsewhere" / "vault.db"))
    with pytest.raises(AlreadyExists):
        found(home, "second")
    assert_it_works(home, "first")


def test_a_vault_whose_database_is_out_of_reach_for_now_is_not_overwritten(home: Path) -> None:
    """A drive that is not mounted, say: its root key's name is in the settings."""
    database = home.parent / "drive" / "vault.db"
    found(home, "first", database=str(database))
    database.parent.rename(home.parent / "unmounted")
    with pytest.raises(VaultError):
        found(home, "second")
    (home.parent / "unmounted").rename(database.parent)
    assert_it_works(home, "first")


@pytest.mark.parametrize("database", ["/proc/nowhere/vault.db", "/proc/vault.db", "/dev/null/vault.db"])
def test_an_attempt_that_fails_leaves_the_vault_that_is_there(home: Path, database: str) -> None:
    found(home, "first", database=str(home.parent / "elsewhere" / "vault.db"))
    with pytest.raises(VaultError):
        found(home, "second", database=database)
    assert_it_works(home, "first")


def test_an_attempt_that_fails_halfway_leaves_the_settings_that_are_there(home: Path) -> None:
    found(home, "first", database=str(home.parent / "elsewhere" / "vault.db"))
    # In the way of the file that is made first.
    (home.parent / "second" / f".vault.db.new-{os.getpid()}" / "x").mkdir(parents=True)
    with pytest.raises(VaultError):
        found(home, "second", database=str(home.parent / "second" / "vault.db"))
    assert_it_works(home, "first")


def test_a_write_ahead_log_that_an_earlier_vault_left_does_not_get_into_the_new_one(home: Path) -> None:
    """Whoever deletes vault.db alone leaves it there, and SQLite would replay it."""
    found(home, "first")
    with Vault.embedded(home=home) as owner:
        for n in range(50):
            owner.credentials.create(f"old-{n}", "generic-secret", "value-0123456789")
    (home / "vault.db").unlink()
    found(home, "second")
    assert_it_works(home, "second")


@pytest.mark.parametrize("name", [".vault.db.new-{pid}", ".config.json.{pid}", ".vault.db.new-{pid}-wal"])
def test_what_a_crashed_process_of_the_same_number_left_is_no_obstacle(home: Path, name: str) -> None:
    """In a container every process may have the number 7."""
    home.mkdir()
    (home / name.format(pid=os.getpid())).write_bytes(b"half")
    found(home)
    assert_it_works(home)


_FOUND = """
import sys
from vaultctl.client.setup import initialise
from vaultctl.domain.errors import AlreadyExists
print("ready", flush=True)
sys.stdin.readline()
options = {"database": sys.argv[3]} if sys.argv[3:] else {}
try:
    initialise(tenant=sys.argv[2], home=sys.argv[1], root_key="file", **options)
    print("made")
except AlreadyExists:
    print("taken")
"""


def raced(code: str, arguments: list[list[str]]) -> list[str]:
    """Start ``code`` once for each list of arguments, let all go on at once, and answer what each said last."""
    processes = [
        subprocess.Popen([sys.executable, "-c", code, *each], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for each in arguments
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return [process.communicate(timeout=60)[0].strip() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("apart", [False, True], ids=["same database", "databases of their own"])
def test_of_several_attempts_at_once_one_makes_the_vault_and_it_is_its_own(home: Path, apart: bool) -> None:
    attempts = [
        [str(home), f"tenant-{n}", *([str(home.parent / f"{n}" / "vault.db")] if apart else [])] for n in range(4)
    ]
    said = raced(_FOUND, attempts)
    assert sorted(said) == ["made", "taken", "taken", "taken"]
    assert_it_works(home, f"tenant-{said.index('made')}")


_FOUND_AND_USE = """
import sys
from vaultctl import Vault
from vaultctl.client.setup import initialise
from vaultctl.domain.errors import AlreadyExists
print("ready", flush=True)
sys.stdin.readline()
try:
    initialise(tenant="my-org", home=sys.argv[1], database=sys.argv[2], root_key="file")
    with Vault.embedded(home=sys.argv[1]) as owner:
        for n in range(20):
            owner.credentials.create(f"kept-{n}", "generic-secret", "value-0123456789")
    print("made")
except AlreadyExists:
    print("taken")
"""


def test_attempts_from_several_homes_at_one_database_harm_the_one_that_made_it_in_no_way(fast_path: Path) -> None:
    """Whoever comes too late must not take away what the first one has already written."""
    for round in range(4):
        where = fast_path / str(round)
        homes = [where / f"home-{n}" for n in range(3)]
        said = raced(_FOUND_AND_USE, [[str(home), str(where / "shared" / "vault.db")] for home in homes])
        assert sorted(said) == ["made", "taken", "taken"]
        with Vault.embedded(home=homes[said.index("made")]) as owner:
            assert len(owner.credentials.list()) == 20
        late = [home for home, word in zip(homes, said, strict=True) if word == "taken"]
        assert [home for home in late if (home / "config.json").exists()] == [], "settings of no vault were left"


def test_every_directory_that_is_made_is_private_whatever_the_umask(home: Path) -> None:
    """Whoever may write in a directory above can put another vault in the place of this one."""
    before = os.umask(0)
    try:
        found(home / "a" / "b", database=str(home / "c" / "d" / "vault.db"))
    finally:
        os.umask(before)
    for path in (home, *home.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_link_in_place_of_the_settings_is_replaced_and_not_followed(home: Path) -> None:
    home.mkdir()
    target = home.parent / "target"
    target.write_text("precious")
    (home / "config.json").symlink_to(target)
    found(home)
    assert target.read_text() == "precious"
    assert not (home / "config.json").is_symlink()


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("/nowhere"), Path.touch])
def test_whatever_is_in_the_database_s_place_is_left_there(home: Path, make: Callable[[Path], None]) -> None:
    home.mkdir()
    make(home / "vault.db")
    with pytest.raises(VaultError):
        found(home)
    assert (home / "vault.db").exists(follow_symlinks=False) if sys.version_info >= (3, 12) else True
    assert sorted(path.name for path in home.iterdir() if path.name.endswith(".json")) == []


ODD = ["with space", "a?b", "a#b", "100%", "a%41b", "trailing\n", "-dash", "file:x", "it's", 'quote"', "ünï", "a&b=c"]


@pytest.mark.parametrize("name", ODD)
def test_a_vault_may_be_at_any_path(fast_path: Path, name: str) -> None:
    found(fast_path / name)
    assert_it_works(fast_path / name)


def test_a_path_that_is_no_text_is_refused(fast_path: Path) -> None:
    """Settings are text; such a path could not be noted in them."""
    path = Path(os.fsdecode(os.fsencode(fast_path) + b"/\xff\xfe"))
    refused = False
    try:
        found(path / "home")
    except InvalidInput:
        refused = True
    assert refused
    assert not path.exists()


@pytest.mark.parametrize("name", ["x" * 300, "nul\0byte", "~nosuchuser/vault"])
@pytest.mark.parametrize("place", ["home", "database"])
def test_a_place_that_can_not_be_is_an_error_of_ours(home: Path, name: str, place: str) -> None:
    options = {"home": name} if place == "home" else {"home": str(home), "database": name}
    for act in (
        lambda: initialise(tenant="my-org", root_key="file", **options),
        lambda: Vault.embedded(**options),
    ):
        with pytest.raises(VaultError):
            act()
    # These two tell of errors instead of raising them.
    vault_status(**options)
    diagnose(**options)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"null",
        b"[" * 100_000,
        b'{"rootKey":{"provider":"file","keyId":"\xff"},"tenant":"my-org"}',
        b'{"rootKey":{"provider":"file","keyId":"../../x"},"tenant":"my-org"}',
        b'{"rootKey":{"provider":"file","keyId":"rk_1"},"tenant":"\\ud800"}',
        b'{"rootKey":{"provider":"cloud","keyId":"rk_1"},"tenant":"my-org"}',
        b'{"rootKey":{"provider":"file","keyId":"rk_1"},"tenant":"../x","database":"\\u0000"}',
        b'{"rootKey":' + b'{"rootKey":' * 10_000,
        b'{"x":' + b"[" * 100_000,
    ],
)
def test_damaged_settings_are_an_error_of_ours(home: Path, content: bytes) -> None:
    found(home)
    (home / "config.json").write_bytes(content)
    with pytest.raises(VaultError):
        Vault.embedded(home=home)
    assert vault_status(home=home).problem
    assert any(finding.level == "problem" for finding in diagnose(home=home))


def test_settings_that_are_a_directory_or_unreadable_are_an_error_of_ours(home: Path) -> None:
    found(home)
    (home / "config.json").unlink()
    (home / "config.json").mkdir()
    with pytest.raises(VaultUnavailable):
        Vault.embedded(home=home)
    assert vault_status(home=home).problem


def test_the_settings_hold_no_key(home: Path) -> None:
    found(home)
    key = (home / "root.key").read_text().split()[-1]
    assert key not in (home / "config.json").read_text()
    assert set(json.loads((home / "config.json").read_text())["rootKey"]) == {"provider", "keyId"}
    assert load_settings(locate(home)).root_key.provider == "file"


# As a user for whom file modes bind

_AS_NOBODY = """
import encodings.ascii, encodings.idna, encodings.latin_1, encodings.utf_16_be, os, sys, tempfile, traceback
from pathlib import Path
from vaultctl import Vault
from vaultctl.client.doctor import diagnose
from vaultctl.client.setup import initialise
from vaultctl.client.status import vault_status
from vaultctl.domain.errors import VaultError
with tempfile.TemporaryDirectory() as warm:  # loads what can't be loaded later
    os.environ["VAULTCTL_HOME"] = warm
    initialise(root_key="file")
    diagnose(); vault_status()
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
base = Path(sys.argv[1])
def attempt(name, act):
    try:
        act()
        print(f"{name}: done")
    except VaultError as error:
        print(f"{name}: {error.code}")
    except Exception as error:
        print(f"{name}: {type(error).__name__}")
def all_of(name, **options):
    attempt(f"{name}, init", lambda: initialise(root_key="file", **options))
    attempt(f"{name}, open", lambda: Vault.embedded(**options).close())
    attempt(f"{name}, status", lambda: vault_status(**options))
    attempt(f"{name}, doctor", lambda: diagnose(**options))
"""


@pytest.fixture
def everybodys_folder() -> Iterator[Path]:
    """A folder that other users reach too, which those of pytest are not."""
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    folder.chmod(0o777)
    yield folder
    for directory, _, _ in os.walk(folder):
        Path(directory).chmod(0o777)
    shutil.rmtree(folder)


def test_where_one_may_not_read_search_or_write_the_errors_are_ours(everybodys_folder: Path) -> None:
    code = """
(base / "closed").mkdir(); (base / "read-only").mkdir(); initialise(home=base / "good", root_key="file")
(base / "closed").chmod(0); (base / "read-only").chmod(0o500)
all_of("closed", home=base / "closed")
all_of("in closed", home=base / "closed" / "home")
all_of("read-only", home=base / "read-only")
all_of("in read-only", home=base / "read-only" / "home")
all_of("database in closed", home=base / "good", database=str(base / "closed" / "vault.db"))
all_of("database in read-only", home=base / "good", database=str(base / "read-only" / "vault.db"))
attempt("good is as good as before", lambda: Vault.embedded(home=base / "good").close())
"""
    ran = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY + code, str(everybodys_folder)], capture_output=True, text=True, check=False
    )
    if ran.returncode and os.geteuid() == 0 and "Operation not permitted" in ran.stderr:
        pytest.skip("root here may not become another user")
    assert ran.returncode == 0, ran.stderr
    said = dict(line.split(": ") for line in ran.stdout.splitlines())
    ours = {"vault_unavailable", "vault_missing", "already_exists", "done"}
    assert {what: how for what, how in said.items() if how not in ours} == {}
    assert said["good is as good as before"] == "done"
    assert [what for what, how in said.items() if how == "done" and what.endswith(("init", "open"))] == []
