"""``credential import`` shows what changes, asks, and prints no value; ``credential list`` shows what expires."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.cli.conftest import API_KEY, Cli
from vaultctl.client import Vault
from vaultctl.domain.errors import ExitStatus

DOTENV = f"""# of the shop
export SHOPIFY_API_KEY="{API_KEY}"
ORDERS_DB=postgresql://reader:s3cr3t-w0rd@db.example.com/orders
EMPTY=
"""


def test_a_file_is_imported_after_a_preview_and_a_yes(home: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(DOTENV)
    preview = cli.ok("credential", "import", ".env", "--dry-run", "-o", "json")
    assert [(it["name"], it["type"], it["change"]) for it in preview.json] == [
        ("shopify-api-key", "api-key", "new"),
        ("orders-db", "database-url", "new"),
    ]
    assert "1 entry without a value left out" in preview.err
    assert cli("credential", "import", ".env").status == ExitStatus.USAGE  # nobody to ask
    asked = cli("credential", "import", ".env", terminal=True, stdin="n\n")
    assert asked.status == ExitStatus.INTERRUPTED
    assert "2 new, 0 changed, 0 unchanged" in asked.err
    assert cli.ok("credential", "list", "-o", "json").json == []
    done = cli.ok("credential", "import", ".env", terminal=True, stdin="y\n")
    again = cli.ok("credential", "import", ".env", "--yes")
    for said in (preview, asked, done, again):
        assert API_KEY not in said.out + said.err
        assert "s3cr3t" not in said.out + said.err
    assert again.out.count("unchanged") == 2
    assert cli.ok("lease", "create", "shopify-api-key", "-o", "json").json["value"] == API_KEY


def test_stdin_is_a_file_too_and_a_prefix_and_a_type_are_for_all(home: Path, cli: Cli) -> None:
    done = cli.ok(
        *("credential", "import", "-", "--prefix", "shop-", "--type", "generic-secret", "--yes", "-q"),
        stdin='{"API_KEY": "abc-def-ghi"}',
    )
    assert done.lines == ["shop-api-key"]
    assert cli.ok("credential", "show", "shop-api-key", "-o", "json").json["type"] == "generic-secret"


def test_more_than_one_step_holds_is_imported_and_goes_on_where_it_was(home: Path, cli: Cli, tmp_path: Path) -> None:
    lines = [f"N_{n}=value-number-{n}" for n in range(130)]
    (tmp_path / ".env").write_text("\n".join([*lines[:110], "n_129_=", *lines[110:]]))
    assert cli("credential", "import", ".env", "--yes").status == ExitStatus.USAGE  # two of one name: nothing is done
    assert cli.ok("credential", "list", "-o", "json").json == []
    (tmp_path / ".env").write_text("\n".join(lines[:110]))
    cli.ok("credential", "import", ".env", "--yes")
    (tmp_path / ".env").write_text("\n".join(lines))
    done = cli.ok("credential", "import", ".env", "--yes", "-o", "json").json
    assert [it["change"] for it in done] == ["unchanged"] * 110 + ["new"] * 20


def test_what_is_wrong_with_the_file_is_a_usage_error(home: Path, cli: Cli, tmp_path: Path) -> None:
    assert cli("credential", "import", "nowhere").status == ExitStatus.USAGE
    (tmp_path / ".env").write_text("A='unclosed")
    assert cli("credential", "import", ".env", "--yes").status == ExitStatus.USAGE
    assert cli("credential", "import", ".env", "--type", "sshkey", "--yes").status == ExitStatus.USAGE


def test_the_list_shows_when_tokens_end_and_points_at_what_ends_soon(home: Path, cli: Cli, owner: Vault) -> None:
    for name, days in (("soon", 3), ("late", 300), ("past", -1)):
        ends = (datetime.now(UTC) + timedelta(days=days)).isoformat()
        owner.credentials.create(name, "oauth-token", f'{{"access_token": "abcdefgh", "expires_at": "{ends}"}}')
    owner.credentials.create("never", "generic-secret", "a-value-that-never-ends")
    plain = cli.ok("credential", "list").lines
    assert "EXPIRES" in plain[0]
    shown = cli.ok("credential", "list", terminal=True, TERM="xterm-256color").out
    row = {name: next(line for line in shown.splitlines() if name in line) for name in ("soon", "late", "past")}
    assert "\x1b[33m" in row["soon"]
    assert "\x1b[31m" in row["past"]
    assert "\x1b[33m" not in row["late"]
