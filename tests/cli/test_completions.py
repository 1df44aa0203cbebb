"""Shell completion, from the names of commands and options alone."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import PATIENCE, Cli, Terminal
from vaultctl.cli.completions import candidates, generated
from vaultctl.cli.placeholders import FILES
from vaultctl.domain.errors import ExitStatus

FOLDER = Path(__file__).parents[2] / "completions"


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


def completed_by(shell: str, script: str) -> list[str]:
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stderr == ""
    return done.stdout.splitlines()


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
        ("run --credential A=b -- ", [FILES]),
        ("run -- make --", [FILES]),
        ("credential show -- -", []),
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


class TestScripts:
    """The scripts, loaded by their shells."""

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.chdir(tmp_path)
        (tmp_path / "key file").touch()

    def test_bash(self) -> None:
        shown = completed_by(
            "bash",
            f"""
            source {FOLDER}/vaultctl.bash
            complete -p vaultctl
            COMP_WORDS=(vaultctl credential create x --type s); COMP_CWORD=5
            _vaultctl_completion vaultctl s --type
            echo "${{COMPREPLY[@]}}"
            COMP_WORDS=(vaultctl credential re); COMP_CWORD=2
            _vaultctl_completion vaultctl re credential
            echo "${{COMPREPLY[@]}}"
            """,
        )
        assert shown == ["complete -F _vaultctl_completion vaultctl", "ssh-key", "revoke"]

    @needs("fish")
    def test_fish(self) -> None:
        shown = completed_by(
            "fish",
            f"""
            source {FOLDER}/vaultctl.fish
            complete -C "vaultctl --tenant 'a b' audit --output=j"
            complete -C "vaultctl cre"
            complete -C "vaultctl credential create x --from-file k"
            complete -C "vaultctl credential create x --from-file=k"
            """,
        )
        assert shown == [
            "--output=json",
            "--output=jsonl",
            "credential\tNamed, typed, versioned secrets.",
            "key file",
            "--from-file=key file",
        ]

    @needs("zsh")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    @pytest.mark.parametrize(
        "load", ["fpath=({folder} $fpath); compinit -u -D", "compinit -u -D; source {folder}/_vaultctl"]
    )
    def test_zsh(self, load: str) -> None:
        shell = Terminal("zsh", "-f", "-i")
        shell.type(
            "tell() { print -r -- \"[$BUFFER]\"; BUFFER= }; zle -N tell; bindkey '^X' tell; autoload -Uz compinit\n"
        )
        shell.type(f"{load.format(folder=FOLDER)}; print loa''ded\n")
        shell.wait_for("loaded")
        for typed, completed in [
            ("vaultctl --tenant 'a b' cre", "vaultctl --tenant 'a b' credential "),
            ("vaultctl audit --event lease.d", "vaultctl audit --event lease.denied "),
            ("vaultctl credential create x --from-file k", "vaultctl credential create x --from-file key\\ file "),
            ("vaultctl credential create x --from-file=k", "vaultctl credential create x --from-file=key\\ file "),
        ]:
            shell.type(f"{typed}\t\x18")
            shell.wait_for(f"[{completed}]")
        shell.type("exit\n")
        assert shell.end() == 0
