"""The root key is rotated and moved under a vault that is in use, and only its owner's files say so."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.vaults import new_vault
from vaultctl import Vault
from vaultctl.client.alone import alone_in
from vaultctl.client.doctor import diagnose
from vaultctl.client.home import Settings, load_settings, locate, save_settings
from vaultctl.client.ownership import owner_identity
from vaultctl.client.root_key import move_root_key, rotate_root_key, show_root_key
from vaultctl.client.setup import initialise
from vaultctl.crypto import passphrases
from vaultctl.crypto.root_keys import RootKey, RootKeyConfig
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import Conflict, InvalidInput, VaultLocked, VerificationFailed
from vaultctl.domain.secrets import Secret
from vaultctl.engine.authentication import VAULT_TENANT, Owner
from vaultctl.engine.engine import Engine
from vaultctl.store.rows import KeyRow, VaultRow
from vaultctl.store.sqlite import SqliteStore

VALUE = "value-0123456789"
OLD, NEW = "correct horse battery", "staple and so on"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deriving keys has tests of its own."""

    def derive(secret: Secret, salt: bytes, **_: int) -> bytes:
        return hashlib.sha256(salt + secret.reveal().encode()).digest()

    monkeypatch.setattr(passphrases, "derive", derive)


@pytest.fixture
def home(fast_path: Path) -> Path:
    home = fast_path / "home"
    new_vault(home)
    with Vault.embedded(home=home) as owner:
        owner.credentials.create("api", "generic-secret", VALUE)
    return home


def value_in(home: Path) -> str:
    with Vault.embedded(home=home) as owner:
        return owner.leases.create("api").value.reveal()


def events_of_the_vault(home: Path) -> list[tuple[str, str | None, dict[str, object]]]:
    with Vault.embedded(home=home, tenant=VAULT_TENANT) as owner:
        return [(entry.event.value, entry.identity.user_id, entry.details) for entry in owner.audit_log.query()][1:]


def names_in(home: Path) -> set[str]:
    return {path.name for path in home.iterdir() if not path.name.startswith("vault.db")}


def test_a_rotated_root_key_opens_everything_and_the_old_one_is_gone(home: Path) -> None:
    before = (home / "root.key").read_bytes()
    old = show_root_key(home=home)
    new = rotate_root_key(home=home)
    assert new.key_id != old.key_id
    assert new.in_use
    assert value_in(home) == VALUE
    assert names_in(home) == {"config.json", "root.key"}
    assert stat.S_IMODE((home / "root.key").stat().st_mode) == 0o600
    assert show_root_key(home=home) == new
    assert events_of_the_vault(home) == [
        ("root_key.rotated", "owner", {"from": old.key_id, "to": new.key_id, "keys": 6})
    ]
    assert [finding for finding in diagnose(home=home) if finding.level != "ok"] == []
    (home / "root.key").write_bytes(before)
    with pytest.raises(VaultLocked):
        value_in(home)


def test_whoever_has_the_vault_open_takes_up_the_new_root_key(home: Path) -> None:
    with Vault.embedded(home=home) as running:
        running.tenants.create("known")
        rotate_root_key(home=home)
        rotate_root_key(home=home)
        assert running.leases.create("api").value.reveal() == VALUE
        running.tenants.create("made-after")
        assert running.tenants.rotate_kek("my-org").version == 2
    with Vault.embedded(home=home, tenant="made-after") as owner:
        owner.credentials.create("later", "generic-secret", VALUE)
        assert owner.leases.create("later").value.reveal() == VALUE
    assert value_in(home) == VALUE


def test_an_engine_that_can_not_find_the_new_root_key_makes_no_key_under_the_old_one(home: Path) -> None:
    root = RootKey.decode(*(home / "root.key").read_text().split()[1:])
    assert root is not None
    store = SqliteStore(home / "vault.db")
    engine = Engine(store, root)
    try:
        rotate_root_key(home=home)
        owner = Owner("my-org", "owner@localhost")
        for request in (ask.CreateTenant(id="new"), ask.RotateKek(id="my-org")):
            with pytest.raises(VaultLocked):
                engine.perform(owner, request)
    finally:
        engine.close()
    assert value_in(home) == VALUE


def test_a_second_machine_that_rotates_from_the_same_old_key_is_told_and_harms_nothing(home: Path) -> None:
    root = RootKey.decode(*(home / "root.key").read_text().split()[1:])
    assert root is not None
    engine = Engine(SqliteStore(home / "vault.db"), root)
    try:
        rotate_root_key(home=home)
        with pytest.raises(Conflict):
            engine.rotate_root(RootKey.new(os.urandom), owner_identity())
    finally:
        engine.close()
    assert value_in(home) == VALUE


def test_a_tenants_key_that_somebody_spoiled_keeps_the_old_root_key(home: Path) -> None:
    store = SqliteStore(home / "vault.db")
    with store.write() as tx:
        row = tx.find(KeyRow)[0]
        tx.update(replace(row, wrapped=row.wrapped[:-1] + bytes([row.wrapped[-1] ^ 1])))
    store.close()
    before = (home / "root.key").read_bytes()
    with pytest.raises(VerificationFailed):
        rotate_root_key(home=home)
    assert (home / "root.key").read_bytes() == before
    assert load_settings(locate(home)).root_key.key_id == show_root_key(home=home).key_id


def test_a_move_to_a_passphrase_and_back_leaves_no_copy_behind(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = (home / "root.key").read_text().split()[2]
    moved = move_root_key("passphrase", home=home, ask_new_passphrase=lambda: Secret(OLD))
    assert (moved.provider, moved.place) == ("passphrase", str(home / "root.key.sealed"))
    assert names_in(home) == {"config.json", "root.key.sealed"}
    assert not [path for path in home.iterdir() if key.encode() in path.read_bytes()]
    asked: list[str] = []

    def ask(answer: str) -> Secret:
        asked.append(answer)
        return Secret(answer)

    with pytest.raises(VaultLocked, match="wrong"):
        rotate_root_key(home=home, ask_passphrase=lambda: ask(NEW))
    rotated = rotate_root_key(home=home, ask_passphrase=lambda: ask(OLD))
    assert asked == [NEW, OLD]  # once each time
    assert rotated.key_id != moved.key_id
    move_root_key("passphrase", home=home, ask_passphrase=lambda: Secret(OLD), ask_new_passphrase=lambda: Secret(NEW))
    monkeypatch.setenv("VAULT_PASSPHRASE", OLD)
    with pytest.raises(VaultLocked, match="wrong"):
        value_in(home)
    monkeypatch.setenv("VAULT_PASSPHRASE", NEW)
    assert value_in(home) == VALUE
    with pytest.raises(InvalidInput, match="no new passphrase"):
        move_root_key("passphrase", home=home)
    move_root_key("file", home=home)
    assert names_in(home) == {"config.json", "root.key"}
    assert value_in(home) == VALUE
    kinds = [(event, details.get("to")) for event, _, details in events_of_the_vault(home)]
    assert [kind for kind in kinds if kind[0] == "root_key.moved"] == [
        ("root_key.moved", "passphrase"),
        ("root_key.moved", "passphrase"),
        ("root_key.moved", "file"),
    ]


def test_a_move_to_where_it_is_and_to_nowhere_is_refused(home: Path) -> None:
    with pytest.raises(Conflict):
        move_root_key("file", home=home)
    with pytest.raises(InvalidInput):
        move_root_key("cloud", home=home)
    with pytest.raises(InvalidInput, match="shorter"):
        move_root_key("passphrase", home=home, ask_new_passphrase=lambda: Secret("short"))
    assert names_in(home) == {"config.json", "root.key"}
    assert value_in(home) == VALUE


def test_a_move_to_the_keyring_and_back(home: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "VAULTCTL_HOME": str(home),
        "PYTHONPATH": str(Path(__file__).parents[1] / "crypto"),
        "STUB_KEYRING": str(tmp_path / "keyring.json"),
        "PYTHON_KEYRING_BACKEND": "stub_keyrings.Good",
    }

    def vaultctl(*argv: str) -> str:
        program = str(Path(sys.executable).with_name("vaultctl"))
        return subprocess.run(
            [program, *argv], env=environment, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
        ).stdout

    key_id = vaultctl("root-key", "move", "--to", "keyring", "--yes", "-q").strip()
    assert key_id in (tmp_path / "keyring.json").read_text()
    assert names_in(home) == {"config.json"}
    new_id = vaultctl("root-key", "rotate", "--yes", "-q").strip()
    kept = (tmp_path / "keyring.json").read_text()
    assert new_id in kept
    assert key_id not in kept
    vaultctl("root-key", "move", "--to", "file", "--yes")
    assert new_id not in (tmp_path / "keyring.json").read_text()
    assert value_in(home) == VALUE


def interrupted(home: Path) -> Settings:
    """What a rotation leaves that is killed before the database has changed over."""
    settings = load_settings(locate(home))
    other = RootKey.new(os.urandom)
    save_settings(locate(home), settings_with(settings, RootKeyConfig("file", other.id)))
    line = f"vaultctl-root-key-1 {other.id} {other.encode()}\n"
    (home / f"root.key.{other.id}").write_text(line)
    (home / f"root.key.{other.id}").chmod(0o600)
    (home / ".root.key.new-abc").write_text(line)
    return settings


def settings_with(settings: Settings, other: RootKeyConfig) -> Settings:
    return Settings(
        root_key=settings.root_key, tenant=settings.tenant, database=settings.database, other_root_key=other
    )


def test_what_an_interrupted_rotation_left_is_removed_by_whoever_opens_the_vault_next(home: Path) -> None:
    before = interrupted(home)
    assert "interrupted" in str(diagnose(home=home))
    assert len(names_in(home)) == 4  # doctor changes nothing
    assert value_in(home) == VALUE
    assert names_in(home) == {"config.json", "root.key"}
    assert load_settings(locate(home)) == before


def test_nobody_removes_the_new_key_of_a_rotation_that_is_going_on(home: Path) -> None:
    interrupted(home)
    with alone_in(home):
        assert value_in(home) == VALUE
        assert len(names_in(home)) == 4


def test_a_database_that_names_a_key_which_does_not_open_all_loses_none(home: Path) -> None:
    """Whoever writes to the database can't have the key that is in use removed."""
    interrupted(home)
    settings = load_settings(locate(home))
    assert settings.other_root_key is not None
    store = SqliteStore(home / "vault.db")
    with store.write() as tx:
        (vault,) = tx.find(VaultRow)
        tx.update(replace(vault, root_key_id=settings.other_root_key.key_id))
    store.close()
    assert value_in(home) == VALUE
    assert len(names_in(home)) == 4


def test_nodes_on_postgresql_go_on_once_they_have_the_new_key(fast_path: Path, postgres_url: str) -> None:
    one, other = fast_path / "one", fast_path / "other"
    initialise(tenant="my-org", home=one, root_key="file", database=postgres_url)
    with Vault.embedded(home=one) as owner:
        owner.credentials.create("api", "generic-secret", VALUE)
    shutil.copytree(one, other)
    with Vault.embedded(home=other) as running:
        assert running.leases.create("api").value.reveal() == VALUE
        rotated = rotate_root_key(home=one)
        assert rotated.in_use
        assert running.leases.create("api").value.reveal() == VALUE  # by what it has unwrapped
        with pytest.raises(VaultLocked, match="does not belong"):
            running.tenants.create("new")
    with pytest.raises(VaultLocked):
        value_in(other)
    with pytest.raises(VaultLocked):
        rotate_root_key(home=other)
    for name in ("config.json", "root.key"):
        shutil.copy(one / name, other / name)
    assert value_in(other) == value_in(one) == VALUE
