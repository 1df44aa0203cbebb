"""A vault on PostgreSQL from its first command on, by the program as a process, and what is left when that fails."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.cli.conftest import VAULTCTL, Result
from tests.postgres import LENT, Cluster
from tests.security.test_founding import raced
from vaultctl import Vault
from vaultctl.client.doctor import diagnose
from vaultctl.client.setup import initialise
from vaultctl.client.status import vault_status
from vaultctl.domain.errors import AlreadyExists, ExitStatus, VaultError, VaultUnavailable
from vaultctl.store.interface import Conflicted
from vaultctl.store.postgres import create_schema

VALUE = "shpat_0123456789abcdef0123456789abcdef"
PASSWORD = "hunter2-canary"
PATIENCE = 60


def vaultctl(home: Path, *argv: str, stdin: str = "", **environment: str) -> Result:
    """How a command ended."""
    done = subprocess.run(
        [VAULTCTL, *argv],
        env=os.environ | {"VAULTCTL_HOME": str(home)} | environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert "Traceback" not in done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def answer(home: Path, *argv: str, **settings: str) -> Any:
    """What a command answers, that has to end well."""
    result = vaultctl(home, *argv, "-o", "json", **settings)
    assert result.status == ExitStatus.DONE, result.err
    return result.json


def with_password(url: str) -> str:
    """The URL with a password, which the server of the tests does not ask for."""
    return url.replace("vault@", f"vault:{PASSWORD}@")


def assert_it_works(home: Path, url: str | None = None) -> None:
    with Vault.embedded(home=home, database=url) as owner:
        owner.credentials.create("probe", "generic-secret", "value-0123456789")
        assert owner.leases.create("probe").value.reveal() == "value-0123456789"
        assert next(iter(owner.audit_log.query())).event == "tenant.created"
    assert [finding for finding in diagnose(home=home, database=url) if finding.level != "ok"] == []


def test_every_command_works_as_on_a_file(tmp_path: Path, postgres_url: str) -> None:
    home = tmp_path / "home"
    made = answer(home, "init", "--tenant", "my-org", "--root-key", "file", "--database", postgres_url)
    assert made["database"] == postgres_url
    assert sorted(path.name for path in home.iterdir()) == ["config.json", "root.key"]
    state = answer(home, "status")
    assert (state["state"], state["vaultId"], state["database"]) == ("ready", made["vaultId"], postgres_url)
    answer(home, "credential", "create", "shopify-api-key", "--type", "api-key", stdin=VALUE)
    token = answer(home, "token", "create", "--agent", "deploy-agent", "--credential", "shopify-*")["token"]
    leased = answer(home, "lease", "create", "shopify-api-key", "--purpose", "Fetch orders", VAULT_TOKEN=token)
    assert leased["value"] == VALUE
    answer(home, "lease", "revoke", leased["id"])
    events = [entry["event"] for entry in answer(home, "audit", "--agent", "deploy-agent")]
    assert events == ["token.created", "lease.created", "lease.revoked"]
    assert {finding["level"] for finding in answer(home, "doctor")} == {"ok"}


def test_a_second_vault_is_refused_and_the_first_is_as_it_was(tmp_path: Path, postgres_url: str) -> None:
    first = answer(tmp_path, "init", "--root-key", "file", "--database", postgres_url)
    again = vaultctl(tmp_path, "init", "--root-key", "file", "--database", postgres_url)
    assert (again.status, again.out) == (ExitStatus.CONFLICT, "")
    assert "vaultctl status" in again.err
    other = vaultctl(tmp_path / "other", "init", "--root-key", "file", "--database", postgres_url)
    assert other.status == ExitStatus.CONFLICT
    assert not (tmp_path / "other" / "config.json").exists()
    assert not (tmp_path / "other" / "root.key").exists()
    assert answer(tmp_path, "status")["vaultId"] == first["vaultId"]
    assert_it_works(tmp_path)


def test_the_root_key_of_another_vault_does_not_open_it(tmp_path: Path, postgres_url: str) -> None:
    answer(tmp_path / "theirs", "init", "--root-key", "file", "--database", postgres_url)
    answer(tmp_path / "ours", "init", "--root-key", "file")
    for command in (["credential", "list"], ["status"]):
        locked = vaultctl(tmp_path / "ours", *command, "--database", postgres_url)
        assert locked.status == ExitStatus.UNAVAILABLE
        assert "The root key does not belong to this vault" in locked.err
    found = vaultctl(tmp_path / "ours", "doctor", "-o", "json", "--database", postgres_url)
    assert found.status == ExitStatus.CONFLICT
    assert [finding["check"] for finding in found.json if finding["level"] == "problem"] == ["unlock"]


def test_a_password_of_the_environment_is_used_and_never_shown(tmp_path: Path, postgres_url: str) -> None:
    named = {"VAULT_DATABASE_URL": with_password(postgres_url)}
    said = ""
    for argv in (["init", "--root-key", "file"], ["status"], ["doctor", "-o", "json"], ["credential", "list"]):
        result = vaultctl(tmp_path, *argv, VAULT_LOG_LEVEL="debug", **named)
        assert result.status == ExitStatus.DONE, result.err
        said += result.out + result.err
    again = vaultctl(tmp_path, "init", "--root-key", "file", **named)
    assert again.status == ExitStatus.CONFLICT
    said += again.err + (tmp_path / "config.json").read_text()
    assert postgres_url in said
    assert PASSWORD not in said
    assert answer(tmp_path, "status")["database"] == postgres_url, "the settings name it without its password"


def test_a_server_that_does_not_answer_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    named = {"VAULT_DATABASE_URL": f"postgresql://vault:{PASSWORD}@127.0.0.1:{port}/vault"}
    result = vaultctl(tmp_path, "init", "--root-key", "file", **named)
    assert result.status == ExitStatus.UNAVAILABLE
    assert result.err.splitlines()[-1].startswith("hint: ")
    assert PASSWORD not in result.err
    assert list(tmp_path.iterdir()) == []

    answer(tmp_path, "init", "--root-key", "file")
    for command in (["status"], ["audit"]):
        result = vaultctl(tmp_path, *command, **named)
        assert result.status == ExitStatus.UNAVAILABLE
        assert result.err.splitlines()[-1].startswith("hint: ")
        assert PASSWORD not in result.out + result.err
    assert vaultctl(tmp_path, "doctor", **named).status == ExitStatus.CONFLICT


def test_a_database_without_a_vault_is_said(tmp_path: Path, postgres_url: str) -> None:
    answer(tmp_path, "init", "--root-key", "file")
    for state in ("missing", "unavailable"):
        found = vaultctl(tmp_path, "status", "-o", "json", "--database", postgres_url)
        assert (found.status, found.json["state"]) == (ExitStatus.UNAVAILABLE, state)
        assert "vaultctl init" in found.err
        create_schema(postgres_url)  # as an attempt that was killed leaves it


def test_without_what_speaks_to_postgres_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    url = "postgresql://vault@db.example.com/vault"
    initialise(home=tmp_path / "here", root_key="file")
    with pytest.raises(VaultUnavailable) as refused:
        initialise(home=tmp_path / "there", root_key="file", database=url)
    assert refused.value.hint == "pip install 'vaultctl[postgres]'"
    assert not (tmp_path / "there").exists()
    state = vault_status(home=tmp_path / "here", database=url)
    assert (state.state, state.hint) == ("unavailable", refused.value.hint)


_FOUND = """
import sys
from vaultctl.client.setup import initialise
from vaultctl.domain.errors import AlreadyExists
print("ready", flush=True)
sys.stdin.readline()
try:
    initialise(tenant="my-org", home=sys.argv[1], root_key="file", database=sys.argv[2])
    print("made")
except AlreadyExists:
    print("taken")
"""


@pytest.mark.parametrize("apart", [False, True], ids=["one home", "homes of their own"])
def test_of_several_attempts_at_once_one_makes_the_vault(tmp_path: Path, postgres_url: str, apart: bool) -> None:
    homes = [tmp_path / (f"home-{n}" if apart else "home") for n in range(3)]
    said = raced(_FOUND, [[str(home), postgres_url] for home in homes])
    assert sorted(said) == ["made", "taken", "taken"]
    winner = homes[said.index("made")]
    assert_it_works(winner)
    late = {home for home in homes if home != winner}
    assert [home for home in late if list(home.glob("*.*"))] == [], "what is left of a vault that there is not"


class TestKilled:
    """Each attempt is killed at a later step than the one before."""

    @pytest.fixture
    def attempts(self, fast_path: Path, postgres_url: str) -> Iterator["subprocess.Popen[str]"]:
        practice = LENT.server.create_database()
        program = str(Path(__file__).with_name("founding_on_postgres.py"))
        process = subprocess.Popen(
            [sys.executable, program, practice, postgres_url, str(fast_path), "2", "5"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        yield process
        process.kill()
        process.communicate()
        LENT.server.drop(practice)

    def test_no_vault_or_a_whole_one_is_left_and_the_next_attempt_succeeds(
        self, attempts: "subprocess.Popen[str]", postgres_url: str
    ) -> None:
        assert attempts.stdin
        assert attempts.stdout
        ends = []
        while "finished" not in ends:
            attempts.stdin.write("\n")
            attempts.stdin.flush()
            end, home = attempts.stdout.readline().split()
            ends.append(end)
            with suppress(AlreadyExists):
                initialise(tenant="my-org", home=home, root_key="file", database=postgres_url)
            for leftover in Path(home).glob(".*.new-*"):  # of which doctor tells
                leftover.unlink()
            assert_it_works(Path(home))
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        assert len(ends) > 10


def test_a_failure_while_it_is_founded_leaves_nothing(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> str:
        raise Conflicted

    home = tmp_path / "home"
    with monkeypatch.context() as patch:
        patch.setattr("vaultctl.client.setup.found_vault", gone)
        with pytest.raises(VaultUnavailable, match="went away"):
            initialise(home=home, root_key="file", database=postgres_url)
    assert list(home.iterdir()) == []
    initialise(home=home, root_key="file", database=postgres_url)
    assert_it_works(home)


def test_a_commit_whose_outcome_is_not_known_keeps_the_key_that_may_open_the_vault(
    tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaultctl.client import setup

    found = setup.found_vault

    def found_and_unsure(*arguments: Any, **settings: Any) -> str:
        found(*arguments, **settings)
        raise VaultUnavailable("The database went away during a commit: whether it took place is not known.")

    monkeypatch.setattr(setup, "found_vault", found_and_unsure)
    with pytest.raises(VaultError, match="not known"):
        initialise(home=tmp_path, root_key="file", database=postgres_url)
    assert_it_works(tmp_path)


def test_doctor_warns_where_a_failover_would_lose_what_was_acknowledged(tmp_path: Path) -> None:
    with Cluster(synchronous=False) as cluster:
        url = cluster.url()
        answer(tmp_path, "init", "--root-key", "file", "--database", url)
        found = answer(tmp_path, "doctor")
        assert [(finding["check"], finding["level"]) for finding in found if finding["level"] != "ok"] == [
            ("database", "warning")
        ]
        assert "Replication is asynchronous" in json.dumps(found)
        cluster.primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        cluster.primary.execute("SELECT pg_reload_conf()")
        assert {finding["level"] for finding in answer(tmp_path, "doctor")} == {"ok"}
