"""``mcp install``, ``uninstall`` and ``list``: a client gets the vault, and no token."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client

from tests.cli.conftest import API_KEY, Cli
from tests.cli.serving import serving
from vaultctl.client import Vault
from vaultctl.client.location import locate
from vaultctl.domain.errors import ExitStatus, InvalidInput, NotAuthenticated, NotFound, VaultUnavailable
from vaultctl.domain.records import Token
from vaultctl.mcp import client_files, profiles
from vaultctl.mcp.settings import load

INSTALL = ("mcp", "install", "--client", "claude-code", "--agent", "deploy-agent", "--credential", "shopify-*")
UNINSTALL = ("mcp", "uninstall", "--client", "claude-code")
PROFILE = "claude-code-deploy-agent"


@pytest.fixture(autouse=True)
def _no_keyring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No keyring of the machine's; a home of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")


@pytest.fixture
def file(stocked: Path, tmp_path: Path) -> Path:
    """A project's ``.mcp.json`` with a server of somebody else's."""
    path = tmp_path / ".mcp.json"
    path.write_bytes(b'{\r\n\t"mcpServers": {\r\n\t\t"other": {"command": "x"},\r\n\t}\r\n}')
    return path


def active(owner: Vault) -> list[Token]:
    return [token for token in owner.tokens.list() if token.state.value == "active"]


def entry(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["mcpServers"]["vault"]
    return found


def test_the_client_gets_a_server_and_the_profile_the_token(
    stocked: Path, tmp_path: Path, cli: Cli, owner: Vault
) -> None:
    result = cli.ok(*INSTALL, "-o", "json")
    (token,) = active(owner)
    assert (token.agent, token.credentials) == ("deploy-agent", ("shopify-*",))
    assert result.json["tokenId"] == token.id
    assert result.json["reaches"] == ["shopify-api-key"]
    path = tmp_path / ".mcp.json"
    assert entry(path)["type"] == "stdio"
    assert Path(entry(path)["command"]).is_absolute()
    assert entry(path)["args"][-4:] == ["mcp", "serve", "--profile", PROFILE]
    assert entry(path)["env"]["VAULTCTL_HOME"] == str(stocked)
    assert "vault_token_" not in path.read_text() + result.out + result.err
    kept = stocked / "profiles" / f"{PROFILE}.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert f"so the token is in the file {kept} (mode 0600)" in result.err
    (listed,) = cli.ok("mcp", "list", "-o", "json").json
    assert (listed["client"], listed["state"], listed["file"]) == ("claude-code", "installed", str(path))


def test_uninstalling_restores_the_file_and_ends_the_token(file: Path, cli: Cli, owner: Vault) -> None:
    before = file.read_bytes()
    cli.ok(*INSTALL)
    assert file.read_bytes() != before
    result = cli.ok(*UNINSTALL)
    assert file.read_bytes() == before
    assert active(owner) == []
    assert "Revoked the token" in result.err
    assert cli.ok("mcp", "list", "-o", "json").json == []
    assert list((locate().profiles_path).iterdir()) == []
    assert cli(*UNINSTALL).status == ExitStatus.NOT_FOUND


def test_a_dry_run_shows_the_change_and_does_nothing(file: Path, cli: Cli, owner: Vault) -> None:
    before = file.read_bytes()
    shown = cli.ok(*INSTALL, "--dry-run").out
    assert f"+++ {file}" in shown
    assert any(line.startswith("+") and '"vault": {' in line for line in shown.splitlines())
    assert file.read_bytes() == before
    assert owner.tokens.list() == []
    assert not locate().profiles_path.exists()
    cli.ok(*INSTALL)
    installed = file.read_bytes()
    assert any(line.startswith("-") and '"vault": {' in line for line in cli.ok(*UNINSTALL, "--dry-run").lines)
    assert file.read_bytes() == installed
    assert len(active(owner)) == 1


def test_installing_again_rotates_the_token(file: Path, cli: Cli, owner: Vault) -> None:
    before = file.read_bytes()
    first = cli.ok(*INSTALL, "-q").out
    secret = profiles.token_of(profiles.get(locate(), PROFILE))
    installed = file.read_bytes()
    assert cli.ok(*INSTALL, "-q").out == first
    assert file.read_bytes() == installed
    with pytest.raises(NotAuthenticated), Vault.connect(token=secret) as vault:
        vault.whoami()
    assert len(active(owner)) == 1
    cli.ok(*UNINSTALL)
    assert file.read_bytes() == before


def test_other_credentials_are_another_token_and_the_one_before_is_revoked(file: Path, cli: Cli, owner: Vault) -> None:
    first = cli.ok(*INSTALL, "-q").out.strip()
    second = cli.ok(*INSTALL, "--credential", "orders-*", "--ttl", "7d", "-q").out.strip()
    (token,) = active(owner)
    assert (token.id, token.credentials) == (second, ("shopify-*", "orders-*"))
    assert first != second
    assert token.expires_at - token.created_at < timedelta(days=8)
    assert cli.ok(*INSTALL[:-2], "-q").out.strip() == second  # none named: as they were
    cli.ok(*UNINSTALL)
    assert active(owner) == []


def test_a_token_goes_with_the_last_file_that_uses_it(file: Path, cli: Cli, owner: Vault, tmp_path: Path) -> None:
    cli.ok(*INSTALL)
    other = tmp_path / "elsewhere" / ".mcp.json"
    cli.ok(*INSTALL, "--path", str(other))
    assert len(active(owner)) == 1
    assert "goes on: other files use the profile" in cli.ok(*UNINSTALL).err
    assert len(active(owner)) == 1
    cli.ok(*UNINSTALL, "--path", str(other))
    assert active(owner) == []
    assert not other.parent.exists()


@pytest.mark.parametrize("data", [b'{"mcpServers": {"a": }}', b'{"mcpServers": {"vault": {}}}', b"[]", b"\xff"])
def test_a_file_that_can_not_be_changed_is_left_and_no_token_minted(
    data: bytes, file: Path, cli: Cli, owner: Vault
) -> None:
    file.write_bytes(data)
    result = cli(*INSTALL)
    assert result.status in (ExitStatus.USAGE, ExitStatus.CONFLICT)
    assert str(file) in result.err
    assert file.read_bytes() == data
    assert owner.tokens.list() == []
    assert cli.ok("mcp", "list", "-o", "json").json == []


@pytest.mark.parametrize(
    "argv",
    [
        ("--client", "emacs", "--agent", "a"),
        ("--client", "cursor", "--agent", "Not A Name"),
        ("--client", "cursor", "--agent", "a", "--credential", "No Glob"),
        ("--client", "cursor", "--agent", "a", "--scope", "galaxy"),
        ("--client", "claude-desktop", "--agent", "a", "--scope", "project"),
        ("--client", "cursor", "--agent", "a", "--scope", "user", "--path", "x"),
    ],
)
def test_what_can_not_be_meant_is_a_usage_error(argv: tuple[str, ...], cli: Cli) -> None:
    assert cli("mcp", "install", *argv).status == ExitStatus.USAGE


def test_whoever_may_not_mint_tokens_may_not_install(file: Path, cli: Cli, mint: Callable[..., str]) -> None:
    before = file.read_bytes()
    result = cli(*INSTALL, VAULT_TOKEN=mint(human="alice@example.com", role="manager"))
    assert result.status == ExitStatus.NOT_ALLOWED
    assert file.read_bytes() == before
    assert cli.ok("mcp", "list", "-o", "json").json == []


def test_a_token_that_is_not_revoked_yet_is_revoked_by_uninstalling_again(
    file: Path, cli: Cli, owner: Vault, mint: Callable[..., str]
) -> None:
    before = file.read_bytes()
    installed = cli.ok(*INSTALL, "-q").out.strip()
    manager = mint(human="alice@example.com", role="manager")
    result = cli(*UNINSTALL, VAULT_TOKEN=manager)
    assert result.status == ExitStatus.NOT_ALLOWED
    assert f"{file} is in order, but the token {installed} was not revoked" in result.err
    assert file.read_bytes() == before
    assert cli.ok("mcp", "list", "-o", "json").json[0]["state"] == "entry missing"
    cli.ok(*UNINSTALL)
    assert installed not in [token.id for token in active(owner)]
    assert cli.ok("mcp", "list", "-o", "json").json == []


def test_a_vault_under_a_passphrase_is_said_to_need_a_file(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery")
    passphrase.chmod(0o600)
    monkeypatch.setenv("VAULT_PASSPHRASE", "correct horse battery")
    cli.ok("init", "--root-key", "passphrase")
    assert "can't ask for it" in cli.ok(*INSTALL).err
    assert "can't ask for it" not in cli.ok(*INSTALL, VAULT_PASSPHRASE_FILE=str(passphrase)).err
    assert entry(tmp_path / ".mcp.json")["env"]["VAULT_PASSPHRASE_FILE"] == str(passphrase)
    assert "correct horse" not in (tmp_path / ".mcp.json").read_text()


def test_a_file_that_can_not_be_written_leaves_no_token(
    file: Path, cli: Cli, owner: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise VaultUnavailable("There is no space.")

    monkeypatch.setattr(client_files.Change, "make", full)
    assert cli(*INSTALL).status == ExitStatus.UNAVAILABLE
    assert active(owner) == []
    assert cli.ok("mcp", "list", "-o", "json").json == []


class Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize(
    ("place", "calls"), [("save", 0), ("save", 1), ("save", 2), ("make", 0), ("save", 3), ("rotate", 0), ("create", 1)]
)
def test_a_crash_leaves_no_token_that_nobody_knows(
    place: str, calls: int, file: Path, cli: Cli, owner: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after any step; installing anew and uninstalling cleans up."""
    from vaultctl.client.vault import Tokens

    holder: Any = {"save": profiles, "make": client_files.Change}.get(place, Tokens)
    real, left = getattr(holder, place), calls

    def crashing(*args: Any, **settings: Any) -> Any:
        nonlocal left
        if left == 0:
            raise Crash
        left -= 1
        result = real(*args, **settings)
        if place == "create":  # minted, and nobody told
            raise Crash
        return result

    before = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(holder, place, crashing)
        if (place, calls) == ("save", 3):  # the last one, which only a change of credentials needs
            patch.setattr(holder, place, real)
            cli.ok(*INSTALL)
            patch.setattr(holder, place, crashing)
            with pytest.raises(Crash):
                cli(*INSTALL, "--credential", "orders-*")
        else:
            with pytest.raises(Crash):
                cli(*INSTALL)
    known = {id for it in profiles.every(locate()) for id in (it.token_id, *it.retired)}
    for token in active(owner):
        assert token.id in known or (token.expires_at - token.created_at).total_seconds() <= 300
    cli.ok(*INSTALL)
    assert len([token for token in active(owner) if (token.expires_at - token.created_at).days > 1]) == 1
    cli.ok(*UNINSTALL)
    assert file.read_bytes() == before
    assert [token for token in active(owner) if (token.expires_at - token.created_at).total_seconds() > 300] == []


def test_a_server_that_a_client_starts_bare_serves_the_agent_and_reads_nothing_of_the_project(
    file: Path, cli: Cli, owner: Vault, tmp_path: Path
) -> None:
    cli.ok(*INSTALL)
    client = profiles.get(locate(), PROFILE).installations[0]
    started = client_files.read(Path(client.path))
    assert started is not None
    server = json.loads(started.replace("},\r\n\t}", "}}"))["mcpServers"]["vault"]
    (tmp_path / ".vault-mcp.json").write_text('{"baseUrl": "https://evil.example.com", "tenant": "evil"}')

    async def lease() -> Any:
        bare = {"HOME": str(tmp_path / "me"), "PATH": "/usr/bin:/bin", "TERM": "xterm", **server["env"]}
        parameters = StdioServerParameters(command=server["command"], args=server["args"], env=bare, cwd=str(tmp_path))
        with open(tmp_path / "stderr", "w") as errors:  # noqa: ASYNC230
            async with Client(stdio_client(parameters, errlog=errors)) as connected:
                return await connected.call_tool(
                    "vault_get_credential", {"name": "shopify-api-key", "purpose": "Sync orders"}
                )

    result = anyio.run(lease)
    assert result.structured_content["value"] == API_KEY
    (used,) = owner.leases.list()
    assert used.identity.name == "deploy-agent"


def test_a_profiles_token_is_used_for_its_own_vault_alone(file: Path, cli: Cli, stocked: Path) -> None:
    cli.ok(*INSTALL)
    named = {"VAULTCTL_HOME": str(stocked)}
    elsewhere = {"VAULT_BASE_URL": "https://evil.example.com", "VAULT_TENANT": "evil", "VAULT_TOKEN": "no-token"}
    settings = load(profile=PROFILE, environment=named | elsewhere)
    assert (settings.base_url, settings.home, settings.tenant) == (None, str(stocked), "my-org")
    assert settings.token == profiles.token_of(profiles.get(locate(), PROFILE))
    for flag in ({"base_url": "https://evil.example.com"}, {"tenant": "evil"}, {"database": "/tmp/x"}):
        with pytest.raises(InvalidInput, match="A profile names its vault and tenant itself"):
            load(profile=PROFILE, environment=named, **flag)
    with pytest.raises(NotFound):
        load(profile="absent", environment=named)
    with pytest.raises(InvalidInput):
        load(profile="../logins/x", environment=named)


def test_a_profile_that_others_can_read_or_that_is_damaged_is_not_used(file: Path, cli: Cli) -> None:
    cli.ok(*INSTALL)
    path = profiles.path_of(locate(), PROFILE)
    path.chmod(0o640)
    with pytest.raises(VaultUnavailable, match="is not yours alone"):
        profiles.get(locate(), PROFILE)
    path.chmod(0o600)
    path.write_text("{")
    with pytest.raises(VaultUnavailable, match="is damaged"):
        profiles.get(locate(), PROFILE)


def test_a_profile_does_not_show_its_token(file: Path, cli: Cli) -> None:
    cli.ok(*INSTALL)
    assert "vault_token_" not in repr(profiles.get(locate(), PROFILE))


def test_a_profile_is_for_one_agent_and_one_vault(file: Path, cli: Cli, tmp_path: Path) -> None:
    cli.ok(*INSTALL)
    other_agent = cli("mcp", "install", "--client", "cursor", "--agent", "other", "--profile", PROFILE)
    assert other_agent.status == ExitStatus.CONFLICT
    assert "is for the agent deploy-agent" in other_agent.err
    other_tenant = cli(*INSTALL, "--tenant", "other-org")
    assert other_tenant.status == ExitStatus.CONFLICT
    assert "is for the tenant my-org" in other_tenant.err
    other_vault = cli(*UNINSTALL, "--base-url", "https://vault.example.com")
    assert other_vault.status == ExitStatus.CONFLICT
    assert "this would be about https://vault.example.com" in other_vault.err


def test_a_keyring_that_a_bare_server_can_read_keeps_the_token(
    file: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Vault
) -> None:
    # What chooses this keyring is in the home directory, which a bare environment names too.
    kept = tmp_path / "keyring.json"
    configuration = tmp_path / "me" / ".config" / "python_keyring"
    configuration.mkdir(parents=True)
    configuration.joinpath("bare_keyring.py").write_text(
        f"import os\nos.environ['STUB_KEYRING'] = {str(kept)!r}\nfrom stub_keyrings import Good\n"
    )
    stubs = Path(__file__).parents[1] / "crypto"
    (configuration / "stub_keyrings.py").symlink_to(stubs / "stub_keyrings.py")
    (configuration / "keyringrc.cfg").write_text(
        f"[backend]\ndefault-keyring=bare_keyring.Good\nkeyring-path={configuration}\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_KEYRING_BACKEND"}
    environment |= {"XDG_CONFIG_HOME": str(tmp_path / "me" / ".config")}
    done = subprocess.run(
        [sys.executable, "-m", "vaultctl", *INSTALL], env=environment, capture_output=True, text=True, check=False
    )
    assert "The token is in the OS keyring (service vaultctl, user mcp claude-code-deploy-agent " in done.stderr
    profile = profiles.get(locate(), PROFILE)
    assert (profile.kept_in, profile.token) == ("keyring", None)
    assert "vault_token_" in kept.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "vaultctl", *UNINSTALL], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(kept.read_text()) == {}
    assert active(owner) == []


def test_a_keyring_that_a_bare_server_can_not_read_is_not_used(file: Path, cli: Cli, tmp_path: Path) -> None:
    # This one is chosen by a variable, which a bare environment does not have.
    kept = tmp_path / "keyring.json"
    environment = os.environ | {
        "PYTHON_KEYRING_BACKEND": "stub_keyrings.Good",
        "STUB_KEYRING": str(kept),
        "PYTHONPATH": str(Path(__file__).parents[1] / "crypto"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "vaultctl", *INSTALL], env=environment, capture_output=True, text=True, check=False
    )
    assert "a server that another program starts can't read it there" in done.stderr
    assert profiles.get(locate(), PROFILE).kept_in == "file"
    assert json.loads(kept.read_text()) == {}


def test_it_works_at_a_server(file: Path, cli: Cli, owner: Vault, mint: Callable[..., str]) -> None:
    admin = mint(human="alice@example.com", role="admin")
    with serving() as server:
        environment = {"VAULT_BASE_URL": server.base_url, "VAULT_TOKEN": admin}
        cli.ok(*INSTALL, **environment)
        settings = load(profile=PROFILE)
        assert settings.base_url == server.base_url
        with Vault.connect(base_url=settings.base_url, token=settings.token) as vault:
            assert vault.whoami().identity.name == "deploy-agent"
        assert cli(*UNINSTALL).status == ExitStatus.CONFLICT  # of the vault of this machine
        cli.ok(*UNINSTALL, **environment)
    assert [token.agent for token in active(owner)] == [None]  # the admin's
