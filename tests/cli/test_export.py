"""``vaultctl audit export`` and ``audit verify --bundle``."""

import csv
import io
import json
from pathlib import Path

from tests.cli.conftest import Cli
from vaultctl.domain.errors import ExitStatus


def test_entries_are_json_lines_or_a_table_for_spreadsheets(stocked: Path, cli: Cli) -> None:
    cli.ok("lease", "create", "shopify-api-key", "--purpose", "=cmd|' /C calc'!A0")
    lines = [json.loads(line) for line in cli.ok("audit", "export").lines]
    there = cli.ok("audit", "--limit", "0", "-o", "json").json
    assert lines == there[:-1]
    assert there[-1]["event"] == "audit.exported"
    assert there[-1]["details"] == {"format": "jsonl", "size": len(lines), "filters": {}}
    rows = list(csv.DictReader(io.StringIO(cli.ok("audit", "export", "--event", "lease.created", "-o", "csv").out)))
    assert [row["identity.purpose"] for row in rows] == ["'=cmd|' /C calc'!A0"]
    nobody = ("--agent", "nobody", "-o", "csv")
    assert cli.ok("audit", "export", *nobody).lines == cli.ok("audit", *nobody).lines


def test_a_file_is_new_private_and_whole(stocked: Path, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    told = cli.ok("audit", "export", "--out", str(file))
    assert (told.out, str(file) in told.err) == ("", True)
    assert file.stat().st_mode & 0o777 == 0o600
    content = file.read_text()
    assert len(content.splitlines()) == json.loads(cli.ok("audit", "--limit", "1", "-o", "jsonl").out)["seq"]
    again = cli("audit", "export", "--out", str(file))
    assert again.status == ExitStatus.CONFLICT
    assert file.read_text() == content
    assert cli("audit", "export", "--out", str(tmp_path / "missing" / "x")).status == ExitStatus.UNAVAILABLE
    assert [path.name for path in tmp_path.iterdir() if "audit" in path.name] == ["audit.jsonl"]


def test_a_bundle_is_verified_where_there_is_no_vault(stocked: Path, cli: Cli, tmp_path: Path) -> None:
    bundle, key = tmp_path / "bundle", tmp_path / "log.key"
    key.write_text(cli.ok("audit", "checkpoint", "--key").out)
    cli.ok("audit", "checkpoint", "--export", str(tmp_path / "kept"))
    assert key.read_text().strip() in cli.ok("audit", "export", "--bundle", str(bundle)).err
    elsewhere = {"VAULTCTL_HOME": str(tmp_path / "nothing"), "VAULT_BASE_URL": "https://unreachable.invalid"}
    argv = ("audit", "verify", "--bundle", str(bundle), "--against", str(tmp_path / "kept"), "-o", "json")
    found = cli.ok(*argv, "--key", str(key), **elsewhere)
    assert (found.json["verified"], found.json["checkpoints"], found.err) == (True, 2, "")
    assert "--key" in cli.ok(*argv, **elsewhere).err
    assert not (tmp_path / "nothing").exists()
    (entries,) = (bundle / "tile/entries/000.p").iterdir()
    entries.write_bytes(entries.read_bytes().replace(b"created", b"updated", 1))
    result = cli("audit", "verify", "--bundle", str(bundle), "--key", str(key), **elsewhere)
    assert result.status == ExitStatus.VERIFICATION_FAILED
    assert "Entry 0 is not what was hashed when written." in result.out


def test_what_does_not_go_together_is_refused(stocked: Path, cli: Cli, tmp_path: Path) -> None:
    for argv in (
        ("export", "--bundle", str(tmp_path / "b"), "--agent", "a"),
        ("export", "--bundle", str(tmp_path / "b"), "--out", "f"),
        ("export", "-o", "json"),
        ("verify", "--bundle", str(tmp_path)),
    ):
        assert cli("audit", *argv).status == ExitStatus.USAGE, argv
    assert list(tmp_path.glob("b*")) == []
