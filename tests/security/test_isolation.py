"""Whoever is not the owner of a thing learns nothing of it and changes nothing, whatever identifier they hold.

Every identifier of a victim goes through every operation, by every stranger. Requests are made from the fields of
their classes, so that a new operation or a new field makes a test fail until it is said here what it takes.
"""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.conftest import Clock
from tests.contract.world import secret_of
from tests.security.conftest import TABLES, Scene
from vaultctl.client.vault import Vault
from vaultctl.crypto.tokens import token_hash
from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import VaultError
from vaultctl.domain.records import CredentialType, Delivery, Policy, ResponseFormat, Role
from vaultctl.domain.secrets import Secret
from vaultctl.domain.wire import to_json_object
from vaultctl.engine import paging
from vaultctl.engine.authentication import Bearer
from vaultctl.engine.dispatch import OPERATIONS, Call, apply
from vaultctl.engine.holding import tenants_of

VICTIM, STRANGER = "victim-org", "stranger-org"

WHAT_AN_ID_NAMES: dict[type[ask.Request[Any]], str] = {
    **dict.fromkeys((ask.GetLease, ask.RenewLease, ask.RedeemLease, ask.RevokeLease), "lease"),
    **dict.fromkeys((ask.GetToken, ask.RotateToken, ask.RevokeToken), "token"),
    **dict.fromkeys((ask.OpenSession, ask.GetSession, ask.EndSession), "session"),
    **dict.fromkeys((ask.CreateTenant, ask.GetTenant, ask.UpdateTenant, ask.RotateKek), "tenant"),
}
WHAT_A_FIELD_NAMES = {
    **dict.fromkeys(("name", "credential_name"), "credential"),
    **dict.fromkeys(("agent", "identity_name"), "agent"),
    **dict.fromkeys(("session_id", "identity_session_id"), "session"),
    **dict.fromkeys(("email", "identity_email", "identity_user_id"), "email"),
    "lease_id": "lease",
    "token_id": "token",
    "ref": "ref",
}
OTHER_FIELDS: dict[str, Any] = {
    "type": CredentialType.GENERIC_SECRET,
    "value": Secret("strangers-own-value"),
    "metadata": {"note": "mine"},
    "policy": Policy(),
    "limit": 1_000,
    "values": (
        ask.NamedValue(name="own-import", type=CredentialType.GENERIC_SECRET, value=Secret("own-imported-value")),
    ),
    "dry_run": False,
    "against": (),
    "progress": None,
    "key": None,
    "version": None,
    "cursor": None,
    "ttl": Duration.parse("1h"),
    "purpose": "Looking around",
    "response_format": ResponseFormat.VALUE,
    "claimed": {"client": "stranger"},
    "state": None,
    "to": 1,
    "default_lease_ttl": Duration.parse("1m"),
    "max_lease_ttl": Duration.parse("2m"),
    "requests_per_minute": 60,
    "allowed_identities": (),
    "delivery": Delivery.VALUE,
    "operator": False,
    "role": Role.USER,
    "credentials": ("*",),
    "events": (),
    "since": datetime(2020, 1, 1, tzinfo=UTC),
    "until": datetime(2100, 1, 1, tzinfo=UTC),
    "identity_type": "agent",
    "after_seq": -1,
    "format": ask.ExportFormat.JSONL,
    "path": "entries/000.p/1",
    "by": "event",
    "active_at": None,
}
WITH_AN_IDENTIFIER: dict[type[ask.Request[Any]], tuple[str, ...]] = {
    ask.UpdateCredential: ("metadata", "max_lease_ttl", "allowed_identities"),
    ask.UpdateTenant: ("max_lease_ttl", "default_lease_ttl"),
}
"""Fields without which an operation would do nothing."""


class Identifiers(NamedTuple):
    """One of everything that can be named."""

    credential: str
    lease: str
    token: str
    session: str
    agent: str
    email: str
    tenant: str
    ref: str


NEVER = Identifiers(
    credential="victims-0nly-key",
    lease="lease_0000000000000000000000",
    token="tok_0000000000000000000000",
    session="mcp_sess_00000000000000",
    agent="victim-agent-0",
    email="victim0@example.com",
    tenant="victim-0rg",
    ref="vault:lease:0000000000000000000000",
)
"""Such as never were, as long as the victim's."""


class Stranger(NamedTuple):
    """Somebody whose business it is not."""

    vault: Vault
    principal: Bearer
    same_tenant: bool = True
    may_name: frozenset[str] = frozenset()
    """The kinds of things of the victim that are hidden from it."""


class Stage(NamedTuple):
    scene: Scene
    victims: Identifiers
    all_that_is_secret: tuple[str, ...]
    strangers: dict[str, Stranger]
    victims_runtime: Stranger
    """The one to whom the victim's reference is good for something."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two tenants with agents and people. Each attempt is rolled back, so that all can share it."""
    scene = Scene(tmp_path_factory.mktemp("isolation"), Clock())
    victims, others = scene.world.owner(VICTIM), scene.world.owner(STRANGER)
    for vault in (victims, others):
        vault.credentials.create("shared-name", "generic-secret", f"value-of-{vault.whoami().tenant}")
        vault.credentials.create("second-name", "generic-secret", f"second-of-{vault.whoami().tenant}")
    victims.credentials.create(
        "victims-only-key", "generic-secret", "victims-secret-value", metadata={"note": "victims-metadata"}
    )
    victims.credentials.rotate("victims-only-key", "victims-second-value")
    issued = victims.tokens.create(agent="victim-agent-1", credentials=["*"], max_lease_ttl="8h")
    human = victims.tokens.create(human="victim1@example.com", role="admin")
    agent = scene.world.connect(issued)
    opened = agent.sessions.open("mcp_sess_victims1234567", claimed={"client": "victims-claim"})
    session = scene.world.connect(opened)
    by_reference = session.leases.create("victims-only-key", purpose="victims-purpose", response_format="reference")
    assert by_reference.credential_reference is not None
    leases = [
        by_reference.lease,
        *(
            vault.leases.create("shared-name", purpose="victims-purpose").lease
            for vault in (agent, scene.world.connect(human))
        ),
    ]
    known = Identifiers(
        "victims-only-key", leases[0].id, issued.token.id, "mcp_sess_victims1234567", "victim-agent-1",
        "victim1@example.com", VICTIM, by_reference.credential_reference.ref,
    )  # fmt: skip
    hidden = (
        by_reference.credential_reference.ref,
        *(lease.id for lease in leases),
        *(issued.token.id, human.token.id, opened.session.id, "victims-only-key"),
        *("victims-purpose", "victims-metadata", "victims-claim", "victim-agent-1", "victim1@example.com", VICTIM),
        *("victims-secret-value", "victims-second-value", f"value-of-{VICTIM}", f"second-of-{VICTIM}"),
    )

    strangers = {}

    def add(name: str, bearing: Any, *, may_name: tuple[str, ...], same_tenant: bool) -> Vault:
        vault = scene.world.connect(bearing)
        principal = Bearer(token_hash(secret_of(bearing)))
        strangers[name] = Stranger(vault, principal, same_tenant, frozenset(may_name))
        return vault

    for role in Role:
        bearing = others.tokens.create(human=f"{role}@example.org", role=role)
        add(f"another tenant's {role}", bearing, may_name=Identifiers._fields, same_tenant=False)
    for owner, same in ((others, False), (victims, True)):
        where = "the tenant's other" if same else "another tenant's"
        own = owner.tokens.create(agent="other-agent-1", credentials=["shared-*", "second-*"])
        vault = add(f"{where} agent", own, may_name=Identifiers._fields, same_tenant=same)
        vault.leases.create("shared-name", purpose="own")
        in_session = vault.sessions.open("mcp_sess_own" + "1" * 11)
        add(f"{where} agent in a session", in_session, may_name=Identifiers._fields, same_tenant=same).leases.create(
            "second-name", purpose="own"
        )
        runtime = in_session.redeem_token
        add(f"{where} agent's runtime", runtime, may_name=Identifiers._fields, same_tenant=same)
    # People see the metadata of all credentials of their tenant; whose leases and sessions there are they don't.
    for role in (Role.VIEWER, Role.USER):
        bearing = victims.tokens.create(human=f"{role}@example.com", role=role)
        may_name = ("lease", "token", "session", "agent", "email", "ref")
        add(f"the tenant's {role}", bearing, may_name=may_name, same_tenant=True)
    victims_runtime = Stranger(scene.world.connect(opened.redeem_token), Bearer(token_hash(opened.redeem_token)))
    yield Stage(scene, known, hidden, strangers, victims_runtime)
    scene.world.close()


def what_it_names(request_type: type[ask.Request[Any]], field: str) -> str | None:
    if field == "id":
        return WHAT_AN_ID_NAMES[request_type]
    return WHAT_A_FIELD_NAMES.get(field)


def fields_of(request_type: type[ask.Request[Any]]) -> dict[str, bool]:
    """The fields of a request, and whether each must be given."""
    return {field.name: field.required for field in msgspec.structs.fields(request_type)}


def requests_about(
    request_type: type[ask.Request[Any]], identifiers: Identifiers
) -> Iterator[tuple[str, ask.Request[Any]]]:
    """One request for each field that takes an identifier, which it names; one without, if there is no such field."""
    fields = fields_of(request_type)
    naming = {field: kind for field in fields if (kind := what_it_names(request_type, field))}
    for asked in naming or {"": ""}:
        given: dict[str, Any] = {}
        for field, required in fields.items():
            if field == asked or (required and field in naming):
                given[field] = getattr(identifiers, naming[field])
            elif required or field in WITH_AN_IDENTIFIER.get(request_type, ()):
                given[field] = OTHER_FIELDS[field]
        if asked == "email" and "role" in fields:
            given["role"] = Role.USER
        yield naming.get(asked, ""), request_type(**given)


class Attempt(NamedTuple):
    told: str
    """What the stranger is told, with the identifiers asked for taken out."""
    answered: bool
    before: dict[tuple[str, ...], tuple[Any, ...]]
    after: dict[tuple[str, ...], tuple[Any, ...]]


class _Undo(Exception):
    pass


def attempt(stage: Stage, stranger: Stranger, request: ask.Request[Any], identifiers: Identifiers) -> Attempt:
    """What comes of a request; it is undone afterwards."""
    engine = stage.scene.door.engine
    result: list[Attempt] = []
    try:
        with stage.scene.door.store.write() as store_tx:
            connection: sqlite3.Connection = store_tx._connection
            before = rows_of_victim(connection)
            tx = engine._transaction(store_tx)
            answered = False
            try:
                tx.hold(tenants_of(tx, [Call(stranger.principal, request)]))
                outcome = apply(tx, Call(stranger.principal, request))
            except VaultError as error:
                told = said(error)
            else:
                answered = outcome.refused is None
                told = said(outcome.refused.refusal.error) if outcome.refused else as_text(outcome.answer)
            tx.finish()
            for field, value in zip(identifiers._fields, identifiers, strict=True):
                told = told.replace(value, f"<{field}>")
            result.append(Attempt(told, answered, before, rows_of_victim(connection)))
            raise _Undo
    except _Undo:
        return result[0]


def said(error: VaultError) -> str:
    return f"{type(error).__name__}: {error.message} {error.hint}"


def as_text(answer: Any) -> str:
    return msgspec.json.encode(to_json_object(answer), order="sorted").decode()


def rows_of_victim(connection: sqlite3.Connection) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """Every row of the victim's tenant, by table and content."""
    found = {}
    for table in (*TABLES, "logs", "entries"):
        for row in connection.execute(f"SELECT * FROM {table} WHERE tenant = ? ORDER BY 1, 2, 3", [VICTIM]):
            found[table, *(str(column) for column in row[:3])] = tuple(row)
    return found


def is_strangers_own(key: tuple[str, ...], row: tuple[Any, ...]) -> bool:
    """Whether a row in the victim's tenant is the stranger's, or tells what the stranger did."""
    return key[0] in ("entries", "logs") or any(
        own in str(column)
        for column in row
        for own in ("other-agent-1", "viewer@example.com", "user@example.com", "mcp_sess_own")
    )


# An id that is in use in one's own tenant can't be opened, and one that is free can: there the two must differ.
DIFFERS_IN_ONES_OWN_TENANT = {(ask.OpenSession, "session")}


@pytest.mark.parametrize("request_type", OPERATIONS, ids=lambda kind: kind.__name__)
def test_a_stranger_is_told_the_same_of_what_is_there_as_of_what_never_was(
    stage: Stage, request_type: type[ask.Request[Any]]
) -> None:
    for name, stranger in stage.strangers.items():
        theirs = list(requests_about(request_type, stage.victims))
        never = list(requests_about(request_type, NEVER))
        for (kind, real), (_, imagined) in zip(theirs, never, strict=True):
            if kind not in stranger.may_name:
                continue
            if stranger.same_tenant and (request_type, kind) in DIFFERS_IN_ONES_OWN_TENANT:
                continue
            one, other = attempt(stage, stranger, real, stage.victims), attempt(stage, stranger, imagined, NEVER)
            assert one.answered == other.answered, f"{name} learns whether a {kind} is there"
            if request_type in CREATING and one.answered:
                continue  # it made something of its own, with an id of its own
            assert one.told == other.told, f"{name} learns whether a {kind} is there"


CREATING = (
    ask.CreateCredential,
    ask.ImportCredentials,
    ask.CreateToken,
    ask.InviteMember,
    ask.OpenSession,
    ask.CreateLease,
)


@pytest.mark.parametrize("request_type", OPERATIONS, ids=lambda kind: kind.__name__)
def test_a_stranger_changes_nothing_and_is_answered_nothing_of_the_victims(
    stage: Stage, request_type: type[ask.Request[Any]]
) -> None:
    for name, stranger in stage.strangers.items():
        for kind, request in requests_about(request_type, stage.victims):
            if kind and kind not in stranger.may_name:
                continue
            made = attempt(stage, stranger, request, stage.victims)
            unchanged = made.before if not stranger.same_tenant else without_own(made.before)
            after = made.after if not stranger.same_tenant else without_own(made.after)
            assert after == unchanged, f"{name} changed something through a {kind}"
            if stranger.may_name == set(Identifiers._fields):
                assert_holds_nothing_of_the_victims(stage, stranger, made.told)


def without_own(rows: dict[tuple[str, ...], tuple[Any, ...]]) -> dict[tuple[str, ...], tuple[Any, ...]]:
    return {key: row for key, row in rows.items() if not is_strangers_own(key, row)}


def assert_holds_nothing_of_the_victims(stage: Stage, stranger: Stranger, told: str) -> None:
    own = {VICTIM, f"value-of-{VICTIM}", f"second-of-{VICTIM}"} if stranger.same_tenant else set()
    for hidden in stage.all_that_is_secret:
        assert hidden in own or hidden not in told


@pytest.mark.parametrize("request_type", [kind for kind in OPERATIONS if "cursor" in kind.__struct_fields__])
def test_a_forged_cursor_leads_to_nothing_of_the_victims(stage: Stage, request_type: type[ask.Request[Any]]) -> None:
    for stranger in stage.strangers.values():
        if stranger.may_name != set(Identifiers._fields):
            continue
        for key in (
            *(("",), ("victims-only-kex",), ("zzz",), (0,), (2**53,), (-1,)),
            *((2**53, "zzz"), (0, ""), (2**53, stage.victims.lease), ("x", 1), (None,), (VICTIM, "a")),
        ):
            _, request = next(requests_about(request_type, stage.victims))
            request = msgspec.structs.replace(request, cursor=paging.encode(key))
            assert_holds_nothing_of_the_victims(stage, stranger, attempt(stage, stranger, request, stage.victims).told)


def test_every_field_of_every_request_has_its_place_here() -> None:
    for request_type in OPERATIONS:
        for field in fields_of(request_type):
            named = what_it_names(request_type, field)
            assert named is not None or field in OTHER_FIELDS, f"{request_type.__name__}.{field}"
    every_request = {kind for kind in vars(ask).values() if isinstance(kind, type) and issubclass(kind, ask.Request)}
    assert every_request - {ask.Request, ask.AuditQuestion} == set(OPERATIONS)


def test_the_victim_itself_reaches_all_of_these(stage: Stage) -> None:
    """Else nothing were proved: the identifiers must be good for something."""
    owner, known = stage.scene.world.owner(VICTIM), stage.victims
    assert owner.credentials.get(known.credential).version == 2
    assert owner.leases.get(known.lease).identity.name == known.agent
    assert owner.tokens.get(known.token).agent == known.agent
    assert owner.sessions.get(known.session).active_leases == 1
    assert owner.tenants.get(known.tenant).id == VICTIM
    redemption = attempt(stage, stage.victims_runtime, ask.RedeemLease(id=known.lease, ref=known.ref), known)
    assert "victims-second-value" in redemption.told
