"""Records as JSON, with the names of the design, and never a secret but in the four answers that carry one."""

import json
import os
import pickle
from collections import Counter
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.domain import records, requests
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.ids import Drawn, base62, new_id, new_timed_id
from vaultctl.domain.records import (
    AllowedIdentity,
    AuditEntry,
    Credential,
    CredentialReference,
    CredentialState,
    CredentialType,
    CredentialVersion,
    Delivery,
    Event,
    Identity,
    IssuedLease,
    IssuedToken,
    Lease,
    LeaseState,
    OpenedSession,
    Page,
    Policy,
    Record,
    RedeemedLease,
    Revocation,
    Role,
    Session,
    SessionState,
    Tenant,
    Token,
    TokenState,
    WhoAmI,
    json_name,
)
from vaultctl.domain.secrets import Secret
from vaultctl.domain.wire import decode_json, from_json_object, to_json, to_json_object

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
HOUR, MINUTES = Duration.parse("1h"), Duration.parse("15m")
CANARY = "canary-0123456789"

IDENTITY = Identity(type="agent", name="deploy-agent", session_id="cortex_sess_abc123", purpose="Deploying v2.1.0")
LEASE = Lease(
    id="lease_1",
    credential_id="cred_1",
    credential_name="deploy-key",
    credential_version=2,
    identity=IDENTITY,
    ttl=MINUTES,
    issued_at=NOW,
    expires_at=NOW,
    max_expires_at=NOW,
    renewals=1,
    state=LeaseState.ACTIVE,
    delivery=Delivery.REFERENCE,
    renewed_at=NOW,
)
REFERENCE = CredentialReference(ref="vault:lease:x", preview="****1234", metadata={"type": "api-key"})
TOKEN = Token(
    id="tok_1",
    kind="agent",
    role=Role.USER,
    state=TokenState.ACTIVE,
    credentials=("deploy-*",),
    created_at=NOW,
    created_by="root@localhost",
    expires_at=NOW,
    agent="deploy-agent",
    max_lease_ttl=HOUR,
)
SESSION = Session(
    id="mcp_sess_1",
    agent="deploy-agent",
    state=SessionState.ACTIVE,
    token_id="tok_1",
    started_at=NOW,
    last_seen_at=NOW,
    expires_at=NOW,
    active_leases=0,
)


def test_a_lease_has_the_names_of_the_design() -> None:
    assert to_json_object(LEASE) == {
        "id": "lease_1",
        "credentialId": "cred_1",
        "credentialName": "deploy-key",
        "credentialVersion": 2,
        "identity": {
            "type": "agent",
            "name": "deploy-agent",
            "sessionId": "cortex_sess_abc123",
            "purpose": "Deploying v2.1.0",
        },
        "ttl": "15m",
        "issuedAt": "2026-11-23T09:30:00Z",
        "expiresAt": "2026-11-23T09:30:00Z",
        "maxExpiresAt": "2026-11-23T09:30:00Z",
        "renewedAt": "2026-11-23T09:30:00Z",
        "renewals": 1,
        "state": "active",
        "delivery": "reference",
    }


def test_a_human_has_a_user_id_an_address_and_perhaps_a_session() -> None:
    human = Identity(type="human", user_id="u1", email="ada@example.com", session_id="s1")
    assert to_json_object(human) == {"type": "human", "userId": "u1", "email": "ada@example.com", "sessionId": "s1"}


def test_a_credential_has_its_policy_with_acronyms_in_capitals() -> None:
    credential = Credential(
        id="cred_1",
        name="deploy-key",
        type=CredentialType.SSH_KEY,
        state=CredentialState.ACTIVE,
        version=1,
        metadata={"team": "shop"},
        attributes={"algorithm": "ssh-ed25519"},
        policy=Policy(
            default_lease_ttl=MINUTES,
            max_lease_ttl=HOUR,
            allowed_identities=(
                AllowedIdentity(type="agent", name="deploy-*"),
                AllowedIdentity(type="human", email="*@example.com"),
            ),
        ),
        created_at=NOW,
        created_by="root@localhost",
        updated_at=NOW,
    )
    shown = json.loads(json.dumps(to_json_object(credential)))
    assert shown["policy"] == {
        "defaultLeaseTTL": "15m",
        "maxLeaseTTL": "1h",
        "allowedIdentities": [{"type": "agent", "name": "deploy-*"}, {"type": "human", "email": "*@example.com"}],
        "delivery": "value",
    }
    assert (shown["type"], shown["state"], shown["createdBy"]) == ("ssh-key", "active", "root@localhost")


def test_tokens_tenants_sessions_and_entries_have_theirs() -> None:
    assert {"maxLeaseTTL", "createdAt", "createdBy", "expiresAt", "credentials", "kind"} <= to_json_object(TOKEN).keys()
    tenant = Tenant(id="my-org", default_lease_ttl=HOUR, max_lease_ttl=Duration.parse("24h"), created_at=NOW)
    assert to_json_object(tenant) == {
        "id": "my-org",
        "defaultLeaseTTL": "1h",
        "maxLeaseTTL": "1d",
        "createdAt": "2026-11-23T09:30:00Z",
    }
    assert {"tokenId", "startedAt", "lastSeenAt", "activeLeases"} <= to_json_object(SESSION).keys()
    entry = AuditEntry(
        id="entry_1",
        seq=0,
        event=Event.LEASE_CREATED,
        timestamp=NOW,
        tenant_id="my-org",
        identity=IDENTITY,
        details={},
        credential_name="deploy-key",
        lease_id="lease_1",
    )
    assert list(to_json_object(entry)) == [
        *("id", "seq", "event", "timestamp", "tenantId", "identity", "details", "credentialName", "leaseId")
    ]
    version = CredentialVersion(version=2, current=True, attributes={}, created_at=NOW, created_by="x", restored_from=1)
    assert {"restoredFrom", "createdAt"} <= to_json_object(version).keys()
    me = WhoAmI(tenant="my-org", identity=IDENTITY, role=Role.USER, reaches=("deploy-key",))
    assert to_json_object(me).keys() == {"tenant", "identity", "role", "reaches"}


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("id", "id"),
        ("max_ttl", "maxTTL"),
        ("ttl", "ttl"),
        ("default_lease_ttl", "defaultLeaseTTL"),
        ("credential_id", "credentialId"),
        ("expires_at", "expiresAt"),
        ("renew_before_expiry", "renewBeforeExpiry"),
    ],
)
def test_a_field_has_one_json_name(field: str, name: str) -> None:
    assert json_name(field) == name


def test_all_records_and_requests_are_named_so() -> None:
    structs = {kind for module in (records, requests) for kind in vars(module).values() if _is_record(kind)}
    assert len(structs) > 40
    for struct in structs:
        for field in msgspec.structs.fields(struct):
            assert field.encode_name == json_name(field.name)
            assert "_" not in field.encode_name
            assert "Ttl" not in field.encode_name


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)


def test_a_page_has_items_and_a_cursor_if_there_is_more() -> None:
    assert to_json_object(Page(items=())) == {"items": []}
    assert to_json_object(Page(items=(SESSION,), next_cursor="abc"))["nextCursor"] == "abc"
    assert to_json_object([]) == []
    assert to_json_object((SESSION, SESSION)) == [to_json_object(SESSION)] * 2


def test_a_revocation_says_both_numbers_even_if_they_are_nothing() -> None:
    assert to_json_object(Revocation(leases=0)) == {"leases": 0, "sessions": 0}


class TestSecrets:
    """They print as ``****`` and are revealed by four answers alone."""

    def test_the_four_answers_reveal_theirs(self) -> None:
        secret = Secret(CANARY)
        lease = IssuedLease(lease=LEASE, type=CredentialType.API_KEY, value=secret, attributes={"prefix": "x_"})
        shown = to_json_object(lease)
        assert shown["value"] == CANARY
        assert (shown["id"], shown["type"], shown["attributes"]) == ("lease_1", "api-key", {"prefix": "x_"})
        token = to_json_object(IssuedToken(token=TOKEN, secret=secret, reaches=("deploy-key",)))
        assert (token["token"], token["id"], token["reaches"]) == (CANARY, "tok_1", ["deploy-key"])
        session = to_json_object(OpenedSession(session=SESSION, token=secret, redeem_token=Secret("other")))
        assert (session["token"], session["redeemToken"], session["id"]) == (CANARY, "other", "mcp_sess_1")
        redeemed = RedeemedLease(lease=LEASE, type=CredentialType.API_KEY, value=secret, attributes={})
        assert to_json_object(redeemed)["value"] == CANARY

    def test_a_reference_stands_in_the_place_of_the_value(self) -> None:
        lease = IssuedLease(lease=LEASE, type=CredentialType.API_KEY, attributes={}, credential_reference=REFERENCE)
        shown = to_json_object(lease)
        assert "value" not in shown
        assert shown["credentialReference"] == {
            "ref": "vault:lease:x", "preview": "****1234", "metadata": {"type": "api-key"}
        }  # fmt: skip
        assert shown["delivery"] == "reference"

    @pytest.mark.parametrize(
        "record",
        [
            requests.CreateCredential(name="x", type=CredentialType.API_KEY, value=Secret(CANARY)),
            requests.RotateCredential(name="x", value=Secret(CANARY)),
            Secret(CANARY),
            [Secret(CANARY)],
            {"a": [{"b": Secret(CANARY)}]},
            AuditEntry(
                id="e",
                seq=1,
                event=Event.LEASE_CREATED,
                timestamp=NOW,
                tenant_id="t",
                identity=IDENTITY,
                details={"value": Secret(CANARY), "deep": [Secret(CANARY)]},
            ),
        ],
        ids=lambda record: type(record).__name__,
    )
    def test_everything_else_hides_it(self, record: Any) -> None:
        shown = json.dumps(to_json_object(record))
        assert CANARY not in shown
        assert "****" in shown
        assert CANARY not in repr(record)
        assert CANARY not in str(record)

    def test_no_way_of_printing_shows_one(self) -> None:
        secret = Secret(CANARY)
        for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", f"{secret:>20}", format(secret)):
            assert CANARY not in shown
            assert "****" in shown
        assert CANARY not in repr(IssuedToken(token=TOKEN, secret=secret, reaches=()))
        assert CANARY not in repr([{"a": secret}])
        assert secret.reveal() == CANARY

    def test_one_is_not_pickled_nor_a_plain_attribute(self) -> None:
        secret = Secret(CANARY)
        with pytest.raises(TypeError):
            pickle.dumps(secret)
        assert not hasattr(secret, "__dict__")

    def test_two_are_equal_if_what_they_hold_is(self) -> None:
        assert Secret(CANARY) == Secret(CANARY)
        assert hash(Secret(CANARY)) == hash(Secret(CANARY))
        assert Secret(CANARY) != Secret("other")
        assert Secret(CANARY) != CANARY


class TestReading:
    """From JSON: what does not fit is refused without being quoted."""

    def test_what_is_written_reads_back(self) -> None:
        for record in (LEASE, TOKEN, SESSION):
            assert from_json_object(json.loads(json.dumps(to_json_object(record))), type(record)) == record

    def test_a_duration_reads_as_people_write_it(self) -> None:
        request = from_json_object({"credentialName": "x", "ttl": "1h30m"}, requests.CreateLease)
        assert request.ttl == Duration.parse("90m")

    @pytest.mark.parametrize(
        "value",
        [
            {"name": "x", "type": CANARY},
            {"name": "x", "type": f"it's {CANARY}"},
            {"name": "x", "type": f"'{CANARY}' and \"{CANARY}\""},
            {"name": "x", "type": [CANARY]},
            {"name": [CANARY]},
            {"name": "x", "metadata": {CANARY: [CANARY]}},
            CANARY,
            [CANARY],
            None,
        ],
        ids=str,
    )
    def test_what_does_not_fit_is_not_quoted(self, value: Any) -> None:
        with pytest.raises(InvalidInput) as raised:
            from_json_object(value, requests.CreateCredential)
        assert CANARY not in f"{raised.value} {raised.value.hint}"

    def test_a_malformed_duration_is_not_quoted(self) -> None:
        with pytest.raises(InvalidInput) as raised:
            from_json_object({"credentialName": "x", "ttl": CANARY}, requests.CreateLease)
        assert CANARY not in f"{raised.value} {raised.value.hint}"

    def test_a_field_that_is_not_known_is_refused(self) -> None:
        with pytest.raises(InvalidInput):
            from_json_object({"credentialName": "x", "identity": {"name": "root"}}, requests.CreateLease)


class TestIds:
    """A prefix and 22 random digits in base 62."""

    def test_an_id_is_a_prefix_and_22_digits(self) -> None:
        assert new_id("lease", lambda count: bytes(range(count))) == "lease_0123456789ABCDEFGHIJKL"
        assert new_id("lease", bytes) == "lease_" + "0" * 22

    def test_bytes_that_would_make_some_digits_likelier_are_replaced_by_further_ones(self) -> None:
        drawn = iter((b"\xf8\xff" * 16, b"\xfb" * 20 + bytes(12), bytes(32)))
        assert new_id("lease", lambda _count: next(drawn)) == "lease_" + "0" * 22

    def test_ids_with_a_time_sort_by_it(self) -> None:
        moments = (0, 1, 61, 62, 1_800_000_000_000_000, 1_800_000_000_000_001, 13_537_086_546_263_551)
        ids = [new_timed_id("lease", moment, lambda count: b"\x00" * count) for moment in moments]
        assert ids == sorted(ids)
        assert {len(id) for id in ids} == {len("lease_") + 22}
        assert len({new_timed_id("lease", 1, os.urandom) for _ in range(100)}) == 100

    def test_all_digits_are_equally_likely(self) -> None:
        digits = Counter(new_id("x", lambda count, byte=byte: bytes([byte]) * count)[2] for byte in range(248))
        assert len(digits) == 62
        assert set(digits.values()) == {4}

    @given(st.lists(st.integers(1, 3_000)))
    def test_bytes_that_are_drawn_at_once_are_given_out_once(self, sizes: list[int]) -> None:
        source = Random(1)
        drawn: list[bytes] = []

        def draw(count: int) -> bytes:
            drawn.append(source.randbytes(count))
            return drawn[-1]

        given_out = Drawn(draw)
        rest = b""
        for size in sizes:
            before, part = len(drawn), given_out(size)
            assert len(part) == size
            if len(drawn) > before:
                rest += drawn[-1]
            assert rest.startswith(part)
            rest = rest[size:]

    @given(st.lists(st.integers(1, 3_000)))
    def test_digits_that_are_drawn_at_once_are_given_out_once(self, sizes: list[int]) -> None:
        given_out = Drawn(Random(1).randbytes)
        parts = [given_out.digits(size) for size in sizes]
        assert [len(part) for part in parts] == sizes
        at_once = Drawn(Random(1).randbytes).digits(sum(sizes))
        assert "".join(parts) == at_once

    @given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
    def test_different_bytes_have_different_digits_of_one_width(self, one: bytes, other: bytes) -> None:
        assert len(base62(one, 43)) == 43
        assert base62(one, 43).isalnum()
        assert (base62(one, 43) == base62(other, 43)) == (one == other)


@pytest.mark.parametrize(
    "record",
    [
        LEASE,
        TOKEN,
        SESSION,
        IssuedLease(lease=LEASE, type=CredentialType.API_KEY, value=Secret(CANARY), attributes={"prefix": "sk_"}),
        IssuedLease(lease=LEASE, type=CredentialType.API_KEY, attributes={}, credential_reference=REFERENCE),
        RedeemedLease(lease=LEASE, type=CredentialType.API_KEY, value=Secret(CANARY), attributes={}),
        IssuedToken(token=TOKEN, secret=Secret(CANARY), reaches=("a",)),
        OpenedSession(session=SESSION, token=Secret(CANARY), redeem_token=Secret("other")),
        Page(items=(LEASE, LEASE), next_cursor="x"),
        Revocation(leases=0),
        [LEASE],
    ],
    ids=lambda record: type(record).__name__,
)
def test_json_text_is_the_same_data_and_reads_back(record: Any) -> None:
    assert json.loads(to_json(record)) == json.loads(json.dumps(to_json_object(record)))
    if isinstance(record, Record) and not isinstance(record, Page):
        assert decode_json(to_json(record), type(record)) == record
