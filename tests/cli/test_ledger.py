"""``vaultctl audit checkpoint`` and ``audit verify``: the log proves itself, here and at a server."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.serving import serving
from vaultctl.domain.errors import ExitStatus
from vaultctl.ledger.checkpoint import open_checkpoint
from vaultctl.ledger.note import parse_verifier_key


def change(home: Path, sql: str) -> None:
    with closing(sqlite3.connect(home / "vault.db")) as connection:
        assert connection.execute(sql).rowcount == 1
        connection.commit()


def test_a_checkpoint_is_printed_exported_and_verified_with_the_key_that_is_printed(
    stocked: Path, cli: Cli, tmp_path: Path
) -> None:
    key = cli.ok("audit", "checkpoint", "--key").out.strip()
    shown = cli.ok("audit", "checkpoint", "-o", "json").json
    assert shown["verifierKey"] == key
    file = tmp_path / "checkpoint.txt"
    told = cli.ok("audit", "checkpoint", "--export", str(file))
    assert (told.out, str(shown["size"]) in told.err) == ("", True)
    assert file.read_text() == cli.ok("audit", "checkpoint", "--export", "-").out == shown["note"]
    assert open_checkpoint(file.read_bytes(), parse_verifier_key(key)).size == shown["size"]
    cli.ok("token", "create", "--agent", "a")
    for options in (["--against", str(file)], ["--since-checkpoint", str(file)], ["--key", key]):
        found = cli.ok("audit", "verify", *options, "-o", "json").json
        assert (found["verified"], found["problems"]) == (True, [])
        assert found["size"] == shown["size"] + 1


def test_what_somebody_changed_is_told_with_the_entries_and_a_status_of_its_own(stocked: Path, cli: Cli) -> None:
    change(stocked, "UPDATE entries SET agent = 'x' WHERE seq = 2 AND tenant != '_vault'")
    result = cli("audit", "verify")
    assert result.status == ExitStatus.VERIFICATION_FAILED
    assert result.lines[1].split()[0] == "2"
    assert "1 problem" in result.err
    found = cli("audit", "verify", "-o", "json")
    assert found.status == ExitStatus.VERIFICATION_FAILED
    assert found.json["problems"] == [
        {"message": "Entry 2: its bytes say otherwise than the column agent.", "firstEntry": 2, "lastEntry": 2}
    ]


def test_a_log_that_tells_of_another_time_can_be_looked_at(stocked: Path, cli: Cli) -> None:
    change(stocked, "UPDATE logs SET last_time = last_time + 1000000000000 WHERE tenant != '_vault'")
    assert cli("audit", "verify").status == ExitStatus.VERIFICATION_FAILED


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--against", "missing.txt"], "can't be read"),
        (["--against", "/"], "can't be read"),
        (["--key", "nonsense"], "not the verifier key"),
    ],
)
def test_what_is_given_to_verify_must_be_what_it_is_for(stocked: Path, cli: Cli, argv: list[str], said: str) -> None:
    result = cli("audit", "verify", *argv)
    assert result.status == ExitStatus.USAGE
    assert said in result.err


def test_a_file_that_is_no_checkpoint_is_a_failed_verification(stocked: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("nothing\n")
    assert cli("audit", "verify", "--against", str(tmp_path / "note.txt")).status == ExitStatus.VERIFICATION_FAILED


def test_a_servers_log_is_verified_here(stocked: Path, cli: Cli, tmp_path: Path) -> None:
    admin = cli.ok("token", "create", "--human", "a@example.com", "--role", "admin", "-q").out.strip()
    viewer = cli.ok("token", "create", "--human", "v@example.com", "--role", "viewer", "-q").out.strip()
    file = tmp_path / "checkpoint.txt"
    with serving() as server:
        at_server = {"VAULT_BASE_URL": server.base_url, "VAULT_TOKEN": admin}
        cli.ok("audit", "checkpoint", "--export", str(file), **at_server | {"VAULT_TOKEN": viewer})
        found = cli.ok("audit", "verify", "--against", str(file), "-o", "json", **at_server).json
        assert (found["verified"], found["entries"]) == (True, found["size"])
        assert cli("audit", "verify", **at_server | {"VAULT_TOKEN": viewer}).status == ExitStatus.NOT_ALLOWED
        body = "CAST(replace(body, 'created', 'updated') AS BLOB)"
        change(stocked, f"UPDATE entries SET body = {body} WHERE seq = 1 AND tenant != '_vault'")
        result = cli("audit", "verify", "--against", str(file), **at_server)
        assert result.status == ExitStatus.VERIFICATION_FAILED, result.err
