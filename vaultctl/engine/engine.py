"""The engine of one open vault: runs requests in transactions, one by one or many in one."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultError, VaultUnavailable, VerificationFailed
from vaultctl.domain.ids import Drawn, RandomBytes
from vaultctl.domain.records import Event, Identity
from vaultctl.engine import reaper, tallies
from vaultctl.engine.authentication import VAULT_TENANT, Principal, needs_touch
from vaultctl.engine.dispatch import Call, Outcome, apply
from vaultctl.engine.holding import tenants_of
from vaultctl.engine.keys import FindRootKey, Keys
from vaultctl.engine.reruns import rerun
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Conflicted, Store, StoreTransaction
from vaultctl.store.rows import KeyRow, LogRow, TallyMarkRow, VaultRow

if TYPE_CHECKING:
    from vaultctl.engine.idempotency import Idempotency
    from vaultctl.engine.inspection import Inspection
    from vaultctl.engine.memory import Memory

T = TypeVar("T")

REAP_BATCH = 200

_SIGNED_AT_ONCE = 50
"""Logs that get their checkpoints in one transaction."""

BRIEFLY = 0.1
"""Seconds to wait for other writers where nothing depends on it."""


class Spoiled(Exception):
    """One of several calls can't share their transaction, which was rolled back.

    Attributes:
        index: Which one.
    """

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class Written(NamedTuple):
    """What a committed transaction came to.

    Attributes:
        results: The outcome of each call, or the error of one that failed without having written anything.
        grown: The tenants whose logs grew.
    """

    results: Sequence[Outcome | VaultError]
    grown: frozenset[str]


class Reaped(NamedTuple):
    """What the reaper recorded: how much, and in which tenants' logs; and how many old answers it dropped."""

    records: int
    dropped: int
    grown: frozenset[str]


class Engine:
    """A vault that is open: its store and its root key."""

    def __init__(
        self, store: Store, root: RootKey, *, random: RandomBytes = os.urandom, find_root: FindRootKey | None = None
    ) -> None:
        """Open the vault in ``store``.

        Args:
            store: Holds the vault.
            root: Its root key.
            random: Where ids and keys come from.
            find_root: Looks up the root key that another process has rotated to.

        Raises:
            VaultLocked: ``root`` is not its root key.
            VaultUnavailable: The store holds no vault, or can't be read.
        """
        self._store = store
        self._keys = Keys(root, random, find_root)
        self._random = random
        self._unsigned: set[str] = set()
        self.vault_id = rerun(self._require_vault)

    def perform(self, principal: Principal, request: ask.Request[T], idempotency: "Idempotency | None" = None) -> T:
        """The answer to ``request``. Its audit entries are committed before this returns or raises a refusal.

        Raises:
            VaultError: The request was refused or failed.
        """
        call = Call(principal, request, idempotency)
        if not call.writes:
            outcome, is_sign_of_life = rerun(lambda: self.read(call))
            if is_sign_of_life:
                self._touch(principal)
            if outcome.refused is None:
                return cast("T", outcome.answer)
            # A refusal is judged again where it can be recorded.
        return cast("T", answer_of(rerun(lambda: self.write([call])).results[0]))

    def read(self, call: Call) -> tuple[Outcome, bool]:
        """What a call that changes nothing comes to, and whether it is a sign of life of the caller's session.

        Neither that nor a refusal is recorded here.

        Raises:
            VaultError: The call failed.
            Conflicted: It may be run again.
        """
        with self._store.read(by_clock=call.by_clock) as store_tx:
            tx = self._transaction(store_tx)
            outcome = apply(tx, call)
            caller = outcome.caller if outcome.refused is None else None
            return outcome, caller is not None and needs_touch(caller, tx)

    def drawing(self) -> RandomBytes:
        """Where random bytes come from, for one thread of a process that does not fork."""
        return Drawn(self._random)

    def write(
        self,
        calls: list[Call],
        memory: "Memory | None" = None,
        patience: float | None = None,
        random: RandomBytes | None = None,
        joining: Callable[[], Iterable[Call]] | None = None,
    ) -> Written:
        """Run ``calls``, one after the other, in one transaction that is committed before this returns.

        Args:
            calls: What to run; what joins is added to it.
            memory: What earlier transactions left behind, and where this one leaves it.
            patience: Seconds to wait for other writers, if not the store's own.
            random: Where random bytes come from, if not from the engine's own source.
            joining: Answers what else is to be run, once the transaction has begun: that takes time, during which more
                has come.

        Raises:
            VaultError: The only call failed after it had written, or the transaction could not be committed.
            Spoiled: One of several calls failed after it had written, or in an unexpected way.
            Conflicted: The transaction was rolled back and may be run again.
        """
        results: list[Outcome | VaultError] = []
        try:
            with self._store.write(patience) as store_tx:
                tx = Transaction(store_tx, self._keys, random or self._random, memory)
                if joining is not None:
                    calls += joining()
                # All at once, in order of name: so that nodes don't wait for each other.
                tx.hold(tenants_of(tx, calls))
                if len(calls) > 1:
                    from vaultctl.engine.prefetch import prefetch

                    prefetch(tx, calls)
                for call in calls:
                    results.append(_result(tx, call))
                grown = tx.finish()
        except Conflicted:
            raise
        except Exception:
            if len(calls) == 1 or len(results) == len(calls):
                raise
        else:
            tx.committed()
            self._unsigned |= grown
            return Written(results, grown)
        raise Spoiled(len(results))

    def reap(self, limit: int = REAP_BATCH, *, patience: float | None = None) -> int:
        """Record what has ended by itself, at most ``limit`` of each kind; answers how many records.

        ``patience`` is how many seconds to wait for other writers, if not the store's own.
        """
        return rerun(lambda: self._reap(limit, patience)).records

    def keep_up(self, limit: int) -> Reaped:
        """What a server does every second: :meth:`reap`, and checkpoints of logs that have grown and grow no more.

        Nodes share the work: tenants that another one holds are left to it, unless nothing else is due.
        """
        return rerun(lambda: self._reap(limit, None, signs=True))

    def catch_up(self) -> None:
        """Give logs from before there were Merkle trees or tallies theirs: minutes, for ten million entries.

        Whoever writes to such a log does so otherwise: for its tree at once, for its tallies bit by bit. One that
        something other than the vault has changed is passed over: whoever writes to it is told.
        """

        def tally(tenant: str) -> int:
            with self._store.write() as store_tx:
                tx = self._transaction(store_tx)
                return tx.tally(tenant) if tx.hold({tenant}) else 0

        with self._store.read() as store_tx:
            marks = {mark.tenant: mark.seq for mark in store_tx.find(TallyMarkRow)}
            logs = store_tx.find(LogRow, order="tenant")
        for log in logs:
            if log.mac is None or log.size - marks.get(log.tenant, 0) > tallies.STEP:
                with suppress(VerificationFailed):
                    while rerun(lambda tenant=log.tenant: tally(tenant)) > tallies.STEP:  # type: ignore[misc]
                        pass

    def inspect(self) -> "Inspection":
        """What :mod:`vaultctl.engine.inspection` finds in everything that is stored."""
        from vaultctl.engine import inspection

        def look() -> inspection.Inspection:
            with self._store.read() as store_tx:
                return inspection.inspect(self._transaction(store_tx))

        return rerun(look)

    def opens_all(self) -> bool:
        """Whether all tenants' keys are wrapped by the root key."""

        def look() -> bool:
            with self._store.read() as store_tx:
                return self._keys.opens_all(store_tx)

        return rerun(look)

    def rotate_root(self, root: RootKey, identity: Identity) -> int:
        """Wrap all tenants' keys by ``root`` in one transaction; answers how many.

        Raises:
            Conflict: Another process has rotated the root key meanwhile.
            VerificationFailed: A tenant's key was changed by something other than the vault.
        """

        def rotate() -> int:
            with self._store.write() as store_tx:
                tx = self._transaction(store_tx)
                # Nobody makes a key meanwhile: that takes a log.
                store_tx.hold([log.tenant for log in store_tx.find(LogRow)])
                self._keys.require_newest(require_vault(store_tx))  # else the log can't be held
                tx.hold({VAULT_TENANT})
                tx.sign_log(VAULT_TENANT)  # while the signing key is wrapped by the root key that is in use
                vault = require_vault(store_tx)
                count = self._keys.rotate_root(store_tx, vault, root)
                details = {"from": vault.root_key_id, "to": root.id, "keys": count}
                tx.audit(VAULT_TENANT, Event.ROOT_KEY_ROTATED, identity, details)
                tx.finish()
                return count

        count = rerun(rotate)
        self._keys.use(root)
        return count

    @contextmanager
    def snapshot(self) -> Iterator[tuple[StoreTransaction, VaultRow, RootKey]]:
        """One moment of the vault, and the root key that opens it.

        Raises:
            VerificationFailed: It does not open one of the tenants' keys.
        """
        with self._store.read() as store_tx:
            vault = require_vault(store_tx)
            self._keys.require_root_of(vault)
            for row in store_tx.find(KeyRow):
                self._keys.unwrap(row)
            yield store_tx, vault, self._keys.root

    def note(self, event: Event, identity: Identity, details: dict[str, Any]) -> None:
        """Record in the vault's own log what was done to the vault as a whole."""

        def write() -> None:
            with self._store.write() as store_tx:
                tx = self._transaction(store_tx)
                tx.hold({VAULT_TENANT})
                tx.audit(VAULT_TENANT, event, identity, details)
                tx.finish()

        rerun(write)

    def maintain(self) -> None:
        """The store's own upkeep, which a server sees to when a group is committed and before it takes the next.

        Raises:
            VaultError: It failed; whoever writes next will see to it, or meet the same.
        """
        self._store.maintain()

    def ping(self) -> None:
        """Read something from the store.

        Raises:
            VaultError: It can't be read.
            Conflicted: It can't be read now.
        """
        with self._store.read() as store_tx:
            require_vault(store_tx)

    def close(self) -> None:
        """Close the store. What was written before is covered by a checkpoint then, unless another writer is busy."""
        if self._unsigned:
            with suppress(VaultError):  # the next writer makes it
                rerun(lambda: self._sign(self._unsigned), seconds=BRIEFLY)
        self._store.close()

    def sign_logs(self) -> None:
        """Make checkpoints of all logs, over all that was committed before."""
        with self._store.read() as store_tx:
            tenants = [log.tenant for log in store_tx.find(LogRow, order="tenant")]
        for at in range(0, len(tenants), _SIGNED_AT_ONCE):
            rerun(lambda at=at: self._sign(tenants[at : at + _SIGNED_AT_ONCE], None))  # type: ignore[misc]

    def _sign(self, tenants: Collection[str], patience: float | None = BRIEFLY) -> None:
        with self._store.write(patience) as store_tx:
            tx = self._transaction(store_tx)
            for tenant in tx.hold(tenants, spoiled=False):
                tx.sign_log(tenant)
            tx.finish()

    def _require_vault(self) -> str:
        with self._store.read(by_clock=True) as tx:  # so that logs that tell of another time can be looked at
            vault = require_vault(tx)
            self._keys.require_root_of(vault)
        return vault.id

    def _touch(self, principal: Principal) -> None:
        """Record a sign of life, unless another writer is busy for long: who reads does not wait for that."""
        with suppress(VaultUnavailable):
            rerun(lambda: self.write([Call(principal, ask.TouchSession())], patience=BRIEFLY), seconds=BRIEFLY)

    def _reap(self, limit: int, patience: float | None, *, signs: bool = False) -> Reaped:
        with self._store.read() as store_tx:
            tx = self._transaction(store_tx)
            due, unsigned = reaper.due_tenants(tx), reaper.unsigned_logs(tx) if signs else set()
        if not due | unsigned:
            return Reaped(0, 0, frozenset())
        with self._store.write(patience) as store_tx:
            tx = self._transaction(store_tx)
            # One tenant's head that somebody spoiled must not keep the others' from being recorded.
            held = tx.hold(due | unsigned, wait=False, spoiled=False)
            held = held or tx.hold({next(iter(due | unsigned))}, spoiled=False)
            recorded, dropped = reaper.reap(tx, held & due, limit)
            for tenant in held & unsigned:
                tx.sign_log(tenant)
            grown = tx.finish()
        self._unsigned |= grown
        return Reaped(recorded, dropped, grown)

    def _transaction(self, store_tx: StoreTransaction, memory: "Memory | None" = None) -> Transaction:
        return Transaction(store_tx, self._keys, self._random, memory)


def answer_of(result: Outcome | VaultError) -> Any:
    """The answer that a call came to.

    Raises:
        VaultError: It was refused, or failed.
    """
    if isinstance(result, VaultError):
        raise result
    if result.refused is not None:
        raise result.refused.refusal.error
    return result.answer


def require_vault(tx: StoreTransaction) -> VaultRow:
    """The vault that a store holds.

    Raises:
        VaultUnavailable: It holds none.
    """
    rows: list[Any] = tx.find(VaultRow, limit=1)
    if not rows:
        raise VaultUnavailable("The database holds no vault.", hint="Restore it from a backup, or run: vaultctl init")
    vault: VaultRow = rows[0]
    return vault


def _result(tx: Transaction, call: Call) -> Outcome | VaultError:
    """What a call comes to. One that fails before it has written leaves the transaction to the others."""
    writes_before = tx.writes
    try:
        return apply(tx, call)
    except VaultError as error:
        if tx.writes == writes_before:
            return error
        raise
