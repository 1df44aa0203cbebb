"""Shell completion, from the names of commands and options alone."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import PATIENCE, Cli, Terminal
from vaultctl.cli.completions import SCRIPTS, candidates, generated
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
    assert set(FOLDER.rglob("*.*")) | {FOLDER / "_vaultctl"} <= set(generated(FOLDER)), "run: make completions"


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
        ("powershell", "credential\tNamed, typed, versioned secrets."),
    ],
)
def test_each_shell_is_answered_in_its_form(shell: str, line: str, cli: Cli) -> None:
    result = cli.ok(_VAULTCTL_COMPLETE=f"complete_{shell}", COMP_WORDS="vaultctl\ncr", COMP_CWORD="1")
    assert (result.out, result.err) == (f"{line}\n", "")


def test_bash_splits_words_at_equals_signs(cli: Cli) -> None:
    typed = "vaultctl\naudit\n--output\n=\nj"
    assert cli.ok(_VAULTCTL_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD="4").lines == ["json", "jsonl"]


class TestNames:
    """Names out of the vault of this machine, which is neither unlocked nor asked."""

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("credential show ", ["orders-db", "shopify-api-key"]),
            ("credential show sho", ["shopify-api-key"]),
            ("credential show shopify-api-key ", []),
            ("credential create ", []),
            ("lease create o", ["orders-db"]),
            ("audit --credential=o", ["--credential=orders-db"]),
            ("audit --agent ", ["deploy-agent"]),
            ("session show ", ["cortex_sess_abc123"]),
            ("lease list --session c", ["cortex_sess_abc123"]),
            ("run --credential KEY=sh", ["KEY=shopify-api-key"]),
            ("run --credential KE", []),
            ("--tenant ", ["my-org"]),
            ("--tenant my-org credential show o", ["orders-db"]),
            ("--tenant other credential show ", []),
            ("--tenant=other credential show ", []),
            ("--context embedded credential show o", ["orders-db"]),
            ("--context ", ["embedded"]),
            ("credential show --base-url https://vault.example.com ", []),
            ("--context nowhere credential show ", []),
            ("--database /nowhere.db credential show ", []),
            ("--database postgresql://db.example.com/vault credential show ", []),
        ],
    )
    def test_stand_where_names_are_taken(self, line: str, expected: list[str], session: str) -> None:
        assert words(line) == expected

    def test_of_tokens_tell_whose_they_are_and_leave_out_what_was_revoked(self, stocked: Path, cli: Cli) -> None:
        kept, revoked = (cli.ok("token", "create", "--agent", a, "-o", "json").json["id"] for a in "ab")
        cli.ok("token", "revoke", revoked, "--yes")
        assert candidates(["token", "show"], "tok_") == [(kept, "a")]
        lease = cli.ok("lease", "create", "shopify-api-key", "-o", "json").json["id"]
        assert candidates(["lease", "renew"], "") == [(lease, "shopify-api-key")]
        assert candidates(["lease", "revoke", "lease_1", "lease_2"], "") == [(lease, "shopify-api-key")]

    def test_of_people_and_profiles(self, stocked: Path, cli: Cli) -> None:
        cli.ok("team", "invite", "bob@example.com", "--role", "user")
        assert words("team role b") == ["bob@example.com"]
        assert words("team invite ") == []
        (stocked / "profiles").mkdir()
        (stocked / "profiles" / "cursor-deploy.json").touch()
        assert words("mcp serve --profile ") == ["cursor-deploy"]

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("VAULT_TOKEN", "vault_token_x"),
            ("VAULT_TOKEN", ""),
            ("VAULT_BASE_URL", "https://vault.example.com"),
            ("VAULT_TENANT", "other"),
            ("VAULT_DATABASE_URL", "postgresql://db.example.com/vault"),
        ],
    )
    def test_are_those_of_the_vault_that_the_command_would_use_or_none(
        self, variable: str, value: str, stocked: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, value)
        assert words("credential show ") == []

    def test_that_a_shell_would_obey_are_left_out(self, stocked: Path) -> None:
        with closing(sqlite3.connect(stocked / "vault.db")) as connection, connection:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(credentials)")]
            others = ", ".join(column for column in columns if column not in ("name", "id"))
            for hostile in ("$(reboot)", "`reboot`", "a;reboot", "a\nb", "a\x1b[2J", "-rf", "a b", "*", "~", ":files"):
                connection.execute(
                    f"INSERT INTO credentials (name, id, {others}) SELECT ?1, ?1, {others} FROM credentials"
                    " WHERE name = 'orders-db'",
                    (hostile,),
                )
            connection.execute("UPDATE credentials SET type = 'x:$(reboot)' WHERE name = 'orders-db'")
        assert candidates(["credential", "show"], "") == [("orders-db", ""), ("shopify-api-key", "api-key")]
        assert [words(f"credential show {beginning}") for beginning in ("$", "-r", ":", "a")] == [[], [], [], []]

    def test_are_not_waited_for(self, stocked: Path, cli: Cli) -> None:
        database = stocked / "vault.db"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            assert words("credential show o") == ["orders-db"]
        asked = {"_VAULTCTL_COMPLETE": "complete_bash", "COMP_WORDS": "vaultctl\ncredential\nshow\n", "COMP_CWORD": "3"}
        settings = stocked / "config.json"
        good = settings.read_text()
        for damaged in ("[]", "{", '{"database": 1, "tenant": []}', "[" * 9999):
            settings.write_text(damaged)
            assert cli.ok(**asked) == (ExitStatus.DONE, "", "")
        settings.write_text(good)
        database.write_bytes(b"no database")
        assert cli.ok(**asked) == (ExitStatus.DONE, "", "")
        database.unlink()
        os.mkfifo(database)
        assert cli.ok(**asked) == (ExitStatus.DONE, "", "")

    def test_come_in_bounded_number(self, stocked: Path) -> None:
        with closing(sqlite3.connect(stocked / "vault.db")) as connection, connection:
            connection.executemany(
                "INSERT INTO tenants SELECT ?, default_lease_ttl, max_lease_ttl, created_at, mac FROM tenants LIMIT 1",
                [(f"t{number}",) for number in range(300)],
            )
        assert len(words("--tenant t")) == 100


class TestInstall:
    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR"):
            monkeypatch.delenv(name, raising=False)

    @pytest.mark.parametrize("shell", SCRIPTS)
    def test_once_is_enough_and_a_second_time_changes_nothing(self, shell: str, cli: Cli, tmp_path: Path) -> None:
        first = cli.ok("completion", "install", "--shell", shell, "-o", "json")
        assert first.json["changed"]
        assert Path(first.json["script"]).read_text() == SCRIPTS[shell]
        assert f"Open a new {shell}" in first.err
        files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        again = cli.ok("completion", "install", "--shell", shell, "-o", "json")
        assert not again.json["changed"]
        assert "current" in again.err
        assert files == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    @pytest.mark.parametrize("shell", SCRIPTS)
    def test_a_dry_run_writes_nothing(self, shell: str, cli: Cli, tmp_path: Path) -> None:
        before = list(tmp_path.rglob("*"))
        result = cli.ok("completion", "install", "--shell", shell, "--dry-run")
        assert result.err.startswith("Would write ")
        assert list(tmp_path.rglob("*")) == before

    def test_the_shells_own_file_is_added_to_and_stays_a_link(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / "dotfiles").mkdir()
        (tmp_path / "dotfiles" / "zshrc").write_text("setopt nobeep")
        (tmp_path / ".zshrc").symlink_to("dotfiles/zshrc")
        cli.ok("completion", "install", SHELL="/usr/bin/zsh")
        assert (tmp_path / ".zshrc").is_symlink()
        before, added = (tmp_path / ".zshrc").read_text().splitlines()
        assert before == "setopt nobeep"
        assert "_vaultctl" in added

    def test_an_older_script_is_replaced(self, cli: Cli, tmp_path: Path) -> None:
        script = tmp_path / ".config" / "fish" / "completions" / "vaultctl.fish"
        script.parent.mkdir(parents=True)
        script.write_text("# of an older version\n")
        assert cli.ok("completion", "install", "--shell", "fish").err.startswith(f"Wrote {script}.")
        assert script.read_text() == SCRIPTS["fish"]

    @pytest.mark.parametrize("argv", [["install", "--shell", "csh"], ["install"], ["show", "csh"]])
    def test_a_shell_that_there_is_nothing_for_is_a_usage_error(self, argv: list[str], cli: Cli) -> None:
        result = cli("completion", *argv, SHELL="/bin/csh")
        assert result.status == ExitStatus.USAGE
        assert "bash, zsh, fish, powershell" in result.err

    def test_a_home_that_can_not_be_written_is_an_error_that_says_so(self, cli: Cli, tmp_path: Path) -> None:
        (tmp_path / ".config").touch()
        result = cli("completion", "install", "--shell", "fish")
        assert result.status == ExitStatus.UNAVAILABLE
        assert "completion show fish" in result.err

    def test_show_prints_the_script(self, cli: Cli) -> None:
        assert cli.ok("completion", "show", "zsh").out == SCRIPTS["zsh"]


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

    def test_bash(self, stocked: Path) -> None:
        shown = completed_by(
            "bash",
            f"""
            source {FOLDER}/vaultctl.bash
            complete -p vaultctl
            COMP_WORDS=(vaultctl credential create x --type s); COMP_CWORD=5
            _vaultctl_completion vaultctl s --type
            echo "${{COMPREPLY[@]}}"
            COMP_WORDS=(vaultctl run --credential KEY = sh); COMP_CWORD=5
            _vaultctl_completion vaultctl sh =
            echo "${{COMPREPLY[@]}}"
            COMP_WORDS=(vaultctl credential re); COMP_CWORD=2
            _vaultctl_completion vaultctl re credential
            echo "${{COMPREPLY[@]}}"
            """,
        )
        assert shown == ["complete -F _vaultctl_completion vaultctl", "ssh-key", "shopify-api-key", "revoke"]

    @needs("fish")
    def test_fish(self, stocked: Path) -> None:
        shown = completed_by(
            "fish",
            f"""
            source {FOLDER}/vaultctl.fish
            complete -C "vaultctl --tenant 'a b' audit --output=j"
            complete -C "vaultctl cre"
            complete -C "vaultctl lease create o"
            complete -C "vaultctl credential create x --from-file k"
            complete -C "vaultctl credential create x --from-file=k"
            """,
        )
        assert shown == [
            "--output=json",
            "--output=jsonl",
            "credential\tNamed, typed, versioned secrets.",
            "orders-db\tdatabase-url",
            "key file",
            "--from-file=key file",
        ]

    @needs("zsh")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    @pytest.mark.parametrize(
        "load", ["fpath=({folder} $fpath); compinit -u -D", "compinit -u -D; source {folder}/_vaultctl"]
    )
    def test_zsh(self, load: str, stocked: Path) -> None:
        shell = Terminal("zsh", "-f", "-i")
        shell.type(
            "tell() { print -r -- \"[$BUFFER]\"; BUFFER= }; zle -N tell; bindkey '^X' tell; autoload -Uz compinit\n"
        )
        shell.type(f"{load.format(folder=FOLDER)}; print loa''ded\n")
        shell.wait_for("loaded")
        for typed, completed in [
            ("vaultctl --tenant 'a b' cre", "vaultctl --tenant 'a b' credential "),
            ("vaultctl credential show sho", "vaultctl credential show shopify-api-key "),
            ("vaultctl audit --event lease.d", "vaultctl audit --event lease.denied "),
            ("vaultctl credential create x --from-file k", "vaultctl credential create x --from-file key\\ file "),
            ("vaultctl credential create x --from-file=k", "vaultctl credential create x --from-file=key\\ file "),
        ]:
            shell.type(f"{typed}\t\x18")
            shell.wait_for(f"[{completed}]")
        shell.type("exit\n")
        assert shell.end() == 0
