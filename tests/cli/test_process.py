"""The program as a process: what it loads, how it meets pipes, terminals and signals."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import API_KEY, PATIENCE, VAULTCTL, Cli, Terminal
from vaultctl import __version__
from vaultctl.domain.errors import ExitStatus

HEAVY = {"rich", "httpx", "keyring", "asyncio", "importlib.metadata", "platformdirs", "pydantic", "mcp", "textual"}


def loaded(*argv: str, stdout: int = subprocess.PIPE, **environment: str) -> set[str]:
    """The modules that a command imports."""
    program = "import sys\nfrom vaultctl.cli.main import main\nstatus = main(sys.argv[1:])\n"
    program += "sys.stderr.write(chr(10).join(sys.modules))\nsys.exit(status)"
    done = subprocess.run(
        [sys.executable, "-c", program, *argv],
        env=os.environ | environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines())


class TestStartUp:
    def test_the_version_needs_neither_typer_nor_a_vault(self) -> None:
        modules = loaded("--version")
        assert not {"typer", "msgspec", "sqlite3", "json"} & modules
        assert not {m for m in modules if m.startswith(("vaultctl.client", "vaultctl.engine"))}

    @pytest.mark.parametrize(
        "words", ["vaultctl\ncred", "vaultctl\ncredential\ncreate\nx\n--type\n", "vaultctl\naudit\n--"]
    )
    def test_completion_needs_neither_typer_nor_a_vault(self, words: str) -> None:
        cursor = str(words.count("\n"))
        modules = loaded(_VAULTCTL_COMPLETE="complete_zsh", COMP_WORDS=words, COMP_CWORD=cursor)
        assert not {"typer", "msgspec", "sqlite3"} & modules
        assert not {m for m in modules if m.startswith(("vaultctl.client", "vaultctl.engine"))}

    def test_the_completion_of_a_name_needs_neither_typer_nor_the_engine(self, stocked: Path) -> None:
        words = "vaultctl\ncredential\nshow\n"
        modules = loaded(_VAULTCTL_COMPLETE="complete_zsh", COMP_WORDS=words, COMP_CWORD="3")
        assert {"sqlite3", "vaultctl.store.names"} <= modules
        assert not (HEAVY | {"typer", "msgspec", "cryptography"}) & modules
        assert not {m for m in modules if m.startswith(("vaultctl.engine", "vaultctl.crypto", "vaultctl.client.vault"))}

    @pytest.mark.parametrize("argv", [[], ["credential", "create", "--help"], ["audit", "--help"], ["mcp", "--help"]])
    def test_help_needs_no_vault(self, argv: list[str]) -> None:
        modules = loaded(*argv)
        assert not (HEAVY | {"msgspec", "sqlite3", "cryptography"}) & modules

    @pytest.mark.parametrize(
        "argv",
        [
            ["audit", "--session", "cortex_sess_abc123", "-o", "json"],
            ["audit", "--session", "cortex_sess_abc123"],
            ["token", "create", "--agent", "deploy-agent", "-q"],
            ["credential", "list"],
        ],
    )
    def test_an_embedded_command_loads_nothing_heavy(self, argv: list[str], stocked: Path) -> None:
        modules = loaded(*argv)
        assert not HEAVY & modules
        nouns = {
            m for m in modules if re.fullmatch(r"vaultctl\.cli\.(credential|token|lease|session|audit|tenant|mcp)", m)
        }
        assert nouns == {f"vaultctl.cli.{argv[0]}"}

    @pytest.mark.parametrize(
        ("argv", "drawn"),
        [
            (["audit"], True),
            (["credential", "show", "orders-db"], True),
            (["audit", "-o", "json"], False),
            (["audit", "-o", "csv"], False),
            (["audit", "-q"], False),
            (["audit", "--help"], False),
        ],
    )
    def test_only_what_is_drawn_on_a_terminal_loads_rich(self, argv: list[str], drawn: bool, stocked: Path) -> None:
        ours, theirs = pty.openpty()
        try:
            modules = loaded(*argv, stdout=theirs, TERM="xterm")
        finally:
            os.close(theirs)
            os.close(ours)
        assert ("rich.table" in modules) == drawn
        assert not (HEAVY - {"rich"} | {"pygments", "markdown_it"}) & modules
        assert drawn or "rich" not in modules


def test_the_version(cli: Cli) -> None:
    for argv in (["--version"], ["-q", "--version"]):
        assert cli.ok(*argv) == (0, f"vaultctl {__version__}\n", "")


@pytest.fixture
def start(stocked: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    processes: list[subprocess.Popen[str]] = []

    def start(*argv: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [VAULTCTL, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


class TestFollow:
    def test_prints_what_there_is_and_then_what_comes_until_it_is_interrupted(
        self, start: Callable[..., "subprocess.Popen[str]"], cli: Cli
    ) -> None:
        process = start("audit", "--follow", "--limit", "1", "-o", "json")
        assert process.stdout
        first = json.loads(process.stdout.readline())
        assert first["credentialName"] == "orders-db"
        cli.ok("lease", "create", "shopify-api-key", "--purpose", "Followed")
        cli.ok("lease", "create", "shopify-api-key", "--purpose", "Followed too")
        following = [json.loads(process.stdout.readline()) for _ in range(2)]
        assert [item["identity"]["purpose"] for item in following] == ["Followed", "Followed too"]
        assert [item["seq"] for item in following] == [first["seq"] + 1, first["seq"] + 2]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (ExitStatus.INTERRUPTED, "", "")

    def test_filters_apply_to_what_comes(self, start: Callable[..., "subprocess.Popen[str]"], cli: Cli) -> None:
        process = start("audit", "--follow", "--event", "lease.created", "-o", "csv")
        assert process.stdout
        assert process.stdout.readline().startswith("id,seq,event")
        cli.ok("credential", "update", "orders-db", "--max-ttl", "1h")
        cli.ok("lease", "create", "shopify-api-key")
        assert ",lease.created," in process.stdout.readline()

    def test_ends_quietly_when_nobody_reads_any_more(self, start: Callable[..., "subprocess.Popen[str]"]) -> None:
        process = start("audit", "--follow", "--limit", "1")
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith("TIME")
        process.stdout.close()
        assert process.wait(PATIENCE) == ExitStatus.DONE
        assert process.stderr.read() == ""


class TestOutput:
    def test_a_closed_pipe_ends_quietly(self, stocked: Path) -> None:
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([VAULTCTL, "audit"], stdout=write, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        os.close(write)
        assert (done.returncode, done.stderr) == (ExitStatus.DONE, "")

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_disk_is_an_error(self, stocked: Path) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run([VAULTCTL, "audit"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        assert done.returncode == ExitStatus.UNEXPECTED
        assert done.stderr.splitlines()[0] == "error: The output can't be written: No space left on device."
        assert len(done.stderr.splitlines()) == 2

    @pytest.mark.parametrize("redirection", ["<&-", "2>&-", "<&- 2>&-"])
    def test_closed_streams_do_no_harm(self, redirection: str, stocked: Path) -> None:
        done = subprocess.run(
            ["bash", "-c", f"{VAULTCTL} credential list -q {redirection}"], capture_output=True, timeout=PATIENCE
        )
        assert done.returncode == ExitStatus.DONE
        assert done.stdout == b"orders-db\nshopify-api-key\n"

    def test_a_closed_stdout_is_an_error(self, stocked: Path) -> None:
        done = subprocess.run(
            ["bash", "-c", f"{VAULTCTL} credential list >&-"], capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == ExitStatus.UNEXPECTED
        assert "The output can't be written" in done.stderr

    def test_an_encoding_that_lacks_a_character_does_no_harm(self, stocked: Path, cli: Cli) -> None:
        cli.ok("credential", "update", "orders-db", "--metadata", "owner=Zoë 金")
        for encoding in ("ascii", "iso8859-1"):
            for form in ("json", "table", "csv"):
                done = subprocess.run(
                    [VAULTCTL, "credential", "show", "orders-db", "-o", form],
                    env=os.environ | {"PYTHONIOENCODING": encoding},
                    capture_output=True,
                    timeout=PATIENCE,
                )
                assert (done.returncode, done.stderr) == (0, b"")
                if form == "json":
                    assert json.loads(done.stdout)["metadata"] == {"owner": "Zoë 金"}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestTerminal:
    def test_a_value_that_is_typed_is_not_shown(self, home: Path, cli: Cli) -> None:
        terminal = Terminal(VAULTCTL, "credential", "create", "it", "--type", "api-key", "-q")
        terminal.wait_for("Value: ")
        terminal.type(f"{API_KEY}\n")
        terminal.wait_for("Value again: ")
        terminal.type(f"{API_KEY}\n")
        assert terminal.end() == ExitStatus.DONE
        assert API_KEY not in terminal.shown
        assert cli.ok("lease", "create", "it", "-o", "json").json["value"] == API_KEY

    def test_an_interrupted_question_changes_nothing(self, stocked: Path, cli: Cli) -> None:
        terminal = Terminal(VAULTCTL, "credential", "delete", "orders-db")
        terminal.wait_for("Delete it? [y/N] ")
        terminal.type("\x03")
        assert terminal.end() == ExitStatus.INTERRUPTED
        assert "orders-db" in cli.ok("credential", "list", "-q").lines

    def test_the_end_of_input_is_no(self, stocked: Path, cli: Cli) -> None:
        terminal = Terminal(VAULTCTL, "credential", "delete", "orders-db")
        terminal.wait_for("Delete it? [y/N] ")
        terminal.type("\x04")
        assert terminal.end() == ExitStatus.INTERRUPTED
        assert "Nothing was changed." in terminal.shown
        assert "orders-db" in cli.ok("credential", "list", "-q").lines
