"""``vaultctl audit``: which run of which agent used what, when and why."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from vaultctl.cli.audit import outcome
from vaultctl.domain.errors import ExitStatus
from vaultctl.domain.records import AuditEntry, Event, Identity


def entry(event: Event, *, human: bool = False, lease: bool = False, **details: Any) -> AuditEntry:
    agent = Identity(type="agent", name="deploy-agent")
    return AuditEntry(
        id="entry_1",
        seq=0,
        event=event,
        timestamp=datetime(2026, 11, 23, tzinfo=UTC),
        tenant_id="my-org",
        identity=Identity(type="human", email="alice@example.com") if human else agent,
        details=details,
        lease_id="lease_1" if lease else None,
    )


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        (entry(Event.LEASE_CREATED, lease=True, ttl="15m"), "granted 15m"),
        (entry(Event.LEASE_CREATED, lease=True, ttl="4h", requestedTTL="2d"), "granted 4h of 2d"),
        (entry(Event.LEASE_RENEWED, lease=True, ttl="30m"), "renewed 30m"),
        (entry(Event.LEASE_EXPIRED, lease=True, reason="expired"), "expired"),
        (entry(Event.LEASE_REVOKED, lease=True, reason="revoked"), "revoked"),
        (
            entry(Event.LEASE_REVOKED, human=True, lease=True, reason="token revoked", agent="deploy-agent"),
            "revoked: token revoked (deploy-agent)",
        ),
        (entry(Event.LEASE_DENIED, rule="token-scope", operation="lease.create"), "denied: token-scope"),
        (entry(Event.LEASE_DENIED, operation="lease.create"), "denied"),
        (entry(Event.ACCESS_DENIED, rule="role", operation="token.create"), "denied: role in token.create"),
        (entry(Event.TOKEN_CREATED, human=True, agent="deploy-agent"), "ok (deploy-agent)"),
        (entry(Event.TOKEN_REVOKED, human=True, sessions=2, leases=1), "revoked, with 2 sessions and 1 lease"),
        (entry(Event.SESSION_ENDED, reason="ended", leases=0), "ended"),
        (entry(Event.SESSION_ENDED, reason="silent", leases=3), "ended: silent, with 3 leases"),
        (entry(Event.CREDENTIAL_ROTATED, version=2), "ok"),
    ],
)
def test_the_outcome_says_what_came_of_it(entry: AuditEntry, shown: str) -> None:
    assert outcome(entry) == shown


def test_a_run_is_a_readable_table(session: str, cli: Cli) -> None:
    header, rule, *rows = cli.ok("audit", "--session", session, terminal=True, columns=160, NO_COLOR="1").lines
    assert set(rule) == {"─"}
    assert header.split() == ["TIME", "EVENT", "AGENT", "CREDENTIAL", "PURPOSE", "LEASE", "OUTCOME"]
    assert [row.split()[1] for row in rows] == [
        "session.started",
        "token.exchanged",
        "lease.created",
        "lease.renewed",
        "lease.denied",
        "lease.revoked",
    ]
    assert "deploy-agent  shopify-api-key  Fetch the latest orders" in rows[2]
    assert rows[2].endswith("granted 15m")
    assert rows[4].endswith("denied: allowed-identities")


def test_on_80_columns_every_line_fits_and_nothing_is_missing(session: str, cli: Cli) -> None:
    result = cli.ok("audit", "--session", session, terminal=True, columns=80, NO_COLOR="1")
    assert max(len(line) for line in result.lines) <= 80
    assert "    purpose: Fetch the latest orders  lease: lease_" in result.out
    assert result.out.count("lease_") == 3
    for words in ("deploy-agent", "shopify-api-key", "orders-db", "granted 15m", "Curiosity"):
        assert words in result.out


def test_denials_are_marked_by_a_word_and_on_a_terminal_by_colour(session: str, cli: Cli) -> None:
    plain = cli.ok("audit", "--session", session)
    assert "\x1b" not in plain.out
    assert "denied: allowed-identities" in plain.out
    coloured = cli.ok("audit", "--session", session, terminal=True)
    assert "\x1b[31mdenied: allowed-identities\x1b[0m" in coloured.out
    for settings in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in cli.ok("audit", "--session", session, terminal=True, **settings).out


def test_off_a_terminal_ids_and_times_are_whole(session: str, cli: Cli) -> None:
    entries = cli.ok("audit", "--session", session, "-o", "json").json
    table = cli.ok("audit", "--session", session, columns=40).out
    for item in entries:
        assert item["timestamp"][:19] in table
        assert item.get("leaseId", "") in table
    assert len(table.splitlines()) == len(entries) + 1


@pytest.mark.parametrize(
    ("filters", "events"),
    [
        (["--event", "lease.denied"], ["lease.denied"]),
        (["--event", "lease.denied", "--event", "lease.renewed"], ["lease.renewed", "lease.denied"]),
        (["--credential", "orders-db"], ["credential.created", "lease.denied"]),
        (["--agent", "deploy-agent", "--limit", "1"], ["lease.revoked"]),
        (["--session", "cortex_sess_abc123", "--limit", "2"], ["lease.denied", "lease.revoked"]),
        (["--filter", "identity.name=deploy-agent", "--filter", "event=lease.denied"], ["lease.denied"]),
        (["--filter", "identity.sessionId=cortex_sess_abc123", "--event", "lease.created"], ["lease.created"]),
        (["--filter", "identity.name=nobody"], []),
        (["--since", "1h", "--event", "tenant.created"], ["tenant.created"]),
        (["--until", "1h"], []),
        (["--since", "2100-01-01"], []),
        (["--since", "2020-01-01", "--until", "2100-01-01T00:00:00+02:00", "--limit", "1"], ["lease.revoked"]),
    ],
)
def test_filters(filters: list[str], events: list[str], session: str, cli: Cli) -> None:
    found = cli.ok("audit", *filters, "-o", "json").json
    assert [item["event"] for item in found] == events


def test_a_lease_can_be_followed(session: str, cli: Cli) -> None:
    (created,) = cli.ok("audit", "--event", "lease.created", "-o", "json").json
    found = cli.ok("audit", "--lease", created["leaseId"], "-o", "json").json
    assert [item["event"] for item in found] == ["lease.created", "lease.renewed", "lease.revoked"]


def test_the_newest_100_are_shown_unless_a_limit_says_otherwise(home: Path, cli: Cli) -> None:
    from vaultctl.client import Vault

    with Vault.embedded() as vault:
        for number in range(110):
            vault.credentials.create(f"c{number}", "generic-secret", "12345678")
    assert len(cli.ok("audit", "-q").lines) == 100
    assert len(cli.ok("audit", "--limit", "0", "-q").lines) == 111
    newest = cli.ok("audit", "--limit", "3", "-o", "json").json
    assert [item["credentialName"] for item in newest] == ["c107", "c108", "c109"]


@pytest.mark.parametrize("filters", [["--filter", "nonsense=1"], ["--event", "lease.stolen"]])
def test_an_unknown_field_or_event_is_a_usage_error(filters: list[str], home: Path, cli: Cli) -> None:
    result = cli("audit", *filters)
    assert result.status == ExitStatus.USAGE
    assert "lease.created" in result.err or "identity.sessionId" in result.err


def test_an_agent_reads_the_trail_of_its_own_session_only(session: str, cli: Cli, mint: Any) -> None:
    token = mint(agent="other-agent")
    assert cli("audit", "--session", session, VAULT_TOKEN=token).status == ExitStatus.NOT_ALLOWED


def test_who_had_a_credential_at_a_moment(stocked: Path, cli: Cli) -> None:
    lease = cli.ok("lease", "create", "shopify-api-key", "--purpose", "Deploying", "-o", "json").json
    cli.ok("lease", "revoke", lease["id"], "--yes")
    argv = ("audit", "--credential", "shopify-api-key", "--at")
    (held,) = cli.ok(*argv, lease["issuedAt"], "-o", "json").json
    assert (held["id"], held["identity"]["purpose"], held["state"]) == (lease["id"], "Deploying", "revoked")
    assert "Deploying" in cli.ok(*argv, lease["issuedAt"]).out
    assert cli.ok(*argv, "2020-01-01", "-o", "json").json == []
    for wrong in (["--at", "1h"], [*argv[1:], "1h", "--event", "lease.created"], [*argv[1:], "1h", "--follow"]):
        assert cli("audit", *wrong).status == ExitStatus.USAGE


def test_counts_have_bars_on_a_terminal_only(stocked: Path, cli: Cli) -> None:
    found = cli.ok("audit", "stats", "-o", "json").json
    assert {"name": "credential.created", "entries": 2} in found
    assert cli.ok("audit", "stats", "--by", "credential", "-o", "csv").lines[0] == "name,entries"
    assert "####" in cli.ok("audit", "stats", terminal=True).out
    assert "#" not in cli.ok("audit", "stats", "--by", "day").out
    assert cli("audit", "stats", "--by", "color").status == ExitStatus.USAGE
