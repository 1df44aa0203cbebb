"""What ``doctor`` finds."""

import sqlite3
from pathlib import Path

import pytest

from vaultctl import Vault
from vaultctl.client.doctor import Finding, diagnose
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


def test_a_token_of_another_product(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "hvs.CAESIJlU9JMYEhOPYv4igdhm9PnZDrabYTobQ4Ymnlq1qY")
    (problem,) = problems(home)
    assert "another product" in problem.message
    assert "CAES" not in problem.message


def test_a_token_that_is_about_to_expire(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Vault.embedded(home=home) as vault:
        secret = vault.tokens.create(agent="deploy-agent", ttl="2d").secret
    monkeypatch.setenv("VAULT_TOKEN", secret.reveal())
    warnings = [finding for finding in diagnose(home=home) if finding.level == "warning"]
    assert [warning.check for warning in warnings] == ["token"]
