"""Contexts: servers that have a name, and the rule by which a vault is chosen."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vaultctl.client import contexts
from vaultctl.client.contexts import Server, chosen_server
from vaultctl.client.location import Home, locate
from vaultctl.domain.errors import AlreadyExists, InvalidInput, NotFound, VaultUnavailable

PROD = "https://vault.example.com"
STAGING = "https://staging.example.com:8200/vault"


@pytest.fixture
def home() -> Home:
    return locate()


@pytest.fixture
def prod(home: Home) -> Home:
    """A home with the contexts prod (in use) and staging."""
    contexts.add(home, "staging", STAGING)
    contexts.add(home, "prod", PROD, "my-org", use=True)
    return home


class TestKeeping:
    def test_there_are_none_at_first_and_nothing_is_written(self, home: Home) -> None:
        assert contexts.load(home) == (contexts.EMBEDDED, {})
        assert not home.config.exists()

    def test_one_that_was_added_is_there_in_its_one_spelling_and_not_yet_used(self, home: Home) -> None:
        added = contexts.add(home, "prod", "HTTPS://Vault.Example.com:443/", "my-org")
        assert added == ("prod", PROD, "my-org")
        assert contexts.load(home) == (contexts.EMBEDDED, {"prod": added})

    def test_the_file_and_its_directory_are_for_their_owner_alone(self, prod: Home) -> None:
        assert stat.S_IMODE(prod.contexts_path.stat().st_mode) == 0o600
        assert stat.S_IMODE(prod.config.stat().st_mode) == 0o700
        assert [path.name for path in prod.config.iterdir()] == ["contexts.json"]

    def test_a_name_that_is_taken_stays_what_it_is(self, prod: Home) -> None:
        with pytest.raises(AlreadyExists, match="'prod'"):
            contexts.add(prod, "prod", STAGING)
        assert contexts.load(prod).get("prod").base_url == PROD

    def test_the_vault_of_this_machine_has_a_name_that_is_always_taken(self, home: Home) -> None:
        with pytest.raises(AlreadyExists, match="embedded"):
            contexts.add(home, "embedded", PROD)

    @pytest.mark.parametrize(
        ("name", "base_url", "tenant"),
        [("Not A Name", PROD, None), ("prod", "http://vault.example.com", None), ("prod", PROD, "Not A Tenant")],
    )
    def test_what_is_malformed_is_refused(self, home: Home, name: str, base_url: str, tenant: str | None) -> None:
        with pytest.raises(InvalidInput):
            contexts.add(home, name, base_url, tenant)
        assert not home.contexts_path.exists()

    def test_using_another_one_and_going_back(self, prod: Home) -> None:
        contexts.use(prod, "staging")
        assert contexts.load(prod).current == "staging"
        contexts.use(prod, contexts.EMBEDDED)
        assert contexts.load(prod).current == contexts.EMBEDDED

    def test_removing_the_one_in_use_leads_back_to_this_machine(self, prod: Home) -> None:
        contexts.remove(prod, "prod")
        assert contexts.load(prod) == (contexts.EMBEDDED, {"staging": ("staging", STAGING, None)})

    def test_removing_another_one_leaves_the_one_in_use(self, prod: Home) -> None:
        contexts.remove(prod, "staging")
        assert contexts.load(prod).current == "prod"

    def test_one_that_is_not_there_is_not_found(self, prod: Home) -> None:
        for operation in (contexts.use, contexts.remove):
            with pytest.raises(NotFound, match="no such context"):
                operation(prod, "absent")

    def test_changes_of_several_processes_at_once_are_all_kept(self, home: Home) -> None:
        program = (
            "import sys\nfrom vaultctl.client import contexts\nfrom vaultctl.client.location import locate\n"
            f"for i in range(10): contexts.add(locate(), f'{{sys.argv[1]}}-{{i}}', {PROD!r})"
        )
        children = [subprocess.Popen([sys.executable, "-c", program, name]) for name in ("a", "b")]
        assert [child.wait(30) for child in children] == [0, 0]
        assert len(contexts.load(home).servers) == 20

    def test_a_file_that_others_can_write_is_not_believed(self, prod: Home) -> None:
        prod.contexts_path.chmod(0o620)
        with pytest.raises(VaultUnavailable, match="Others can write") as refused:
            contexts.load(prod)
        assert refused.value.hint == f"chmod 600 {prod.contexts_path}"

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "[]",
            "{",
            "\xff",
            '{"current": "prod"}',
            '{"current": "prod", "contexts": {}}',
            '{"current": "embedded", "contexts": {"prod": {}}}',
            '{"current": "embedded", "contexts": {"prod": {"baseUrl": "http://vault.example.com"}}}',
            '{"current": "embedded", "contexts": {"prod": {"baseUrl": 5}}}',
            '{"current": "embedded", "contexts": {"P": {"baseUrl": "https://vault.example.com"}}}',
            '{"current": ["embedded"], "contexts": {}}',
            '{"current": "embedded", "contexts": []}',
            "[" * 100_000,
        ],
    )
    def test_a_damaged_file_is_said_to_be(self, prod: Home, content: str) -> None:
        prod.contexts_path.write_bytes(content.encode("latin-1"))
        with pytest.raises(VaultUnavailable, match="damaged"):
            contexts.load(prod)

    def test_a_pipe_in_place_of_the_file_is_refused_without_waiting(self, home: Home) -> None:
        home.config.mkdir()
        os.mkfifo(home.contexts_path, 0o600)
        with pytest.raises(VaultUnavailable, match="damaged"):
            contexts.load(home)

    def test_a_home_that_can_not_be_written_is_said_to_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(VaultUnavailable, match="can't be written"):
            contexts.add(locate(tmp_path / "file" / "home"), "prod", PROD)

    def test_the_file_is_one_that_people_can_read(self, prod: Home) -> None:
        assert json.loads(prod.contexts_path.read_text()) == {
            "current": "prod",
            "contexts": {"staging": {"baseUrl": STAGING}, "prod": {"baseUrl": PROD, "tenant": "my-org"}},
        }


class TestChoosing:
    """Flag, environment, context in use, this machine: the first that says something."""

    IN_USE = Server(PROD, "my-org", "prod")

    def test_with_nothing_said_it_is_the_vault_of_this_machine(self, home: Home) -> None:
        assert chosen_server() is None

    def test_the_context_in_use_is_next(self, prod: Home) -> None:
        assert chosen_server() == self.IN_USE
        contexts.use(prod, contexts.EMBEDDED)
        assert chosen_server() is None

    def test_the_environment_outweighs_the_context_in_use(self, prod: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VAULT_BASE_URL", "http://LOCALHOST:8200/")
        assert chosen_server() == Server("http://localhost:8200")
        monkeypatch.setenv("VAULT_BASE_URL", "")
        assert chosen_server() == self.IN_USE
        monkeypatch.setenv("VAULT_DATABASE_URL", "/srv/vault.db")
        assert chosen_server() is None

    def test_a_flag_outweighs_all(self, prod: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable, value in (("VAULT_BASE_URL", "http://localhost:8200"), ("VAULT_DATABASE_URL", "/srv/vault.db")):
            with monkeypatch.context() as patch:
                patch.setenv(variable, value)
                assert chosen_server(base_url=STAGING) == Server(STAGING)
                assert chosen_server(context="staging") == Server(STAGING, None, "staging")
                assert chosen_server(context=contexts.EMBEDDED) is None
        assert chosen_server(database="/srv/vault.db") is None

    def test_a_server_and_a_database_at_once_are_an_error_that_says_which_to_unset(
        self, prod: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VAULT_BASE_URL", PROD)
        with pytest.raises(InvalidInput, match=r"VAULT_BASE_URL.*--database") as refused:
            chosen_server(database="/srv/vault.db")
        assert refused.value.hint == "Unset VAULT_BASE_URL to use the vault on this machine."
        monkeypatch.setenv("VAULT_DATABASE_URL", "/srv/vault.db")
        with pytest.raises(InvalidInput, match=r"VAULT_BASE_URL.*VAULT_DATABASE_URL") as refused:
            chosen_server()
        assert "or VAULT_DATABASE_URL to use the server" in refused.value.hint

    @pytest.mark.parametrize(
        "named",
        [
            {"base_url": PROD, "context": "prod"},
            {"base_url": PROD, "database": "/srv/vault.db"},
            {"context": "prod", "database": "/srv/vault.db"},
        ],
    )
    def test_two_flags_that_name_vaults_are_an_error(self, prod: Home, named: dict[str, str]) -> None:
        with pytest.raises(InvalidInput, match="More than one"):
            chosen_server(**named)

    def test_a_context_that_is_not_there_is_not_found(self, prod: Home) -> None:
        with pytest.raises(NotFound):
            chosen_server(context="absent")

    def test_a_malformed_variable_is_named_and_not_quoted(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VAULT_BASE_URL", "https://ann:s3cr3t@vault.example.com")
        with pytest.raises(InvalidInput, match="VAULT_BASE_URL is malformed") as refused:
            chosen_server()
        assert "s3cr3t" not in f"{refused.value} {refused.value.hint}"

    def test_contexts_are_those_of_the_home_that_is_named(self, prod: Home, tmp_path: Path) -> None:
        assert chosen_server(home=tmp_path / "other") is None
