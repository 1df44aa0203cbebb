"""Many calls in one transaction: to each of them it looks as if it had been alone."""

import random
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.conftest import Clock
from tests.engine.crowd import Crowd, lease, leases_of, meddled
from vaultctl.crypto.envelope import unseal
from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import (
    InternalError,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    VaultError,
    VaultUnavailable,
    VerificationFailed,
)
from vaultctl.domain.records import CredentialType, Identity, IssuedLease, IssuedToken, OpenedSession
from vaultctl.domain.secrets import Secret
from vaultctl.domain.times import SECOND, from_micros
from vaultctl.domain.wire import to_json_object
from vaultctl.engine.authentication import Bearer, Owner, Principal
from vaultctl.engine.dispatch import Call, Outcome
from vaultctl.engine.engine import Engine, answer_of
from vaultctl.engine.founding import found_vault
from vaultctl.engine.group_commit import GroupCommit
from vaultctl.engine.idempotency import Idempotency
from vaultctl.engine.keys import Keys
from vaultctl.engine.reruns import rerun
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Conflicted, Where
from vaultctl.store.rows import CredentialRow, IdempotencyRow, LeaseRow, SessionRow, TokenRow
from vaultctl.store.sqlite import SqliteStore, create_database


class Failures(list[Exception]):
    """What was reported."""


@pytest.fixture
def failures() -> Failures:
    return Failures()


def group_commit(engine: Engine, failures: Failures) -> GroupCommit:
    return GroupCommit(engine, failures.append)


# As if alone


class Twin:
    """A vault whose every random byte is known, so that another one with the same history is the same to the byte."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        directory.mkdir()
        self.path = directory / "vault.db"
        self.random = random.Random(7).randbytes
        create_database(self.path)
        self.store = SqliteStore(self.path, clock=clock)
        root = RootKey.new(random.Random(8).randbytes)
        owner = Identity(type="human", user_id="owner", email="owner@localhost")
        found_vault(self.store, root, tenant="my-org", owner=owner, random=self.random)
        self.engine = Engine(self.store, root, random=self.random)
        self.groups = GroupCommit(self.engine, lambda error: None)
        self.drawn = self.engine.drawing()  # as its groups have it

    def dump(self) -> dict[str, list[Any]]:
        with sqlite3.connect(self.path) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            found = {table: sorted(connection.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}
        connection.close()
        return found


class Known:
    """What both twins have made so far: whom and what the next calls can be about."""

    def __init__(self) -> None:
        self.principals: list[Principal] = [Owner("my-org", "o@localhost"), Owner("other-org", "o@localhost")]
        self.tokens = ["tok_none"]
        self.sessions = ["mcp_sess_none"]
        self.leases = ["lease_none"]

    def learn(self, answer: Any) -> None:
        match answer:
            case IssuedToken():
                self.tokens.append(answer.token.id)
                self.principals.append(Bearer.of(answer.secret))
            case OpenedSession():
                self.sessions.append(answer.session.id)
                self.principals.append(Bearer.of(answer.token))
            case IssuedLease():
                self.leases.append(answer.lease.id)

    def call(self, principal: int, kind: int, which: int) -> Call:
        def one_of(things: list[Any], number: int = which) -> Any:
            return things[-1 - number % len(things)]

        name = ("api", "db", "mail")[which % 3]
        value = Secret(f"value-of-{name}-{which}-0123456789")
        requests: list[ask.Request[Any]] = [
            ask.CreateLease(credential_name=name, purpose="Working"),
            ask.CreateLease(credential_name=name, purpose=f"With value-of-{name}-{which}-0123456789"),
            ask.CreateCredential(name=name, type=CredentialType.GENERIC_SECRET, value=value),
            ask.RotateCredential(name=name, value=value),
            ask.RevokeCredential(name=name),
            ask.DeleteCredential(name=name),
            ask.CreateToken(agent=f"agent-{which % 2}", credentials=("*",)),
            ask.CreateToken(agent="Not A Name"),
            ask.RotateToken(id=one_of(self.tokens)),
            ask.RevokeToken(id=one_of(self.tokens)),
            ask.OpenSession(),
            ask.OpenSession(id=f"cortex_sess_{which % 2}"),
            ask.EndSession(id=one_of(self.sessions)),
            ask.RenewLease(id=one_of(self.leases)),
            ask.RevokeLease(id=one_of(self.leases)),
            ask.RevokeLeases(credential_name=name),
            ask.CreateTenant(id="other-org"),
            ask.GetCredential(name=name),
            ask.ListLeases(),
        ]
        return Call(one_of(self.principals, principal), requests[kind % len(requests)])


def shown(result: Any) -> Any:
    try:
        return to_json_object(answer_of(result))
    except VaultError as error:
        return error.code, error.message, error.hint


NUMBERS = st.tuples(st.integers(0, 5), st.integers(0, 18), st.integers(0, 5))


@given(st.lists(st.tuples(st.lists(NUMBERS, min_size=1, max_size=12), st.sampled_from([0, 1, 61, 1000])), max_size=8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_group_leaves_the_very_bytes_that_its_calls_leave_one_by_one(
    fast_path: Path, groups: list[tuple[list[tuple[int, int, int]], int]]
) -> None:
    clock = Clock()
    place = Path(tempfile.mkdtemp(dir=fast_path))
    together, apart = Twin(place / "together", clock), Twin(place / "apart", clock)
    known = Known()
    for call in [(0, 6, 0), (0, 2, 0), (0, 2, 1), (1, 16, 0)]:  # somebody to begin with
        groups = [([call], 0), *groups]
    try:
        for numbers, seconds in reversed(groups):
            calls = [known.call(*three) for three in numbers]
            at_once = together.groups.run(calls).results
            singly = [apart.engine.write([call], random=apart.drawn).results[0] for call in calls]
            assert [shown(result) for result in at_once] == [shown(result) for result in singly]
            assert together.dump() == apart.dump()
            for result in at_once:
                if isinstance(result, Outcome):
                    known.learn(result.answer)
            clock.micros += seconds * 1_000_000
        assert together.groups.spoiled == 0
    finally:
        together.store.close()
        apart.store.close()
        shutil.rmtree(place)


def test_a_call_sees_what_those_before_it_in_the_group_have_done(crowd: Crowd, failures: Failures) -> None:
    owner, agent = crowd.owner(), crowd.agents["my-org"]
    results = (
        group_commit(crowd.engine, failures)
        .run(
            [
                Call(agent, lease()),
                Call(owner, ask.RevokeToken(id=crowd.tokens["my-org"].token.id)),
                Call(agent, lease()),
                Call(crowd.agents["other-org"], lease()),
            ]
        )
        .results
    )
    assert answer_of(results[1]).leases == 1
    with pytest.raises(NotAuthenticated):
        answer_of(results[2])
    assert crowd.events()[-4:] == ["lease.created", "lease.revoked", "token.revoked", "access.denied"]
    assert crowd.events("other-org")[-1] == "lease.created"


def test_one_commit_serves_a_group_and_its_results_say_whose_logs_grew(crowd: Crowd, failures: Failures) -> None:
    meddler, engine = meddled(crowd)
    commits: list[None] = []
    meddler.before_commit = lambda: commits.append(None)
    group = group_commit(engine, failures).run([Call(crowd.agents["my-org"], lease()) for _ in range(20)])
    assert len({issued.lease.id for issued in leases_of(group.results)}) == 20
    assert (len(commits), group.grown) == (1, {"my-org"})


# Failures


def test_a_call_that_fails_before_it_has_written_leaves_the_group_alone(crowd: Crowd, failures: Failures) -> None:
    groups = group_commit(crowd.engine, failures)
    agent = crowd.agents["my-org"]
    unknown = Bearer(b"?" * 32)
    calls = [Call(agent, lease()), Call(agent, lease("Not A Name")), Call(unknown, lease()), Call(agent, lease("none"))]
    results = groups.run(calls).results
    assert isinstance(results[0], Outcome)
    assert [type(result) for result in results[1:3]] == [InvalidInput, NotAuthenticated]
    with pytest.raises(NotFound):
        answer_of(results[3])
    assert (groups.commits, groups.spoiled) == (1, 0)
    assert crowd.events()[-2:] == ["lease.created", "lease.denied"]


@pytest.mark.parametrize("error", [InvalidInput("It is malformed."), RuntimeError("boom")])
@pytest.mark.parametrize("spoilers", [1, 3])
def test_a_call_that_fails_after_it_has_written_undoes_itself_alone(
    crowd: Crowd, failures: Failures, error: Exception, spoilers: int
) -> None:
    meddler, engine = meddled(crowd)

    def spoil(row: Any) -> None:
        if isinstance(row, LeaseRow) and row.purpose == "Spoiling":
            raise error

    meddler.before_insert = spoil
    groups = group_commit(engine, failures)
    agent = crowd.agents["my-org"]
    calls = [Call(agent, lease(purpose="Spoiling" if number < spoilers else "Working")) for number in range(6)]
    results = groups.run(calls[::-1]).results[::-1]
    assert results[:spoilers] == [error] * spoilers
    assert len(leases_of(results[spoilers:])) == 6 - spoilers
    assert crowd.events().count("lease.created") == 6 - spoilers
    assert failures == ([error] * spoilers if isinstance(error, RuntimeError) else [])


def test_if_the_commit_fails_all_are_told_so_and_none_is_told_why(crowd: Crowd, failures: Failures) -> None:
    meddler, engine = meddled(crowd)
    groups = group_commit(engine, failures)
    agent = crowd.agents["my-org"]
    calls = [Call(agent, lease()), Call(agent, lease("none")), Call(agent, ask.OpenSession(id="cortex_sess_1"))]
    before = crowd.log()
    reason = VaultUnavailable("The disk of db-7.example.com is full.")

    def fail() -> None:
        raise reason

    meddler.before_commit = fail
    results = groups.run(calls).results
    assert [type(result) for result in results] == [VaultUnavailable] * 3
    assert not any("disk" in str(result) for result in results)
    assert failures[0] is reason
    assert crowd.log() == before
    assert crowd.engine.perform(crowd.owner(), ask.ListLeases()).items == ()

    meddler.before_commit = lambda: None
    answered = groups.run(calls).results
    assert answer_of(answered[2]).session.id == "cortex_sess_1"  # nothing of it is remembered as done
    assert crowd.events()[len(before) :] == ["lease.created", "lease.denied", "session.started", "token.exchanged"]


def test_what_conflicts_is_run_again_and_is_done_once(crowd: Crowd, failures: Failures) -> None:
    meddler, engine = meddled(crowd)
    groups = group_commit(engine, failures)
    left = 3

    def conflict() -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise Conflicted

    meddler.before_commit = conflict
    results = groups.run([Call(crowd.agents[tenant], lease()) for tenant in crowd.agents]).results
    assert len(leases_of(results)) == 2
    assert groups.conflicts == 3
    assert [crowd.events(tenant).count("lease.created") for tenant in crowd.agents] == [1, 1]


def test_what_conflicts_for_ever_is_given_up() -> None:
    runs = 0

    def conflict() -> None:
        nonlocal runs
        runs += 1
        raise Conflicted

    with pytest.raises(VaultUnavailable, match="busy"):
        rerun(conflict, seconds=0.02)
    assert runs > 1


def test_one_call_alone_is_run_again_too(crowd: Crowd) -> None:
    meddler, engine = meddled(crowd)
    conflicts = [Conflicted(), Conflicted()]

    def conflict() -> None:
        if conflicts:
            raise conflicts.pop()

    meddler.before_commit = conflict
    engine.perform(crowd.agents["my-org"], lease())
    assert crowd.events().count("lease.created") == 1


# What is remembered from one group to the next


def test_rows_are_read_once_while_nobody_else_changes_them(crowd: Crowd, failures: Failures) -> None:
    meddler, engine = meddled(crowd)
    groups = group_commit(engine, failures)
    calls = [Call(crowd.agents["my-org"], lease()) for _ in range(3)]
    groups.run(calls)
    read: list[Any] = []
    meddler.on_read = read.append
    assert len(leases_of(groups.run(calls).results)) == 3
    assert not {TokenRow, CredentialRow} & set(read)

    crowd.engine.perform(crowd.agents["my-org"], lease())  # on another node
    groups.run(calls)
    assert not {TokenRow, CredentialRow} & set(read)

    crowd.engine.perform(crowd.owner(), ask.CreateToken(agent="another"))
    groups.run(calls)
    assert {TokenRow, CredentialRow} <= set(read)


def test_a_value_is_opened_once_for_many_groups_until_it_is_to_be_forgotten(
    crowd: Crowd, failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    def counting(*arguments: Any) -> bytes:
        opened.append(arguments[1])
        return unseal(*arguments)

    monkeypatch.setattr("vaultctl.engine.transaction.unseal", counting)
    groups = group_commit(crowd.engine, failures)
    calls = [Call(crowd.agents["my-org"], lease()) for _ in range(3)]
    groups.run(calls)
    once = len(opened)
    assert once == 2  # its data key, and itself
    assert {issued.value.reveal() for issued in leases_of(groups.run(calls).results)} == {"my-org-api-0123456"}
    assert len(opened) == once
    groups.forget_opened()
    tenants = groups._memory._tenants.values()
    assert [(tenant.made, tenant.judged, tenant.fragments) for _, tenant in tenants] == [({}, {}, {})]
    groups.run(calls)
    assert len(opened) == 2 * once


def test_leases_of_one_caller_have_the_times_of_the_transaction_that_made_each(
    crowd: Crowd, failures: Failures
) -> None:
    clock = crowd.door.store._clock
    groups = group_commit(crowd.engine, failures)
    calls = [Call(crowd.agents["my-org"], lease(ttl=Duration.parse("10m"))) for _ in range(2)]
    first = leases_of(groups.run(calls).results)
    clock.micros += 60 * SECOND
    later = leases_of(groups.run(calls).results)
    assert [issued.lease.issued_at for issued in first] == [from_micros(clock.micros - 60 * SECOND)] * 2
    assert [issued.lease.issued_at for issued in later] == [from_micros(clock.micros)] * 2
    assert [issued.lease.expires_at for issued in later] == [from_micros(clock.micros + 600 * SECOND)] * 2


def test_a_database_that_was_set_back_and_grows_anew_is_not_taken_for_what_it_was(
    fast_path: Path, clock: Clock, failures: Failures
) -> None:
    """Such as a standby that had not heard of everything: as much has changed, and something else."""
    first = Twin(fast_path / "vault", clock)
    store = SqliteStore(first.path, clock=clock)
    groups = group_commit(Engine(store, RootKey.new(random.Random(8).randbytes)), failures)
    owner = Owner("my-org", "owner@localhost")

    def rotate(value: str) -> None:
        first.engine.perform(owner, ask.RotateCredential(name="api", value=Secret(value)))

    def leased() -> str:
        issued: IssuedLease = answer_of(groups.run([Call(owner, lease())]).results[0])
        assert issued.value is not None
        return issued.value.reveal()

    value = Secret("first-0123456789")
    first.engine.perform(owner, ask.CreateCredential(name="api", type=CredentialType.API_KEY, value=value))
    database, before = sqlite3.connect(first.path), sqlite3.connect(":memory:")
    database.backup(before)
    rotate("second-0123456789")
    assert leased() == "second-0123456789"
    before.backup(database)
    database.close()
    before.close()
    rotate("third-0123456789")
    assert leased() == "third-0123456789"
    store.close()


def test_what_another_node_has_done_is_seen(crowd: Crowd, failures: Failures) -> None:
    groups = group_commit(Engine(crowd.door.store, crowd.door.root), failures)
    owner, agent = crowd.owner(), crowd.agents["my-org"]

    def run(request: ask.Request[Any]) -> Any:
        return answer_of(groups.run([Call(agent, request), Call(owner, ask.GetTenant(id="my-org"))]).results[0])

    assert run(lease()).value.reveal() == "my-org-api-0123456"
    with pytest.raises(NotFound):
        run(lease("new"))
    crowd.engine.perform(owner, ask.RotateCredential(name="api", value=Secret("rotated-0123456")))
    crowd.store_credential("new")
    assert run(lease()).value.reveal() == "rotated-0123456"
    assert run(lease("new")).value.reveal() == "my-org-new-0123456"
    crowd.engine.perform(owner, ask.DeleteCredential(name="new"))
    with pytest.raises(NotFound):
        run(lease("new"))
    crowd.engine.perform(owner, ask.RevokeToken(id=crowd.tokens["my-org"].token.id))
    with pytest.raises(NotAuthenticated):
        run(lease())


def test_a_value_that_was_leased_elsewhere_is_not_told_here(crowd: Crowd, failures: Failures) -> None:
    groups = group_commit(Engine(crowd.door.store, crowd.door.root), failures)
    session = crowd.open_session()
    crowd.store_credential("other")

    def run(request: ask.Request[Any]) -> Any:
        return answer_of(groups.run([Call(session, request)]).results[0])

    run(lease("other", purpose="The value is my-org-api-0123456"))  # nobody has it yet
    crowd.engine.perform(session, lease())
    with pytest.raises(InvalidInput, match="value of a credential"):
        run(lease("other", purpose="The value is my-org-api-0123456"))


@pytest.mark.parametrize("in_session", [True, False])
def test_a_value_that_was_leased_here_is_not_told_from_then_on(
    crowd: Crowd, failures: Failures, in_session: bool
) -> None:
    groups = group_commit(crowd.engine, failures)
    caller: Bearer = crowd.open_session() if in_session else crowd.agents["my-org"]
    crowd.store_credential("other")
    telling = lease("other", purpose="The value is my-org-api-0123456")

    def run(*requests: ask.Request[Any]) -> list[Any]:
        return groups.run([Call(caller, request) for request in requests]).results

    leases_of(run(telling))
    told, leased, refused = run(telling, lease(), telling)
    leases_of([told, leased])
    for result in (refused, *run(telling)):  # in the same group, and in the next
        with pytest.raises(InvalidInput, match="value of a credential"):
            answer_of(result)
    ended, after = run(ask.RevokeLease(id=answer_of(leased).lease.id), telling)
    assert answer_of(ended).state == "revoked"
    if in_session:  # what a session has seen, it has seen
        with pytest.raises(InvalidInput):
            answer_of(after)
    else:
        leases_of([after])


# What a transaction insists on


def transaction(crowd: Crowd, store_tx: Any) -> Transaction:
    return Transaction(store_tx, Keys(crowd.door.root, random.randbytes), random.randbytes)


def test_no_change_to_a_credential_commits_without_an_entry(crowd: Crowd) -> None:
    def change_quietly() -> None:
        with crowd.door.store.write() as store_tx:
            tx = transaction(crowd, store_tx)
            tx.hold({"my-org"})
            row = tx.get(CredentialRow, "my-org", "api")
            assert row is not None
            tx.update(row, state="revoked")
            tx.finish()

    with pytest.raises(InternalError, match="without an audit entry"):
        change_quietly()
    assert answer_of(crowd.engine.write([Call(crowd.agents["my-org"], lease())]).results[0])


def test_nothing_is_written_to_a_tenant_whose_log_is_not_held(crowd: Crowd) -> None:
    with crowd.door.store.write() as store_tx:
        tx = transaction(crowd, store_tx)
        tx.hold({"my-org"})
        row = tx.get(CredentialRow, "other-org", "api")
        assert row is not None
        with pytest.raises(InternalError, match="not held"):
            tx.update(row, state="revoked")


def test_a_group_reads_sessions_and_idempotency_records_at_once(crowd: Crowd, failures: Failures) -> None:
    sessions = [crowd.open_session() for _ in range(5)]
    meddler, engine = meddled(crowd)
    groups = group_commit(engine, failures)

    def calls(round: str) -> list[Call]:
        keys = [Idempotency(f"{round}-{number}", b"body") for number in range(15)]
        return [Call(sessions[number % 5], lease(), key) for number, key in enumerate(keys)]

    groups.run(calls("first"))
    read: list[Any] = []
    meddler.on_read = read.append
    leases_of(groups.run(calls("second")).results)
    assert (read.count(SessionRow), read.count(IdempotencyRow)) == (1, 5)


def test_a_malformed_key_or_a_spoiled_session_in_a_group_is_its_own_caller_s_trouble(
    crowd: Crowd, failures: Failures
) -> None:
    sessions = [crowd.open_session() for _ in range(3)]
    with crowd.door.store.write() as tx:
        spoiled = tx.find(SessionRow, Where("tenant", "=", "my-org"), order="id")[0]
        tx.update(replace(spoiled, agent="theirs"))
    keys = [Idempotency(key, b"body") for key in ("fine", "fine too", "\x00", "fine")]
    callers = [*sessions, crowd.agents["my-org"]]
    pairs = zip(callers, keys, strict=True)
    results = group_commit(crowd.engine, failures).run([Call(caller, lease(), key) for caller, key in pairs]).results
    kinds = {type(result).__name__ for result in results}
    assert kinds <= {"Outcome", "InvalidInput", "VerificationFailed"}
    assert isinstance(results[3], Outcome)
    assert sum(isinstance(result, VerificationFailed) for result in results) == 1
