"""``tenant rotate-kek`` and ``root-key``: they say what they would do, ask, and are for the right caller only."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import API_KEY, Cli
from vaultctl.client import Vault
from vaultctl.domain.errors import ExitStatus


def test_a_rotated_tenant_key_delivers_what_was_there(stocked: Path, cli: Cli) -> None:
    done = cli.ok("tenant", "rotate-kek", "-o", "json")
    assert done.json == {"id": "my-org", "version": 2, "remaining": 0}
    assert "earlier versions are destroyed" in done.err
    assert cli.ok("lease", "create", "shopify-api-key", "-q", "-o", "json").status == 0
    assert cli.ok("lease", "create", "shopify-api-key", "-o", "json").json["value"] == API_KEY


def test_progress_is_shown_on_a_terminal_and_nowhere_else(home: Path, cli: Cli, owner: Vault) -> None:
    for n in range(3):
        owner.credentials.create(f"c-{n}", "generic-secret", f"value-number-{n}")
    owner.tenants.rotate_kek("my-org", limit=1)
    assert "Rewrapping" not in cli.ok("tenant", "rotate-kek").err
    owner.tenants.rotate_kek("my-org", limit=1)
    assert "\x1b[K" not in cli.ok("tenant", "rotate-kek", terminal=True, NO_COLOR="1").out


def test_a_dry_run_changes_no_key(stocked: Path, cli: Cli) -> None:
    before = cli.ok("root-key", "show", "-o", "json").json
    for argv in (["tenant", "rotate-kek"], ["root-key", "rotate"], ["root-key", "move", "--to", "passphrase"]):
        assert "Would " in cli.ok(*argv, "--dry-run").err
    assert cli.ok("root-key", "show", "-o", "json").json == before
    assert [line for line in cli.ok("audit", "--tenant", "_vault", "-q").lines if line][1:] == []


def test_the_root_key_is_replaced_only_after_a_yes(stocked: Path, cli: Cli) -> None:
    before = cli.ok("root-key", "show", "-q").out
    assert cli("root-key", "rotate").status == ExitStatus.USAGE
    assert cli("root-key", "rotate", terminal=True, stdin="n\n").status == ExitStatus.INTERRUPTED
    assert cli.ok("root-key", "show", "-q").out == before
    after = cli.ok("root-key", "rotate", terminal=True, stdin="y\n")
    assert cli.ok("root-key", "show", "-q").out != before
    assert (stocked / "root.key").read_text().split()[2] not in after.out + after.err


def test_whoever_has_a_token_is_not_the_owner_and_changes_no_root_key(
    stocked: Path, cli: Cli, mint: Callable[..., str]
) -> None:
    token = mint(human="admin@example.com", role="admin")
    for argv in (["show"], ["rotate", "--yes"], ["move", "--to", "passphrase", "--yes"]):
        assert cli("root-key", *argv, VAULT_TOKEN=token).status == ExitStatus.NOT_ALLOWED
        assert cli("root-key", *argv, VAULT_BASE_URL="http://127.0.0.1:1").status == ExitStatus.UNAVAILABLE
    assert cli.ok("tenant", "rotate-kek", VAULT_TOKEN=token).status == ExitStatus.DONE
