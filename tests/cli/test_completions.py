"""Shell completion, from the names of commands and options alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from vaultctl.cli.completions import FILES, candidates, generated
from vaultctl.domain.errors import ExitStatus

FOLDER = Path(__file__).parents[2] / "completions"


def test_what_is_generated_is_current() -> None:
    stale = [path for path, text in generated(FOLDER).items() if not path.exists() or path.read_text() != text]
    assert not stale, "run: make completions"


def words(line: str) -> list[str]:
    *before, incomplete = line.split(" ")
    return [candidate.word for candidate in candidates(before, incomplete)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cre", ["credential"]),
        ("credential r", ["rotate", "rollback", "revoke"]),
        ("-o ", ["table", "json", "jsonl", "csv"]),
        ("audit -o js", ["json", "jsonl"]),
        ("audit --output=js", ["--output=json", "--output=jsonl"]),
        ("audit --event lease.d", ["lease.denied"]),
        ("--tenant x credential sh", ["show"]),
        ("--tenant=x credential sh", ["show"]),
        ("credential create k --type ssh", ["ssh-key"]),
        ("credential create k --from-file ", [FILES]),
        ("credential create k --from-file=", [FILES]),
        ("credential create k --fr", ["--from-file", "--from-env"]),
        ("credential create k --metadata a=b --meta", ["--metadata"]),
        ("credential create k --max-ttl 4h --max", []),
        ("lease list --state active ", []),
        ("nonsense ", []),
        ("audit --nonsense ", []),
    ],
)
def test_candidates(line: str, expected: list[str]) -> None:
    assert words(line) == expected


def test_all_commands_are_offered(cli: Cli) -> None:
    listed = cli.ok("--help").out
    assert all(f"\n  {word}" in listed for word in words(""))


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "credential"),
        ("zsh", "credential:Named, typed, versioned secrets."),
        ("fish", "credential\tNamed, typed, versioned secrets."),
    ],
)
def test_each_shell_is_answered_in_its_form(shell: str, line: str, cli: Cli) -> None:
    result = cli.ok(_VAULTCTL_COMPLETE=f"complete_{shell}", COMP_WORDS="vaultctl\ncr", COMP_CWORD="1")
    assert (result.out, result.err) == (f"{line}\n", "")


def test_bash_splits_words_at_equals_signs(cli: Cli) -> None:
    typed = "vaultctl\naudit\n--output\n=\nj"
    assert cli.ok(_VAULTCTL_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD="4").lines == ["json", "jsonl"]


@pytest.mark.parametrize("instruction", ["", "complete", "complete_csh", "eat_bash"])
def test_another_instruction_is_a_usage_error(instruction: str, cli: Cli) -> None:
    assert cli(_VAULTCTL_COMPLETE=instruction).status == ExitStatus.USAGE


def test_the_script_of_bash_works_in_bash(tmp_path: Path) -> None:
    script = f"""
        source {FOLDER}/vaultctl.bash
        complete -p vaultctl
        COMP_WORDS=(vaultctl credential create x --type s); COMP_CWORD=5
        _vaultctl_completion vaultctl s --type
        echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(vaultctl credential re); COMP_CWORD=2
        _vaultctl_completion vaultctl re credential
        echo "${{COMPREPLY[@]}}"
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines() == ["complete -F _vaultctl_completion vaultctl", "ssh-key", "revoke"]
    assert done.stderr == ""
