"""Rule 7: writing to the database grants nothing, and a row that was copied elsewhere does not decrypt."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.engine.conftest import Workshop
from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain.errors import VaultError, VaultLocked, VerificationFailed
from vaultctl.domain.records import LeaseState
from vaultctl.engine.engine import Engine
from vaultctl.store.rows import CredentialRow, LeaseRow, Row, SessionRow, TenantRow, TokenRow

AUTHORITY: tuple[type[Row], ...] = (TenantRow, CredentialRow, TokenRow, SessionRow, LeaseRow)
COLUMNS = [(row.table, column) for row in AUTHORITY for column in row.__struct_fields__]
KEYS = {row.table: {*row.key, *(("hash",) if row is TokenRow else ())} for row in AUTHORITY}


class Stage:
    """A session with a lease, and somebody who writes to its database."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.owner = workshop.world.owner()
        self.owner.credentials.create("api", "api-key", "key-of-api-0001", allow=["agent:ours"], max_ttl="2h")
        self.owner.credentials.create("hidden", "api-key", "key-of-hidden-1", allow=["agent:other"])
        self.agent = workshop.world.agent("ours", "api", max_lease_ttl="1h")
        self.session = workshop.world.session(self.agent, "cortex_sess_1")
        self.lease = self.session.leases.create("api", ttl="10m").id

    def write(self, statement: str, *values: Any) -> int:
        connection = sqlite3.connect(self.workshop.path, isolation_level=None)
        try:
            return connection.execute(statement, values).rowcount
        finally:
            connection.close()

    def rows(self, query: str, *values: Any) -> list[Any]:
        connection = sqlite3.connect(self.workshop.path, isolation_level=None)
        try:
            return connection.execute(query, values).fetchall()
        finally:
            connection.close()

    def everything_works(self) -> None:
        assert self.session.leases.create("api").value.reveal() == "key-of-api-0001"
        self.session.leases.renew(self.lease, "20m")


@pytest.fixture
def stage(workshop: Workshop) -> Stage:
    made = Stage(workshop)
    made.everything_works()
    return made


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_no_column_of_a_row_that_grants_authority_can_be_changed(stage: Stage, table: str, column: str) -> None:
    key = KEYS[table]
    for before, *values in stage.rows(f"SELECT {column}, {', '.join(key)} FROM {table} WHERE tenant = 'my-org'"):
        match before:
            case None:
                after: Any = 1
            case int():
                after = before + 1_000_000
            case str():
                after = before + "x"
            case _:
                after = bytes(before[:-1]) + bytes([before[-1] ^ 1])
        where = " AND ".join(f"{name} = ?" for name in key)
        stage.write(f"UPDATE {table} SET {column} = ? WHERE {where}", after, *values)
    with pytest.raises(VaultError) as raised:
        stage.everything_works()
    if column not in KEYS[table]:
        assert type(raised.value) is VerificationFailed
        assert "key-of" not in str(raised.value)


ESCALATIONS: dict[str, str] = {
    "a wider policy": "UPDATE credentials SET allowed_identities = '[]' WHERE name = 'hidden'",
    "another's policy with its code": (
        "UPDATE credentials SET (allowed_identities, mac) = "
        "(SELECT allowed_identities, mac FROM credentials WHERE name = 'api') WHERE name = 'hidden'"
    ),
    "a wider token": "UPDATE tokens SET credentials = '[\"*\"]', mac = x'00'",
    "a stronger role": "UPDATE tokens SET role = 'admin'",
    "no code at all": "UPDATE tokens SET role = 'admin', mac = x''",
    "a longer maximum": "UPDATE tenants SET max_lease_ttl = 100000000 WHERE tenant = 'my-org'",
}


@pytest.mark.parametrize("name", ESCALATIONS)
def test_what_is_written_into_the_database_grants_nothing(stage: Stage, name: str) -> None:
    assert stage.write(ESCALATIONS[name])
    for caller in (stage.agent, stage.session):
        for act in (lambda c=caller: c.leases.create("hidden"), lambda c=caller: c.tokens.list()):
            with pytest.raises(VaultError):
                act()


def test_a_token_cannot_be_forged_from_another(stage: Stage) -> None:
    columns = ", ".join(column for column in TokenRow.__struct_fields__ if column not in ("id", "hash", "role"))
    stage.write(
        f"INSERT INTO tokens (id, hash, role, {columns}) "
        f"SELECT 'tok_forged', x'{'00' * 32}', 'admin', {columns} FROM tokens WHERE kind = 'agent'"
    )
    with pytest.raises(VerificationFailed):
        stage.owner.tokens.get("tok_forged")


@pytest.mark.parametrize("table", [row.table for row in AUTHORITY if row is not TenantRow])
def test_a_row_of_another_tenant_is_nothing_in_this_one(stage: Stage, table: str) -> None:
    other = stage.workshop.world.owner("other")
    stage.write(f"UPDATE {table} SET tenant = 'other' WHERE tenant = 'my-org'")
    reads: dict[str, Callable[[], object]] = {
        "credentials": other.credentials.list,
        "tokens": other.tokens.list,
        "sessions": other.sessions.list,
        "leases": other.leases.list,
    }
    with pytest.raises(VerificationFailed):
        reads[table]()


@pytest.mark.parametrize("column", ["wrapped_dek", "sealed_value", "both"])
@pytest.mark.parametrize("source", ["another credential", "an earlier version", "another tenant"])
def test_a_value_that_was_copied_elsewhere_does_not_decrypt(stage: Stage, source: str, column: str) -> None:
    owner = stage.owner
    (api,) = stage.rows("SELECT id FROM credentials WHERE name = 'api'")[0]
    match source:
        case "another credential":
            where = "credential_id = (SELECT id FROM credentials WHERE name = 'hidden')"
        case "an earlier version":
            owner.credentials.rotate("api", "key-of-api-0002")
            where = f"credential_id = '{api}' AND version = 1"
        case _:
            stage.workshop.world.owner("other").credentials.create("api", "api-key", "key-of-another")
            where = "tenant = 'other'"
    current = owner.credentials.get("api").version
    columns = ["wrapped_dek", "sealed_value"] if column == "both" else [column]
    for each in columns:
        stage.write(
            f"UPDATE credential_versions SET {each} = (SELECT {each} FROM credential_versions WHERE {where}) "
            "WHERE credential_id = ? AND version = ?",
            api,
            current,
        )
    with pytest.raises(VerificationFailed) as raised:
        stage.session.leases.create("api")
    assert "key-of" not in str(raised.value)


def test_a_changed_entry_of_the_log_is_not_taken_for_one(stage: Stage) -> None:
    stage.write("UPDATE entries SET body = x'7b7d' WHERE seq = 1")
    with pytest.raises(VerificationFailed):
        stage.owner.audit_log.query(limit=None)


class TestReaper:
    """What was tampered with is left for doctor, and keeps nothing else from being recorded."""

    def test_a_changed_lease_is_left_as_it_is(self, stage: Stage) -> None:
        kept = stage.owner.credentials.create("mine", "api-key", "key-of-mine-001").name
        changed, other = (stage.owner.leases.create(kept, ttl="5m").id for _ in range(2))
        stage.write("UPDATE leases SET purpose = 'changed' WHERE id = ?", changed)
        stage.workshop.clock.advance("5m")
        assert stage.workshop.engine.reap() == 1
        assert stage.owner.leases.get(other).state is LeaseState.EXPIRED
        states = dict(stage.rows("SELECT id, state FROM leases"))
        assert states[changed] == "active"

    @pytest.mark.parametrize("table", ["tokens", "leases"])
    def test_a_changed_row_of_one_session_does_not_keep_others_from_ending(self, stage: Stage, table: str) -> None:
        stage.session.leases.create("api", ttl="1h")
        other = stage.workshop.world.agent("other", "*")
        other.sessions.open("cortex_sess_2")
        brief = other.leases.create("hidden", ttl="1m").id
        stage.write(f"UPDATE {table} SET agent = 'changed' WHERE session_id = 'cortex_sess_1'")
        stage.workshop.clock.advance("16m")
        with suppress(VaultError):
            while stage.workshop.engine.reap():
                pass
        states = dict(stage.rows("SELECT id, state FROM sessions"))
        assert states["cortex_sess_2"] == "ended"
        assert dict(stage.rows("SELECT id, state FROM leases"))[brief] == "expired"


def test_doctors_inspection_names_what_was_changed_and_nothing_else(stage: Stage) -> None:
    assert stage.workshop.engine.inspect() == ([], [], [])
    stage.write("UPDATE leases SET purpose = 'changed' WHERE id = ?", stage.lease)
    stage.write("UPDATE credentials SET delivery = 'value', version = 9 WHERE name = 'hidden'")
    stage.write("DELETE FROM entries WHERE tenant = 'my-org' AND seq = 2")
    changed, superseded, incomplete = stage.workshop.engine.inspect()
    assert len(changed) == 2
    assert any(stage.lease in row for row in changed)
    assert any("hidden" in row for row in changed)
    assert (superseded, incomplete) == ([], ["my-org"])


def test_the_root_key_of_another_vault_opens_nothing(workshop: Workshop) -> None:
    for root in (RootKey.new(os.urandom), RootKey(workshop.root.id, os.urandom(32))):
        with pytest.raises(VaultLocked):
            Engine(workshop.store, root)
