"""What ``doctor`` finds."""

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from vaultctl import Vault
from vaultctl.client import contexts
from vaultctl.client.doctor import Finding, diagnose, mend
from vaultctl.client.location import locate
from vaultctl.client.settings_findings import shadowed
from vaultctl.client.setup import initialise
from vaultctl.domain.times import SECOND


@pytest.fixture
def home(tmp_path: Path) -> Path:
    initialise(root_key="file", home=tmp_path)
    return tmp_path


def problems(home: Path) -> list[Finding]:
    return [finding for finding in diagnose(home=home) if finding.level == "problem"]


def change(home: Path, statement: str) -> None:
    connection = sqlite3.connect(home / "vault.db")
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_healthy_vault_has_no_problems(home: Path) -> None:
    assert problems(home) == []
    assert any("confined to MCP" in finding.message for finding in diagnose(home=home))


def test_a_vault_that_is_not_there(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path)
    assert problem.check == "vault"
    assert problem.hint == "Create one: vaultctl init"


def test_files_that_others_can_read(home: Path) -> None:
    (home / "vault.db").chmod(0o644)
    (problem,) = problems(home)
    assert problem.check == "file modes"
    assert problem.hint == f"chmod 600 {home / 'vault.db'}"


def test_a_home_that_others_can_write_to(home: Path) -> None:
    home.chmod(0o777)
    assert [problem.check for problem in problems(home)] == ["file modes"]


def test_a_key_file_that_is_gone(home: Path) -> None:
    (home / "root.key").unlink()
    assert {problem.check for problem in problems(home)} == {"root key", "unlock"}


def test_a_file_that_is_no_database(home: Path) -> None:
    (home / "vault.db").write_bytes(b"x" * 8192)
    assert [problem.check for problem in problems(home)] == ["database"]


def test_a_row_that_was_changed_behind_the_vaults_back(home: Path) -> None:
    with Vault.embedded(home=home) as vault:
        vault.tokens.create(agent="deploy-agent", credentials=["deploy-*"])
    change(home, "UPDATE tokens SET credentials = '[\"*\"]'")
    (problem,) = problems(home)
    assert problem.check == "contents"
    assert "tokens" in problem.message


def test_a_row_that_was_put_back_as_it_was_before_a_revocation(home: Path) -> None:
    with Vault.embedded(home=home) as owner:
        token = owner.tokens.create(agent="deploy-agent").token.id
        change(home, "CREATE TABLE kept AS SELECT * FROM tokens")
        owner.tokens.revoke(token)
    change(home, "DELETE FROM tokens")
    change(home, "INSERT INTO tokens SELECT * FROM kept")
    (problem,) = problems(home)
    assert problem.check == "contents"
    assert f"tokens (default, {token}) grants what was withdrawn" in problem.message


def test_audit_entries_that_are_missing(home: Path) -> None:
    with Vault.embedded(home=home) as vault:
        vault.tokens.create(agent="deploy-agent")
    change(home, "DELETE FROM entries WHERE tenant = 'default' AND seq = 0")
    (problem,) = problems(home)
    assert "audit log of tenant 'default'" in problem.message


def test_a_clock_that_is_behind(home: Path) -> None:
    change(home, f"UPDATE logs SET last_time = last_time + {3600 * SECOND}")
    found = problems(home)
    assert found[0].check == "clock"
    assert "timedatectl" in (found[0].hint or "")


def test_a_token_that_is_about_to_expire(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Vault.embedded(home=home) as vault:
        secret = vault.tokens.create(agent="deploy-agent", ttl="2d").secret
    monkeypatch.setenv("VAULT_TOKEN", secret.reveal())
    warnings = [finding for finding in diagnose(home=home) if finding.level == "warning"]
    assert [warning.check for warning in warnings] == ["token"]


def levels(home: Path, level: str) -> list[Finding]:
    return [finding for finding in diagnose(home=home) if finding.level == level]


@pytest.mark.parametrize(
    ("token", "product"),
    [
        ("hvs.CAESc4n4ry", "HashiCorp Vault"),
        ("s.c4n4ry", "OpenBao"),
        ("dp.st.c4n4ry", "Doppler"),
        ("c4n4ry", "another"),
    ],
)
def test_a_token_of_another_product_is_named_by_its_beginning_and_not_shown(
    token: str, product: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_TOKEN", token)
    (problem,) = problems(home)
    assert product in problem.message
    assert "c4n4ry" not in repr(problem)


class TestShadowedSettings:
    @pytest.mark.parametrize("variable", ["VAULT_DATABASE_URL", "VAULT_TENANT"])
    def test_a_variable_that_outweighs_what_init_noted(
        self, variable: str, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, str(home / "vault.db") if variable == "VAULT_DATABASE_URL" else "default")
        assert levels(home, "warning") == []
        monkeypatch.setenv(variable, str(home / "other.db") if variable == "VAULT_DATABASE_URL" else "other")
        (warning,) = levels(home, "warning")
        assert (warning.check, warning.hint) == ("settings", f"Unset {variable} if that is not what you want.")

    def test_a_variable_that_outweighs_the_context_in_use(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        place = locate(home)
        contexts.add(place, "prod", "https://vault.example.com", use=True)
        monkeypatch.setenv("VAULT_BASE_URL", "https://other.example.com")
        (warning,) = shadowed(place, None)
        assert "VAULT_BASE_URL" in warning.message
        assert "prod" in warning.message


class TestMending:
    def test_nothing_is_done_where_nothing_is_wrong(self, home: Path) -> None:
        assert mend(home=home) == []

    def test_files_become_private_and_nothing_is_left_to_find(self, home: Path) -> None:
        (home / "logins").mkdir()
        (home / "logins" / "it.json").touch()
        names = ("vault.db", "config.json", "root.key", "logins/it.json")
        for name in names:
            (home / name).chmod(0o664)
        home.chmod(0o777)
        assert {finding.level for finding in mend(home=home)} == {"fixed"}
        assert {stat.S_IMODE((home / name).stat().st_mode) for name in names} == {0o600}
        assert stat.S_IMODE(home.stat().st_mode) == 0o755
        assert problems(home) == []
        assert mend(home=home) == []

    @pytest.mark.parametrize("name", [".config.json.{}", ".vault.db.new-{}", ".vault.db.new-{}-wal"])
    def test_what_a_crash_left_goes_once_nobody_can_be_writing_it(self, home: Path, name: str) -> None:
        abandoned, fresh = (home / name.format(digit * 16) for digit in "ab")
        others = [home / ".config.json.bak", home / "notes.json", home / ".vault.db.new-", home / "vault.db-old"]
        for path in (abandoned, fresh, *others):
            path.touch(0o600)
        for path in (abandoned, *others):
            os.utime(path, (0, 0))
        assert [finding.check for finding in levels(home, "warning")] == ["leftovers"]
        assert [finding.check for finding in mend(home=home)] == ["leftovers"]
        assert not abandoned.exists()
        assert all(path.exists() for path in (fresh, *others))

    def test_links_and_directories_of_others_are_left_alone(self, home: Path, tmp_path_factory: Any) -> None:
        shared = tmp_path_factory.mktemp("shared")
        (shared / "file").touch()
        (shared / "file").chmod(0o644)
        (home / "profiles").mkdir()
        (home / "profiles" / "it.json").symlink_to(shared / "file")
        shared.chmod(0o777)
        elsewhere = shared / "vault.db"
        elsewhere.touch(0o600)
        assert mend(home=home, database=str(elsewhere)) == []
        assert stat.S_IMODE((shared / "file").stat().st_mode) == 0o644
        assert stat.S_IMODE(shared.stat().st_mode) == 0o777
