"""Changes of a client's file: exact, and undone exactly."""

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mcp.test_mcp_jsonc import files
from vaultctl.domain.errors import AlreadyExists, InvalidInput, VaultUnavailable
from vaultctl.mcp.client_files import Change, has_entry, plan_install, plan_uninstall, read, remove_made
from vaultctl.mcp.clients import CLIENTS
from vaultctl.mcp.profiles import Installation

CODE = CLIENTS["claude-code"]
OURS = CODE.entry(["/usr/bin/vaultctl", "mcp", "serve", "--profile", "p"], {})
NEWER = CODE.entry(["/opt/bin/vaultctl", "mcp", "serve", "--profile", "p"], {})
THEIRS = '{\n  "mcpServers": {\n    "other": {"command": "x"} // mine\n  }\n}\n'


def put(path: Path, recorded: Installation | None = None, entry: dict[str, object] = OURS) -> Installation:
    change = plan_install(CODE, path, "vault", entry, recorded)
    change.make()
    assert change.installation
    return change.installation


def take(installation: Installation) -> Change:
    change = plan_uninstall(CODE, installation, "p")
    change.make()
    remove_made(installation)
    return change


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "project" / ".cursor" / "mcp.json"


@pytest.fixture
def theirs(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(THEIRS)
    return path


@settings(max_examples=50)
@given(files() | st.sampled_from(["", "\n", "{}", "\ufeff"]))
def test_any_file_is_byte_for_byte_what_it_was_after_installing_twice_and_uninstalling(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    before = text.encode()
    path.write_bytes(before)
    installation = put(path, put(path), NEWER)
    assert has_entry(CODE, installation, "p")
    take(installation)
    assert path.read_bytes() == before


def test_a_file_that_was_made_goes_with_its_directories(path: Path, tmp_path: Path) -> None:
    installation = put(path, put(path))
    assert json.loads(path.read_text()) == {"mcpServers": {"vault": OURS}}
    take(installation)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_in_which_there_is_something_else_stays(path: Path) -> None:
    installation = put(path)
    (path.parent / "rules").write_text("be nice")
    take(installation)
    assert [entry.name for entry in path.parent.iterdir()] == ["rules"]


def test_a_file_that_was_edited_loses_our_server_alone(theirs: Path) -> None:
    installation = put(theirs)
    theirs.write_text(theirs.read_text().replace("mine", "mine, edited").replace("}\n}", '},\n  "theme": "dark"\n}'))
    take(installation)
    assert theirs.read_text() == THEIRS.replace("mine", "mine, edited").replace("}\n}", '},\n  "theme": "dark"\n}')


def test_what_others_put_into_a_file_of_ours_stays(path: Path) -> None:
    installation = put(path)
    text = path.read_text()
    path.write_text(text.replace("    }\n  }\n}", '    },\n    "other": {}\n  }\n}'))
    assert json.loads(path.read_text())["mcpServers"]["other"] == {}
    take(installation)
    assert json.loads(path.read_text()) == {"mcpServers": {"other": {}}}


def test_an_entry_that_was_edited_is_renewed_in_its_place(theirs: Path) -> None:
    installation = put(theirs)
    theirs.write_text(theirs.read_text().replace("mine", "edited"))
    installation = put(theirs, installation, NEWER)
    assert "/opt/bin/vaultctl" in theirs.read_text()
    assert "/usr/bin/vaultctl" not in theirs.read_text()
    take(installation)
    assert theirs.read_text() == THEIRS.replace("mine", "edited")


def test_an_entry_that_is_not_ours_any_more_stays(theirs: Path) -> None:
    installation = put(theirs)
    theirs.write_text(theirs.read_text().replace('"p"', '"somebody-elses"'))
    assert not take(installation).changes
    assert not has_entry(CODE, installation, "p")
    assert "somebody-elses" in theirs.read_text()


def test_a_file_that_is_gone_is_left_gone(theirs: Path) -> None:
    installation = put(theirs)
    theirs.unlink()
    assert not take(installation).changes
    assert not theirs.exists()


def test_a_server_of_somebody_elses_is_not_replaced(theirs: Path) -> None:
    with pytest.raises(AlreadyExists, match="has a server 'other' already"):
        plan_install(CODE, theirs, "other", OURS, None)


@pytest.mark.parametrize("data", [b'{"mcpServers": {', b"[]", b'{"mcpServers": []}', b"\xff\xfe{}"])
def test_a_file_that_is_not_what_the_client_reads_is_refused(theirs: Path, data: bytes) -> None:
    theirs.write_bytes(data)
    with pytest.raises(InvalidInput):
        plan_install(CODE, theirs, "vault", OURS, None)


def test_a_pipe_or_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InvalidInput):
            read(path)


def test_a_link_stays_and_the_file_behind_it_keeps_its_mode(theirs: Path, tmp_path: Path) -> None:
    theirs.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(theirs)
    installation = put(link)
    assert link.is_symlink()
    assert "vault" in theirs.read_text()
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o640
    take(installation)
    assert theirs.read_text() == THEIRS
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o640
    assert link.is_symlink()


def test_a_change_by_somebody_else_in_between_is_not_lost(theirs: Path) -> None:
    change = plan_install(CODE, theirs, "vault", OURS, None)
    theirs.write_text("{}")
    with pytest.raises(VaultUnavailable, match="was changed meanwhile"):
        change.make()
    assert theirs.read_text() == "{}"


def test_the_change_is_shown_as_a_diff(theirs: Path, path: Path) -> None:
    diff = plan_install(CODE, theirs, "vault", OURS, None).diff()
    assert diff.startswith(f"--- {theirs}\n+++ {theirs}\n@@ ")
    assert '-    "other": {"command": "x"} // mine\n+    "other": {"command": "x"}, // mine\n+    "vault": {\n' in diff


@pytest.mark.parametrize(
    ("client", "project", "user", "container"),
    [
        ("claude-code", ".mcp.json", ".claude.json", "mcpServers"),
        ("claude-desktop", None, ".config/Claude/claude_desktop_config.json", "mcpServers"),
        ("cursor", ".cursor/mcp.json", ".cursor/mcp.json", "mcpServers"),
        ("vscode", ".vscode/mcp.json", ".config/Code/User/mcp.json", "servers"),
    ],
)
def test_each_clients_files_are_where_its_makers_say(
    client: str,
    project: str | None,
    user: str,
    container: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.chdir(tmp_path)
    found = CLIENTS[client]
    assert found.container == container
    assert found.path("user") == tmp_path / "me" / user
    assert found.path(None) == (tmp_path / project if project else found.path("user"))
    if project is None:
        with pytest.raises(InvalidInput):
            found.path("project")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert found.path("user") == (
        tmp_path / "xdg" / user.removeprefix(".config/") if user.startswith(".config/") else tmp_path / "me" / user
    )
    monkeypatch.setattr("sys.platform", "darwin")
    on_macos = {"claude-desktop": "Claude/claude_desktop_config.json", "vscode": "Code/User/mcp.json"}
    expected = f"Library/Application Support/{on_macos[client]}" if client in on_macos else user
    assert found.path("user") == tmp_path / "me" / expected
