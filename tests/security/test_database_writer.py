"""Writing to the database grants nothing, and stops nobody else.

The attacker here can write any row, column and trigger, and knows the schema, but not the root key.
"""

import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.conftest import Clock
from tests.contract.world import secret_of
from tests.security.conftest import Scene
from vaultctl.client.vault import Vault
from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain.errors import (
    NotAuthenticated,
    NotFound,
    VaultError,
    VaultLocked,
    VaultUnavailable,
    VerificationFailed,
)
from vaultctl.domain.records import LeaseState
from vaultctl.engine.engine import Engine
from vaultctl.store.rows import CredentialRow, LeaseRow, MemberRow, Row, SessionRow, TenantRow, TokenRow
from vaultctl.store.sqlite import SqliteStore

AUTHORITY: tuple[type[Row], ...] = (TenantRow, CredentialRow, TokenRow, MemberRow, SessionRow, LeaseRow)
NOT_FOR_THE_AGENT = "hidden-value-0123456789"
REPLAY = "a row put back as the vault itself once wrote it is authentic: only a state kept elsewhere could tell"


class Cast(NamedTuple):
    """Everybody in the attacked vault. The attacker is, or works for, ``agent``."""

    scene: Scene
    owner: Vault
    agent: Vault
    agent_token: str
    session: Vault
    lease: str
    strong_token: str
    other_tenant: Vault


@pytest.fixture
def cast(scene: Scene) -> Cast:
    owner = scene.owner
    owner.credentials.create("reached", "generic-secret", "reached-value-0123456789")
    owner.credentials.create("hidden", "generic-secret", NOT_FOR_THE_AGENT, allow=["agent:other"])
    owner.credentials.create("beyond", "generic-secret", NOT_FOR_THE_AGENT)
    issued = owner.tokens.create(agent="ours", credentials=["reached", "hidden"], max_lease_ttl="2h")
    strong = owner.tokens.create(agent="other", credentials=["*"])
    owner.team.invite("member@example.com", "user")
    owner.team.invite("chief@example.com", "manager")
    agent = scene.world.connect(issued)
    session = scene.world.session(agent, "mcp_sess_ours")
    lease = session.leases.create("reached", ttl="1h")
    other_tenant = scene.world.owner("elsewhere")
    other_tenant.credentials.create("theirs", "generic-secret", "their-value-0123456789")
    return Cast(scene, owner, agent, issued.token.id, session, lease.id, strong.token.id, other_tenant)


def failure_of(act: Callable[[], object]) -> VaultError | None:
    """How ``act`` fails; None if it does not. Anything that is not ours goes up."""
    try:
        act()
    except VaultError as error:
        return error
    return None


def row_of(scene: Scene, table: str, where: str) -> dict[str, Any]:
    """A row as it is stored, by column."""
    connection = sqlite3.connect(scene.database)
    connection.row_factory = sqlite3.Row
    row = dict(connection.execute(f"SELECT * FROM {table} WHERE {where}").fetchone())
    connection.close()
    return row


def found_by_doctor(scene: Scene) -> list[str]:
    return [what for found in scene.door.engine.inspect() for what in found]


# Every column of every row that grants authority

_MINE = {
    "tenants": "tenant = 'my-org'",
    "credentials": "name = 'reached'",
    "tokens": "agent = 'ours' AND kind = 'agent'",
    "sessions": "id = 'mcp_sess_ours'",
    "leases": "agent = 'ours'",
    "members": "email = 'member@example.com'",
}
USES: dict[str, Callable[[Cast], object]] = {
    "tenants": lambda cast: cast.agent.leases.create("reached"),
    "credentials": lambda cast: cast.agent.leases.create("reached"),
    "tokens": lambda cast: cast.agent.leases.create("reached"),
    "sessions": lambda cast: cast.session.leases.create("reached"),
    "leases": lambda cast: cast.session.leases.renew(cast.lease),
    "members": lambda cast: cast.scene.owner.team.get("member@example.com"),
}
COLUMNS = [(kind.table, column) for kind in AUTHORITY for column in kind.__struct_fields__]


def other_values(value: Any) -> list[Any]:
    """Values of the same kind that are not this one, and values of every other kind that SQLite keeps."""
    strange: list[Any] = [b"\0" * 32, b"", "nonsense", "", 7, -1, 2**62, 1.5, None]
    match value:
        case int():
            return [value + 1, value * 1_000, *strange]
        case str():
            return [value + "x", value.upper(), *strange]
        case bytes():
            return [bytes([value[0] ^ 1]) + value[1:], value[:-1], value + b"\0", value.hex(), *strange]
    return ["mcp_sess_ours", *strange]


@pytest.mark.parametrize(("table", "column"), COLUMNS)
def test_a_row_with_any_column_changed_is_not_believed(cast: Cast, table: str, column: str) -> None:
    # Found by its code, or where that is what is changed by what else it was found by.
    row = _MINE[table] if column == "mac" else f"hex(mac) = '{_code_of(cast, table)}'"
    before = cast.scene.one(f"SELECT {column} FROM {table} WHERE {row}")
    for value in other_values(before):
        try:
            cast.scene.overwrite(table, row, **{column: value})
        except sqlite3.IntegrityError:
            continue
        stored = cast.scene.one(f"SELECT {column} FROM {table} WHERE {row}")
        if (type(stored), stored) != (type(before), before):
            failure = failure_of(lambda: USES[table](cast))
            assert isinstance(failure, VerificationFailed | NotFound | NotAuthenticated), f"{column} = {value!r}"
            assert found_by_doctor(cast.scene), f"{column} = {value!r}"
            cast.other_tenant.leases.create("theirs")
        cast.scene.overwrite(table, row, **{column: before})
    USES[table](cast)


def _code_of(cast: Cast, table: str) -> Any:
    return cast.scene.one(f"SELECT hex(mac) FROM {table} WHERE {_MINE[table]}")


def without_constraints(scene: Scene, table: str) -> None:
    """The same table with the same rows, and nothing that keeps NULL or a second row of the same key out of it."""
    connection = sqlite3.connect(scene.database)
    connection.executescript(
        f"ALTER TABLE {table} RENAME TO before; CREATE TABLE {table} AS SELECT * FROM before; DROP TABLE before;"
    )
    connection.close()


@pytest.mark.parametrize("table", [kind.table for kind in AUTHORITY])
def test_a_row_without_a_code_is_not_believed_whatever_the_schema_allows(cast: Cast, table: str) -> None:
    without_constraints(cast.scene, table)
    cast.scene.overwrite(table, _MINE[table], mac=None)
    failure = failure_of(lambda: USES[table](cast))
    assert isinstance(failure, VerificationFailed | VaultUnavailable)


def test_an_admin_whom_a_writer_to_the_database_made_up_does_not_authenticate(cast: Cast) -> None:
    import os

    from vaultctl.crypto.tokens import hash_of, new_token_secret

    forged = new_token_secret(os.urandom)
    without_constraints(cast.scene, "tokens")
    token = dict.fromkeys(TokenRow.__struct_fields__) | {
        "tenant": "my-org",
        "id": "tok_forged",
        "hash": hash_of(forged),
        "kind": "human",
        "role": "admin",
        "email": "evil@example.com",
        "user_id": "evil@example.com",
        "credentials": "[]",
        "expires_at": cast.scene.clock.micros * 2,
        "created_at": 0,
        "created_by": "evil",
    }
    marks = ", ".join("?" * len(token))
    cast.scene.sql(f"INSERT INTO tokens ({', '.join(token)}) VALUES ({marks})", *token.values())
    evil = cast.scene.world.connect(forged)
    for act in (evil.whoami, lambda: evil.tokens.create(agent="x"), lambda: evil.leases.create("beyond")):
        assert isinstance(failure_of(act), VerificationFailed | NotAuthenticated | VaultUnavailable)


# Rows that were not there


def copied(scene: Scene, table: str, where: str, **changes: Any) -> None:
    """Insert a copy of one row with some columns changed; what has its key goes."""
    connection = sqlite3.connect(scene.database)
    connection.row_factory = sqlite3.Row
    (row,) = connection.execute(f"SELECT * FROM {table} WHERE {where}").fetchall()
    columns = dict(row) | changes
    marks = ", ".join("?" * len(columns))
    connection.execute(f"REPLACE INTO {table} ({', '.join(columns)}) VALUES ({marks})", [*columns.values()])
    connection.commit()
    connection.close()


def test_a_strong_row_under_a_weak_token_is_not_believed(cast: Cast) -> None:
    """All authority of the strong token, and the secret of the weak one."""
    weak = cast.scene.one("SELECT hash FROM tokens WHERE id = ?", cast.agent_token)
    cast.scene.sql("UPDATE tokens SET hash = x'00' WHERE id = ?", cast.agent_token)
    cast.scene.overwrite("tokens", f"id = '{cast.strong_token}'", hash=weak)
    assert isinstance(failure_of(lambda: cast.agent.leases.create("hidden")), VerificationFailed)


def test_the_columns_of_a_strong_token_in_the_row_of_a_weak_one_are_not_believed(cast: Cast) -> None:
    for columns in (("credentials",), ("credentials", "agent"), ("credentials", "agent", "mac")):
        changes = {
            column: cast.scene.one(f"SELECT {column} FROM tokens WHERE id = ?", cast.strong_token) for column in columns
        }
        cast.scene.overwrite("tokens", f"id = '{cast.agent_token}'", **changes)
        assert isinstance(failure_of(lambda: cast.agent.leases.create("hidden")), VerificationFailed)


@pytest.mark.parametrize("mac", [b"", b"\0" * 32, None])
def test_a_token_that_the_vault_did_not_mint_does_not_authenticate(cast: Cast, mac: bytes | None) -> None:
    import os

    from vaultctl.crypto.tokens import hash_of, new_token_secret

    forged = new_token_secret(os.urandom)
    changes = {"id": "tok_forged", "hash": hash_of(forged)} | ({} if mac is None else {"mac": mac})
    copied(cast.scene, "tokens", f"id = '{cast.strong_token}'", **changes)
    assert isinstance(failure_of(cast.scene.world.connect(forged).whoami), VerificationFailed)
    assert cast.agent.whoami().reaches == ("reached",)


def test_the_row_of_another_credential_under_a_reachable_name_is_not_believed(cast: Cast) -> None:
    copied(cast.scene, "credentials", "name = 'beyond'", name="reached", id="cred_other")
    assert isinstance(failure_of(lambda: cast.agent.leases.create("reached")), VerificationFailed)
    cast.scene.sql("DELETE FROM credentials WHERE name = 'reached'")
    cast.scene.overwrite("credentials", "name = 'beyond'", name="reached")
    assert isinstance(failure_of(lambda: cast.agent.leases.create("reached")), VerificationFailed)


@pytest.mark.parametrize("with_keys", [False, True])
def test_a_credential_copied_into_the_tenant_of_another_admin_gives_nothing(cast: Cast, with_keys: bool) -> None:
    copied(cast.scene, "credentials", "name = 'hidden'", tenant="elsewhere")
    copied(
        cast.scene,
        "credential_versions",
        "credential_id = (SELECT id FROM credentials WHERE tenant = 'my-org' AND name = 'hidden')",
        tenant="elsewhere",
    )
    if with_keys:
        for purpose in ("kek", "mac"):
            copied(cast.scene, "tenant_keys", f"tenant = 'my-org' AND purpose = '{purpose}'", tenant="elsewhere")
    # Another process, which has no key in memory yet.
    fresh = reopened(cast.scene)
    for act in (lambda v: v.leases.create("hidden"), lambda v: v.credentials.rollback("hidden", 1)):
        assert isinstance(failure_of(lambda act=act: act(fresh)), VerificationFailed)
    fresh.close()


def reopened(scene: Scene, tenant: str = "elsewhere") -> Vault:
    """The same vault in another process, more or less: nothing of it is in memory yet."""
    from vaultctl.client.embedded import EmbeddedAdapter
    from vaultctl.engine.authentication import Owner

    store = SqliteStore(scene.database, clock=scene.clock)
    root = scene.door.engine._keys._root
    engine = Engine(store, RootKey(root.id, root.secret))
    return Vault(EmbeddedAdapter(engine, Owner(tenant, "owner@localhost")))


@pytest.mark.parametrize("columns", [("sealed_value",), ("wrapped_dek",), ("sealed_value", "wrapped_dek")])
def test_the_sealed_value_of_another_credential_does_not_open(cast: Cast, columns: tuple[str, ...]) -> None:
    ids = {name: cast.scene.one("SELECT id FROM credentials WHERE name = ?", name) for name in ("reached", "beyond")}
    for column in columns:
        blob = cast.scene.one(f"SELECT {column} FROM credential_versions WHERE credential_id = ?", ids["beyond"])
        cast.scene.overwrite("credential_versions", f"credential_id = '{ids['reached']}'", **{column: blob})
    assert isinstance(failure_of(lambda: cast.agent.leases.create("reached")), VerificationFailed)


def test_the_version_of_another_credential_under_ones_own_id_does_not_open(cast: Cast) -> None:
    ids = {name: cast.scene.one("SELECT id FROM credentials WHERE name = ?", name) for name in ("reached", "beyond")}
    copied(cast.scene, "credential_versions", f"credential_id = '{ids['beyond']}'", credential_id=ids["reached"])
    assert isinstance(failure_of(lambda: cast.agent.leases.create("reached")), VerificationFailed)


def test_an_older_value_in_place_of_the_newest_does_not_open(cast: Cast) -> None:
    cast.owner.credentials.rotate("reached", "second-value-0123456789")
    id = cast.scene.one("SELECT id FROM credentials WHERE name = 'reached'")
    copied(cast.scene, "credential_versions", f"credential_id = '{id}' AND version = 1", version=2)
    assert isinstance(failure_of(lambda: cast.agent.leases.create("reached")), VerificationFailed)


@pytest.mark.parametrize(
    "swap",
    [
        "UPDATE tenant_keys SET purpose = CASE purpose WHEN 'kek' THEN 'mac' WHEN 'mac' THEN 'kek' END, version = 2"
        " WHERE purpose != 'signing'",
        "UPDATE tenant_keys SET wrapped = (SELECT wrapped FROM tenant_keys WHERE rowid = 3)",
        "UPDATE tenant_keys SET wrapped = (SELECT wrapped FROM tenant_keys WHERE rowid = 4)",
        "UPDATE tenant_keys SET wrapped = (SELECT wrapped FROM tenant_keys WHERE rowid = 5)",
        "UPDATE tenant_keys SET version = version + 1",
        "UPDATE tenant_keys SET wrapped = zeroblob(60)",
        "UPDATE tenant_keys SET wrapped = substr(wrapped, 1, 20)",
        "UPDATE tenant_keys SET wrapped = 5",
        "UPDATE tenant_keys SET wrapped = 'text'",
        "DELETE FROM tenant_keys WHERE purpose = 'kek'",
        "DELETE FROM tenant_keys WHERE purpose = 'mac'",
    ],
)
def test_exchanged_keys_open_nothing(cast: Cast, swap: str) -> None:
    cast.scene.sql(swap)
    fresh = reopened(cast.scene, "my-org")
    failure = failure_of(lambda: fresh.leases.create("reached"))
    assert isinstance(failure, VerificationFailed)
    fresh.close()


@pytest.mark.parametrize("check", [b"", b"\1", "text", 5, b"\0" * 80])
def test_another_check_value_does_not_make_another_root_key_the_right_one(cast: Cast, check: Any) -> None:
    cast.scene.sql("UPDATE vault SET root_key_check = ?", check)
    failure = failure_of(lambda: reopened(cast.scene))
    assert isinstance(failure, VaultLocked | VerificationFailed)


def test_a_session_moved_to_a_stronger_token_is_not_believed(cast: Cast) -> None:
    cast.scene.overwrite("sessions", "id = 'mcp_sess_ours'", token_id=cast.strong_token)
    assert isinstance(failure_of(lambda: cast.session.leases.create("hidden")), VerificationFailed)


@pytest.mark.parametrize(
    "change",
    [
        {"agent": "ours", "session_id": "mcp_sess_ours"},
        {"agent": "ours", "session_id": None},
        {"token_id": None},
        {"expires_at": 2**60, "max_expires_at": 2**60},
        {"state": "active", "ended_at": None, "end_reason": None},
    ],
)
def test_the_lease_of_another_can_not_be_taken_over(cast: Cast, change: dict[str, Any]) -> None:
    other = cast.scene.world.agent("other", "*").leases.create("hidden")
    cast.scene.overwrite("leases", f"id = '{other.id}'", **change)
    for act in (cast.session.leases.get, cast.session.leases.renew, cast.agent.leases.renew):
        assert isinstance(failure_of(lambda act=act: act(other.id)), VerificationFailed | NotFound)


def test_an_entry_taken_away_or_put_in_is_noticed_by_doctor(cast: Cast) -> None:
    scene = cast.scene
    assert found_by_doctor(scene) == []
    for change in (
        "DELETE FROM entries WHERE tenant = 'my-org' AND seq = 2",
        "DELETE FROM entries WHERE tenant = 'my-org' AND seq = (SELECT max(seq) FROM entries WHERE tenant = 'my-org')",
        "UPDATE entries SET seq = 1000000 WHERE tenant = 'my-org' AND seq = 3",
        "UPDATE entries SET tenant = 'elsewhere', seq = 1000000 WHERE tenant = 'my-org' AND seq = 3",
    ):
        connection = sqlite3.connect(scene.database)
        before = connection.execute("SELECT * FROM entries").fetchall()
        assert connection.execute(change).rowcount == 1
        connection.commit()
        assert "my-org" in found_by_doctor(scene)
        connection.execute("DELETE FROM entries")
        connection.executemany(f"INSERT INTO entries VALUES ({', '.join('?' * len(before[0]))})", before)
        connection.commit()
        connection.close()
    assert found_by_doctor(scene) == []


# What a value of the wrong kind does


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE logs SET last_time = 'nonsense'",
        "UPDATE logs SET last_time = x'00'",
        "UPDATE logs SET size = 'nonsense'",
        "UPDATE logs SET size = 0",
        "UPDATE entries SET body = 5",
        "UPDATE entries SET body = 'nonsense'",
        "UPDATE entries SET body = x'ff'",
        """UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), '"role":"', '"role":"un') AS BLOB)""",
        """UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), '"version":1', '"version":[]') AS BLOB)""",
        """UPDATE entries SET body = CAST(replace(CAST(body AS TEXT), '"tokenId":"', '"tokenId":{},"x":"') AS BLOB)""",
        """UPDATE entries SET body = CAST('{"details":{"a":' || replace(hex(zeroblob(50000)), '00', '[') AS BLOB)""",
        "UPDATE credential_versions SET attributes = 'nonsense'",
        "UPDATE credential_versions SET attributes = 5",
        "UPDATE credential_versions SET sealed_value = 5",
        "UPDATE credential_versions SET wrapped_dek = 1.5",
        "UPDATE credential_versions SET created_at = 'nonsense'",
        "UPDATE credential_versions SET created_at = 9000000000000000000",
        "DELETE FROM logs",
        "DELETE FROM credential_versions",
        "DROP TABLE sessions",
        "DROP TABLE logs",
    ],
)
def test_nonsense_anywhere_gives_errors_of_ours_only(cast: Cast, change: str) -> None:
    cast.scene.sql(change)
    vaults = (cast.owner, cast.agent, cast.session)
    for act in (
        lambda v: v.whoami(),
        lambda v: v.leases.create("reached"),
        lambda v: v.leases.create("nothing"),
        lambda v: v.leases.list(),
        lambda v: v.credentials.list(),
        lambda v: v.credentials.versions("reached"),
        lambda v: v.credentials.rotate("reached", "second-value-0123456789"),
        lambda v: v.credentials.rollback("reached", 1),
        lambda v: v.audit_log.query(limit=None),
        lambda v: v.sessions.list(),
        lambda v: v.tokens.list(),
    ):
        for vault in vaults:
            failure_of(lambda act=act, vault=vault: act(vault))
    failure_of(lambda: found_by_doctor(cast.scene))


def test_what_a_version_says_of_itself_is_believed_only_if_the_vault_wrote_it(cast: Cast) -> None:
    cast.owner.credentials.rotate("reached", "second-value-0123456789")
    cast.scene.sql("""UPDATE credential_versions SET attributes = '{"host": "evil.example.com"}'""")
    lies = []
    for act in (
        lambda: cast.owner.leases.create("reached").issued.attributes,
        lambda: cast.owner.credentials.versions("reached")[0].attributes,
        lambda: cast.owner.credentials.rollback("reached", 1).attributes,
    ):
        try:
            lies.append(act())
        except VerificationFailed:
            continue
    assert lies == []


# Whoever is to be stopped is stopped

REVOCATIONS: dict[str, Callable[[Cast], object]] = {
    "token": lambda cast: cast.owner.tokens.revoke(cast.agent_token),
    "session": lambda cast: cast.owner.sessions.end("mcp_sess_ours"),
    "credential": lambda cast: cast.owner.credentials.revoke("reached"),
    "credential, deleted": lambda cast: cast.owner.credentials.delete("reached"),
    "leases of the agent": lambda cast: cast.owner.leases.revoke_where(agent="ours"),
}


@pytest.mark.parametrize("revocation", REVOCATIONS)
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE leases SET purpose = 'changed' WHERE id = (SELECT min(id) FROM leases)",
        "UPDATE leases SET mac = 'text' WHERE id = (SELECT min(id) FROM leases)",
        "UPDATE sessions SET last_seen_at = last_seen_at + 1 WHERE id = 'mcp_sess_second'",
    ],
)
def test_a_changed_row_protects_nobody_from_a_revocation(cast: Cast, revocation: str, change: str) -> None:
    """Else whoever can spoil one row of the database decides who can be stopped."""
    second = cast.scene.world.session(cast.agent, "mcp_sess_second")
    for vault in (cast.agent, cast.session, second):
        vault.leases.create("reached")
    cast.scene.sql(change)
    assert failure_of(lambda: REVOCATIONS[revocation](cast)) is None
    if "leases" in revocation:
        active = cast.scene.sql("SELECT id FROM leases WHERE agent = 'ours' AND state = 'active'")
        assert len(active) <= 1  # the changed one, which is good for nothing
    else:
        stopped = cast.session if revocation == "session" else cast.agent
        assert failure_of(lambda: stopped.leases.create("reached")) is not None


@pytest.mark.parametrize("table", ["leases", "credential_versions"])
def test_a_changed_row_of_the_owners_own_does_not_keep_the_owner_from_revoking(cast: Cast, table: str) -> None:
    """What the owner has leased is looked for in what the owner writes, also in the name of what is revoked."""
    cast.owner.leases.create("beyond")
    where = (
        "token_id IS NULL"
        if table == "leases"
        else "credential_id = (SELECT id FROM credentials WHERE name = 'beyond')"
    )
    cast.scene.sql(f"UPDATE {table} SET mac = x'00' WHERE {where}")
    assert failure_of(lambda: cast.owner.credentials.revoke("reached")) is None
    assert failure_of(lambda: cast.agent.leases.create("reached")) is not None


@pytest.mark.parametrize(
    "program",
    [
        "CREATE TRIGGER undo AFTER UPDATE ON tokens BEGIN UPDATE tokens SET mac = OLD.mac WHERE id = OLD.id; END",
        "CREATE TRIGGER hide AFTER INSERT ON entries BEGIN DELETE FROM entries WHERE event = 'lease.created'; END",
        "CREATE VIEW also AS SELECT * FROM tokens",
    ],
)
def test_a_database_with_a_program_in_it_is_not_opened(cast: Cast, program: str) -> None:
    """A trigger that undoes what the vault has just done leaves rows that the vault wrote."""
    cast.scene.sql(program)
    assert failure_of(lambda: reopened(cast.scene)) is not None


def test_a_revocation_that_was_acknowledged_holds_whatever_triggers_there_are(cast: Cast) -> None:
    cast.scene.sql(
        "CREATE TRIGGER undo AFTER UPDATE ON tokens BEGIN UPDATE tokens SET revoked_at = OLD.revoked_at, mac = OLD.mac"
        " WHERE id = OLD.id; END"
    )
    failure = failure_of(lambda: cast.owner.tokens.revoke(cast.agent_token))
    if failure is None:
        assert failure_of(lambda: cast.agent.leases.create("reached")) is not None


def test_entries_that_a_trigger_takes_away_again_are_missed_at_once_or_by_doctor(cast: Cast) -> None:
    cast.scene.sql(
        "CREATE TRIGGER hide AFTER INSERT ON entries WHEN NEW.event = 'lease.created'"
        " BEGIN DELETE FROM entries WHERE tenant = NEW.tenant AND seq = NEW.seq; END"
    )
    if failure_of(lambda: cast.agent.leases.create("reached")) is None:
        assert "my-org" in found_by_doctor(cast.scene)


def test_an_entry_that_the_database_does_not_take_is_not_silently_missing(cast: Cast) -> None:
    """A table may say that a row whose key is taken is dropped, and its key can be taken beforehand."""
    scene = cast.scene
    ((schema,),) = scene.sql("SELECT sql FROM sqlite_schema WHERE name = 'entries'")
    connection = sqlite3.connect(scene.database)
    connection.executescript(
        "ALTER TABLE entries RENAME TO before;"
        + schema.replace("PRIMARY KEY (tenant, seq)", "PRIMARY KEY (tenant, seq) ON CONFLICT IGNORE")
        + "; INSERT INTO entries SELECT * FROM before; DROP TABLE before;"
    )
    connection.close()
    size = scene.one("SELECT size FROM logs WHERE tenant = 'my-org'")
    copied(scene, "entries", "tenant = 'my-org' AND seq = 0", seq=size)
    if failure_of(lambda: cast.agent.leases.create("reached")) is None:
        assert cast.owner.audit_log.query()[-1].event == "lease.created"


REPLAYS: dict[str, tuple[str, str, Callable[[Cast], object], Callable[[Cast], object]]] = {
    "a revoked token": (
        "tokens",
        "agent = 'ours' AND kind = 'agent'",
        lambda cast: cast.owner.tokens.revoke(cast.agent_token),
        lambda cast: cast.agent.leases.create("reached"),
    ),
    "the old secret of a rotated token": (
        "tokens",
        "agent = 'ours' AND kind = 'agent'",
        lambda cast: cast.owner.tokens.rotate(cast.agent_token),
        lambda cast: cast.agent.leases.create("reached"),
    ),
    "a policy that was narrowed": (
        "credentials",
        "name = 'reached'",
        lambda cast: cast.owner.credentials.update("reached", allow=["agent:other"]),
        lambda cast: cast.agent.leases.create("reached"),
    ),
    "a revoked credential": (
        "credentials",
        "name = 'reached'",
        lambda cast: cast.owner.credentials.revoke("reached"),
        lambda cast: cast.agent.leases.create("reached"),
    ),
    "a revoked lease": (
        "leases",
        "agent = 'ours'",
        lambda cast: cast.owner.leases.revoke(cast.lease),
        lambda cast: cast.session.leases.renew(cast.lease),
    ),
}


@pytest.mark.parametrize("replay", REPLAYS)
@pytest.mark.xfail(strict=True, reason=REPLAY)
def test_a_row_as_it_was_before_a_revocation_is_not_believed(cast: Cast, replay: str) -> None:
    table, where, revoke, use = REPLAYS[replay]
    before = row_of(cast.scene, table, where)
    revoke(cast)
    assert failure_of(lambda: use(cast)) is not None
    cast.scene.overwrite(table, where, **before)
    assert isinstance(failure_of(lambda: use(cast)), VerificationFailed)


PUT_BACK: dict[str, tuple[str, str, Callable[[Cast], object]]] = {
    **{what: (table, where, change) for what, (table, where, change, _) in REPLAYS.items()},
    "a session that ended": ("sessions", "id = 'mcp_sess_ours'", lambda cast: cast.owner.sessions.end("mcp_sess_ours")),
    "a credential that was deleted": (
        "credentials",
        "name = 'reached'",
        lambda cast: cast.owner.credentials.delete("reached"),
    ),
    "an earlier version of a credential": (
        "credentials",
        "name = 'reached'",
        lambda cast: cast.owner.credentials.rotate("reached", "another-value-0123456789"),
    ),
    "a longer maximum": (
        "tenants",
        "tenant = 'my-org'",
        lambda cast: cast.owner.tenants.update("my-org", max_lease_ttl="2h"),
    ),
    "a member with a stronger role": (
        "members",
        "email = 'chief@example.com'",
        lambda cast: cast.owner.team.change_role("chief@example.com", "user"),
    ),
    "a stronger token of a member": (
        "tokens",
        "email = 'chief@example.com'",
        lambda cast: cast.owner.team.change_role("chief@example.com", "user"),
    ),
    "a member who was removed": (
        "members",
        "email = 'chief@example.com'",
        lambda cast: cast.owner.team.remove("chief@example.com"),
    ),
}


@pytest.mark.parametrize("what", PUT_BACK)
def test_doctor_names_a_row_that_was_put_back_as_it_was_before_it_was_withdrawn(cast: Cast, what: str) -> None:
    table, where, change = PUT_BACK[what]
    before = row_of(cast.scene, table, where)
    change(cast)
    assert cast.scene.door.engine.inspect() == ([], [], [])
    cast.scene.sql(f"DELETE FROM {table} WHERE {where}")
    marks = ", ".join("?" * len(before))
    cast.scene.sql(f"INSERT INTO {table} ({', '.join(before)}) VALUES ({marks})", *before.values())
    (named,) = cast.scene.door.engine.inspect().superseded
    assert named.startswith(f"{table} (my-org")


# The reaper

SPOILED = {
    "changed": "purpose = 'changed'",
    "of no tenant": "tenant = 'ghost'",
    "of another tenant": "tenant = 'elsewhere'",
    "without a code": "mac = 'text'",
}


@pytest.mark.parametrize("how", SPOILED)
def test_leases_that_are_spoiled_do_not_keep_others_from_being_recorded(cast: Cast, how: str) -> None:
    """As many as the reaper takes at once, and all due before the one that is as the vault wrote it."""
    scene, engine = cast.scene, cast.scene.door.engine
    for _ in range(5):
        cast.agent.leases.create("reached", ttl="1m")
    scene.clock.advance("61s")
    scene.sql(f"UPDATE leases SET {SPOILED[how]} WHERE ttl = 60")
    honest = cast.other_tenant.leases.create("theirs", ttl="1m")
    scene.clock.advance("61s")
    for _ in range(3):
        engine.reap(5)
    assert scene.one("SELECT state FROM leases WHERE id = ?", honest.id) == LeaseState.EXPIRED


@pytest.mark.parametrize("how", SPOILED)
def test_leases_that_are_spoiled_do_not_make_readers_wait_for_writers(
    make_scene: Callable[..., Scene], how: str
) -> None:
    """What can't be recorded is not due, or every use of the vault takes the write lock for nothing."""
    scene = make_scene(Clock())
    scene.owner.credentials.create("a", "generic-secret", "value-0123456789")
    scene.world.owner("elsewhere")
    scene.owner.leases.create("a", ttl="1m")
    scene.sql(f"UPDATE leases SET {SPOILED[how]}")
    scene.clock.advance("61s")
    impatient = Engine(
        SqliteStore(scene.database, clock=scene.clock, lock_timeout=0.05),
        RootKey(scene.door.engine._keys._root.id, scene.door.engine._keys._root.secret),
    )
    with scene.door.store.write():
        assert impatient.reap() == 0
    impatient.close()


@pytest.mark.parametrize("table", ["sessions", "leases", "tokens", "credentials", "tenants"])
@pytest.mark.parametrize("tenant", ["ghost", 5, b"\0"])
def test_doctor_names_a_row_of_a_tenant_that_is_not_there(cast: Cast, table: str, tenant: Any) -> None:
    cast.scene.sql(f"UPDATE {table} SET tenant = ? WHERE mac = (SELECT max(mac) FROM {table})", tenant)
    assert any(table in found for found in found_by_doctor(cast.scene))


def test_the_secret_of_no_token_is_in_the_database(cast: Cast) -> None:
    content = cast.scene.database.read_bytes()
    issued = cast.owner.tokens.create(agent="ours")
    assert secret_of(issued).reveal().encode() not in content
