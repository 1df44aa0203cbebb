"""Where secret values come from, and where they never turn up."""

import base64
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.cli.conftest import API_KEY, Cli
from tests.contract.values import ssh_key
from vaultctl.domain.errors import ExitStatus


def value_of(cli: Cli, name: str) -> str:
    value: str = cli.ok("lease", "create", name, "-o", "json").json["value"]
    return value


def create(cli: Cli, *options: str, type: str = "generic-secret", **settings: object) -> str:
    cli.ok("credential", "create", "it", "--type", type, *options, **settings)  # type: ignore[arg-type]
    return value_of(cli, "it")


def test_a_value_from_stdin_loses_the_line_end_of_a_single_line(home: Path, cli: Cli) -> None:
    assert create(cli, stdin=f"{API_KEY}\n") == API_KEY


def test_a_text_of_several_lines_is_kept_as_it_is(home: Path, cli: Cli) -> None:
    assert create(cli, stdin="first line\nsecond line\n") == "first line\nsecond line\n"


def test_a_value_from_a_file(home: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(ssh_key())
    assert create(cli, "--from-file", str(tmp_path / "key"), type="ssh-key") == ssh_key()


def test_a_value_from_the_environment(home: Path, cli: Cli) -> None:
    assert create(cli, "--from-env", "SHOPIFY_KEY", SHOPIFY_KEY=API_KEY) == API_KEY


def test_a_value_from_a_prompt_is_asked_for_twice(home: Path, cli: Cli) -> None:
    assert create(cli, terminal=True, hidden=(API_KEY, API_KEY)) == API_KEY


def test_two_answers_that_differ_store_nothing(home: Path, cli: Cli) -> None:
    result = cli("credential", "create", "it", "--type", "api-key", terminal=True, hidden=(API_KEY, "other"))
    assert result.status == ExitStatus.USAGE
    assert cli.ok("credential", "list", "-o", "json").json == []


@pytest.mark.parametrize(
    ("options", "environment", "message"),
    [
        (["--from-file", "f", "--from-env", "V"], {}, "exclude each other"),
        (["--from-env", "NOT_THERE"], {}, "is not set"),
        (["--from-env", "EMPTY_ONE"], {"EMPTY_ONE": ""}, "is empty"),
        (["--from-file", "nowhere"], {}, "can't be read: No such file"),
        (["--from-file", "/"], {}, "can't be read: Is a directory"),
        (["--from-file", "/dev/zero"], {}, "longer than 1 MiB"),
        (["--from-file", "binary"], {}, "not UTF-8"),
        ([], {}, "is empty"),
    ],
)
def test_what_gives_no_value_is_a_usage_error(
    options: list[str], environment: dict[str, str], message: str, home: Path, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00secret")
    result = cli("credential", "create", "it", "--type", "api-key", *options, **environment)
    assert result.status == ExitStatus.USAGE
    assert message in result.err
    assert len(result.err.splitlines()) == 2


def test_rotation_takes_values_the_same_way(stocked: Path, cli: Cli) -> None:
    cli.ok("credential", "rotate", "shopify-api-key", stdin="shpat_second-value-of-it\n")
    assert value_of(cli, "shopify-api-key") == "shpat_second-value-of-it"


def test_a_value_is_shown_by_the_lease_that_delivers_it_and_by_nothing_else(stocked: Path, cli: Cli) -> None:
    raw = API_KEY.encode()
    forms = {API_KEY, base64.b64encode(raw).decode(), raw.hex(), quote(API_KEY, safe="")}
    lease = cli.ok("lease", "create", "shopify-api-key", "--purpose", "Test", "-o", "json").json
    said = [
        cli(*argv, *form)
        for argv in (
            ["status"],
            ["doctor"],
            ["whoami"],
            ["credential", "list"],
            ["credential", "show", "shopify-api-key"],
            ["credential", "versions", "shopify-api-key"],
            ["credential", "update", "shopify-api-key", "--metadata", f"note={API_KEY}"],
            ["lease", "list"],
            ["lease", "show", lease["id"]],
            ["lease", "renew", lease["id"]],
            ["lease", "create", "orders-db", "--purpose", f"because {API_KEY}", "-q"],
            ["lease", "revoke", lease["id"]],
            ["token", "list"],
            ["audit", "--limit", "0"],
        )
        for form in ([], ["-o", "json"], ["-o", "csv"])
    ]
    assert not [form for form in forms for result in said if form in result.out + result.err]
    assert lease["value"] == API_KEY


def test_a_value_of_several_lines_is_printed_as_it_is(home: Path, cli: Cli) -> None:
    key = ssh_key()
    cli.ok("credential", "create", "deploy-key", "--type", "ssh-key", stdin=key)
    assert cli.ok("lease", "create", "deploy-key").out.endswith(key)
    assert cli.ok("lease", "create", "deploy-key", terminal=True, columns=40, NO_COLOR="1").out.endswith(key)


def test_a_long_value_stays_on_one_line_of_the_terminal(home: Path, cli: Cli) -> None:
    value = "word " * 30 + "end"
    cli.ok("credential", "create", "it", "--type", "generic-secret", stdin=value)
    assert value in cli.ok("lease", "create", "it", terminal=True, columns=80).out
