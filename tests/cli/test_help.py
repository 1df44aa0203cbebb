"""``--help``: every page is short, plain, and has an example that works as pasted."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.cli.conftest import API_KEY, Cli
from tests.contract.values import ssh_key
from vaultctl.cli.app import root
from vaultctl.domain.errors import ExitStatus
from vaultctl.domain.records import CredentialType, Delivery, LeaseState, Role, SessionState


def pages(command: Any, parent: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    context = typer.Context(command, parent=parent, info_name=command.name)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from pages(command.get_command(context, name), context, (*path, name))


PAGES = dict(pages(root()))
NOUNS = [path for path, command in PAGES.items() if hasattr(command, "commands")]
EXAMPLES = [line for command in PAGES.values() for line in command.epilog.splitlines()]


@pytest.mark.parametrize("path", PAGES, ids=" ".join)
def test_every_page_says_what_it_is_about_and_gives_an_example(path: tuple[str, ...], cli: Cli) -> None:
    result = cli.ok(*path, "--help", columns=80)
    assert result.lines[0].startswith(f"Usage: {' '.join(('vaultctl', *path))}")
    assert result.lines[2].strip()
    start = next(i for i, line in enumerate(result.lines) if line in ("Example:", "Examples:"))
    assert all("vaultctl" in line for line in result.lines[start + 1 :])
    text = result.out[: result.out.rindex("Example")]
    assert max(len(line) for line in text.splitlines()) <= 80
    assert result.err == ""


@pytest.mark.parametrize("path", NOUNS, ids=" ".join)
def test_a_noun_alone_prints_its_help_and_ends_well(path: tuple[str, ...], cli: Cli) -> None:
    assert cli(*path) == cli(*path, "--help")
    assert cli(*path).status == ExitStatus.DONE


def test_only_what_works_is_listed(cli: Cli) -> None:
    shown = cli.ok("--help").out
    for later in ("run", "login", "team", "backup", "dashboard", "server", "cortex", "context"):
        assert f"\n  {later} " not in shown
        assert cli(later).status == ExitStatus.USAGE


@pytest.mark.parametrize(
    ("argv", "kind"),
    [
        (["credential", "create"], CredentialType),
        (["credential", "create"], Delivery),
        (["token", "create"], Role),
        (["lease", "list"], LeaseState),
        (["session", "list"], SessionState),
    ],
)
def test_help_names_every_value_that_an_option_takes(argv: list[str], kind: Any, cli: Cli) -> None:
    shown = cli.ok(*argv, "--help").out
    assert not [member.value for member in kind if member.value not in shown]


def test_every_example_works_as_pasted(stocked: Path, session: str, cli: Cli, tmp_path: Path) -> None:
    """In a shell, one after the other, in a vault that has what the guide has."""
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_text(ssh_key())
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "VAULT_PASSPHRASE": "correct horse battery",
    }
    for number, example in enumerate(EXAMPLES):
        match [word for word in shlex.split(example) if "=" not in word][1:]:
            case ["init", *_]:
                environment["VAULTCTL_HOME"] = str(tmp_path / f"vault-{number}")
            case ["credential", "create", name, *_] if name in cli.ok("credential", "list", "-q").lines:
                cli.ok("credential", "delete", name, "--yes")
            case ["lease", "renew" | "revoke", *_]:
                cli.ok("lease", "create", "shopify-api-key")
        done = subprocess.run(
            ["bash", "-c", example],
            env=environment,
            input="" if "mcp serve" in example else API_KEY,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{example}\n{done.stderr}"
        environment["VAULTCTL_HOME"] = str(stocked)
