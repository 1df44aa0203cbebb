"""``vaultctl context``, and which vault a command is about."""

import os
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from vaultctl.client import logins
from vaultctl.client.location import locate
from vaultctl.crypto.tokens import new_token_secret
from vaultctl.domain.errors import ExitStatus

PROD = "https://vault.example.com"


@pytest.fixture
def prod(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> str:
    """The context prod, in use, with a login that is kept in a file."""
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    cli.ok("context", "add", "prod", "--base-url", PROD, "--tenant", "my-org", "--use")
    logins.keep(PROD, "my-org", new_token_secret(os.urandom))
    return "prod"


class TestContexts:
    def test_the_vault_of_this_machine_is_there_from_the_start(self, cli: Cli) -> None:
        assert cli.ok("context", "list", "-o", "json").json == [{"name": "embedded", "inUse": True}]
        assert cli.ok("context", "list", "-q").lines == ["embedded"]

    def test_adding_says_what_comes_next(self, cli: Cli) -> None:
        result = cli.ok("context", "add", "prod", "--base-url", f"{PROD}:443/", "-o", "json")
        assert result.json == {"name": "prod", "inUse": False, "baseUrl": PROD}
        assert result.err == "Next: vaultctl login --context prod\n"

    @pytest.mark.parametrize(
        "argv",
        [
            ["context", "add", "prod", "--base-url", PROD, "--tenant", "my-org"],
            ["--base-url", PROD, "--tenant", "my-org", "context", "add", "prod"],
        ],
    )
    def test_the_options_stand_before_or_behind(self, cli: Cli, argv: list[str]) -> None:
        cli.ok(*argv)
        listed = cli.ok("context", "list", "-o", "json").json[1]
        assert listed == {"name": "prod", "inUse": False, "baseUrl": PROD, "tenant": "my-org"}

    def test_the_list_shows_which_is_in_use_and_where_its_login_is(self, prod: str, cli: Cli) -> None:
        cli.ok("context", "add", "another", "--base-url", "http://127.0.0.1:8200")
        assert cli.ok("context", "list").lines == [
            "NAME      IN USE  BASE URL                   TENANT  LOGIN",
            "embedded",
            "another           http://127.0.0.1:8200",
            "prod      yes     https://vault.example.com  my-org  file",
        ]
        assert cli.ok("context", "list", "-o", "csv").lines[0] == "name,inUse,baseUrl,tenant,login"

    def test_using_another_one(self, prod: str, cli: Cli) -> None:
        assert cli.ok("context", "use", "embedded").err == "The context embedded is in use.\n"
        assert cli.ok("context", "list", "-o", "json").json[0]["inUse"]
        assert cli.ok("context", "use", "prod", "-q") == (0, "prod\n", "")
        assert cli.ok("context", "list", "-o", "json").json[1]["inUse"]

    def test_a_variable_that_outweighs_it_is_warned_of(self, prod: str, cli: Cli) -> None:
        result = cli.ok("context", "use", "prod", VAULT_BASE_URL="https://other.example.com")
        assert "VAULT_BASE_URL is set, and outweighs the context in use." in result.err

    def test_removing_takes_the_login_with_it(self, prod: str, cli: Cli) -> None:
        assert cli("context", "remove", "prod").status == ExitStatus.USAGE
        planned = cli.ok("context", "remove", "prod", "--dry-run")
        assert planned.err == f"Would forget the context prod of {PROD} and its login.\n"
        assert logins.has_login(PROD, "my-org")
        result = cli.ok("context", "remove", "prod", "--yes", "-o", "json")
        assert result.json["name"] == "prod"
        assert "The vault of this machine is in use." in result.err
        assert not logins.has_login(PROD, "my-org")
        assert cli.ok("context", "list", "-q").lines == ["embedded"]

    def test_a_login_that_another_context_shares_stays(self, prod: str, cli: Cli) -> None:
        cli.ok("context", "add", "same", "--base-url", PROD, "--tenant", "my-org")
        cli.ok("context", "remove", "same", "--yes")
        assert logins.has_login(PROD, "my-org")

    @pytest.mark.parametrize(
        ("argv", "status"),
        [
            (["use", "absent"], ExitStatus.NOT_FOUND),
            (["remove", "absent", "--yes"], ExitStatus.NOT_FOUND),
            (["remove", "embedded", "--yes"], ExitStatus.USAGE),
            (["add", "other"], ExitStatus.USAGE),
            (["add", "other", "--base-url", "http://vault.example.com"], ExitStatus.USAGE),
            (["add", "other", "--base-url", "https://ann:s3cr3t@vault.example.com"], ExitStatus.USAGE),
            (["add", "Other", "--base-url", PROD], ExitStatus.USAGE),
            (["add", "prod", "--base-url", PROD], ExitStatus.CONFLICT),
            (["add", "embedded", "--base-url", PROD], ExitStatus.CONFLICT),
        ],
    )
    def test_mistakes(self, prod: str, cli: Cli, argv: list[str], status: ExitStatus) -> None:
        before = locate().contexts_path.read_text()
        result = cli("context", *argv)
        assert result.status == status
        assert len(result.err.splitlines()) == 2
        assert "s3cr3t" not in result.err
        assert locate().contexts_path.read_text() == before


class TestWhichVault:
    """What a command is about: the vault of this machine has credentials, and no server is there to be reached."""

    @pytest.fixture(autouse=True)
    def _in_use(self, stocked: Path, cli: Cli) -> None:
        cli.ok("context", "add", "prod", "--base-url", PROD, "--use")

    def test_the_context_in_use_is_meant_by_every_command(self, cli: Cli) -> None:
        for argv in (["whoami"], ["credential", "list"], ["audit"], ["audit", "--follow"], ["tenant", "list"]):
            result = cli(*argv)
            assert result.status == ExitStatus.NOT_AUTHENTICATED
            assert f"There is no token for {PROD}." in result.err
            assert "vaultctl login --context prod" in result.err

    @pytest.mark.parametrize("flags", [["--context", "embedded"], ["--database", "{home}/vault.db"]])
    def test_a_flag_leads_back_to_this_machine(self, cli: Cli, stocked: Path, flags: list[str]) -> None:
        named = [flag.format(home=stocked) for flag in flags]
        for argv in ([*named, "credential", "list", "-q"], ["credential", "list", "-q", *named]):
            assert cli.ok(*argv).lines == ["orders-db", "shopify-api-key"]

    def test_so_it_does_with_a_token(self, cli: Cli) -> None:
        token = cli.ok("--context", "embedded", "token", "create", "--agent", "a", "-q").out.strip()
        shown = cli.ok("--context", "embedded", "whoami", "-o", "json", VAULT_TOKEN=token)
        assert shown.json["identity"]["name"] == "a"

    def test_the_context_embedded_outweighs_even_the_environment(self, cli: Cli) -> None:
        result = cli.ok("--context", "embedded", "credential", "list", "-q", VAULT_BASE_URL=PROD)
        assert result.lines == ["orders-db", "shopify-api-key"]

    def test_a_database_in_the_environment_leads_back_too(self, cli: Cli, stocked: Path) -> None:
        result = cli.ok("credential", "list", "-q", VAULT_DATABASE_URL=str(stocked / "vault.db"))
        assert result.lines == ["orders-db", "shopify-api-key"]

    def test_going_back(self, cli: Cli) -> None:
        cli.ok("context", "use", "embedded")
        assert cli.ok("credential", "list", "-q").lines == ["orders-db", "shopify-api-key"]

    @pytest.mark.parametrize(
        ("flags", "environment", "message"),
        [
            (["--database", "x.db"], {"VAULT_BASE_URL": PROD}, "VAULT_BASE_URL names a server, and --database"),
            ([], {"VAULT_BASE_URL": PROD, "VAULT_DATABASE_URL": "x.db"}, "and VAULT_DATABASE_URL a vault"),
            (["--base-url", PROD, "--context", "prod"], {}, "More than one vault is named."),
            (["--base-url", PROD, "--database", "x.db"], {}, "More than one vault is named."),
        ],
    )
    def test_two_vaults_at_once_are_an_error(
        self, cli: Cli, flags: list[str], environment: dict[str, str], message: str
    ) -> None:
        result = cli("whoami", *flags, **environment)
        assert result.status == ExitStatus.USAGE
        assert message in result.err

    def test_no_variable_that_is_empty_names_a_vault(self, cli: Cli) -> None:
        result = cli("whoami", VAULT_BASE_URL="", VAULT_DATABASE_URL="")
        assert f"There is no token for {PROD}." in result.err

    def test_an_empty_token_is_an_error_at_a_server_too(self, cli: Cli) -> None:
        result = cli("whoami", VAULT_TOKEN="")
        assert result.status == ExitStatus.NOT_AUTHENTICATED
        assert "VAULT_TOKEN is set but empty" in result.err

    @pytest.mark.parametrize(
        ("argv", "environment", "status", "hint"),
        [
            (["init"], {}, ExitStatus.UNAVAILABLE, "vaultctl context use embedded"),
            (["init"], {"VAULT_BASE_URL": PROD}, ExitStatus.UNAVAILABLE, "Unset VAULT_BASE_URL"),
            (["init", "--context", "prod"], {}, ExitStatus.USAGE, "Leave --context and --base-url out"),
            (["init", "--base-url", PROD], {}, ExitStatus.USAGE, "Leave --context and --base-url out"),
            (["server", "start", "--context", "prod"], {}, ExitStatus.USAGE, "Leave --context and --base-url out"),
        ],
    )
    def test_what_is_about_this_machine_alone_refuses_a_server(
        self,
        cli: Cli,
        tmp_path: Path,
        argv: list[str],
        environment: dict[str, str],
        status: ExitStatus,
        hint: str,
    ) -> None:
        result = cli(*argv, **environment)
        assert result.status == status
        assert hint in result.err

    @pytest.mark.parametrize("environment", [{}, {"VAULT_BASE_URL": PROD}])
    def test_init_does_it_where_a_flag_says_so(
        self, cli: Cli, tmp_path: Path, environment: dict[str, str], stocked: Path
    ) -> None:
        home = tmp_path / "second"
        home.mkdir()
        (home / "contexts.json").write_text((stocked / "contexts.json").read_text())
        (home / "contexts.json").chmod(0o600)
        cli.ok("init", "--root-key", "file", "--database", f"{home}/my.db", VAULTCTL_HOME=str(home), **environment)
        assert (home / "my.db").exists()

    def test_a_damaged_file_of_contexts_is_7_and_not_passed_over(self, cli: Cli, stocked: Path) -> None:
        (stocked / "contexts.json").write_text("{")
        result = cli("credential", "list")
        assert (result.status, result.out) == (ExitStatus.UNAVAILABLE, "")
        assert "contexts" in result.err
        cli.ok("--context", "embedded", "credential", "list")


class TestLoginWithoutAServer:
    def test_the_vault_of_this_machine_needs_no_login(self, home: Path, cli: Cli) -> None:
        for noun in ("login", "logout"):
            result = cli(noun)
            assert result.status == ExitStatus.USAGE
            assert "needs no login" in result.err

    def test_a_token_is_read_from_a_terminal_or_when_told_from_stdin_and_is_no_argument(self, cli: Cli) -> None:
        token = new_token_secret(os.urandom).reveal()
        result = cli("login", "--base-url", PROD, stdin=token)
        assert result.status == ExitStatus.USAGE
        assert "--token-stdin" in result.err
        result = cli("login", token, "--base-url", PROD)
        assert result.status == ExitStatus.USAGE
        assert token not in result.err

    @pytest.mark.parametrize("text", ["", "\n", "s3cr3t", "vault_token_" + "x" * 49, "vault_t\xe4ken", "x" * 10_000])
    def test_what_is_no_token_is_noticed_before_any_server_is_asked(self, cli: Cli, text: str) -> None:
        result = cli("login", "--base-url", PROD, "--token-stdin", stdin=text)
        assert result.status == ExitStatus.NOT_AUTHENTICATED
        assert "s3cr3t" not in result.err
        assert not logins.has_login(PROD)

    def test_logging_out_where_nobody_is_logged_in_is_5(self, cli: Cli) -> None:
        result = cli("logout", "--base-url", PROD)
        assert result.status == ExitStatus.NOT_FOUND

    def test_logging_out_says_that_the_token_lives_on_and_how_to_end_it(self, prod: str, cli: Cli) -> None:
        logins.keep(PROD, "my-org", new_token_secret(os.urandom), "tok_1")
        result = cli.ok("logout")
        assert result.err.splitlines() == [
            f"Forgot the token for {PROD}.",
            "It goes on to authenticate whoever has it. An admin ends it with: vaultctl token revoke tok_1",
        ]
        assert not logins.has_login(PROD, "my-org")


class TestServerStart:
    @pytest.mark.parametrize(
        "argv",
        [
            ["--listen", "127.0.0.1"],
            ["--listen", "127.0.0.1:x"],
            ["--listen", "127.0.0.1:65536"],
            ["--listen", ":8200"],
            ["--listen", "::1:8200"],
            ["--listen", "[]:8200"],
            ["--tls-cert", "server.crt"],
            ["--tls-key", "server.key"],
            ["--tls-cert", "a", "--tls-key", "b", "--allow-plain-http"],
            ["--token-rate", "many"],
            ["--connections-per-source", "-1"],
            ["--grace", "-1"],
            ["--log-format", "xml"],
        ],
    )
    def test_mistakes_are_2_before_anything_is_loaded(self, cli: Cli, argv: list[str]) -> None:
        result = cli("server", "start", *argv)
        assert result.status == ExitStatus.USAGE
        assert len(result.err.splitlines()) == 2

    def test_what_a_plain_installation_lacks_is_named(self, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        result = cli("server", "start")
        assert result.status == ExitStatus.UNAVAILABLE
        assert "pip install 'vaultctl[server]'" in result.err


def test_completion_knows_the_contexts(prod: str) -> None:
    from vaultctl.cli.completions import candidates

    for before in (["context", "use"], ["--context"], ["credential", "list", "--context"]):
        assert [candidate.word for candidate in candidates(before, "")] == ["embedded", "prod"]
        assert [candidate.word for candidate in candidates(before, "p")] == ["prod"]
    assert [c.word for c in candidates([], "--context=p")] == ["--context=prod"]
    locate().contexts_path.write_text("{")
    assert candidates(["--context"], "") == []


def test_nothing_of_servers_is_written_by_looking(cli: Cli) -> None:
    cli.ok("context", "list")
    cli("logout", "--base-url", PROD)
    assert not locate().config.exists()
