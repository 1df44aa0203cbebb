"""Any run of operations by a small population, against a model of what should become of it.

The reaper is late: it runs only when the machine lets it, so that everything holds without it.
"""

import base64
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from tests.conftest import Clock
from tests.contract.world import EmbeddedSqlite, World
from vaultctl.client.vault import LeaseHandle, Vault
from vaultctl.domain.errors import (
    Conflict,
    InvalidInput,
    LeaseAtMaximum,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    VaultError,
)
from vaultctl.domain.secrets import Secret
from vaultctl.domain.wire import to_json_object

TENANTS = ("my-org", "other-org")
AGENTS = ("ours", "theirs")
CREDENTIALS = ("api", "db", "mail")
MAXIMUM = timedelta(minutes=40)
IDLE = timedelta(minutes=15)
TOUCHED = timedelta(minutes=1)
REACH = {"ours": {"api", "db"}, "theirs": {"api", "mail"}}


@dataclass
class Token:
    """An agent's token, as the model has it."""

    id: str
    tenant: str
    agent: str
    vault: Vault
    expires: datetime
    revoked: bool = False


@dataclass
class Session:
    """A session, as the model has it."""

    id: str
    parent: Token
    vault: Vault
    runtime: Vault
    """With the redeem token."""
    seen: datetime
    ended: bool = False
    superseded: list[Vault] = field(default_factory=list)

    def lives(self, now: datetime) -> bool:
        return not self.ended and now - self.seen < IDLE and now < self.parent.expires


@dataclass
class Lease:
    """A lease, as the model has it."""

    id: str
    credential: str
    token: Token
    session: Session | None
    expires: datetime
    maximum: datetime
    ttl: timedelta
    state: str = "active"
    value: str = ""
    ref: str | None = None
    redeemed: bool = False


class Population(RuleBasedStateMachine):
    """Two tenants, two agents, three credentials in each, and the time."""

    tokens = Bundle("tokens")
    sessions = Bundle("sessions")
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        shared = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(prefix="vaultctl-test-", dir=shared if shared.is_dir() else None))
        self.clock = Clock()
        self.door = EmbeddedSqlite(self.directory, self.clock, reaps=False)
        self.world = World(lambda *_, **__: self.door, self.directory, self.clock)
        self.values: dict[str, list[str]] = {tenant: [] for tenant in TENANTS}
        self.current: dict[tuple[str, str], str] = {}
        self.all_leases: list[Lease] = []
        self.all_sessions: list[Session] = []
        self.seen: dict[str, int] = {}
        self.expected: dict[str, Counter[str]] = {}

    def teardown(self) -> None:
        found = self.door.engine.inspect()
        self.world.close()
        shutil.rmtree(self.directory)
        assert found == ([], [], [])  # all rows are as the log says they have become

    # What every step must leave behind

    @contextmanager
    def step(self, tenant: str, **events: int) -> Iterator[None]:
        """The operations inside leave exactly these entries in the tenant's log, and none anywhere else."""
        self.expected = {name: Counter() for name in TENANTS}
        self.expect(tenant, **events)
        yield
        for name in TENANTS:
            entries = list(self.world.owner(name).audit_log.after(self.seen[name] - 1))
            self.seen[name] += len(entries)
            assert Counter(entry.event.value for entry in entries) == +self.expected[name], name

    def expect(self, tenant: str, **events: int) -> None:
        self.expected[tenant].update({name.replace("_", ".", 1): count for name, count in events.items()})

    def refused(self, tenant: str, error: type[VaultError], act: Callable[[], object], event: str) -> None:
        with self.step(tenant, **{event: 1}):
            with pytest.raises(VaultError) as raised:
                act()
            assert type(raised.value) is error

    # The model of time and endings

    @property
    def now(self) -> datetime:
        return self.clock.now

    def authenticates(self, session: Session | None, token: Token) -> bool:
        if token.revoked or self.now >= token.expires:
            return False
        return session is None or session.lives(self.now)

    def touch(self, session: Session | None) -> None:
        if session is not None and self.now - session.seen >= TOUCHED:
            session.seen = self.now

    def end_leases(self, tenant: str, which: Callable[[Lease], bool]) -> None:
        for lease in self.all_leases:
            if lease.token.tenant == tenant and lease.state == "active" and which(lease):
                ran_out = lease.expires <= self.now
                lease.state = "expired" if ran_out else "revoked"
                self.expect(tenant, **{"lease_expired" if ran_out else "lease_revoked": 1})

    def end_session(self, session: Session) -> None:
        session.ended = True
        self.end_leases(session.parent.tenant, lambda lease: lease.session is session)
        self.expect(session.parent.tenant, session_ended=1)

    # Setting out

    @initialize(target=tokens)
    def settle(self) -> object:
        for tenant in TENANTS:
            owner = self.world.owner(tenant)
            for name in CREDENTIALS:
                owner.credentials.create(name, "generic-secret", self.new_value(tenant, name), max_ttl="40m")
        minted = [self.new_token(tenant, agent) for tenant in TENANTS for agent in AGENTS]
        for tenant in TENANTS:
            self.seen[tenant] = len(self.world.owner(tenant).audit_log.query(limit=None))
        return multiple(*minted)

    def new_value(self, tenant: str, name: str) -> str:
        value = f"canary-{tenant}-{name}-{len(self.values[tenant])}-0123456789"
        self.values[tenant].append(value)
        self.current[tenant, name] = value
        return value

    def new_token(self, tenant: str, agent: str) -> Token:
        issued = self.world.owner(tenant).tokens.create(agent=agent, credentials=sorted(REACH[agent]), ttl="2h")
        return Token(issued.token.id, tenant, agent, self.world.connect(issued), issued.token.expires_at)

    # What happens

    @rule(target=tokens, tenant=st.sampled_from(TENANTS), agent=st.sampled_from(AGENTS))
    def mint(self, tenant: str, agent: str) -> Token:
        with self.step(tenant, token_created=1):
            return self.new_token(tenant, agent)

    @rule(span=st.sampled_from([1, 30, 90, 600, 899, 1800, 3600]))
    def time_passes(self, span: int) -> None:
        self.clock.advance(timedelta(seconds=span))

    @rule(target=sessions, token=tokens)
    def open_session(self, token: Token) -> object:
        if not self.authenticates(None, token):
            self.refused(token.tenant, NotAuthenticated, token.vault.sessions.open, "access_denied")
            return multiple()
        with self.step(token.tenant, session_started=1, token_exchanged=1):
            opened = token.vault.sessions.open()
        runtime = self.world.connect(opened.redeem_token)
        session = Session(opened.session.id, token, self.world.connect(opened), runtime, self.now)
        self.all_sessions.append(session)
        return session

    @rule(session=sessions, token=tokens)
    def reopen_session(self, session: Session, token: Token) -> None:
        def reopen() -> tuple[Vault, Vault]:
            opened = token.vault.sessions.open(session.id)
            return self.world.connect(opened), self.world.connect(opened.redeem_token)

        if session.parent.tenant != token.tenant:
            return  # there the id is free; that is another test
        if not self.authenticates(None, token):
            self.refused(token.tenant, NotAuthenticated, reopen, "access_denied")
        elif token.agent != session.parent.agent or not session.lives(self.now):
            self.refused(token.tenant, Conflict, reopen, "access_denied")
        else:
            with self.step(token.tenant, token_exchanged=1):
                vault, runtime = reopen()
            session.superseded += [session.vault, session.runtime]
            session.parent, session.seen = token, self.now
            session.vault, session.runtime = vault, runtime

    @rule(session=sessions)
    def use_a_superseded_token(self, session: Session) -> None:
        for vault in session.superseded[-2:]:
            self.refused(session.parent.tenant, NotAuthenticated, vault.whoami, "access_denied")

    @rule(session=sessions)
    def give_a_sign_of_life(self, session: Session) -> None:
        if not self.authenticates(session, session.parent):
            self.refused(session.parent.tenant, NotAuthenticated, session.vault.sessions.touch, "access_denied")
            return
        with self.step(session.parent.tenant):
            session.vault.sessions.touch()
        session.seen = self.now

    @rule(session=consumes(sessions), by_owner=st.booleans())
    def end(self, session: Session, by_owner: bool) -> None:
        tenant = session.parent.tenant
        if by_owner:
            with self.step(tenant):
                if not session.ended:
                    self.end_session(session)
                self.world.owner(tenant).sessions.end(session.id)
        elif not self.authenticates(session, session.parent):
            self.refused(tenant, NotAuthenticated, lambda: session.vault.sessions.end(session.id), "access_denied")
        else:
            with self.step(tenant):
                self.end_session(session)
                session.vault.sessions.end(session.id)

    @rule(
        target=leases,
        session=sessions,
        name=st.sampled_from(CREDENTIALS),
        ttl=st.sampled_from([None, 1, 20, 600]),
        by_reference=st.booleans(),
    )
    def lease_in_a_session(self, session: Session, name: str, ttl: int | None, by_reference: bool) -> object:
        return self.lease(session.vault, session, session.parent, name, ttl, by_reference=by_reference)

    @rule(target=leases, token=tokens, name=st.sampled_from(CREDENTIALS), ttl=st.sampled_from([None, 1, 20, 600]))
    def lease_by_a_token(self, token: Token, name: str, ttl: int | None) -> object:
        return self.lease(token.vault, None, token, name, ttl)

    def lease(
        self,
        caller: Vault,
        session: Session | None,
        token: Token,
        name: str,
        ttl: int | None,
        *,
        by_reference: bool = False,
    ) -> object:
        def create() -> LeaseHandle:
            asked = "reference" if by_reference else None
            return caller.leases.create(name, ttl=f"{ttl}m" if ttl else None, purpose="Working", response_format=asked)

        if not self.authenticates(session, token):
            self.refused(token.tenant, NotAuthenticated, create, "access_denied")
            return multiple()
        if name not in REACH[token.agent]:
            self.refused(token.tenant, NotFound, create, "lease_denied")
            return multiple()
        with self.step(token.tenant, lease_created=1):
            handle = create()
        value = self.current[token.tenant, name]
        reference = handle.credential_reference
        assert handle.issued.value == (None if by_reference else Secret(value))
        assert (reference is not None) is by_reference
        maximum = min(self.now + MAXIMUM, token.expires)
        granted = min(timedelta(minutes=ttl) if ttl else timedelta(hours=1), MAXIMUM)
        expires = min(self.now + granted, maximum)
        assert (handle.lease.expires_at, handle.lease.max_expires_at) == (expires, maximum)
        self.touch(session)
        made = Lease(handle.id, name, token, session, expires, maximum, expires - self.now, value=value)
        made.ref = None if reference is None else reference.ref
        self.all_leases.append(made)
        return made

    @rule(lease=leases, other=leases, session=sessions, how=st.sampled_from(["right", "right", "reference", "session"]))
    def redeem(self, lease: Lease, other: Lease, session: Session, how: str) -> None:
        """By the lease's own session with its own reference, or with one of the two another's."""
        if how != "session":
            session = lease.session or session
        ref = (other if how == "reference" else lease).ref or "vault:lease:none"
        tenant, parent = session.parent.tenant, session.parent

        def act() -> object:
            return session.runtime.leases.redeem(lease.id, ref)

        if not self.authenticates(session, parent):
            self.refused(tenant, NotAuthenticated, act, "access_denied")
        elif lease.session is not session:
            self.refused(tenant, NotFound, act, "access_denied")
        elif lease.ref != ref:
            self.refused(tenant, NotFound, act, "lease_denied")
        elif lease.state != "active" or self.now >= lease.expires or lease.redeemed:
            self.refused(tenant, Conflict, act, "lease_denied")
        else:
            with self.step(tenant, lease_redeemed=1):
                redeemed = session.runtime.leases.redeem(lease.id, ref)
            lease.redeemed = True
            assert redeemed.value.reveal() == lease.value
            self.touch(session)

    @rule(session=sessions, lease=leases)
    def a_token_is_used_for_what_it_is_not(self, session: Session, lease: Lease) -> None:
        if self.authenticates(session, session.parent):
            tenant = session.parent.tenant
            self.refused(
                tenant, NotAllowed, lambda: session.vault.leases.redeem(lease.id, lease.ref or ""), "access_denied"
            )
            self.refused(tenant, NotAllowed, session.runtime.leases.list, "access_denied")

    @rule(lease=leases, ttl=st.sampled_from([None, 5, 600]))
    def renew(self, lease: Lease, ttl: int | None) -> None:
        caller = lease.session.vault if lease.session else lease.token.vault
        parent = lease.session.parent if lease.session else lease.token
        tenant = lease.token.tenant

        def act() -> object:
            return caller.leases.renew(lease.id, f"{ttl}m" if ttl else None)

        if not self.authenticates(lease.session, parent):
            self.refused(tenant, NotAuthenticated, act, "access_denied")
        elif lease.state != "active" or self.now >= lease.expires:
            self.refused(tenant, Conflict, act, "lease_denied")
        elif lease.token.revoked or self.now >= lease.token.expires:
            raise AssertionError("such a lease has ended")
        elif lease.expires >= lease.maximum:
            self.refused(tenant, LeaseAtMaximum, act, "lease_denied")
        else:
            with self.step(tenant, lease_renewed=1):
                renewed = caller.leases.renew(lease.id, f"{ttl}m" if ttl else None)
            lease.ttl = min(timedelta(minutes=ttl) if ttl else lease.ttl, MAXIMUM)
            lease.expires = min(self.now + lease.ttl, lease.maximum)
            assert renewed.expires_at == lease.expires
            self.touch(lease.session)

    @rule(lease=leases, by_owner=st.booleans())
    def revoke_lease(self, lease: Lease, by_owner: bool) -> None:
        tenant = lease.token.tenant
        caller = lease.session.vault if lease.session else lease.token.vault
        parent = lease.session.parent if lease.session else lease.token
        if not by_owner and not self.authenticates(lease.session, parent):
            self.refused(tenant, NotAuthenticated, lambda: caller.leases.revoke(lease.id), "access_denied")
            return
        with self.step(tenant):
            if lease.state == "active" and self.now < lease.expires:
                self.end_leases(tenant, lambda other: other is lease)
            (self.world.owner(tenant) if by_owner else caller).leases.revoke(lease.id)
        if not by_owner:
            self.touch(lease.session)

    @rule(tenant=st.sampled_from(TENANTS), name=st.sampled_from(CREDENTIALS))
    def rotate_credential(self, tenant: str, name: str) -> None:
        with self.step(tenant, credential_rotated=1):
            self.world.owner(tenant).credentials.rotate(name, self.new_value(tenant, name))

    @rule(tenant=st.sampled_from(TENANTS), name=st.sampled_from(CREDENTIALS))
    def replace_credential(self, tenant: str, name: str) -> None:
        owner = self.world.owner(tenant)
        with self.step(tenant, credential_deleted=1, credential_created=1):
            self.end_leases(tenant, lambda lease: lease.credential == name)
            owner.credentials.delete(name)
            owner.credentials.create(name, "generic-secret", self.new_value(tenant, name), max_ttl="40m")

    @rule(token=tokens)
    def rotate_token(self, token: Token) -> None:
        owner = self.world.owner(token.tenant)
        if token.revoked or self.now >= token.expires:
            with self.step(token.tenant), pytest.raises(Conflict):
                owner.tokens.rotate(token.id)
            return
        with self.step(token.tenant, token_rotated=1):
            token.vault = self.world.connect(owner.tokens.rotate(token.id))

    @rule(token=consumes(tokens))
    def revoke_token(self, token: Token) -> None:
        with self.step(token.tenant):
            if not token.revoked:
                token.revoked = True
                for session in self.all_sessions:
                    if session.parent is token and not session.ended:
                        self.end_session(session)
                self.end_leases(token.tenant, lambda lease: lease.token is token)
                self.expect(token.tenant, token_revoked=1)
            self.world.owner(token.tenant).tokens.revoke(token.id)

    @rule()
    def the_reaper_comes(self) -> None:
        with self.step(TENANTS[0]):
            for lease in self.all_leases:
                if lease.state == "active" and lease.expires <= self.now:
                    lease.state = "expired"
                    self.expect(lease.token.tenant, lease_expired=1)
            for session in self.all_sessions:
                if not session.ended and not session.lives(self.now):
                    self.end_session(session)
            self.world.reap()

    @rule(lease=leases, token=tokens)
    def another_tries_a_lease(self, lease: Lease, token: Token) -> None:
        same = (token.tenant, token.agent) == (lease.token.tenant, lease.token.agent)
        if same or not self.authenticates(None, token):
            return
        for act in (token.vault.leases.get, token.vault.leases.renew, token.vault.leases.revoke):
            self.refused(token.tenant, NotFound, lambda act=act: act(lease.id), "access_denied")

    @rule(lease=leases, encoded=st.booleans())
    def tell_a_secret(self, lease: Lease, encoded: bool) -> None:
        session = lease.session
        if session is None or not self.authenticates(session, session.parent):
            return
        tenant, other = lease.token.tenant, next(iter(REACH[lease.token.agent] - {lease.credential}))
        name = lease.credential
        with self.step(tenant, lease_created=1):  # so that the current value is one that was leased here
            handle = session.vault.leases.create(name, ttl="1m")
        expires = min(self.now + timedelta(minutes=1), session.parent.expires)
        maximum = min(self.now + MAXIMUM, session.parent.expires)
        self.all_leases.append(Lease(handle.id, name, session.parent, session, expires, maximum, expires - self.now))
        self.touch(session)
        value = self.current[tenant, name]
        text = base64.b64encode(f"user:{value}".encode()).decode() if encoded else value
        self.refused(
            tenant, InvalidInput, lambda: session.vault.leases.create(other, purpose=f"With {text}"), "lease_denied"
        )

    # What always holds

    @invariant()
    def logs_are_numbered_without_gaps_in_the_order_of_time_and_hold_no_value(self) -> None:
        for tenant in self.seen:
            entries = list(self.world.owner(tenant).audit_log.after(-1))
            assert [entry.seq for entry in entries] == list(range(self.seen[tenant]))
            assert all(one.timestamp <= next.timestamp for one, next in pairwise(entries))
            assert {entry.tenant_id for entry in entries} == {tenant}
            text = json.dumps([to_json_object(entry) for entry in entries])
            for value in self.values[tenant]:
                assert value not in text
                assert base64.b64encode(value.encode()).decode()[:24] not in text
                assert value.encode().hex() not in text

    @invariant()
    def every_log_verifies_and_agrees_with_each_of_its_checkpoints(self) -> None:
        for tenant in self.seen:
            found = self.world.owner(tenant).audit_log.verify()
            assert (found.problems, found.size) == ((), self.seen[tenant])

    @invariant()
    def listings_are_as_the_model_has_it(self) -> None:
        for tenant in self.seen:
            owner = self.world.owner(tenant)
            expected = {lease.id: self.state_of(lease) for lease in self.all_leases if lease.token.tenant == tenant}
            listed = owner.leases.list()
            assert {lease.id: lease.state.value for lease in listed} == expected
            redeemed = {lease.id for lease in self.all_leases if lease.redeemed}
            assert {lease.id for lease in listed if lease.redeemed_at} == redeemed & expected.keys()
            for state in ("active", "expired", "revoked"):
                listed = {lease.id for lease in owner.leases.list(state=state)}
                assert listed == {id for id, its in expected.items() if its == state}
            sessions = [session for session in self.all_sessions if session.parent.tenant == tenant]
            assert {session.id: session.state == "active" for session in owner.sessions.list()} == {
                session.id: session.lives(self.now) for session in sessions
            }
            for session in sessions:
                # Where the last sign of life is old, looking would be one.
                if self.now - session.seen < TOUCHED and self.authenticates(session, session.parent):
                    own = {lease.id for lease in self.all_leases if lease.session is session}
                    assert {lease.id for lease in session.vault.leases.list()} == own

    def state_of(self, lease: Lease) -> str:
        """What a lease is now, whether or not the reaper has recorded it."""
        if lease.state != "active":
            return lease.state
        if lease.expires <= self.now:
            return "expired"
        return "active" if lease.session is None or lease.session.lives(self.now) else "revoked"


TestPopulation = Population.TestCase
TestPopulation.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
