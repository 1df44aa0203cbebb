"""Logins: tokens that are kept for one server, and found for no other."""

import json
import os
import pickle
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vaultctl.client import logins
from vaultctl.client.contexts import Server
from vaultctl.client.location import locate
from vaultctl.crypto.tokens import new_token_secret
from vaultctl.domain.errors import InvalidInput, NotAuthenticated, NotFound, VaultUnavailable
from vaultctl.domain.secrets import Secret

PROD = "https://vault.example.com"
STAGING = "https://staging.example.com"


@pytest.fixture
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


def files() -> list[Path]:
    directory = locate().logins_path
    return sorted(directory.iterdir()) if directory.exists() else []


@pytest.mark.usefixtures("no_keyring")
class TestWithoutAKeyring:
    def test_a_token_is_kept_in_a_file_for_its_owner_alone_and_that_is_said(self, token: Secret) -> None:
        login, sentence = logins.keep(PROD, None, token)
        (path,) = files()
        assert login.kept_in == "file"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert sentence == (
            f"No usable OS keyring answered (there is none), so the token is in the file {path} (mode 0600)."
        )

    def test_it_is_found_again_under_every_spelling_of_the_url(self, token: Secret) -> None:
        logins.keep("HTTPS://Vault.Example.com:443/", None, token)
        assert logins.stored_token(PROD) == token

    @pytest.mark.parametrize(
        "other",
        [STAGING, f"{PROD}:8200", f"{PROD}/prefix", "https://example.com", "https://vault.example.com.evil.org"],
    )
    def test_it_is_found_for_no_other_url(self, token: Secret, other: str) -> None:
        logins.keep(PROD, None, token)
        assert logins.stored_token(other) is None

    def test_one_that_was_kept_for_a_tenant_is_found_for_that_tenant_alone(self, token: Secret) -> None:
        logins.keep(PROD, "my-org", token)
        assert logins.stored_token(PROD, "my-org") == token
        assert logins.stored_token(PROD, "other-org") is None
        assert logins.stored_token(PROD) is None

    def test_one_that_was_kept_for_no_tenant_in_particular_serves_where_there_is_none_for_the_tenant(
        self, token: Secret
    ) -> None:
        logins.keep(PROD, None, token)
        assert logins.stored_token(PROD, "my-org") == token
        own = new_token_secret(os.urandom)
        logins.keep(PROD, "my-org", own)
        assert logins.stored_token(PROD, "my-org") == own
        assert logins.stored_token(PROD) == token

    def test_logging_in_again_replaces_it(self, token: Secret) -> None:
        logins.keep(PROD, None, new_token_secret(os.urandom))
        logins.keep(PROD, None, token)
        assert logins.stored_token(PROD) == token
        assert len(files()) == 1

    def test_it_is_gone_once_it_was_forgotten(self, token: Secret) -> None:
        login, _ = logins.keep(PROD, None, token, "tok_1")
        assert logins.forget(PROD) == login
        assert logins.stored_token(PROD) is None
        assert files() == []
        with pytest.raises(NotFound, match="no login"):
            logins.forget(PROD)

    def test_the_one_of_a_tenant_is_forgotten_for_that_tenant_alone(self, token: Secret) -> None:
        logins.keep(PROD, None, token)
        logins.keep(PROD, "my-org", token)
        logins.forget(PROD, "my-org")
        assert logins.stored_token(PROD) == token
        with pytest.raises(NotFound):
            logins.forget(PROD, "my-org")

    def test_what_is_no_token_is_not_kept(self) -> None:
        for text in ("", "s3cr3t", "vault_token_" + "x" * 49):
            with pytest.raises(NotAuthenticated):
                logins.keep(PROD, None, Secret(text))
        assert files() == []

    def test_no_token_is_kept_for_a_url_that_it_must_not_go_to(self, token: Secret) -> None:
        with pytest.raises(InvalidInput):
            logins.keep("http://vault.example.com", None, token)

    def test_a_login_does_not_print_its_token(self, token: Secret) -> None:
        login, _ = logins.keep(PROD, None, token)
        assert token.reveal() not in repr(login)
        with pytest.raises(TypeError):
            pickle.dumps(login)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
    def test_a_file_that_is_open_to_others_is_refused(self, token: Secret, mode: int) -> None:
        logins.keep(PROD, None, token)
        files()[0].chmod(mode)
        with pytest.raises(VaultUnavailable, match="not yours alone"):
            logins.stored_token(PROD)

    def test_a_file_under_the_name_of_another_server_is_refused(self, token: Secret) -> None:
        logins.keep(PROD, None, token)
        (there,) = files()
        logins.keep(STAGING, None, new_token_secret(os.urandom))
        (other,) = set(files()) - {there}
        other.write_text(there.read_text())
        with pytest.raises(VaultUnavailable, match="damaged"):
            logins.stored_token(STAGING)

    def test_a_link_to_another_file_is_refused(self, token: Secret) -> None:
        logins.keep(PROD, None, token)
        (path,) = files()
        path.rename(path.with_name("moved"))
        path.symlink_to("moved")
        with pytest.raises(VaultUnavailable, match="can't be read"):
            logins.stored_token(PROD)

    @pytest.mark.parametrize(
        "content",
        ["", "[]", "{", '{"keptIn": "cloud"}', '{"keptIn": "file", "token": 1}', '{"keptIn": "keyring"}', "[" * 60_000],
    )
    def test_a_damaged_file_is_said_to_be_and_a_new_login_mends_it(self, token: Secret, content: str) -> None:
        logins.keep(PROD, None, token)
        files()[0].write_text(content)
        with pytest.raises(VaultUnavailable, match="damaged"):
            logins.stored_token(PROD)
        logins.keep(PROD, None, token)
        assert logins.stored_token(PROD) == token

    def test_a_damaged_file_can_be_forgotten(self, token: Secret) -> None:
        logins.keep(PROD, None, token)
        files()[0].write_text("{")
        assert logins.forget(PROD) is None
        assert files() == []

    def test_what_is_no_token_in_the_file_is_not_used(self, token: Secret) -> None:
        logins.keep(PROD, None, token)
        (path,) = files()
        path.write_text(json.dumps(json.loads(path.read_text()) | {"token": "x\r\nHost: evil.example"}))
        with pytest.raises(NotAuthenticated):
            logins.stored_token(PROD)


class TestTokenFor:
    """``VAULT_TOKEN``, else the login, else an error that says what to do."""

    SERVER = Server(PROD, None, "prod")

    @pytest.fixture(autouse=True)
    def _login(self, no_keyring: None, token: Secret) -> None:
        logins.keep(PROD, None, token)

    def test_without_a_variable_it_is_that_of_the_login(self, token: Secret) -> None:
        assert logins.token_for(self.SERVER) == token

    def test_the_variable_outweighs_the_login(self, monkeypatch: pytest.MonkeyPatch) -> None:
        other = new_token_secret(os.urandom)
        monkeypatch.setenv("VAULT_TOKEN", other.reveal())
        assert logins.token_for(self.SERVER) == other

    def test_an_empty_variable_is_no_way_back_to_the_login(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VAULT_TOKEN", "")
        with pytest.raises(NotAuthenticated, match="set but empty"):
            logins.token_for(self.SERVER)

    def test_where_there_is_none_it_says_how_to_log_in(self) -> None:
        for server, hint in (
            (Server(STAGING), f"vaultctl login --base-url {STAGING};"),
            (Server(STAGING, "my-org", "staging"), "vaultctl login --context staging;"),
        ):
            with pytest.raises(NotAuthenticated, match="no token") as refused:
                logins.token_for(server, server.tenant)
            assert hint in refused.value.hint


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs code in a process of its own, with one of the stub keyrings; what it prints, from JSON."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "crypto"))
    monkeypatch.setenv("STUB_KEYRING", str(tmp_path / "keyring.json"))

    def run(code: str, *argv: str, backend: str = "Good") -> Any:
        prologue = """
            import json, sys
            from vaultctl.client import logins
            from vaultctl.domain.errors import VaultError
            from vaultctl.domain.secrets import Secret
        """
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(prologue) + textwrap.dedent(code), *argv],
            env=os.environ | {"PYTHON_KEYRING_BACKEND": f"stub_keyrings.{backend}"},
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return json.loads(done.stdout)

    return run


KEEP = """
    login, sentence = logins.keep(sys.argv[1], None, Secret(sys.argv[2]), "tok_1")
    print(json.dumps([login.kept_in, sentence]))
"""
LOOK_UP = """
    found = logins.stored_token(sys.argv[1])
    print(json.dumps([found and found.reveal(), "keyring" in sys.modules]))
"""
FORGET = """
    try:
        print(json.dumps(logins.forget(sys.argv[1]).token_id))
    except VaultError as error:
        print(json.dumps([error.message, error.hint]))
"""


class TestKeyring:
    def entries(self, tmp_path: Path) -> dict[str, str]:
        found: dict[str, str] = json.loads((tmp_path / "keyring.json").read_text())
        return found

    def test_a_token_is_kept_there_and_nowhere_else(
        self, program: Callable[..., Any], tmp_path: Path, token: Secret
    ) -> None:
        kept_in, sentence = program(KEEP, PROD, token.reveal())
        ((name, value),) = self.entries(tmp_path).items()
        assert (kept_in, value) == ("keyring", token.reveal())
        assert name.startswith(f"vaultctl/{PROD} ")
        assert sentence == f"The token is in the OS keyring (service vaultctl, user {name.removeprefix('vaultctl/')})."
        assert token.reveal() not in files()[0].read_text()
        assert program(LOOK_UP, PROD) == [token.reveal(), True]

    def test_the_keyring_is_not_even_loaded_where_there_is_no_login(
        self, program: Callable[..., Any], token: Secret
    ) -> None:
        program(KEEP, PROD, token.reveal())
        assert program(LOOK_UP, STAGING) == [None, False]

    def test_logging_in_again_leaves_one_entry(
        self, program: Callable[..., Any], tmp_path: Path, token: Secret
    ) -> None:
        program(KEEP, PROD, new_token_secret(os.urandom).reveal())
        program(KEEP, PROD, token.reveal())
        assert list(self.entries(tmp_path).values()) == [token.reveal()]

    def test_logins_of_two_homes_do_not_meet(
        self, program: Callable[..., Any], token: Secret, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        program(KEEP, PROD, token.reveal())
        with monkeypatch.context() as patch:
            patch.setenv("VAULTCTL_HOME", str(tmp_path / "other"))
            program(KEEP, PROD, new_token_secret(os.urandom).reveal())
            program(FORGET, PROD)
        assert program(LOOK_UP, PROD)[0] == token.reveal()

    def test_a_file_that_points_to_the_entry_of_another_server_gets_nothing(
        self, program: Callable[..., Any], token: Secret
    ) -> None:
        """As in a home that came with somebody else's repository."""
        program(KEEP, PROD, token.reveal())
        user = json.loads(files()[0].read_text())["keyringUser"]
        program(KEEP, STAGING, new_token_secret(os.urandom).reveal())
        (theirs,) = [path for path in files() if json.loads(path.read_text())["baseUrl"] == STAGING]
        theirs.write_text(json.dumps(json.loads(theirs.read_text()) | {"keyringUser": user}))
        with pytest.raises(VaultUnavailable, match="damaged"):
            logins.stored_token(STAGING)

    def test_forgetting_deletes_the_entry(self, program: Callable[..., Any], tmp_path: Path, token: Secret) -> None:
        program(KEEP, PROD, token.reveal())
        assert program(FORGET, PROD) == "tok_1"
        assert self.entries(tmp_path) == {}
        assert files() == []

    def test_an_entry_that_is_gone_already_is_no_obstacle(
        self, program: Callable[..., Any], tmp_path: Path, token: Secret
    ) -> None:
        program(KEEP, PROD, token.reveal())
        (tmp_path / "keyring.json").write_text("{}")
        assert program(FORGET, PROD) == "tok_1"

    def test_a_keyring_that_does_not_delete_is_said_and_the_login_is_forgotten_all_the_same(
        self, program: Callable[..., Any], token: Secret
    ) -> None:
        program(KEEP, PROD, token.reveal())
        message, hint = program(FORGET, PROD, backend="Locked")
        assert "does not delete its token: it is locked" in message
        assert "by hand" in hint
        assert files() == []

    @pytest.mark.parametrize(
        ("backend", "reason"),
        [
            ("Locked", "it is locked"),
            ("PlainText", "what there is would not protect it"),
            ("Forgetful", "it does not keep what it is given"),
            ("FailingForKeys", "it failed"),
        ],
    )
    def test_where_none_works_a_file_does_and_the_reason_is_said(
        self, program: Callable[..., Any], token: Secret, backend: str, reason: str
    ) -> None:
        kept_in, sentence = program(KEEP, PROD, token.reveal(), backend=backend)
        assert kept_in == "file"
        assert f"({reason})" in sentence
        assert program(LOOK_UP, PROD) == [token.reveal(), False]

    def test_one_that_is_locked_later_or_has_lost_the_entry_is_said_to_be(
        self, program: Callable[..., Any], tmp_path: Path, token: Secret
    ) -> None:
        program(KEEP, PROD, token.reveal())
        refused = """
            try:
                logins.stored_token(sys.argv[1])
            except VaultError as error:
                print(json.dumps([error.code, error.message]))
        """
        assert program(refused, PROD, backend="Locked") == [
            "vault_unavailable",
            f"The token for {PROD} is in the OS keyring, which does not answer: it is locked.",
        ]
        (tmp_path / "keyring.json").write_text("{}")
        code, message = program(refused, PROD)
        assert (code, message) == ("not_authenticated", f"The token for {PROD} is not in the OS keyring any more.")
