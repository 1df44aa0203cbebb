"""Any run of leasing, redeeming and ending by two runs of an agent, against a model of what is still redeemed."""

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.conftest import Clock
from tests.contract.world import EmbeddedSqlite, World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import Conflict, NotAllowed, NotAuthenticated, NotFound, VaultError

IDS = ("cortex_sess_1", "cortex_sess_2")
LEASE_TTL = timedelta(minutes=20)
IDLE = timedelta(minutes=15)


@dataclass
class Run:
    """A session as the model has it, with the vault as its agent and its runtime reach it."""

    id: str
    session: Vault
    runtime: Vault
    seen: datetime
    ended: bool = False


@dataclass
class Reference:
    """A lease by reference, as the model has it."""

    id: str
    ref: str
    run: Run
    value: str
    expires: datetime
    revoked: bool = False
    redeemed: bool = False


class Runs(RuleBasedStateMachine):
    """Two sessions that are opened and reopened, one credential, and the time."""

    def __init__(self) -> None:
        super().__init__()
        shared = Path("/dev/shm")
        self.directory = Path(mkdtemp(prefix="vaultctl-test-", dir=shared if shared.is_dir() else None))
        self.clock = Clock()
        self.world = World(EmbeddedSqlite, self.directory, self.clock, reaps=False)
        self.owner = self.world.owner()
        self.agent = self.world.agent("ours", "*")
        self.runs: list[Run] = []
        self.references: list[Reference] = []
        self.number = 0

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.directory)

    @initialize()
    def settle(self) -> None:
        self.owner.credentials.create("api", "generic-secret", self.value, delivery="reference")
        for id in IDS:
            self.runs.append(self.opened(id))

    @property
    def value(self) -> str:
        return f"value-number-{self.number:04}"

    def opened(self, id: str) -> Run:
        opened = self.agent.sessions.open(id)
        return Run(id, self.world.connect(opened), self.world.connect(opened.redeem_token), self.clock.now)

    def lives(self, run: Run) -> bool:
        return not run.ended and self.clock.now - run.seen < IDLE

    def used(self, run: Run) -> None:
        if self.clock.now - run.seen >= timedelta(minutes=1):
            run.seen = self.clock.now

    @rule(run=st.integers(0, 1), asked=st.sampled_from([None, "value", "reference"]))
    def lease(self, run: int, asked: str | None) -> None:
        its = self.runs[run]
        if not self.lives(its):
            with pytest.raises(NotAuthenticated):
                its.session.leases.create("api")
            return
        handle = its.session.leases.create("api", ttl="20m", response_format=asked)
        assert handle.issued.value is None
        assert handle.credential_reference is not None
        ref = handle.credential_reference.ref
        self.references.append(Reference(handle.id, ref, its, self.value, self.clock.now + LEASE_TTL))
        self.used(its)

    @precondition(lambda self: self.references)
    @rule(data=st.data(), how=st.sampled_from(["right"] * 4 + ["another's reference", "another run", "session token"]))
    def redeem(self, data: st.DataObject, how: str) -> None:
        its = data.draw(st.sampled_from(self.references))
        other = data.draw(st.sampled_from(self.references))
        run = self.runs[1 - IDS.index(its.run.id)] if how == "another run" else its.run
        caller = run.session if how == "session token" else run.runtime
        ref = other.ref if how == "another's reference" else its.ref
        error: type[VaultError] | None = None
        if not self.lives(run):
            error = NotAuthenticated
        elif how == "session token":
            error = NotAllowed
        elif how == "another run" or ref != its.ref:
            error = NotFound
        elif its.revoked or its.redeemed or self.clock.now >= its.expires:
            error = Conflict
        if error is None:
            assert caller.leases.redeem(its.id, ref).value.reveal() == its.value
            its.redeemed = True
            self.used(run)
        else:
            with pytest.raises(VaultError) as raised:
                caller.leases.redeem(its.id, ref)
            assert type(raised.value) is error

    @precondition(lambda self: self.references)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        its = data.draw(st.sampled_from(self.references))
        self.owner.leases.revoke(its.id)
        its.revoked = True

    @rule(span=st.sampled_from([1, 9, 14]))
    def time_passes(self, span: int) -> None:
        self.clock.advance(timedelta(minutes=span))

    @rule()
    def rotate(self) -> None:
        self.number += 1
        self.owner.credentials.rotate("api", self.value)

    @rule(run=st.integers(0, 1))
    def reopen(self, run: int) -> None:
        """The runtime starts again under its id: what was leased goes on, the tokens from before don't."""
        its = self.runs[run]
        if not self.lives(its):
            with pytest.raises(Conflict):
                self.agent.sessions.open(its.id)
            return
        before = its.session, its.runtime
        again = self.opened(its.id)
        its.session, its.runtime, its.seen = again.session, again.runtime, again.seen
        for vault in before:
            with pytest.raises(NotAuthenticated):
                vault.leases.redeem("lease_x", "vault:lease:x")

    @invariant()
    def each_redemption_is_in_the_log_once(self) -> None:
        redeemed = sorted(reference.id for reference in self.references if reference.redeemed)
        entries = self.owner.audit_log.query(events=["lease.redeemed"], limit=None)
        assert sorted(entry.lease_id or "" for entry in entries) == redeemed
        assert {lease.id for lease in self.owner.leases.list() if lease.redeemed_at} == set(redeemed)


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
