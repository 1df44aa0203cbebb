"""``vaultctl team``: the token is shown once, and a removal is asked for."""

from pathlib import Path

from tests.cli.conftest import Cli
from vaultctl.domain.errors import ExitStatus

BOB = "bob@example.com"


def test_a_person_comes_gets_another_role_and_goes(home: Path, cli: Cli) -> None:
    token = cli.ok("team", "invite", BOB, "--role", "manager", "-q").out.strip()
    assert cli.ok("whoami", "-o", "json", VAULT_TOKEN=token).json["role"] == "manager"
    assert cli.ok("team", "role", BOB, "viewer", "-o", "json").json["role"] == "viewer"
    assert cli.ok("whoami", "-o", "json", VAULT_TOKEN=token).json["role"] == "viewer"
    (listed,) = cli.ok("team", "list", "-o", "json").json
    assert (listed["id"], listed["role"], listed["tokens"]) == (BOB, "viewer", 1)
    assert token not in cli.ok("team", "list").out
    cli.ok("team", "remove", BOB, "--yes")
    assert cli("whoami", VAULT_TOKEN=token).status == ExitStatus.NOT_AUTHENTICATED
    assert cli.ok("team", "list", "-o", "json").json == []


def test_a_removal_says_what_ends_and_that_no_admin_is_left(home: Path, cli: Cli) -> None:
    cli.ok("team", "invite", BOB, "--role", "admin")
    plan = cli.ok("team", "remove", BOB, "--dry-run").err
    assert "1 token would end" in plan
    assert "Nobody else in the team is an admin" in plan
    assert cli("team", "remove", BOB).status == ExitStatus.USAGE
    assert cli("team", "remove", BOB, terminal=True, stdin="n\n").status == ExitStatus.INTERRUPTED
    assert cli.ok("team", "list", "-q").lines == [BOB]


def test_what_is_wrong_has_its_own_exit_status(home: Path, cli: Cli) -> None:
    assert cli("team", "invite", BOB, "--role", "king").status == ExitStatus.USAGE
    assert cli("team", "role", BOB, "user").status == ExitStatus.NOT_FOUND
    cli.ok("team", "invite", BOB, "--role", "user")
    assert cli("team", "invite", BOB, "--role", "user").status == ExitStatus.CONFLICT
