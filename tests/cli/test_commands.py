"""Each noun and its verbs, through the program and a real vault."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import API_KEY, Cli
from vaultctl.client import Vault
from vaultctl.domain.errors import ExitStatus


class TestInit:
    def test_says_where_the_vault_is_which_key_provider_it_uses_and_what_comes_next(
        self, cli: Cli, tmp_path: Path
    ) -> None:
        result = cli.ok("init", "--tenant", "my-org", "--root-key", "file", VAULTCTL_HOME=str(tmp_path / "v"))
        assert str(tmp_path / "v") in result.out
        assert "my-org" in result.out
        assert "root.key" in result.out
        assert "vaultctl credential create" in result.err
        assert "vaultctl token create" in result.err

    def test_answers_programs_too(self, cli: Cli) -> None:
        made = cli.ok("init", "--root-key", "file", "-o", "json").json
        assert made["tenant"] == "default"
        assert made["rootKey"] == "file"
        assert set(made) == {"home", "database", "vaultId", "tenant", "rootKey", "rootKeyNote", "verifierKey"}

    def test_prints_only_the_id_when_quiet(self, cli: Cli) -> None:
        result = cli.ok("init", "--root-key", "file", "-q")
        assert result.out.startswith("vault_")
        assert result.err == ""

    def test_takes_the_tenant_from_the_environment(self, cli: Cli) -> None:
        assert cli.ok("init", "--root-key", "file", "-o", "json", VAULT_TENANT="from-env").json["tenant"] == "from-env"

    def test_warns_that_a_token_will_be_used(self, cli: Cli) -> None:
        result = cli.ok("init", "--root-key", "file", VAULT_TOKEN="whatever")
        assert "warning: VAULT_TOKEN is set" in result.err

    def test_refuses_a_provider_that_there_is_not(self, cli: Cli, tmp_path: Path) -> None:
        result = cli("init", "--root-key", "paper", VAULTCTL_HOME=str(tmp_path / "v"))
        assert result.status == ExitStatus.USAGE
        assert not (tmp_path / "v").exists()


class TestStatusDoctorAndWhoami:
    def test_status_of_a_vault_that_works(self, home: Path, cli: Cli) -> None:
        status = cli.ok("status", "-o", "json").json
        assert status["state"] == "ready"
        assert status["defaultTenant"] == "my-org"
        assert cli.ok("status", "-q").out == "ready\n"

    def test_status_of_a_vault_that_is_missing_is_a_state_and_7(self, cli: Cli) -> None:
        result = cli("status", "-o", "json")
        assert result.status == ExitStatus.UNAVAILABLE
        assert result.json["state"] == "missing"
        assert "vaultctl init" in result.err

    def test_doctor_finds_nothing_wrong_with_a_new_vault(self, home: Path, cli: Cli) -> None:
        findings = cli.ok("doctor", "-o", "json").json
        assert {finding["level"] for finding in findings} == {"ok"}

    def test_doctor_finds_a_file_that_others_can_read(self, home: Path, cli: Cli) -> None:
        (home / "vault.db").chmod(0o644)
        result = cli("doctor")
        assert result.status == ExitStatus.CONFLICT
        assert f"chmod 600 {home}/vault.db" in result.out
        assert result.err == "1 problem.\n"

    def test_doctor_mends_what_is_safe_and_says_what_it_did(self, home: Path, cli: Cli) -> None:
        (home / "vault.db").chmod(0o644)
        findings = cli.ok("doctor", "--fix", "-o", "json").json
        assert [finding["level"] for finding in findings].count("fixed") == 1
        assert f"{home}/vault.db is no longer accessible to others (mode 0644 before)." in str(findings[0])
        assert {finding["level"] for finding in cli.ok("doctor", "--fix", "-o", "json").json} == {"ok"}

    def test_doctor_mends_contexts_that_others_can_write_to(self, home: Path, cli: Cli) -> None:
        cli.ok("context", "add", "prod", "--base-url", "https://vault.example.com")
        (home / "contexts.json").chmod(0o666)
        assert cli("doctor").status == ExitStatus.UNAVAILABLE
        assert "contexts.json" in cli.ok("doctor", "--fix").out

    def test_whoami_without_a_token_is_the_owner(self, stocked: Path, cli: Cli) -> None:
        me = cli.ok("whoami", "-o", "json").json
        assert me["identity"]["type"] == "human"
        assert me["reaches"] == ["shopify-api-key"]

    def test_whoami_with_a_token_is_its_agent(self, stocked: Path, cli: Cli, mint: Callable[..., str]) -> None:
        token = mint(agent="analytics-agent")
        me = cli.ok("whoami", "-o", "json", VAULT_TOKEN=token).json
        assert me["identity"] == {"type": "agent", "name": "analytics-agent"}
        assert me["reaches"] == ["orders-db"]


class TestCredential:
    def test_create_shows_what_was_stored_but_not_the_value(self, home: Path, cli: Cli) -> None:
        argv = ["--type", "api-key", "--metadata", "owner=web", "--metadata", "site=de", "--default-ttl", "10m"]
        argv += ["--max-ttl", "4h", "--allow", "agent:deploy-*", "--allow", "human:*@example.com", "-o", "json"]
        made = cli.ok("credential", "create", "shopify-api-key", *argv, stdin=API_KEY).json
        assert made["metadata"] == {"owner": "web", "site": "de"}
        assert made["attributes"]["prefix"] == "shpat_"
        assert made["policy"]["defaultLeaseTTL"] == "10m"
        assert made["policy"]["maxLeaseTTL"] == "4h"
        assert made["policy"]["allowedIdentities"] == [
            {"type": "agent", "name": "deploy-*"},
            {"type": "human", "email": "*@example.com"},
        ]
        assert API_KEY not in json.dumps(made)

    def test_quiet_prints_names(self, stocked: Path, cli: Cli) -> None:
        assert cli.ok("credential", "list", "-q").lines == ["orders-db", "shopify-api-key"]
        assert cli.ok("credential", "show", "orders-db", "-q").out == "orders-db\n"

    def test_list_is_a_table_with_a_header(self, stocked: Path, cli: Cli) -> None:
        header, *rows = cli.ok("credential", "list").lines
        assert header.split()[:4] == ["NAME", "TYPE", "VERSION", "STATE"]
        assert [row.split()[0] for row in rows] == ["orders-db", "shopify-api-key"]
        assert "agent:analytics-*" in rows[0]
        assert "by token" in rows[1]

    def test_update_changes_only_what_it_names(self, stocked: Path, cli: Cli) -> None:
        updated = cli.ok("credential", "update", "orders-db", "--max-ttl", "2h", "-o", "json").json
        assert updated["policy"]["maxLeaseTTL"] == "2h"
        assert updated["policy"]["allowedIdentities"] == [{"type": "agent", "name": "analytics-*"}]

    def test_none_takes_a_ttl_away(self, stocked: Path, cli: Cli) -> None:
        updated = cli.ok("credential", "update", "shopify-api-key", "--max-ttl", "none", "-o", "json").json
        assert updated["policy"]["maxLeaseTTL"] is None

    def test_clearing(self, stocked: Path, cli: Cli) -> None:
        cli.ok("credential", "update", "orders-db", "--metadata", "a=b")
        argv = ["--clear-allow", "--clear-metadata", "-o", "json"]
        updated = cli.ok("credential", "update", "orders-db", *argv).json
        assert updated["metadata"] == {}
        assert updated["policy"]["allowedIdentities"] == []

    def test_versions_rotate_and_roll_back(self, stocked: Path, cli: Cli) -> None:
        cli.ok("credential", "rotate", "shopify-api-key", stdin="shpat_another-value-altogether")
        rolled = cli.ok("credential", "rollback", "shopify-api-key", "--to", "1")
        assert "at version 3, with the value of version 1" in rolled.err
        versions = cli.ok("credential", "versions", "shopify-api-key", "-o", "json").json
        assert [(v["version"], v["current"]) for v in versions] == [(3, True), (2, False), (1, False)]
        assert versions[0]["restoredFrom"] == 1

    def test_a_revoked_credential_is_not_leased_again(self, stocked: Path, cli: Cli) -> None:
        cli.ok("credential", "revoke", "shopify-api-key", "--yes")
        assert cli("lease", "create", "shopify-api-key").status == ExitStatus.CONFLICT

    def test_a_deleted_credential_is_gone(self, stocked: Path, cli: Cli) -> None:
        cli.ok("credential", "delete", "shopify-api-key", "--yes")
        assert cli.ok("credential", "list", "-q").lines == ["orders-db"]


class TestToken:
    def test_create_prints_the_token_once_and_what_it_reaches(self, stocked: Path, cli: Cli) -> None:
        result = cli.ok("token", "create", "--agent", "deploy-agent", "--credential", "shopify-*")
        shown = dict(line.split(maxsplit=1) for line in result.lines if not line.startswith("max"))
        assert shown["token"].startswith("vault_token_")
        assert shown["reaches"] == "shopify-api-key"
        assert shown["for"] == "deploy-agent"
        assert shown["role"] == "user"
        assert "not shown again" in result.err
        assert cli.ok("whoami", "-q", VAULT_TOKEN=shown["token"]).out == "deploy-agent\n"
        assert shown["token"] not in cli.ok("token", "show", shown["id"], "-o", "json").out

    def test_create_says_what_to_do_about_a_token_that_reaches_nothing(self, stocked: Path, cli: Cli) -> None:
        result = cli.ok("token", "create", "--agent", "deploy-agent")
        assert "reaches      nothing yet" in result.out
        assert "--credential GLOB" in result.err
        assert "vaultctl credential update NAME --allow agent:deploy-agent" in result.err

    def test_create_quietly_prints_the_token_alone(self, stocked: Path, cli: Cli) -> None:
        result = cli.ok("token", "create", "--agent", "deploy-agent", "-q")
        assert result.out.startswith("vault_token_")
        assert len(result.lines) == 1
        assert result.err == ""

    def test_create_for_a_human_and_for_an_operator(self, stocked: Path, cli: Cli) -> None:
        human = cli.ok("token", "create", "--human", "alice@example.com", "--role", "manager", "-o", "json").json
        assert (human["kind"], human["role"], human["email"]) == ("human", "manager", "alice@example.com")
        operator = cli.ok("token", "create", "--operator", "--ttl", "1d", "-o", "json").json
        assert operator["kind"] == "operator"

    def test_an_agent_can_not_have_a_strong_role(self, stocked: Path, cli: Cli) -> None:
        assert cli("token", "create", "--agent", "a", "--role", "admin").status == ExitStatus.USAGE

    def test_rotate_keeps_the_id_and_kills_the_old_secret(self, stocked: Path, cli: Cli) -> None:
        first = cli.ok("token", "create", "--agent", "deploy-agent", "-o", "json").json
        second = cli.ok("token", "rotate", first["id"], "--ttl", "30d", "-o", "json").json
        assert second["id"] == first["id"]
        assert cli("whoami", VAULT_TOKEN=first["token"]).status == ExitStatus.NOT_AUTHENTICATED
        assert cli("whoami", VAULT_TOKEN=second["token"]).status == ExitStatus.DONE

    def test_list_has_no_secrets(self, stocked: Path, cli: Cli) -> None:
        token = cli.ok("token", "create", "--agent", "deploy-agent", "-q").out.strip()
        for form in ("table", "json", "jsonl", "csv"):
            listed = cli.ok("token", "list", "-o", form).out
            assert "deploy-agent" in listed
            assert token not in listed


class TestLease:
    def test_create_answers_with_the_value_and_the_time_that_was_granted(self, stocked: Path, cli: Cli) -> None:
        lease = cli.ok("lease", "create", "shopify-api-key", "--ttl", "48h", "--purpose", "Test", "-o", "json").json
        assert lease["value"] == API_KEY
        assert lease["ttl"] == "4h"
        assert lease["identity"]["purpose"] == "Test"
        shown = cli.ok("lease", "create", "shopify-api-key")
        assert f"value          {API_KEY}" in shown.out

    def test_create_quietly_prints_the_id_and_not_the_value(self, stocked: Path, cli: Cli) -> None:
        result = cli.ok("lease", "create", "shopify-api-key", "-q")
        assert result.out.startswith("lease_")
        assert API_KEY not in result.out

    def test_create_shows_an_agent_the_reference_where_that_is_all_it_is_given(
        self, stocked: Path, cli: Cli, owner: Vault
    ) -> None:
        cli.ok("credential", "update", "shopify-api-key", "--delivery", "reference")
        issued = owner.tokens.create(agent="deploy-agent", credentials=["shopify-*"])
        with Vault.connect(token=issued.secret) as agent:
            opened = agent.sessions.open("cortex_sess_abc123")
        token = opened.token.reveal()
        shown = cli.ok("lease", "create", "shopify-api-key", VAULT_TOKEN=token)
        assert "vault:lease:" in shown.out
        assert "****cdef" in shown.out
        rows = cli.ok("lease", "create", "shopify-api-key", "-o", "csv", VAULT_TOKEN=token)
        lease = cli.ok("lease", "create", "shopify-api-key", "-o", "json", VAULT_TOKEN=token)
        ref = lease.json["credentialReference"]["ref"]
        assert "value" not in lease.json
        assert "credentialReference.ref" in rows.lines[0]
        assert API_KEY not in shown.out + rows.out + lease.out
        with Vault.connect(token=opened.redeem_token) as runtime:
            assert runtime.leases.redeem(lease.json["id"], ref).value.reveal() == API_KEY
        shown = cli.ok("lease", "show", lease.json["id"])
        assert any(line.split() == ["delivery", "reference"] for line in shown.lines)
        assert any(line.startswith("redeemed") for line in shown.lines)
        outcomes = cli.ok("audit", "--session", "cortex_sess_abc123", columns=300).out
        assert "by reference" in outcomes
        assert "lease.redeemed" in outcomes

    def test_create_outside_of_a_session_says_what_an_agent_needs_for_a_reference(
        self, stocked: Path, cli: Cli, mint: Callable[..., str]
    ) -> None:
        cli.ok("credential", "update", "shopify-api-key", "--delivery", "reference")
        token = mint(agent="deploy-agent", credentials=["shopify-*"])
        refused = cli("lease", "create", "shopify-api-key", VAULT_TOKEN=token)
        assert refused.status == ExitStatus.NOT_ALLOWED
        assert "session" in refused.err

    def test_show_and_renew_have_no_value(self, stocked: Path, cli: Cli) -> None:
        id = cli.ok("lease", "create", "shopify-api-key", "--ttl", "1m", "-q").out.strip()
        renewed = cli.ok("lease", "renew", id, "--ttl", "30m", "-o", "json")
        assert renewed.json["renewals"] == 1
        assert API_KEY not in renewed.out + cli.ok("lease", "show", id, "-o", "json").out

    def test_list_takes_filters(self, session: str, cli: Cli) -> None:
        cli.ok("lease", "create", "shopify-api-key")
        for filters, count in (
            ([], 2),
            (["--agent", "deploy-agent"], 1),
            (["--session", session], 1),
            (["--credential", "orders-db"], 0),
            (["--state", "active"], 1),
            (["--state", "revoked", "--agent", "deploy-agent"], 1),
        ):
            assert len(cli.ok("lease", "list", *filters, "-o", "json").json) == count, filters

    def test_revoke_takes_several_ids_and_reports_those_that_are_not_there(self, stocked: Path, cli: Cli) -> None:
        ids = [cli.ok("lease", "create", "shopify-api-key", "-q").out.strip() for _ in range(2)]
        result = cli("lease", "revoke", ids[0], "lease_nowhere", ids[1])
        assert result.status == ExitStatus.NOT_FOUND
        assert "Revoked 2 leases." in result.err
        assert "error: There is no such lease." in result.err
        assert cli.ok("lease", "list", "--state", "active", "-o", "json").json == []

    def test_revoke_asks_nothing_about_named_leases(self, stocked: Path, cli: Cli) -> None:
        id = cli.ok("lease", "create", "shopify-api-key", "-q").out.strip()
        assert cli.ok("lease", "revoke", id, "--dry-run", "-q").out == f"{id}\n"
        assert cli.ok("lease", "show", id, "-o", "json").json["state"] == "active"
        assert cli.ok("lease", "revoke", id, "-q").out == f"{id}\n"
        assert cli.ok("lease", "show", id, "-o", "json").json["state"] == "revoked"

    def test_revoke_by_filter_lists_under_dry_run_what_would_end(self, stocked: Path, cli: Cli) -> None:
        id = cli.ok("lease", "create", "shopify-api-key", "-q").out.strip()
        result = cli.ok("lease", "revoke", "--credential", "shopify-api-key", "--dry-run")
        assert id in result.out
        assert result.err == "Would revoke 1 lease.\n"


class TestSession:
    def test_list_show_and_end(self, stocked: Path, cli: Cli, mint: Callable[..., str]) -> None:
        with Vault.connect(token=mint(agent="deploy-agent", credentials=["shopify-*"])) as vault:
            opened = vault.sessions.open("cortex_sess_one")
        assert cli.ok("session", "list", "--state", "active", "-q").out == "cortex_sess_one\n"
        cli.ok("lease", "create", "shopify-api-key", VAULT_TOKEN=opened.token.reveal())
        assert cli.ok("session", "show", "cortex_sess_one", "-o", "json").json["activeLeases"] == 1
        ended = cli.ok("session", "end", "cortex_sess_one", "--yes")
        assert "1 lease ended" in ended.err
        assert cli.ok("session", "show", "cortex_sess_one", "-o", "json").json["state"] == "ended"


class TestTenant:
    def test_create_list_show_and_set(self, home: Path, cli: Cli) -> None:
        created = cli.ok("tenant", "create", "other-org", "--max-lease-ttl", "8h", "-o", "json").json
        assert created["maxLeaseTTL"] == "8h"
        assert cli.ok("tenant", "list", "-q").lines == ["my-org", "other-org"]
        assert cli.ok("tenant", "show", "-q").out == "my-org\n"
        assert cli.ok("tenant", "show", "-q", VAULT_TENANT="other-org").out == "other-org\n"
        changed = cli.ok("tenant", "set", "other-org", "--default-lease-ttl", "5m", "-o", "json").json
        assert (changed["defaultLeaseTTL"], changed["maxLeaseTTL"]) == ("5m", "8h")
        assert cli.ok("tenant", "show", "-o", "json").json["defaultLeaseTTL"] == "1h"

    def test_the_flag_is_stronger_than_the_environment_and_stands_anywhere(self, stocked: Path, cli: Cli) -> None:
        cli.ok("tenant", "create", "other-org")
        for argv in (["--tenant", "other-org", "credential", "list"], ["credential", "list", "--tenant", "other-org"]):
            assert cli.ok(*argv, "-o", "json", VAULT_TENANT="my-org").json == []

    def test_a_token_does_not_work_in_another_tenant(self, stocked: Path, cli: Cli, mint: Callable[..., str]) -> None:
        token = mint(agent="deploy-agent")
        cli.ok("tenant", "create", "other-org")
        answers = {
            cli("whoami", "--tenant", tenant, VAULT_TOKEN=token)[:3] for tenant in ("other-org", "never-was-there")
        }
        assert [answer[0] for answer in answers] == [ExitStatus.NOT_AUTHENTICATED]


class TestMcp:
    def test_serve_calls_the_server_with_what_was_asked_for(
        self, home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = {}

        def serve(**settings: object) -> int:
            seen.update(settings)
            return ExitStatus.NOT_AUTHENTICATED

        monkeypatch.setattr("vaultctl.mcp.main.serve", serve)
        result = cli("mcp", "serve", "--config", "f.json", "--tenant", "my-org", "--context", "c", VAULT_TENANT="other")
        assert result.status == ExitStatus.NOT_AUTHENTICATED
        assert seen == {
            "config": Path("f.json"),
            "tenant": "my-org",
            "context": "c",
            "base_url": None,
            "database": None,
            "profile": None,
        }


def test_another_database_can_be_named_anywhere(stocked: Path, cli: Cli, tmp_path: Path) -> None:
    missing = cli("credential", "list", "--database", str(tmp_path / "elsewhere.db"))
    assert missing.status == ExitStatus.UNAVAILABLE
    there = cli.ok("--database", str(stocked / "vault.db"), "credential", "list", "-q")
    assert there.lines == ["orders-db", "shopify-api-key"]


@pytest.mark.parametrize(
    "argv",
    [
        ["credential", "list"],
        ["token", "list"],
        ["lease", "list"],
        ["session", "list"],
        ["audit", "--event", "lease.expired"],
        ["audit", "--agent", "nobody"],
    ],
)
def test_an_empty_list_is_empty_in_every_form(argv: list[str], home: Path, cli: Cli) -> None:
    table = cli.ok(*argv)
    assert (table.out, table.err) == ("", "There are none.\n")
    assert cli.ok(*argv, "-o", "json").out == "[]\n"
    assert cli.ok(*argv, "-o", "jsonl").out == ""
    assert len(cli.ok(*argv, "-o", "csv").lines) == 1
    assert cli.ok(*argv, "-q")[1:] == ("", "")
