"""The four forms of output, byte by byte."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.cli import output
from vaultctl.cli.audit import COLUMNS
from vaultctl.cli.formats import csv_columns, csv_lines, json_text
from vaultctl.cli.invocation import Invocation
from vaultctl.domain.records import (
    AuditEntry,
    Credential,
    Event,
    Identity,
    IssuedLease,
    IssuedToken,
    Lease,
    Session,
    Tenant,
    Token,
)
from vaultctl.domain.text import safe

ENTRIES = [
    AuditEntry(
        id="entry_1",
        seq=7,
        event=Event.LEASE_CREATED,
        timestamp=datetime(2026, 11, 23, 9, 0, 12, tzinfo=UTC),
        tenant_id="my-org",
        identity=Identity(
            type="agent", name="deploy-agent", session_id="cortex_sess_abc123", purpose="Deploying v2.1.0, at last"
        ),
        details={"ttl": "15m"},
        credential_name="deploy-key",
        lease_id="lease_1",
    ),
    AuditEntry(
        id="entry_2",
        seq=8,
        event=Event.LEASE_DENIED,
        timestamp=datetime(2026, 11, 23, 9, 0, 13, tzinfo=UTC),
        tenant_id="my-org",
        identity=Identity(type="agent", name="deploy-agent", session_id="cortex_sess_abc123", purpose="=1+1"),
        details={"rule": "token-scope", "operation": "lease.create"},
        credential_name="orders-db",
    ),
]

GOLDEN = {
    "table": """\
TIME                         EVENT          AGENT         CREDENTIAL  PURPOSE                    LEASE    SESSION             OUTCOME
2026-11-23T09:00:12.000000Z  lease.created  deploy-agent  deploy-key  Deploying v2.1.0, at last  lease_1  cortex_sess_abc123  granted 15m
2026-11-23T09:00:13.000000Z  lease.denied   deploy-agent  orders-db   =1+1                                cortex_sess_abc123  denied: token-scope
""",  # noqa: E501
    "json": """\
[
  {
    "id": "entry_1",
    "seq": 7,
    "event": "lease.created",
    "timestamp": "2026-11-23T09:00:12Z",
    "tenantId": "my-org",
    "identity": {
      "type": "agent",
      "name": "deploy-agent",
      "sessionId": "cortex_sess_abc123",
      "purpose": "Deploying v2.1.0, at last"
    },
    "details": {
      "ttl": "15m"
    },
    "credentialName": "deploy-key",
    "leaseId": "lease_1"
  },
  {
    "id": "entry_2",
    "seq": 8,
    "event": "lease.denied",
    "timestamp": "2026-11-23T09:00:13Z",
    "tenantId": "my-org",
    "identity": {
      "type": "agent",
      "name": "deploy-agent",
      "sessionId": "cortex_sess_abc123",
      "purpose": "=1+1"
    },
    "details": {
      "rule": "token-scope",
      "operation": "lease.create"
    },
    "credentialName": "orders-db"
  }
]
""",
    "csv": """\
id,seq,event,timestamp,tenantId,identity.type,identity.name,identity.userId,identity.email,identity.sessionId,\
identity.purpose,details,credentialName,leaseId\r
entry_1,7,lease.created,2026-11-23T09:00:12Z,my-org,agent,deploy-agent,,,cortex_sess_abc123,\
"Deploying v2.1.0, at last","{""ttl"":""15m""}",deploy-key,lease_1\r
entry_2,8,lease.denied,2026-11-23T09:00:13Z,my-org,agent,deploy-agent,,,cortex_sess_abc123,\
'=1+1,"{""rule"":""token-scope"",""operation"":""lease.create""}",orders-db,\r
""",
}


def shown(form: str, entries: list[AuditEntry], capsys: pytest.CaptureFixture[str], *, quiet: bool = False) -> str:
    run = Invocation()
    run.output = form
    run.quiet = quiet
    output.many(run, entries, AuditEntry, COLUMNS, lambda e: e.id)
    return capsys.readouterr().out


@pytest.mark.parametrize("form", GOLDEN)
def test_a_list_in_each_form(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(form, ENTRIES, capsys) == GOLDEN[form]


def test_jsonl_is_an_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown("jsonl", ENTRIES, capsys).splitlines()
    assert [json.loads(line) for line in lines] == json.loads(GOLDEN["json"])


def test_an_empty_list_in_each_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown("table", [], capsys) == ""
    assert shown("json", [], capsys) == "[]\n"
    assert shown("jsonl", [], capsys) == ""
    assert shown("csv", [], capsys) == GOLDEN["csv"].split("\r\n")[0] + "\r\n"


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
def test_quiet_prints_ids_in_every_form(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(form, ENTRIES, capsys, quiet=True) == "entry_1\nentry_2\n"


@pytest.mark.parametrize("kind", [AuditEntry, Credential, Lease, Token, Session, Tenant, IssuedLease, IssuedToken])
def test_no_field_of_a_record_has_no_column(kind: type) -> None:
    assert len(set(csv_columns(kind))) == len(csv_columns(kind)) > 3
    assert "value" in csv_columns(IssuedLease)
    assert "token" in csv_columns(IssuedToken)


def test_csv_carries_a_secret_value_unchanged() -> None:
    value = '-----BEGIN KEY-----\nabc,"def"\n-----END KEY-----\n'
    lines = csv_lines([{"id": "lease_1", "value": value, "attributes": {"prefix": "=1"}}], ["id", "value"])
    (row,) = csv.DictReader(io.StringIO("".join(lines), newline=""))
    assert row == {"id": "lease_1", "value": value}


@given(st.text(max_size=40))
def test_json_reads_back_exactly_and_shows_nothing_that_steers_a_terminal(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    for ascii_only in (False, True):
        shown = json_text({"text": text}, ascii_only=ascii_only)
        assert json.loads(shown) == {"text": text}
        assert safe(shown) == shown
        assert shown.isascii() or not ascii_only
