"""A reference keeps its value from whoever has it: thieves of handles and tokens, writers to the database, racers."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.contract.world import secret_of
from tests.security.canaries import MAKERS, Canary, found_in, patterns_of
from tests.security.conftest import Scene
from tests.security.served import Served
from vaultctl.client.vault import Vault
from vaultctl.crypto.tokens import token_hash
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import Conflict, NotAllowed, NotFound, VaultError, VerificationFailed
from vaultctl.domain.records import IssuedLease
from vaultctl.domain.wire import to_json
from vaultctl.engine.authentication import Bearer
from vaultctl.engine.engine import Engine
from vaultctl.engine.idempotency import Idempotency
from vaultctl.store.sqlite import SqliteStore

VALUE = "hidden-value-0123456789"
KEY = Idempotency("a-key", b"a body")
AT_ONCE = 8


class Cast(NamedTuple):
    """An agent's run, and a lease by reference in it."""

    scene: Scene
    session: Vault
    runtime: Vault
    bearer: Bearer
    """Of the session's token."""
    lease: str
    ref: str

    def redeem(self) -> str:
        return self.runtime.leases.redeem(self.lease, self.ref).value.reveal()

    def lease_again(self) -> IssuedLease:
        """The answer to the repeated request that made the lease."""
        return self.scene.door.engine.perform(self.bearer, ask.CreateLease(credential_name="hidden"), KEY)


@pytest.fixture
def cast(scene: Scene) -> Cast:
    scene.owner.credentials.create("hidden", "generic-secret", VALUE, delivery="reference")
    scene.owner.credentials.create("open", "generic-secret", "open-value-0123456789")
    opened = scene.world.agent("ours", "*").sessions.open("mcp_sess_ours")
    bearer = Bearer(token_hash(secret_of(opened)))
    issued = scene.door.engine.perform(bearer, ask.CreateLease(credential_name="hidden"), KEY)
    assert issued.credential_reference is not None
    runtime = scene.world.connect(opened.redeem_token)
    return Cast(scene, scene.world.connect(opened), runtime, bearer, issued.lease.id, issued.credential_reference.ref)


# Writers to the database

FLIPS: dict[str, str] = {
    "the lease is delivered by value": "UPDATE leases SET delivery = 'value'",
    "the lease says nothing of its delivery": "UPDATE leases SET delivery = NULL",
    "the lease never was redeemed": "UPDATE leases SET redeemed_at = NULL",
    "the lease never was redeemed, and lives": "UPDATE leases SET redeemed_at = NULL, expires_at = expires_at * 2",
    "another version was leased": "UPDATE leases SET credential_version = 2",
    "the lease is another session's": "UPDATE leases SET session_id = 'mcp_sess_other'",
}


@pytest.mark.parametrize("flip", FLIPS)
def test_what_is_written_over_a_lease_delivers_nothing(cast: Cast, flip: str) -> None:
    cast.scene.owner.credentials.rotate("hidden", "second-value-0123456789")
    assert cast.redeem() == VALUE
    cast.scene.sql(FLIPS[flip])
    for act in (cast.redeem, cast.lease_again, lambda: cast.session.leases.renew(cast.lease)):
        with pytest.raises((VerificationFailed, NotFound)):
            act()


def test_a_policy_that_was_written_over_delivers_nothing(cast: Cast) -> None:
    cast.scene.sql("UPDATE credentials SET delivery = 'value' WHERE name = 'hidden'")
    for act in (cast.redeem, cast.lease_again, lambda: cast.session.leases.create("hidden")):
        with pytest.raises(VerificationFailed):
            act()


def test_no_other_token_becomes_a_redeem_token(cast: Cast) -> None:
    cast.scene.sql("UPDATE tokens SET kind = 'redeem' WHERE kind = 'session'")
    with pytest.raises(VerificationFailed):
        cast.session.leases.redeem(cast.lease, cast.ref)
    cast.scene.sql("UPDATE tokens SET kind = 'session' WHERE kind = 'redeem'")
    with pytest.raises(VerificationFailed):
        cast.runtime.leases.list()


def test_the_redeem_token_of_another_session_does_not_become_this_ones(cast: Cast) -> None:
    other = cast.scene.world.agent("other", "*").sessions.open("mcp_sess_other")
    hash = token_hash(other.redeem_token)
    cast.scene.sql("UPDATE tokens SET hash = x'00' WHERE hash = ?", hash)
    cast.scene.sql("UPDATE tokens SET hash = ? WHERE kind = 'redeem' AND session_id = 'mcp_sess_ours'", hash)
    with pytest.raises(VerificationFailed):
        cast.scene.world.connect(other.redeem_token).leases.redeem(cast.lease, cast.ref)


# Thieves


def test_a_handle_is_worth_nothing_to_whoever_lacks_the_redeem_token(cast: Cast) -> None:
    """The model's own session among them: it has the handle, and everything else that its agent has."""
    world = cast.scene.world
    agent = world.agent("ours", "*")
    thieves = [cast.session, agent, world.session(agent), world.agent("other", "*"), cast.scene.owner, world.operator()]
    for thief in thieves:
        with pytest.raises(NotAllowed):
            thief.leases.redeem(cast.lease, cast.ref)
    others = [agent, world.agent("other", "*"), world.agent("ours", "*", tenant="elsewhere")]
    for thief in others:
        with pytest.raises(NotFound):
            world.connect(thief.sessions.open().redeem_token).leases.redeem(cast.lease, cast.ref)
    assert cast.redeem() == VALUE


def test_a_redeem_token_is_worth_nothing_to_whoever_lacks_the_handle(cast: Cast) -> None:
    """It finds nothing out either: neither which leases there are, nor what a handle is made of."""
    guesses = [f"vault:lease:{digit * 22}" for digit in "0aZ"] + [
        cast.lease,
        cast.lease.replace("lease_", "vault:lease:"),
    ]
    for guess in guesses:
        with pytest.raises(NotFound):
            cast.runtime.leases.redeem(cast.lease, guess)
    with pytest.raises(NotAllowed):
        cast.runtime.leases.list()


def test_the_same_lease_in_another_vault_has_another_handle(cast: Cast, make_scene: Callable[..., Scene]) -> None:
    """The key is the tenant's own: nothing that is written in the database makes up for it."""
    other = make_scene()
    other.owner.credentials.create("hidden", "generic-secret", VALUE, delivery="reference")
    opened = other.world.agent("ours", "*").sessions.open("mcp_sess_ours")
    issued = other.world.connect(opened).leases.create("hidden").credential_reference
    assert issued is not None
    assert issued.ref != cast.ref


# Races


def outcomes(redeemers: list[Callable[[], str]]) -> list[str]:
    def attempt(redeem: Callable[[], str]) -> str:
        try:
            return redeem()
        except Conflict as error:
            return error.code

    with ThreadPoolExecutor(len(redeemers)) as pool:
        return list(pool.map(attempt, redeemers))


def test_of_programs_that_redeem_one_reference_at_once_one_is_given_the_value(cast: Cast) -> None:
    stores = [SqliteStore(cast.scene.database, clock=cast.scene.clock) for _ in range(AT_ONCE)]
    root = cast.scene.door.root
    runtime = cast.runtime._adapter._principal  # type: ignore[attr-defined]
    request = ask.RedeemLease(id=cast.lease, ref=cast.ref)

    def redeemer(store: SqliteStore) -> Callable[[], str]:
        engine = Engine(store, root)
        return lambda: engine.perform(runtime, request).value.reveal()

    try:
        found = outcomes([redeemer(store) for store in stores])
    finally:
        for store in stores:
            store.close()
    assert sorted(found) == ["conflict"] * (AT_ONCE - 1) + [VALUE]
    events = [entry.event.value for entry in cast.scene.owner.audit_log.query(lease=cast.lease)]
    assert (events.count("lease.redeemed"), events.count("lease.denied")) == (1, AT_ONCE - 1)


@pytest.fixture(params=["sqlite", "postgres"])
def served(request: pytest.FixtureRequest, fast_path: Path) -> Iterator[Served]:
    with ExitStack() as stack:
        yield Served(request.param, fast_path, stack)


def test_of_requests_to_two_servers_at_once_one_is_given_the_value(served: Served) -> None:
    served.owner.credentials.create("hidden", "generic-secret", VALUE, delivery="reference")
    servers = served.serve(), served.serve()
    agent = served.client(servers[0], served.owner.tokens.create(agent="ours", credentials=["*"]).secret.reveal())
    opened = agent.post("/v1/sessions", json={}).json()
    issued = served.client(servers[0], opened["token"]).post("/v1/leases", json={"credentialName": "hidden"}).json()
    assert "value" not in issued
    clients = [served.client(server, opened["redeemToken"]) for server in servers for _ in range(AT_ONCE // 2)]
    path, body = f"/v1/leases/{issued['id']}/redeem", {"ref": issued["credentialReference"]["ref"]}

    def redeem(numbered: tuple[int, Any]) -> tuple[int, str]:
        number, client = numbered
        answer = client.post(path, json=body, headers={"Idempotency-Key": str(number)})
        return answer.status_code, answer.json().get("value", "")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(redeem, enumerate(clients)))
    assert sorted(found) == [(200, VALUE)] + [(409, "")] * (AT_ONCE - 1)
    # Of one that is repeated, all are the same redemption.
    again = clients[0].post(path, json=body, headers={"Idempotency-Key": str(found.index((200, VALUE)))})
    assert (again.status_code, again.json()["value"]) == (200, VALUE)


# Canaries


@pytest.mark.parametrize("type", MAKERS)
def test_the_value_is_in_the_answer_that_redeems_it_and_nowhere_else(scene: Scene, type: str) -> None:
    canary: Canary = MAKERS[type]()
    owner, patterns = scene.owner, patterns_of([canary])
    owner.credentials.create("canary", type, canary.value, delivery="reference")
    opened = scene.world.agent("ours", "*").sessions.open()
    session, runtime = scene.world.connect(opened), scene.world.connect(opened.redeem_token)
    handle = session.leases.create("canary", purpose="because")
    assert handle.credential_reference is not None
    ref = handle.credential_reference.ref
    said = [repr(handle), repr(handle.issued), to_json(handle.issued).decode()]

    def attempt(act: Callable[[], object]) -> None:
        with pytest.raises(VaultError) as raised:
            act()
        said.append(f"{raised.value.message} {raised.value.hint} {raised.value!r} {raised.getrepr()}")

    attempt(lambda: handle.value)
    attempt(lambda: session.leases.redeem(handle.id, ref))
    attempt(lambda: runtime.leases.redeem(handle.id, ref + "x"))
    attempt(lambda: session.leases.create("canary", purpose=canary.secrets[0][:500]))
    redeemed = runtime.leases.redeem(handle.id, ref)
    assert redeemed.value.reveal() == canary.value
    attempt(lambda: runtime.leases.redeem(handle.id, ref))
    said += [repr(redeemed), str(redeemed.value), to_json(owner.audit_log.query(limit=None)).decode()]
    said += [to_json(session.leases.list()).decode(), to_json(session.credentials.list()).decode()]
    assert [text for text in said if found_in(text, patterns)] == []
    stored = b"".join(path.read_bytes() for path in scene.database.parent.iterdir() if path.is_file())
    assert found_in(stored, patterns) == []
