"""Every documented exit status, and the mistakes that people make: the answer is a line or two that say what to do."""

import os
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import API_KEY, Cli, Result
from vaultctl.client import Vault
from vaultctl.crypto.tokens import new_token_secret
from vaultctl.domain.errors import ExitStatus
from vaultctl.domain.times import SECOND
from vaultctl.store.sqlite import SqliteStore, system_clock

CANARY = "canary-7f3c9a1e5b2d4860"


def says(result: Result, status: ExitStatus, message: str, hint: str) -> None:
    assert result.status == status, result.err
    assert result.out == ""
    lines = result.err.splitlines()
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]
    assert len(lines) == 2


def test_done_is_0(stocked: Path, cli: Cli) -> None:
    assert cli("credential", "show", "orders-db").status == ExitStatus.DONE


def test_a_defect_of_ours_is_1_and_shows_neither_traceback_nor_text(
    home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(vault: Vault) -> None:
        local = CANARY
        raise KeyError(f"{local} in a message") from ValueError(CANARY)

    monkeypatch.setattr(Vault, "whoami", broken)
    result = cli("whoami")
    assert result.status == ExitStatus.UNEXPECTED
    assert result.err.splitlines()[0] == "unexpected error: KeyError"
    assert len(result.err.splitlines()) == 2
    assert "Traceback" not in result.err

    debugged = cli("whoami", VAULT_LOG_LEVEL="debug")
    assert debugged.status == ExitStatus.UNEXPECTED
    assert "in broken" in debugged.err
    assert "KeyError\n" in debugged.err
    assert "ValueError\n" in debugged.err
    assert CANARY not in result.err + debugged.err


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["lease", "create", "x", "--ttl", "5x"], "The TTL is not a duration.", "15m"),
        (["lease", "create", "x", "--ttl", "0s"], "at least 1s", "15m"),
        (["token", "create", "--agent", "a", "--max-lease-ttl", "1 hour"], "maximum lease TTL is not", "15m"),
        (["audit", "--since", "yesterday"], "neither a time nor a duration", "2026-11-23"),
        (["audit", "--limit", "-1"], "not a whole number", "100"),
        (["audit", "--limit", "many"], "not a whole number", "100"),
        (["audit", "--filter", "identity.name"], "key=value", "identity.name=deploy-agent"),
        (["audit", "-o", "xml"], "no such output format", "table, json, jsonl, csv"),
        (["audit", "verfy"], "no such command", "vaultctl audit verify"),
        (["audit", "something"], "no such command", "vaultctl audit --help"),
        (["audit", "--session", "s", "verify"], "--session stands before a subcommand", "vaultctl audit --help"),
        (["audit", "--limit", "100", "checkpoint"], "--limit stands before a subcommand", "behind the subcommand"),
        (["audit", "verify", "more"], "an argument too many", "vaultctl audit verify --help"),
        (["audit", "--sesion", "s"], "No such option: --sesion", "vaultctl audit --help"),
        (["audit", "--session"], "requires an argument", "vaultctl audit --help"),
        (["credential", "show"], "Missing argument 'NAME'", "vaultctl credential show --help"),
        (["credential", "create", "x"], "Missing option '--type'", "vaultctl credential create --help"),
        (["credential", "update", "x"], "nothing to change", "vaultctl credential update --help"),
        (["credential", "update", "x", "--allow", "agent:a", "--clear-allow"], "exclude each other", "Leave out"),
        (["credential", "create", "x", "--type", "api-key", "--metadata", "k"], "key=value", "owner=platform-team"),
        (["credential", "create", "x", "--type", "api-key", "--metadata", "k=1", "--metadata", "k=2"], "twice", "once"),
        (["credential", "rollback", "x", "--to", "first"], "not a whole number", "100"),
        (["token", "create"], "exactly one of", "--agent deploy-agent"),
        (["token", "create", "--agent", "a", "--human", "b@example.com"], "exactly one of", "--agent deploy-agent"),
        (["lease", "revoke"], "Name either leases", "vaultctl lease revoke --help"),
        (["lease", "revoke", "lease_1", "--agent", "a"], "Name either leases", "vaultctl lease revoke --help"),
        (["tenant", "set"], "nothing to set", "vaultctl tenant set --help"),
        (["credentials"], "no such command", "Did you mean vaultctl credential?"),
        (["credential", "lst"], "no such command", "Did you mean vaultctl credential list"),
        (["xyzzy"], "no such command", "vaultctl --help"),
    ],
)
def test_what_can_not_be_understood_is_2_before_any_vault_is_opened(
    argv: list[str], message: str, hint: str, cli: Cli
) -> None:
    says(cli(*argv), ExitStatus.USAGE, message, hint)


@pytest.mark.parametrize(
    "argv",
    [
        ["credential", "create", "x", "--type", "api-key", CANARY],
        ["credential", CANARY],
        [CANARY],
        ["audit", "--limit", CANARY],
        ["audit", "--since", CANARY],
        ["audit", f"--limt={CANARY}"],
        ["lease", "create", "x", "--ttl", CANARY],
        ["-o", CANARY, "audit"],
        ["credential", "create", CANARY.upper(), "--type", "api-key", "--from-env", "MISSING"],
        ["credential", "create", "x", "--type", CANARY],
        ["credential", "create", "x", "--type", "api-key", "--from-file", f"/nowhere/{CANARY}"],
        ["credential", "create", "x", "--type", "api-key", "--from-env", CANARY],
        ["credential", "create", "x", "--type", "database-url"],
        ["credential", "create", "x", "--type", "ssh-key"],
        ["credential", "create", "x", "--type", "api-key", "--allow", CANARY],
        ["token", "create", "--agent", "a", "--role", CANARY],
        ["--tenant", CANARY.upper(), "whoami"],
        ["token", "show", f"{CANARY}"],
    ],
)
def test_a_secret_in_the_wrong_place_is_not_quoted(argv: list[str], home: Path, cli: Cli) -> None:
    result = cli(*argv, stdin=CANARY)
    assert result.status in (ExitStatus.USAGE, ExitStatus.NOT_FOUND)
    assert CANARY not in (result.out + result.err).lower()


def test_a_value_that_is_nearly_one_is_2_and_the_near_one_is_suggested(home: Path, cli: Cli) -> None:
    result = cli("audit", "--event", "lease.create")
    says(
        result, ExitStatus.USAGE, "There is no such event.", "Did you mean lease.created? One of: credential.created, "
    )
    says(cli("lease", "list", "--state", "gone"), ExitStatus.USAGE, "There is no such lease state.", "hint: One of: ")
    says(cli("lease", "list", "--state", CANARY * 9999), ExitStatus.USAGE, "There is no such", "One of: active")


def test_a_malformed_database_url_is_2(home: Path, cli: Cli) -> None:
    result = cli("credential", "create", "db", "--type", "database-url", stdin="localhost:5432")
    says(result, ExitStatus.USAGE, "not a database URL", "scheme://")
    assert cli("credential", "list", "-q").out == ""


@pytest.mark.parametrize("token", ["", "nonsense", "vault_token_" + "x" * 49])
def test_a_token_that_is_empty_or_malformed_is_3_and_never_the_owner(token: str, home: Path, cli: Cli) -> None:
    result = cli("whoami", VAULT_TOKEN=token)
    assert result.status == ExitStatus.NOT_AUTHENTICATED
    assert result.out == ""
    assert len(result.err.splitlines()) == 2


def test_an_expired_token_is_3(home: Path, cli: Cli, mint: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    token = mint(agent="deploy-agent", ttl="1h")
    later = system_clock() + 2 * 3600 * SECOND
    monkeypatch.setitem(SqliteStore.__init__.__kwdefaults__, "clock", lambda: later)
    result = cli("whoami", VAULT_TOKEN=token)
    says(result, ExitStatus.NOT_AUTHENTICATED, "expired", "vaultctl token")


def test_a_revoked_token_is_3(home: Path, cli: Cli) -> None:
    issued = cli.ok("token", "create", "--agent", "deploy-agent", "-o", "json").json
    cli.ok("token", "revoke", issued["id"], "--yes")
    result = cli("whoami", VAULT_TOKEN=issued["token"])
    assert result.status == ExitStatus.NOT_AUTHENTICATED


def test_what_the_role_forbids_is_4(home: Path, cli: Cli, mint: Callable[..., str]) -> None:
    token = mint(human="alice@example.com", role="viewer")
    result = cli("token", "create", "--agent", "deploy-agent", VAULT_TOKEN=token)
    says(result, ExitStatus.NOT_ALLOWED, "needs the role admin", "Ask an admin")


def test_an_unknown_credential_is_5_and_near_names_are_suggested(stocked: Path, cli: Cli) -> None:
    result = cli("credential", "show", "shopify-api-kye")
    says(result, ExitStatus.NOT_FOUND, "There is no credential 'shopify-api-kye'", "shopify-api-key")


def test_a_name_that_is_taken_is_6(stocked: Path, cli: Cli) -> None:
    result = cli("credential", "create", "shopify-api-key", "--type", "api-key", stdin=API_KEY)
    assert result.status == ExitStatus.CONFLICT


def test_a_second_init_is_6_and_leaves_the_vault_alone(stocked: Path, cli: Cli) -> None:
    assert cli("init").status == ExitStatus.CONFLICT
    assert cli.ok("credential", "list", "-q").lines == ["orders-db", "shopify-api-key"]


def test_a_vault_that_is_not_there_is_7(cli: Cli) -> None:
    for argv in (["whoami"], ["audit"], ["credential", "list"], ["token", "create", "--agent", "a"]):
        says(cli(*argv), ExitStatus.UNAVAILABLE, "There is no vault", "vaultctl init")


def test_a_damaged_database_is_7(stocked: Path, cli: Cli) -> None:
    database = stocked / "vault.db"
    for leftover in stocked.glob("vault.db-*"):
        if leftover.suffix in (".db-wal", ".db-shm"):
            leftover.unlink()
    database.write_bytes(b"not a database" + database.read_bytes()[14:])
    result = cli("audit")
    assert result.status == ExitStatus.UNAVAILABLE
    assert len(result.err.splitlines()) == 2
    assert cli("doctor").status == ExitStatus.CONFLICT


def test_a_place_that_can_not_be_written_is_7_and_stays_as_it_was(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    result = cli("init", VAULTCTL_HOME=str(file))
    says(result, ExitStatus.UNAVAILABLE, "can't be created", "VAULTCTL_HOME")
    assert file.read_text() == "mine"


def test_a_wrong_passphrase_is_7(cli: Cli, fast_path: Path) -> None:
    place = {"VAULTCTL_HOME": str(fast_path)}
    cli.ok("init", "--root-key", "passphrase", **place, VAULT_PASSPHRASE="correct horse battery")
    says(cli("whoami", **place, VAULT_PASSPHRASE="wrong"), ExitStatus.UNAVAILABLE, "passphrase is wrong", "Try again")
    says(cli("whoami", **place), ExitStatus.UNAVAILABLE, "nobody to ask", "VAULT_PASSPHRASE")
    cli.ok("whoami", **place, VAULT_PASSPHRASE="correct horse battery")


def test_the_passphrase_is_asked_for_on_a_terminal_twice_when_it_is_new(cli: Cli, fast_path: Path) -> None:
    place = {"VAULTCTL_HOME": str(fast_path)}
    phrase = "correct horse battery"
    differing = cli("init", "--root-key", "passphrase", terminal=True, hidden=(phrase, "other"), **place)
    assert differing.status == ExitStatus.USAGE
    assert cli("status", "-q", **place).out == "missing\n"
    cli.ok("init", "--root-key", "passphrase", terminal=True, hidden=(phrase, phrase), **place)
    cli.ok("whoami", terminal=True, hidden=(phrase,), **place)


def test_a_row_that_somebody_else_changed_is_8(stocked: Path, cli: Cli) -> None:
    with sqlite3.connect(stocked / "vault.db") as connection:
        connection.execute("UPDATE credentials SET allowed_identities = '[]' WHERE name = 'orders-db'")
    connection.close()
    assert cli("credential", "show", "orders-db").status == ExitStatus.VERIFICATION_FAILED
    assert cli("doctor").status == ExitStatus.CONFLICT


def test_an_interruption_is_130(home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(vault: Vault) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Vault, "whoami", interrupted)
    result = cli("whoami")
    assert (result.status, result.out, result.err) == (ExitStatus.INTERRUPTED, "", "")


def test_a_server_that_is_not_there_is_7(cli: Cli) -> None:
    token = new_token_secret(os.urandom).reveal()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, so that it is nobody else's, and not listening
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        result = cli("whoami", VAULT_BASE_URL=url, VAULT_TOKEN=token)
    says(result, ExitStatus.UNAVAILABLE, f"The server {url} can't be reached", "Check that it runs")


def test_a_server_without_a_token_is_3(cli: Cli) -> None:
    result = cli("whoami", VAULT_BASE_URL="https://vault.example.com")
    says(result, ExitStatus.NOT_AUTHENTICATED, "no token for https://vault.example.com", "vaultctl login")


@pytest.mark.parametrize(
    "argv",
    [
        ["status"],
        ["init"],
        ["doctor"],
        ["credential", "list"],
        ["context", "list"],
        ["server", "start"],
        ["mcp", "serve"],
        ["dashboard"],
    ],
)
@pytest.mark.parametrize("before", [True, False], ids=["before the command", "after it"])
def test_a_password_on_the_command_line_is_refused_and_not_repeated(argv: list[str], before: bool, cli: Cli) -> None:
    option = ["--database", f"postgresql://vault:{CANARY}@127.0.0.1:1/vault"]
    result = cli(*option, *argv) if before else cli(*argv, *option)
    says(result, ExitStatus.USAGE, "password", "VAULT_DATABASE_URL")
    assert CANARY not in result.out + result.err


@pytest.mark.parametrize("database", [f"host=db password={CANARY}", f"postgresql://u:{CANARY}/x@h:1/db"])
def test_a_database_that_can_not_be_read_is_refused_and_not_repeated(database: str, home: Path, cli: Cli) -> None:
    result = cli("credential", "list", "--database", database)
    says(result, ExitStatus.USAGE, "neither a file nor", "postgresql://")
    assert CANARY not in result.err
