"""``vaultctl run``: real commands, with real signals, on real pipes and terminals."""

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import API_KEY, DATABASE_URL, PATIENCE, VAULTCTL, Cli, Terminal
from tests.cli.serving import serving
from vaultctl.client import Vault
from vaultctl.domain.errors import ExitStatus
from vaultctl.domain.secrets import Secret
from vaultctl.run.running import run as run_with

KEY = "--credential=KEY=shopify-api-key"


def run(*argv: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [VAULTCTL, "run", *argv],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def start(*argv: str, **settings: Any) -> "subprocess.Popen[str]":
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([VAULTCTL, "run", *argv], text=True, **(pipes | settings))


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline()


@pytest.fixture
def database(stocked: Path, cli: Cli) -> None:
    """A credential ``reports-db`` that its owner may use."""
    cli.ok("credential", "create", "reports-db", "--type", "database-url", stdin=DATABASE_URL)


def assert_released(owner: Vault, leases: int = 1) -> None:
    assert [lease.state.value for lease in owner.leases.list()] == ["revoked"] * leases


def test_the_command_has_the_values_and_nothing_that_opens_the_vault(database: None, owner: Vault, mint: Any) -> None:
    done = run(
        KEY,
        "--credential",
        "URL=reports-db",
        "--purpose",
        "Nightly report",
        "--ttl",
        "10m",
        "--",
        "sh",
        "-c",
        'echo "$KEY|$URL|$OTHER|${VAULT_PASSPHRASE-}|${ADMIN_TOKEN-}"; cat',
        OTHER="kept",
        VAULT_PASSPHRASE="correct horse",
        ADMIN_TOKEN=mint(human="alice@example.com", role="admin"),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{API_KEY}|{DATABASE_URL}|kept||\n", "")
    assert {(lease.identity.purpose, str(lease.ttl)) for lease in owner.leases.list()} == {("Nightly report", "10m")}
    assert_released(owner, 2)


def test_an_agents_run_is_a_session_and_its_purpose_names_no_argument(stocked: Path, owner: Vault, mint: Any) -> None:
    token = mint(agent="deploy-agent", credentials=["shopify-*"])
    done = run(KEY, "--", "sh", "-c", "echo ${VAULT_TOKEN-none} # hunter22", VAULT_TOKEN=token)
    assert (done.returncode, done.stdout) == (0, "none\n")
    (lease,) = owner.leases.list()
    assert (lease.identity.name, lease.identity.purpose) == ("deploy-agent", "Run sh")
    assert owner.sessions.get(str(lease.identity.session_id)).state.value == "ended"
    assert_released(owner)


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], 128 + 9),
        (["no-such-command"], 127),
        (["/etc/hostname"], 126),
    ],
)
def test_the_exit_status_is_the_commands(command: list[str], status: int, stocked: Path, owner: Vault) -> None:
    done = run(KEY, "--", *command)
    assert done.returncode == status, done.stderr
    assert ("error: " in done.stderr) == (status in (126, 127))
    assert_released(owner)


def test_if_one_credential_can_not_be_had_the_command_does_not_run(stocked: Path, owner: Vault, mint: Any) -> None:
    marker = stocked / "ran"
    token = mint(agent="deploy-agent", credentials=["shopify-*"])
    done = run(KEY, "--credential", "URL=orders-db", "--", "touch", str(marker), VAULT_TOKEN=token)
    assert done.returncode == ExitStatus.NOT_FOUND
    assert "no credential 'orders-db' that you can use" in done.stderr
    assert not marker.exists()
    assert_released(owner)


@pytest.mark.parametrize(
    "argv", [["--credential", f"KEY={API_KEY.upper()}", "--", "true"], ["--credential=PATH=a", "--", "true"]]
)
def test_what_is_no_credential_is_refused_before_any_vault_is_opened(argv: list[str], cli: Cli) -> None:
    result = cli("run", *argv)
    assert result.status == ExitStatus.USAGE
    assert API_KEY not in result.err.lower()


def test_without_a_command_there_is_nothing_to_run(cli: Cli) -> None:
    assert cli("run", "--credential", "KEY=a").status == ExitStatus.USAGE


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_is_handed_on(number: signal.Signals, stocked: Path, owner: Vault) -> None:
    name = number.name.removeprefix("SIG")
    process = start(KEY, "--", "sh", "-c", f"trap 'echo got {name}; exit 9' {name}; echo ready; read wait")
    assert line_of(process) == "ready\n"
    process.send_signal(number)
    assert line_of(process) == f"got {name}\n"
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 9
    assert_released(owner)


def test_a_command_that_dies_of_the_signal_has_its_lease_released(stocked: Path, owner: Vault) -> None:
    process = start(KEY, "--", "sh", "-c", "echo ready; exec sleep 60")
    line_of(process)
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGTERM
    assert_released(owner)


def test_what_nohup_ignores_the_command_ignores_too(stocked: Path) -> None:
    process = start(
        "--",
        "sh",
        "-c",
        "echo ready; read go; echo alive",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    line_of(process)
    process.send_signal(signal.SIGHUP)
    assert process.communicate("go\n", timeout=PATIENCE)[0] == "alive\n"


def test_a_command_that_stops_stops_us_and_goes_on_with_us(stocked: Path) -> None:
    # In a group of its own, as in a shell: nobody is stopped in a group that no shell could continue (an orphaned one).
    process = start("--", "sh", "-c", "kill -STOP $$; echo on again", process_group=0)
    wait_until_stopped(process)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=PATIENCE)[0] == "on again\n"
    assert process.returncode == 0


def test_a_command_that_has_stopped_can_be_told_to_end(stocked: Path, owner: Vault) -> None:
    process = start(KEY, "--", "sh", "-c", "kill -STOP $$; echo on again", process_group=0)
    wait_until_stopped(process)
    process.terminate()
    process.send_signal(signal.SIGCONT)  # the shell's, for vaultctl alone
    assert process.communicate(timeout=PATIENCE)[0] == ""
    assert process.returncode == 128 + signal.SIGTERM
    assert_released(owner)


def wait_until_stopped(process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + PATIENCE
    while not (stopped := os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)):
        assert time.monotonic() < deadline
        os.sched_yield()
    assert stopped.si_status == signal.SIGTSTP


def test_ctrl_c_reaches_the_command_once_and_its_answer_counts(stocked: Path, owner: Vault) -> None:
    script = "trap 'echo interrupted' INT; echo ready; read a; echo said $a; exit 4"
    terminal = Terminal(VAULTCTL, "run", KEY, "--", "bash", "-c", script)
    terminal.wait_for("ready")
    terminal.type("\x03")
    terminal.wait_for("interrupted")
    terminal.type("yes\n")
    terminal.wait_for("said yes")
    assert terminal.end() == 4
    assert terminal.shown.count("interrupted") == 1
    assert_released(owner)


def test_a_second_request_to_stop_does_not_wait_for_a_vault_that_hangs() -> None:
    def hang(_: Secret | None) -> Vault:
        signal.raise_signal(signal.SIGINT)  # waits for the vault
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("still waiting")

    handler = signal.getsignal(signal.SIGTERM)
    assert run_with(["true"], {}, open_vault=hang, warn=print) == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_request_to_stop_while_leasing_stops_before_the_command_and_releases(stocked: Path, owner: Vault) -> None:
    def opens(_: Secret | None) -> Vault:
        signal.raise_signal(signal.SIGINT)
        return Vault.embedded()

    assert run_with(["touch", str(stocked / "ran")], {"KEY": "shopify-api-key"}, open_vault=opens, warn=print) == 130
    assert not (stocked / "ran").exists()
    assert owner.leases.list() == []


NOISE = bytes(range(256)) * 40


def test_redacted_output_has_no_value_and_is_otherwise_the_same(database: None, tmp_path: Path) -> None:
    encoded = base64.b64encode(API_KEY.encode()).decode()
    (tmp_path / "noise").write_bytes(NOISE)
    script = f"""cat noise; echo "key $KEY"; printf %s "$KEY" | head -c 9; printf %s "$KEY" | tail -c +10
        echo; echo {encoded}; echo "$URL" >&2; echo password s3cr3t-w0rd >&2; exit 5"""
    done = subprocess.run(
        [VAULTCTL, "run", KEY, "--credential", "URL=reports-db", "--redact", "--", "sh", "-c", script],
        capture_output=True,
        cwd=tmp_path,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 5
    assert done.stdout == NOISE + b"key ****\n****\n****\n"
    assert done.stderr == b"****\npassword ****\n"


def test_a_prompt_comes_through_the_redaction_at_once(stocked: Path) -> None:
    process = start(KEY, "--redact", "--", "sh", "-c", 'printf "name? "; read name; echo "$name"')
    assert process.stdout
    assert process.stdout.read(6) == "name? "
    assert process.communicate("alice\n", timeout=PATIENCE)[0] == "alice\n"


def test_on_a_terminal_the_redacted_command_still_has_one(stocked: Path) -> None:
    script = 'import os, sys; print(sys.stdout.isatty(), os.get_terminal_size(), os.environ["KEY"], "\\033[1mbold")'
    terminal = Terminal(VAULTCTL, "run", KEY, "--redact", "--", sys.executable, "-c", script)
    assert terminal.end() == 0
    assert "True os.terminal_size" in terminal.shown
    assert "**** \x1b[1mbold\r\n" in terminal.shown
    assert "\r\r" not in terminal.shown


def test_a_reader_that_has_had_enough_ends_the_command(stocked: Path, owner: Vault) -> None:
    with start(KEY, "--redact", "--", "yes", stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        assert process.stdout.read(2) == "y\n"
        process.stdout.close()
        assert process.wait(PATIENCE) == 128 + signal.SIGPIPE
    assert_released(owner)


def test_what_a_command_leaves_in_the_background_keeps_nobody_waiting(stocked: Path, owner: Vault) -> None:
    done = run(KEY, "--redact", "--", "sh", "-c", "sleep 60 & echo $!")
    os.kill(int(done.stdout), signal.SIGKILL)  # it is still there
    assert_released(owner)


def test_a_value_too_short_to_redact_is_said_before_the_command_runs(stocked: Path, cli: Cli, owner: Vault) -> None:
    cli.ok("credential", "create", "pin", "--type", "generic-secret", stdin="123")
    done = run("--credential", "PIN=pin", "--redact", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (ExitStatus.USAGE, "")
    assert "The value of 'pin' is too short" in done.stderr
    assert_released(owner)


def test_it_works_at_a_server(stocked: Path, owner: Vault, mint: Callable[..., str]) -> None:
    with serving() as server:
        for token in (mint(agent="deploy-agent", credentials=["*"]), mint(human="alice@example.com", role="user")):
            done = run(KEY, "--", "sh", "-c", "echo $KEY", VAULT_BASE_URL=server.base_url, VAULT_TOKEN=token)
            assert (done.returncode, done.stdout, done.stderr) == (0, f"{API_KEY}\n", "")
    assert_released(owner, 2)
