"""Creating a vault, and what is left when that fails."""

import stat
from pathlib import Path

import pytest

from vaultctl import Vault
from vaultctl.client.setup import initialise
from vaultctl.client.status import vault_status
from vaultctl.domain.errors import (
    AlreadyExists,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    VaultLocked,
    VaultMissing,
    VaultUnavailable,
)
from vaultctl.domain.secrets import Secret


def modes(home: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}


def test_a_new_vault_is_ready_and_holds_only_private_files(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = initialise(tenant="my-org", root_key="file", home=home)
    assert made.tenant == "my-org"
    assert made.root_key == "file"
    with Vault.embedded(home=home) as vault:
        assert [tenant.id for tenant in vault.tenants.list()] == ["my-org"]
        assert [entry.event for entry in vault.audit_log.query()] == ["tenant.created"]
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert set(modes(home).values()) == {0o600}
    assert vault_status(home=home).state == "ready"


def test_nothing_is_left_aside(tmp_path: Path) -> None:
    initialise(root_key="file", home=tmp_path)
    assert set(modes(tmp_path)) == {"config.json", "root.key", "vault.db"}


def test_a_vault_is_never_made_over_another(tmp_path: Path) -> None:
    first = initialise(tenant="my-org", root_key="file", home=tmp_path)
    with pytest.raises(AlreadyExists, match="There is a vault"):
        initialise(tenant="other", root_key="file", home=tmp_path)
    assert vault_status(home=tmp_path).vault_id == first.vault_id


def test_an_illegal_tenant_name_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        initialise(tenant="My Org", root_key="file", home=tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_failure_halfway_undoes_what_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vaultctl.client.setup.save_settings", full)
    with pytest.raises(VaultUnavailable, match="No space left"):
        initialise(root_key="file", home=tmp_path)
    assert modes(tmp_path) == {}
    monkeypatch.undo()
    assert initialise(root_key="file", home=tmp_path).tenant == "default"


def test_a_key_file_that_a_crash_left_is_taken_and_not_replaced(tmp_path: Path) -> None:
    initialise(root_key="file", home=tmp_path)
    key = (tmp_path / "root.key").read_text()
    (tmp_path / "vault.db").unlink()
    initialise(root_key="file", home=tmp_path)
    assert (tmp_path / "root.key").read_text() == key


def test_the_database_can_be_elsewhere_and_is_found_again(tmp_path: Path) -> None:
    elsewhere = tmp_path / "data dir" / "my?vault%20#1.db"
    made = initialise(root_key="file", home=tmp_path / "home", database=str(elsewhere))
    assert made.database == str(elsewhere)
    with Vault.embedded(home=tmp_path / "home") as vault:
        assert vault.whoami().tenant == "default"
    assert vault_status(home=tmp_path / "home").database == str(elsewhere)


@pytest.mark.parametrize("database", ["postgres:/db/vault", "mysql://x/y", "sqlite://relative.db"])
def test_a_store_that_there_is_not_is_refused(tmp_path: Path, database: str) -> None:
    with pytest.raises(InvalidInput, match="neither a file nor sqlite"):
        initialise(root_key="file", home=tmp_path, database=database)


def test_a_passphrase_opens_the_vault_and_a_wrong_one_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    initialise(root_key="passphrase", home=tmp_path, ask_passphrase=lambda: Secret("correct horse"))
    with Vault.embedded(home=tmp_path, ask_passphrase=lambda: Secret("correct horse")) as vault:
        assert vault.whoami().role == "admin"
    with pytest.raises(VaultLocked, match="passphrase is wrong"):
        Vault.embedded(home=tmp_path, ask_passphrase=lambda: Secret("battery staple"))
    with pytest.raises(VaultLocked):
        Vault.embedded(home=tmp_path)
    monkeypatch.setenv("VAULT_PASSPHRASE", "correct horse")
    Vault.embedded(home=tmp_path).close()
    assert vault_status(home=tmp_path).state == "ready"


def test_a_vault_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(VaultMissing, match="There is no vault"):
        Vault.embedded(home=tmp_path)
    assert vault_status(home=tmp_path).state == "missing"


def test_a_root_key_of_another_vault_is_recognised(tmp_path: Path) -> None:
    for name in ("a", "b"):
        initialise(root_key="file", home=tmp_path / name)
    for file in ("root.key", "config.json"):
        (tmp_path / "a" / file).write_bytes((tmp_path / "b" / file).read_bytes())
    with pytest.raises(VaultLocked, match="does not belong to this vault"):
        Vault.embedded(home=tmp_path / "a")


@pytest.mark.parametrize("token", ["", "hvs.CAESIJlU", "vault_token_tooshort"])
def test_an_empty_or_invalid_token_is_an_error_and_never_the_owner(
    tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    initialise(root_key="file", home=tmp_path)
    with pytest.raises(NotAuthenticated):
        Vault.connect(home=tmp_path, token=token)
    monkeypatch.setenv("VAULT_TOKEN", token)
    with pytest.raises(NotAuthenticated):
        Vault.connect(home=tmp_path)


def test_connecting_without_any_token_is_an_error(tmp_path: Path) -> None:
    initialise(root_key="file", home=tmp_path)
    with pytest.raises(NotAuthenticated, match="No token"):
        Vault.connect(home=tmp_path)


def test_the_owner_of_a_tenant_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    initialise(root_key="file", home=tmp_path)
    with Vault.embedded(home=tmp_path, tenant="nobody") as vault, pytest.raises(NotFound, match="no tenant"):
        vault.whoami()


def test_a_server_that_is_asked_for_is_not_silently_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    initialise(root_key="file", home=tmp_path)
    monkeypatch.setenv("VAULT_BASE_URL", "https://vault.example.com")
    with pytest.raises(VaultUnavailable, match="VAULT_BASE_URL"):
        Vault.embedded(home=tmp_path)


def test_damaged_settings_are_named(tmp_path: Path) -> None:
    initialise(root_key="file", home=tmp_path)
    (tmp_path / "config.json").write_text("{nonsense")
    with pytest.raises(VaultUnavailable, match="damaged"):
        Vault.embedded(home=tmp_path)


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_an_open_vault_releases_nothing_once_its_database_was_removed_or_replaced(tmp_path: Path, how: str) -> None:
    initialise(root_key="file", home=tmp_path)
    with Vault.embedded(home=tmp_path) as vault:
        vault.credentials.create("api", "api-key", "sk_live_0123456789abcdef")
        path = tmp_path / "vault.db"
        data = path.read_bytes()
        path.unlink()
        if how == "replaced":
            path.write_bytes(data)
        with pytest.raises(VaultUnavailable, match="removed or replaced"):
            vault.leases.create("api")
        with pytest.raises(VaultUnavailable, match="removed or replaced"):
            vault.credentials.list()
