"""``--help``: every page is short, plain, and has an example that works as pasted."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.cli.conftest import API_KEY, Cli, Result
from tests.cli.serving import serving
from tests.contract.values import certificate, ssh_key
from vaultctl.cli.app import root
from vaultctl.domain.errors import ExitStatus
from vaultctl.domain.records import CredentialType, Delivery, LeaseState, Role, SessionState


def pages(command: Any, parent: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    context = typer.Context(command, parent=parent, info_name=command.name)
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from pages(command.get_command(context, name), context, (*path, name))


PAGES = dict(pages(root()))
NOUNS = [path for path, command in PAGES.items() if not getattr(command, "invoke_without_command", True)]
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


def test_every_example_works_as_pasted(
    stocked: Path, session: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, in a vault that has what the guide has, and its server at the usual address.

    What a shell does to a line, a shell does here too; lines that it would only split into words run in this process.
    """
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_text(ssh_key())
    (tmp_path / ".env").write_text(f"SHOPIFY_API_KEY={API_KEY}\n")
    (tmp_path / "backup-passphrase").write_text("correct horse battery\n")
    (tmp_path / "backup-passphrase").chmod(0o600)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    monkeypatch.setenv("VAULT_PASSPHRASE", "correct horse battery")
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    # The server and Cortex have tests of their own; the dashboard is for a terminal.
    examples = [line for line in EXAMPLES if not re.search(r"server start|dashboard|cortex run|--transport http", line)]
    with serving() as server:
        prepare_login(cli, server.base_url)
        seen: set[str] = set()
        for number, example in enumerate(dict.fromkeys(examples)):
            line = example.replace(USUAL_ADDRESS, server.base_url)
            home = stocked
            match [word for word in shlex.split(line) if "=" not in word][1:]:
                case ["init", *_]:
                    home = tmp_path / f"vault-{number}"
                case ["credential", "create", name, *_] if name in cli.ok("credential", "list", "-q").lines:
                    cli.ok("credential", "delete", name, "--yes")
                case ["lease", "renew" | "revoke", *_]:
                    cli.ok("lease", "create", "shopify-api-key")
                case ["logout", *_]:
                    prepare_login(cli, server.base_url)
                case ["context", "add", name, *_]:
                    cli("context", "remove", name, "--yes")
            with monkeypatch.context() as patch:
                patch.setenv("VAULTCTL_HOME", str(home))
                result = pasted(line, cli, seen)
            assert result.status == ExitStatus.DONE, f"{example}\n{result.err}"
            cli.ok("context", "use", "embedded")


def pasted(line: str, cli: Cli, seen: set[str]) -> Result:
    """What a line does that is pasted into a shell: in a real one, unless one has done the like to another line."""
    first_id = re.fullmatch(r"(vaultctl .*)\"\$\((vaultctl [^|]*) \| head -n 1\)\"(.*)", line)
    if first_id and "substitution" in seen:
        before, listed, after = first_id.groups()
        line = f"{before}{cli.ok(*shlex.split(listed)[1:]).lines[0]}{after}"
    elif first_id:
        seen.add("substitution")
    if line.startswith("vaultctl ") and not re.search(r"[$|>~]| run ", line):
        return cli(*shlex.split(line)[1:], stdin=API_KEY)
    done = subprocess.run(
        ["bash", "-c", line],
        input="" if "mcp serve" in line else API_KEY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Result(done.returncode, done.stdout, done.stderr)


USUAL_ADDRESS = "http://127.0.0.1:8200"


def prepare_login(cli: Cli, base_url: str) -> None:
    """The context prod, with a login: what the examples suppose."""
    cli("context", "remove", "prod", "--yes")
    cli.ok("context", "add", "prod", "--base-url", base_url)
    token = cli.ok("token", "create", "--human", "alice@example.com", "--role", "admin", "-q").out
    cli.ok("login", "--context", "prod", "--token-stdin", stdin=token)


def test_the_examples_of_the_server_start_it(stocked: Path, tmp_path: Path) -> None:
    for name in ("server.crt", "server.key"):
        (tmp_path / name).write_text(certificate())  # both in one, of which each takes its part
        (tmp_path / name).chmod(0o600)
    examples = [example for example in EXAMPLES if example.startswith("vaultctl server start")]
    assert len(examples) == 3
    for example in dict.fromkeys(examples):
        argv = shlex.split(example)[3:]
        at = argv.index("--listen") if "--listen" in argv else len(argv)
        rest = [*argv[:at], *argv[at + 2 :]]
        with serving(*rest, cwd=tmp_path) as server:
            assert server.stop()[0] == ExitStatus.DONE
