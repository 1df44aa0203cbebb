"""What destroys something asks on a terminal, needs --yes without one, and says under --dry-run what it would do."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from vaultctl.domain.errors import ExitStatus


@pytest.fixture
def ids(stocked: Path, cli: Cli, session: str) -> dict[str, str]:
    """A second run that is still active, with a lease."""
    from vaultctl.client import Vault

    issued = cli.ok("token", "create", "--agent", "deploy-agent", "--credential", "shopify-*", "-o", "json").json
    with Vault.connect(token=issued["token"]) as vault:
        opened = vault.sessions.open("cortex_sess_active")
    with Vault.connect(token=opened.token) as run:
        lease = run.leases.create("shopify-api-key", purpose="Work")
    return {"token": issued["id"], "session": opened.session.id, "lease": lease.id}


COMMANDS = {
    "credential revoke": ("credential", "revoke", "shopify-api-key"),
    "credential delete": ("credential", "delete", "shopify-api-key"),
    "token revoke": ("token", "revoke", "{token}"),
    "session end": ("session", "end", "{session}"),
    "lease revoke": ("lease", "revoke", "--agent", "deploy-agent"),
}

PLANS = {
    "credential revoke": "shopify-api-key could never be leased again, and 1 active lease would end.",
    "credential delete": "shopify-api-key with 1 version would be destroyed, and 1 active lease would end.",
    "token revoke": "of deploy-agent with 1 active session and 1 active lease would end.",
    "session end": "The session cortex_sess_active of deploy-agent with 1 active lease would end.",
    "lease revoke": "1 active lease would end.",
}


def state(cli: Cli) -> str:
    return cli.ok("audit", "--limit", "0", "-q").out


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def argv(command: str, ids: dict[str, str]) -> list[str]:
    return [word.format(**ids) for word in COMMANDS[command]]


def test_without_a_terminal_it_needs_yes(argv: list[str], cli: Cli) -> None:
    before = state(cli)
    result = cli(*argv, stdin="y\n")
    assert result.status == ExitStatus.USAGE
    assert "--yes" in result.err
    assert "--dry-run" in result.err
    assert state(cli) == before


def test_dry_run_says_what_would_be_and_does_nothing(argv: list[str], command: str, cli: Cli) -> None:
    before = state(cli)
    result = cli.ok(*argv, "--dry-run")
    assert PLANS[command].removesuffix("active lease would end.") in result.err or "Would revoke 1 lease." in result.err
    assert state(cli) == before
    cli.ok(*argv, "--dry-run", "--yes")
    assert state(cli) == before


@pytest.mark.parametrize("answer", ["n\n", "\n", "", "maybe\n"])
def test_anything_but_yes_is_no(answer: str, argv: list[str], cli: Cli) -> None:
    before = state(cli)
    result = cli(*argv, stdin=answer, terminal=True)
    assert result.status == ExitStatus.INTERRUPTED
    assert result.err.endswith("Nothing was changed.\n")
    assert state(cli) == before


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_yes_does_it_after_saying_what_it_means(answer: str, argv: list[str], command: str, cli: Cli) -> None:
    before = state(cli)
    result = cli.ok(*argv, stdin=answer, terminal=True)
    assert PLANS[command] in result.err
    assert "[y/N]" in result.err
    assert state(cli) != before


def test_with_yes_nobody_is_asked(argv: list[str], cli: Cli) -> None:
    before = state(cli)
    result = cli.ok(*argv, "--yes")
    assert "[y/N]" not in result.err
    assert result.out == ""
    assert state(cli) != before


def test_what_it_ended_is_data_when_asked_for(argv: list[str], command: str, cli: Cli) -> None:
    ended = cli.ok(*argv, "--yes", "-o", "json").json
    assert ended == {"leases": 1, "sessions": 1 if command in ("token revoke", "session end") else 0}


def test_revoking_says_that_a_delivered_value_goes_on_working(ids: dict[str, str], cli: Cli) -> None:
    for argv in (["lease", "revoke", ids["lease"]], ["token", "revoke", ids["token"], "--yes"]):
        assert "A value that was delivered works until its credential is rotated." in cli.ok(*argv).err
