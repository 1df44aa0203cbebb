"""One transaction of the engine: the store's, with rows authenticated, values sealed and audit entries buffered."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import msgspec

from vaultctl.crypto.authenticity import row_mac, same
from vaultctl.crypto.envelope import KEY_BYTES, Binding, Key, seal, unseal
from vaultctl.domain.errors import InternalError, NotFound, VerificationFailed
from vaultctl.domain.ids import RandomBytes, new_id
from vaultctl.domain.records import Event, Identity
from vaultctl.domain.times import SECOND, from_micros, rfc3339
from vaultctl.engine import log_tree, tallies
from vaultctl.engine.keys import KEK, Keys
from vaultctl.engine.memory import KEPT, Memory, TenantMemory, Value
from vaultctl.ledger.entry import columns_of, entry_bytes
from vaultctl.store.interface import Conflicted, StoreTransaction, Where
from vaultctl.store.rows import EntryRow, LeaseRow, LogRow, Row, TenantRow, TokenRow, VersionRow

if TYPE_CHECKING:
    from vaultctl.ledger.note import VerifierKey

R = TypeVar("R", bound=Row)

_DATA_KEY = "data key"
_AUTHORITY_BYTES = 16
_UNKNOWN: Any = object()

CHECKPOINT_MICROS = SECOND
"""How old the last checkpoint may be when entries that it does not cover get company."""


class Transaction:
    """What operations work with.

    Rows that grant authority carry an authentication code under their tenant's key: it is checked by every read and
    renewed by every write here, so that an operation can't forget it.
    """

    def __init__(self, store: StoreTransaction, keys: Keys, random: RandomBytes, memory: Memory | None = None) -> None:
        """Begin. ``memory`` is what the transactions before this one left; without it there is nothing to go by."""
        self._store = store
        self._keys = keys
        self._memory = memory or Memory()
        self._entries: dict[str, list[dict[str, Any]]] = {}
        self._asked: set[str] = set()
        self._logs: dict[str, LogRow] = {}
        self._tenants: dict[str, TenantMemory] = {}
        self._authority: dict[str, bytes] = {}
        self._mac_keys: dict[str, bytes] = {}
        self.random = random
        self.writes = 0
        """How many rows and entries were written; an operation that refuses must not have moved it."""

    @property
    def now(self) -> int:
        """The transaction's time in microseconds since 1970."""
        return self._store.now

    @cached_property
    def moment(self) -> datetime:
        """The transaction's time."""
        return from_micros(self._store.now)

    @property
    def writable(self) -> bool:
        """Whether it may write."""
        return self._store.writable

    # Tenants' logs, which whoever writes holds

    def hold(self, tenants: Collection[str], *, wait: bool = True, spoiled: bool = True) -> frozenset[str]:
        """Hold the logs of these tenants, as a transaction does before it reads what it is going to change.

        Args:
            tenants: Which ones.
            wait: Whether to wait for those that others hold; else they are passed over.
            spoiled: Whether a head that the vault did not write is an error; else it is passed over, and so is one
                from before there were trees.

        Returns:
            Which of them are held now.
        """
        if new := set(tenants) - self._asked:
            held = self._store.hold(new, wait=wait)
            self._asked |= new if wait else held.keys()
            for tenant, log in held.items():
                if not spoiled and not self.is_authentic(log):
                    continue
                self._logs[tenant] = log if self._memory.has_left(log) else self._opened(log)
                self._tenants[tenant] = self._memory.recall(log)
        return frozenset(self._logs.keys() & set(tenants))

    def tenant_of(self, token_hash: bytes) -> str | None:
        """In which tenant a token with this hash probably is; what it grants is found out once that is held."""
        place = self._memory.tokens.get(token_hash)
        if place is not None:
            return str(place[0])
        rows = self._store.find(TokenRow, Where("hash", "=", token_hash), limit=1)
        return rows[0].tenant if rows else None

    def token(self, token_hash: bytes) -> TokenRow | None:
        """The token with this hash, authenticated.

        Raises:
            Conflicted: It was made after the transaction had asked where it is.
        """
        place = self._memory.tokens.get(token_hash)
        row = None if place is None else self.get(TokenRow, *place)
        if row is None or row.hash != token_hash:
            rows = self.find(TokenRow, Where("hash", "=", token_hash), limit=1)
            if not rows:
                return None
            row = rows[0]
            if self.writable and row.tenant not in self._asked:
                raise Conflicted
            self._remember(row)
            self._memory.tokens[token_hash] = (row.tenant, row.id)
        return row

    # Rows

    def get(self, row_type: type[R], *key: str | int, decoy: Callable[[], R] | None = None) -> R | None:
        """The row with that primary key, authenticated, or None.

        Where there is none, ``decoy`` makes one to spend the time on that authenticating it would take.
        """
        rows: dict[Any, Any] = self._of(key[0]).of(row_type)  # type: ignore[arg-type]
        known: R | None = rows.get(key, _UNKNOWN)
        if known is not _UNKNOWN:
            return known
        row = self._store.get(row_type, *key)
        if row is not None:
            self._authentic(row)
        elif decoy is not None:
            same(b"", self._mac(decoy()))
        rows[key] = row
        return row

    def prefetch(self, row_type: type[Row], beginning: tuple[str, ...], last: Collection[str]) -> None:
        """Read rows whose primary keys differ in the last column only, so that :meth:`get` need not ask for each."""
        rows = self._of(beginning[0]).of(row_type)
        unknown = sorted(value for value in last if (*beginning, value) not in rows)
        if len(unknown) < 2:
            return
        same_for_all = [Where(column, "=", value) for column, value in zip(row_type.key, beginning, strict=False)]
        found = self._store.find(row_type, *same_for_all, Where(row_type.key[-1], "in", unknown))
        rows |= dict.fromkeys((*beginning, value) for value in unknown)
        for row in found:
            if self.is_authentic(row):
                self._remember(row)
            else:  # which whoever asks for it will be told
                del rows[_key_of(row_type)(row)]

    def prefetch_tokens(self, token_hashes: Collection[bytes]) -> None:
        """Read those of the tokens with these hashes of which it is known where they are."""
        ids: dict[str, list[str]] = {}
        for tenant, id in filter(None, map(self._memory.tokens.get, token_hashes)):
            ids.setdefault(tenant, []).append(id)
        for tenant, of_tenant in ids.items():
            self.prefetch(TokenRow, (tenant,), of_tenant)

    def find(
        self, row_type: type[R], *conditions: Where, order: str = "", descending: bool = False, limit: int | None = None
    ) -> list[R]:
        """The rows that meet all conditions, authenticated."""
        rows = self._store.find(row_type, *conditions, order=order, descending=descending, limit=limit)
        return [self._authentic(row) for row in rows]

    def find_authentic(self, row_type: type[R], *conditions: Where) -> list[R]:
        """The authentic ones of the rows that meet all conditions.

        For what must not be stopped by a row that somebody spoiled: such a row grants nothing anyway.
        """
        return [row for row in self._store.find(row_type, *conditions) if self.is_authentic(row)]

    def find_unchecked(self, row_type: type[R], *conditions: Where, limit: int, order: str = "") -> list[R]:
        """Like :meth:`find`, for rows whose authenticity the caller asks for one by one (:meth:`is_authentic`)."""
        return self._store.find(row_type, *conditions, limit=limit, order=order)

    def count(self, row_type: type[Row], *conditions: Where) -> int:
        """How many rows meet all conditions."""
        return self._store.count(row_type, *conditions)

    def totals(
        self, row_type: type[Row], by: Sequence[str], *conditions: Where, of: str | None = None
    ) -> list[tuple[Any, ...]]:
        """How many rows that meet all conditions have each of the values of ``by``, or the sums of a column."""
        return self._store.totals(row_type, by, *conditions, of=of)

    def tally_disagreements(self, tenant: str, size: int) -> Iterator[str]:
        """What the tallies of a tenant's log have other than its entries."""
        return tallies.disagreements(self._store, tenant, size)

    def tally(self, tenant: str) -> int:
        """Tally more of a tenant's log, which is held; answers how many entries are left."""
        self._require_held(tenant)
        return tallies.bring_up_to_date(self._store, tenant, self._logs[tenant].size)

    def first_entry_from(self, tenant: str, time: int) -> int:
        """The number that the first entry from a time on has in a tenant's log, or would have.

        Raises:
            VerificationFailed: Entries are missing.
        """
        found = self._store.first_entry_from(tenant, time)
        if found is None and self.get(LogRow, tenant) is not None:
            raise VerificationFailed(
                f"Entries of the audit log of {tenant!r} are missing.", hint="Find out which: vaultctl audit verify"
            )
        return found or 0

    def insert(self, row: R) -> R:
        """Add a row; answers it as stored."""
        row = self._signed(row)
        self._store.insert(row)
        self._changed(row)
        return row

    def update(self, row: R, **changes: Any) -> R:
        """Replace ``row`` with itself as changed; answers it as stored."""
        row = self._signed(msgspec.structs.replace(row, **changes))
        self._store.update(row, [*changes, "mac"] if hasattr(row, "mac") else [*changes])
        self._changed(row)
        return row

    def delete(self, row_type: type[Row], tenant: str, *conditions: Where) -> None:
        """Remove a tenant's rows that meet all conditions."""
        self._require_held(tenant)
        self.writes += 1
        self._store.delete(row_type, Where("tenant", "=", tenant), *conditions)
        known = self._of(tenant)
        known.rows.pop(row_type, None)
        known.fragments.clear()
        if row_type in KEPT:
            self._authority_changes(tenant)

    def is_authentic(self, row: Row) -> bool:
        """Whether a row is as the vault wrote it; of one without a code, whether it could be."""
        if not hasattr(row, "mac"):
            return _is_well_formed(row)
        try:
            return self._is_known(row) or same(row.mac, self._mac(row))
        except VerificationFailed:  # of a tenant that has no keys
            return False

    def _authentic(self, row: R) -> R:
        if not self.is_authentic(row):
            named = ", ".join(str(getattr(row, column)) for column in row.key)
            raise VerificationFailed(
                f"A row of {row.table} ({named}) was changed by something other than the vault.",
                hint="Restore the database from a backup, and find out who can write to it.",
            )
        return row

    def _signed(self, row: R) -> R:
        self._require_held(_tenant(row))
        self.writes += 1
        return self.signed(row)

    def signed(self, row: R) -> R:
        """A row with its authentication code."""
        return msgspec.structs.replace(row, mac=self._mac(row)) if hasattr(row, "mac") else row

    def _mac(self, row: Row) -> bytes:
        if row.mac:  # type: ignore[attr-defined]
            row = msgspec.structs.replace(row, mac=row.__struct_defaults__[-1])
        tenant = _tenant(row)
        key = self._mac_keys.get(tenant)
        if key is None:
            key = self._mac_keys[tenant] = self._keys.mac(self._store, tenant)
        return row_mac(key, row.table, row)

    def code(self, tenant: str, purpose: str, data: bytes) -> bytes:
        """An authentication code over ``data`` under the tenant's key, for a purpose that is no table's name."""
        return row_mac(self._keys.mac(self._store, tenant), purpose, (data,))

    def _require_held(self, tenant: str) -> None:
        if tenant not in self._logs:
            raise InternalError(f"Tenant {tenant!r} has no audit log, or it is not held.")

    # What is remembered

    def made(self, tenant: str) -> dict[tuple[Any, ...], Any]:
        """What was made of a tenant's rows a short while ago: to be looked up, and added to."""
        return self._of(tenant).made

    def judged(self, tenant: str) -> dict[tuple[Any, ...], Any]:
        """What was judged a short while ago, by rows of a tenant that have not changed since."""
        return self._of(tenant).judged

    def leased(
        self,
        tenant: str,
        scope: tuple[str, str | None],
        find: Callable[[], Iterable[Value]],
        read: Callable[[Iterable[Value]], Iterable[str]],
    ) -> tuple[str, ...]:
        """What must not be disclosed of the values that a session or a token has leased.

        Args:
            tenant: The session's tenant.
            scope: ``("session", id)`` or ``("token", id)``.
            find: Finds the values, if they are not known.
            read: Makes of them what must not be disclosed.
        """
        known = self._of(tenant)
        fragments = known.fragments.get(scope)
        if fragments is None:
            if scope not in known.leased:
                known.leased[scope] = dict.fromkeys(find())
            fragments = known.fragments[scope] = tuple(read(known.leased[scope]))
        return fragments

    def committed(self) -> None:
        """Leave what is known to the transactions that come after; only once this one has committed."""
        self._memory.keep((log, self._tenants[tenant]) for tenant, log in self._logs.items())

    def _of(self, tenant: str) -> TenantMemory:
        known = self._tenants.get(tenant)
        if known is None:
            known = self._tenants[tenant] = TenantMemory()
        return known

    def _is_known(self, row: Row) -> bool:
        return self._of(_tenant(row)).of(type(row)).get(_key_of(type(row))(row)) == row

    def _remember(self, row: Row) -> None:
        self._of(_tenant(row)).of(type(row))[_key_of(type(row))(row)] = row

    def _changed(self, row: Row) -> None:
        self._remember(row)
        if isinstance(row, LeaseRow):
            self._of(row.tenant).note_lease(row)
        elif isinstance(row, KEPT):
            self._authority_changes(_tenant(row))

    def _authority_changes(self, tenant: str) -> None:
        self._authority[tenant] = self.random(_AUTHORITY_BYTES)
        known = self._of(tenant)
        known.fragments.clear()
        known.judged.clear()

    # Tenants and keys

    def tenant(self, tenant: str) -> TenantRow:
        """A tenant's settings.

        Raises:
            NotFound: There is no such tenant.
        """
        row = self.get(TenantRow, tenant)
        if row is None:
            raise NotFound(f"There is no tenant {tenant!r}.", hint="List them: vaultctl tenant list")
        return row

    def create_tenant(self, tenant: str, default_lease_ttl: int, max_lease_ttl: int) -> TenantRow:
        """Make a tenant with its keys and its empty log. TTLs are in seconds."""
        self.writes += 1
        self._keys.create(self._store, tenant)
        log = self.signed(log_tree.empty(tenant, self.now))
        self._store.insert(log)
        self._asked.add(tenant)
        self._logs[tenant] = log
        self._tenants[tenant] = TenantMemory()
        return self.insert(TenantRow(tenant, default_lease_ttl, max_lease_ttl, self.now))

    def seal_value(self, tenant: str, credential_id: str, version: int, value: str) -> tuple[bytes, bytes]:
        """A new data key wrapped by the tenant's KEK, and ``value`` sealed by the data key."""
        data_key = Key(credential_id, version, self.random(KEY_BYTES))
        kek = self._keys.newest_kek(self._store, tenant)
        wrapped = seal(kek, Binding(_DATA_KEY, tenant, credential_id, version), data_key.secret, self.random)
        binding = Binding("credential value", tenant, credential_id, version)
        return wrapped, seal(data_key, binding, value.encode(), self.random)

    def kek_versions(self, tenant: str) -> list[int]:
        """The versions of a tenant's key-encryption key that are there, oldest first."""
        return self._keys.kek_versions(self._store, tenant)

    def add_kek(self, tenant: str) -> int:
        """Make a new version of a tenant's key-encryption key; answers its number."""
        self._require_held(tenant)
        self.writes += 1
        return self._keys.add_kek(self._store, tenant)

    def drop_keks_before(self, tenant: str, version: int) -> None:
        """Destroy the versions of a tenant's key-encryption key before ``version``, which nothing must name."""
        self._require_held(tenant)
        self.writes += 1
        self._keys.drop_keks_before(self._store, tenant, version)

    def count_data_keys_before(self, tenant: str, version: int) -> int:
        """How many data keys are wrapped by an earlier key-encryption key than ``version``."""
        return self.count(VersionRow, *self._keys.data_keys_before(tenant, version))

    def rewrap_data_keys(self, tenant: str, version: int, limit: int) -> int:
        """Wrap at most ``limit`` data keys by the newest key-encryption key, which is ``version``; answers how many.

        Rows that something other than the vault has changed stay as they are: they deliver nothing anyway.
        """
        kek = self._keys.newest_kek(self._store, tenant)
        conditions = self._keys.data_keys_before(tenant, version)
        beyond, done = b"", 0
        while done < limit:
            after = Where("wrapped_dek", ">", beyond)
            rows = self.find_unchecked(VersionRow, *conditions, after, order="wrapped_dek", limit=limit - done)
            for row in rows:
                beyond = row.wrapped_dek
                if self.is_authentic(row):
                    self.update(row, wrapped_dek=seal(kek, _data_key_binding(row), self._data_key(row), self.random))
                    done += 1
            if not rows:
                break
        return done

    def unseal_value(self, row: VersionRow) -> str:
        """The value of one version of a credential.

        Raises:
            VerificationFailed: The row was changed or moved.
        """
        made = self.made(row.tenant)
        key = ("value", row.credential_id, row.version)
        value: str | None = made.get(key)
        if value is None:
            value = made[key] = self._unseal_value(row)
        return value

    def _unseal_value(self, row: VersionRow) -> str:
        data_key = Key(row.credential_id, row.version, self._data_key(row))
        binding = Binding("credential value", row.tenant, row.credential_id, row.version)
        return unseal(lambda _key_id, _version: data_key, binding, row.sealed_value).decode()

    def _data_key(self, row: VersionRow) -> bytes:
        def unwrapped(look_up: Callable[[StoreTransaction, str, str, int], Key]) -> bytes:
            return unseal(
                lambda _key_id, version: look_up(self._store, row.tenant, KEK, version),
                _data_key_binding(row),
                row.wrapped_dek,
            )

        try:
            return unwrapped(self._keys.version)
        except VerificationFailed:  # perhaps what is remembered is of a rotation that was rolled back
            return unwrapped(self._keys.look_up)

    # Audit

    def audit(
        self,
        tenant: str,
        event: Event | str,
        identity: Identity,
        details: dict[str, Any],
        *,
        credential_name: str | None = None,
        lease_id: str | None = None,
    ) -> None:
        """Buffer an entry; :meth:`finish` writes it in the transaction of the change that it records.

        ``details`` whose value is None are left out. ``agent`` and ``sessionId`` among them say whose trail the entry
        also belongs to.
        """
        self.writes += 1
        entry: dict[str, Any] = {
            "id": new_id("entry", self.random),
            "event": str(event),
            "tenantId": tenant,
            "identity": msgspec.to_builtins(identity),
            "details": {key: value for key, value in details.items() if value is not None},
        }
        if credential_name is not None:
            entry["credentialName"] = credential_name
        if lease_id is not None:
            entry["leaseId"] = lease_id
        self._entries.setdefault(tenant, []).append(entry)

    def sign_log(self, tenant: str) -> None:
        """Make a checkpoint of a log as it was when it was held, unless there is one already."""
        self._require_held(tenant)
        log = self._logs[tenant]
        if log.unsigned_entries:
            self._replace_head(log_tree.signed(self._store, self._keys, log, self.now))

    def verifier_key(self, tenant: str) -> "VerifierKey":
        """The key that verifies a tenant's checkpoints."""
        return self._keys.signing_key(self._store, tenant).verifier

    def finish(self) -> frozenset[str]:
        """Write the buffered entries behind those that the tenants' logs have; answers which logs grew."""
        self.hold(self._entries.keys())
        if self._authority.keys() - self._entries.keys():
            raise InternalError("Rows were changed without an audit entry.")
        for tenant, entries in sorted(self._entries.items()):
            self._require_held(tenant)
            log = self._logs[tenant]
            if log.unsigned_entries and self.now - (log.checkpoint_time or 0) >= CHECKPOINT_MICROS:
                log = log_tree.signed(self._store, self._keys, log, self.now)
            if tenant in self._authority:
                log = msgspec.structs.replace(log, authority=self._authority[tenant])
            self._replace_head(self._written(log, entries))
            if log.size // tallies.STEP != self._logs[tenant].size // tallies.STEP:
                self.tally(tenant)
        grown = frozenset(self._entries)
        self._entries.clear()
        self._authority.clear()
        return grown

    def _written(self, log: LogRow, entries: list[dict[str, Any]]) -> LogRow:
        """The head of a log with ``entries`` behind those that it has, which are written."""
        time = max(self.now, log.last_time)
        timestamp = rfc3339(from_micros(time))
        bodies = []
        for seq, entry in enumerate(entries, log.size):
            entry["seq"] = seq
            entry["timestamp"] = timestamp
            body = entry_bytes(entry)
            bodies.append(body)
            self._store.insert(EntryRow(log.tenant, seq, time, *columns_of(entry), body))
        known = self._of(log.tenant)
        head, known.leaves = log_tree.grown(self._store, log, bodies, time, known.leaves)
        return head

    def _opened(self, log: LogRow) -> LogRow:
        """A head as the vault wrote it; one from before there were trees is given its tree first."""
        if log.mac is not None or not _is_well_formed(log):
            return self._authentic(log)
        built = self.signed(log_tree.built(self._store, self._keys, log))
        self._store.update(built)
        return built

    def _replace_head(self, log: LogRow) -> None:
        log = self._logs[log.tenant] = self.signed(log)
        self._store.update(log)


def _data_key_binding(row: VersionRow) -> Binding:
    return Binding(_DATA_KEY, row.tenant, row.credential_id, row.version)


def _tenant(row: Row) -> str:
    tenant: str = row.tenant  # type: ignore[attr-defined]
    return tenant


@lru_cache
def _key_of(row_type: type[Row]) -> Callable[[Row], tuple[Any, ...]]:
    columns = row_type.key
    if len(columns) == 1:
        column = attrgetter(columns[0])
        return lambda row: (column(row),)
    return attrgetter(*columns)


@lru_cache
def _column_types(row_type: type[Row]) -> tuple[tuple[type, ...], ...]:
    hints = get_type_hints(row_type)
    return tuple(get_args(hints[column]) or (hints[column],) for column in row_type.__struct_fields__)


def _is_well_formed(row: Row) -> bool:
    """Whether each column has a value of its type, which a database does not promise."""
    values = (getattr(row, column) for column in row.__struct_fields__)
    return all(isinstance(value, types) for value, types in zip(values, _column_types(type(row)), strict=True))
