"""The command on a real terminal: what it needs, what it leaves behind."""

import os
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path

import pytest

from tests.cli.conftest import PATIENCE, VAULTCTL, Cli, Terminal
from vaultctl.client import Vault
from vaultctl.domain.errors import ExitStatus

LEFT_ALTERNATE_SCREEN = "\x1b[?1049l"
CURSOR_SHOWN = "\x1b[?25h"
MOUSE_OFF = "\x1b[?1000l"


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.chdir(tmp_path)
    return Cli(monkeypatch)


@pytest.fixture
def home(cli: Cli, monkeypatch: pytest.MonkeyPatch, fast_path: Path) -> Path:
    monkeypatch.setenv("VAULTCTL_HOME", str(fast_path))
    cli.ok("init", "--tenant", "my-org", "--root-key", "file")
    return fast_path


@pytest.fixture
def open_dashboard(home: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open(*argv: str, **environment: str) -> Terminal:
        terminal = Terminal(VAULTCTL, "dashboard", *argv, **environment)
        opened.append(terminal)
        ioctl(terminal.file, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.kill(terminal.pid, signal.SIGWINCH)
        return terminal

    yield open
    for terminal in opened:
        with suppress(ProcessLookupError):
            os.kill(terminal.pid, signal.SIGKILL)


@pytest.mark.parametrize("key", ["q", "\x03"], ids=["q", "ctrl-c"])
def test_it_shows_what_the_listing_shows_and_a_key_ends_it(key: str, open_dashboard: Callable[..., Terminal]) -> None:
    with Vault.embedded() as owner:
        owner.credentials.create("deploy-key", "generic-secret", "s3cr3t-0123456789")
        owner.leases.create("deploy-key", purpose="By hand")
    terminal = open_dashboard()
    terminal.wait_for("deploy-key")
    terminal.wait_for("live")
    terminal.type(key)
    assert terminal.end() == ExitStatus.DONE
    assert LEFT_ALTERNATE_SCREEN in terminal.shown
    assert "s3cr3t" not in terminal.shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_killed_it_leaves_the_terminal_clean(number: signal.Signals, open_dashboard: Callable[..., Terminal]) -> None:
    terminal = open_dashboard()
    before = termios.tcgetattr(terminal.file)
    terminal.wait_for("live")
    os.kill(terminal.pid, number)
    assert terminal.end() == ExitStatus.INTERRUPTED
    last = terminal.shown[-2_000:]
    for sequence in (LEFT_ALTERNATE_SCREEN, CURSOR_SHOWN, MOUSE_OFF):
        assert sequence in last
    assert "Traceback" not in terminal.shown
    assert before[3] & termios.ECHO


def test_without_a_terminal_it_says_so(cli: Cli, home: Path) -> None:
    result = cli("dashboard")
    assert result.status == ExitStatus.USAGE
    assert "The dashboard needs a terminal." in result.err
    assert result.out == ""


def test_an_agent_is_refused_before_anything_is_drawn(home: Path, open_dashboard: Callable[..., Terminal]) -> None:
    with Vault.embedded() as owner:
        token = owner.tokens.create(agent="deploy-agent", credentials=["*"]).secret.reveal()
    terminal = open_dashboard(VAULT_TOKEN=token)
    assert terminal.end() == ExitStatus.NOT_ALLOWED
    assert "audit trail" in terminal.shown
    assert "\x1b[?1049h" not in terminal.shown


def test_only_the_dashboard_loads_textual(cli: Cli, home: Path) -> None:
    program = (
        "import sys\nfrom vaultctl.cli.main import main\nmain(['dashboard', '--help'])\n"
        "print(sorted(m for m in sys.modules if m in ('textual', 'rich', 'sqlite3')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert "vaultctl dashboard --read-only" in done.stdout
    assert done.stderr.strip() == "[]"
