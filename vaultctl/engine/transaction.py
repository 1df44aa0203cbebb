"""One transaction of the engine: the store's, with rows authenticated, values sealed and audit entries buffered."""

from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from vaultctl.crypto.authenticity import row_mac, same
from vaultctl.crypto.envelope import KEY_BYTES, Binding, Key, seal, unseal
from vaultctl.domain.errors import InternalError, NotFound, VerificationFailed
from vaultctl.domain.ids import RandomBytes, new_id
from vaultctl.domain.records import Event, Identity
from vaultctl.domain.times import from_micros, rfc3339
from vaultctl.engine.keys import KEK, Keys
from vaultctl.ledger.entry import columns_of, entry_bytes
from vaultctl.store.interface import StoreTransaction, Where
from vaultctl.store.rows import EntryRow, LogRow, Row, TenantRow, VersionRow

R = TypeVar("R", bound=Row)


class Transaction:
    """What operations work with.

    Rows that grant authority carry an authentication code under their tenant's key: it is checked by every read and
    renewed by every write here, so that an operation can't forget it.
    """

    def __init__(self, store: StoreTransaction, keys: Keys, random: RandomBytes) -> None:
        self._store = store
        self._keys = keys
        self._entries: list[tuple[str, dict[str, Any]]] = []
        self.random = random
        self.writes = 0
        """How many rows were written; an operation that refuses must not have moved it."""

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

    # Rows

    def get(self, row_type: type[R], *key: str | int) -> R | None:
        """The row with that primary key, authenticated, or None."""
        row = self._store.get(row_type, *key)
        return None if row is None else self._authentic(row)

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

    def insert(self, row: R) -> R:
        """Add a row; answers it as stored."""
        self.writes += 1
        row = self._signed(row)
        self._store.insert(row)
        return row

    def update(self, row: R, **changes: Any) -> R:
        """Replace ``row`` with itself as changed; answers it as stored."""
        self.writes += 1
        row = self._signed(msgspec.structs.replace(row, **changes))
        self._store.update(row)
        return row

    def delete(self, row_type: type[Row], *conditions: Where) -> None:
        """Remove the rows that meet all conditions."""
        self.writes += 1
        self._store.delete(row_type, *conditions)

    def is_authentic(self, row: Row) -> bool:
        """Whether a row is as the vault wrote it; of one without a code, whether it could be."""
        if not hasattr(row, "mac"):
            return _is_well_formed(row)
        try:
            return same(row.mac, self._mac(row))
        except VerificationFailed:  # of a tenant that has no keys
            return False

    def check_decoy(self, row: Row) -> None:
        """Spend the time that authenticating ``row`` would take, so that its absence can't be measured."""
        same(b"", self._mac(row))

    def _authentic(self, row: R) -> R:
        if not self.is_authentic(row):
            named = ", ".join(str(getattr(row, column)) for column in row.key)
            raise VerificationFailed(
                f"A row of {row.table} ({named}) was changed by something other than the vault.",
                hint="Restore the database from a backup, and find out who can write to it.",
            )
        return row

    def _signed(self, row: R) -> R:
        return msgspec.structs.replace(row, mac=self._mac(row)) if hasattr(row, "mac") else row

    def _mac(self, row: Row) -> bytes:
        # By name and without those that are None, so that a later migration can add a column that is NULL at first.
        columns = ((column, getattr(row, column)) for column in row.__struct_fields__ if column != "mac")
        values = [part for column, value in columns if value is not None for part in (column, value)]
        return row_mac(self._keys.mac(self._store, row.tenant), row.table, values)  # type: ignore[attr-defined]

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
        self._keys.create(self._store, tenant)
        self._store.insert(LogRow(tenant, 0, 0))
        return self.insert(TenantRow(tenant, default_lease_ttl, max_lease_ttl, self.now))

    def seal_value(self, tenant: str, credential_id: str, version: int, value: str) -> tuple[bytes, bytes]:
        """A new data key wrapped by the tenant's KEK, and ``value`` sealed by the data key."""
        data_key = Key(credential_id, version, self.random(KEY_BYTES))
        kek = self._keys.newest_kek(self._store, tenant)
        wrapped = seal(kek, Binding("data key", tenant, credential_id, version), data_key.secret, self.random)
        binding = Binding("credential value", tenant, credential_id, version)
        return wrapped, seal(data_key, binding, value.encode(), self.random)

    def unseal_value(self, row: VersionRow) -> str:
        """The value of one version of a credential.

        Raises:
            VerificationFailed: The row was changed or moved.
        """

        def kek(_key_id: str, version: int) -> Key:
            return self._keys.version(self._store, row.tenant, KEK, version)

        secret = unseal(kek, Binding("data key", row.tenant, row.credential_id, row.version), row.wrapped_dek)
        data_key = Key(row.credential_id, row.version, secret)
        binding = Binding("credential value", row.tenant, row.credential_id, row.version)
        return unseal(lambda _key_id, _version: data_key, binding, row.sealed_value).decode()

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
        self._entries.append((tenant, entry))

    def finish(self) -> None:
        """Write the buffered entries, taking the tenants' logs in order of id."""
        timestamp = rfc3339(self.moment)
        for tenant in sorted({tenant for tenant, _ in self._entries}):
            log = self.get(LogRow, tenant)
            if log is None:
                raise InternalError(f"Tenant {tenant!r} has no audit log.")
            seq = log.size
            for _, entry in (item for item in self._entries if item[0] == tenant):
                entry |= {"seq": seq, "timestamp": timestamp}
                columns = columns_of(entry)
                self._store.insert(EntryRow(tenant, seq, self.now, *columns, entry_bytes(entry)))
                seq += 1
            self._store.update(LogRow(tenant, seq, self.now))
        self._entries.clear()


@lru_cache
def _column_types(row_type: type[Row]) -> tuple[tuple[type, ...], ...]:
    hints = get_type_hints(row_type)
    return tuple(get_args(hints[column]) or (hints[column],) for column in row_type.__struct_fields__)


def _is_well_formed(row: Row) -> bool:
    """Whether each column has a value of its type, which a database does not promise."""
    values = (getattr(row, column) for column in row.__struct_fields__)
    return all(isinstance(value, types) for value, types in zip(values, _column_types(type(row)), strict=True))
