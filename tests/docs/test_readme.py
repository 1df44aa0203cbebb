"""What the README shows, run from top to bottom as a reader would paste it."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vaultctl.domain.errors import ExitStatus

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


# `init` would otherwise put its root key into the keyring of whoever runs the tests.
NO_KEYRING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A reader's environment: the command on the path, a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VAULT", "CORTEX"))}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return kept | {"PATH": path, "VAULTCTL_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), **NO_KEYRING}


def test_every_command_and_the_python_example_work_as_pasted(environment: dict[str, str], tmp_path: Path) -> None:
    commands = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    assert len(commands) > 10
    example, at_the_server = (block for block in blocks("python") if "CortexAgent" not in block)
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as another:
        ports = {"8200": free, "8201": another}  # another server may have those that the README names
        ports = {named: str(listener.getsockname()[1]) for named, listener in ports.items()}
    (tmp_path / "at_the_server.py").write_text(at_the_server.replace("8200", ports["8200"]))
    stop = "trap 'kill $(jobs -p)' EXIT"  # where a reader would press Ctrl-C
    script = "\n".join(["set -euxo pipefail", stop, *commands, f"{sys.executable} {tmp_path}/at_the_server.py"])
    script = re.sub("820[01]", lambda found: ports[found[0]], script)
    shell = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
    )
    assert shell.returncode == 0, shell.stderr
    assert "shopify-api-key" in shell.stdout
    assert "orders-db database-url" in shell.stdout

    python = subprocess.run(
        [sys.executable, "-c", example], env=environment, capture_output=True, text=True, timeout=60
    )
    assert python.returncode == 0, python.stderr
    assert "lease.created" in python.stdout
    assert "Fetch the latest orders" in python.stdout


def test_the_configuration_examples_are_json_that_the_server_takes() -> None:
    client, settings = (json.loads(block) for block in blocks("json")[:2])
    assert client["mcpServers"]["vault"]["args"] == ["mcp", "serve"]
    assert settings["renewBeforeExpiry"] == "5m"


def test_the_first_commands_that_it_shows_are_those_of_the_makefile() -> None:
    targets = re.findall(r"^make (\w+)", blocks("sh")[0], re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["demo", "test"]
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)


def test_it_lists_every_exit_status() -> None:
    table = README[README.index("| exit status |") :]
    listed = {int(number) for number in re.findall(r"\| (\d+) \|", table[: table.index("\n\n")])}
    assert listed == set(ExitStatus)


def test_its_troubleshooting_quotes_the_errors_as_they_are() -> None:
    source = "".join(path.read_text() for path in (ROOT / "vaultctl").rglob("*.py"))
    for heading in re.findall(r"^\*\*(.+?)\*\*", README[README.index("## When something is wrong") :], re.MULTILINE):
        fragments = [part.strip(" '.") for part in re.split(r"…", heading)]
        assert all(fragment in source for fragment in fragments if fragment), heading
