"""``backup`` and ``restore``: for the owner, with a passphrase that is no argument, and telling exit statuses."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import API_KEY, Cli
from vaultctl.domain.errors import ExitStatus

PASSPHRASE = "a passphrase of its own"
WITH = {"VAULT_BACKUP_PASSPHRASE": PASSPHRASE}


def test_a_backup_is_restored_by_a_person_at_a_terminal(stocked: Path, cli: Cli, tmp_path: Path) -> None:
    made = cli.ok("backup", "vault.sealed", terminal=True, hidden=(PASSPHRASE, PASSPHRASE))
    assert "Backing up [" in made.err
    assert PASSPHRASE not in made.out + made.err
    new = str(tmp_path / "new")
    done = cli.ok("restore", "vault.sealed", terminal=True, hidden=(PASSPHRASE,), VAULTCTL_HOME=new, **NO_KEYRING)
    assert "Restoring [" in done.err
    assert cli.ok("lease", "create", "shopify-api-key", "-o", "json", VAULTCTL_HOME=new).json["value"] == API_KEY


NO_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


def test_scripts_get_json_and_no_progress(stocked: Path, cli: Cli, tmp_path: Path) -> None:
    made = cli.ok("backup", "vault.sealed", "-o", "json", **WITH)
    assert (made.json["credentials"], made.json["tenants"]) == (2, 1)
    assert "[" not in made.err
    restored = cli.ok(
        "restore", "vault.sealed", "--root-key", "file", "-o", "json", VAULTCTL_HOME=str(tmp_path / "new"), **WITH
    )
    assert restored.json["fromVault"] == made.json["vaultId"] != restored.json["vaultId"]


def test_each_thing_that_can_be_wrong_has_its_own_exit_status(stocked: Path, cli: Cli, tmp_path: Path) -> None:
    new = {"VAULTCTL_HOME": str(tmp_path / "new")}
    assert cli("backup", "vault.sealed").status == ExitStatus.UNAVAILABLE  # there is nobody to ask
    assert cli("backup", "vault.sealed", VAULT_BACKUP_PASSPHRASE="short").status == ExitStatus.USAGE
    cli.ok("backup", "vault.sealed", **WITH)
    assert cli("backup", "vault.sealed", **WITH).status == ExitStatus.CONFLICT
    assert cli("restore", "vault.sealed", "--root-key", "file", **WITH).status == ExitStatus.CONFLICT
    wrong = cli("restore", "vault.sealed", VAULT_BACKUP_PASSPHRASE="something else", **new)
    assert wrong.status == ExitStatus.VERIFICATION_FAILED
    (tmp_path / "cut").write_bytes((tmp_path / "vault.sealed").read_bytes()[:-1])
    assert cli("restore", "cut", **WITH, **new).status == ExitStatus.VERIFICATION_FAILED
    assert cli("restore", "nowhere", **WITH, **new).status == ExitStatus.USAGE
    assert not (tmp_path / "new").exists()


def test_only_the_owner_of_this_machines_vault_backs_it_up(
    stocked: Path, cli: Cli, mint: Callable[..., str], tmp_path: Path
) -> None:
    token = mint(human="admin@example.com", role="admin")
    assert cli("backup", "vault.sealed", VAULT_TOKEN=token, **WITH).status == ExitStatus.NOT_ALLOWED
    elsewhere = cli("backup", "vault.sealed", VAULT_BASE_URL="http://127.0.0.1:1", **WITH)
    assert elsewhere.status == ExitStatus.UNAVAILABLE
    assert not (tmp_path / "vault.sealed").exists()
