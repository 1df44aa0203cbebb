"""What a vault consists of, as a stream of records: all rows of one moment, and the root key that opens them.

A record is its length (4 bytes) and MessagePack: a manifest first, then rows by table, the tenants' keys before all
others, then how many there were. The columns are named, so that a vault can be restored from the archive of an earlier
vaultctl: later migrations only add tables and columns that are NULL at first.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple

from vaultctl.crypto.root_keys import RootKey
from vaultctl.domain.errors import VaultUnavailable, VerificationFailed
from vaultctl.store import rows as tables
from vaultctl.store.interface import StoreTransaction, Where
from vaultctl.store.rows import IdempotencyRow, KeyRow, Row, TallyMarkRow, TallyRow, VaultRow, VersionRow

_AT_ONCE: dict[type[Row], int] = {VersionRow: 20}
_MOST_AT_ONCE = 500
"""Rows that are read at once; of values, which may be long, few."""

_LARGEST = 2**28
"""Bytes of a record, at most. Rows are far smaller."""

_LEFT_OUT = (Row, VaultRow, IdempotencyRow, TallyRow, TallyMarkRow)
"""What a restored vault has anew or makes again, or has no use for."""

ROW_TYPES: dict[str, type[Row]] = {
    kind.table: kind
    for kind in (KeyRow, *vars(tables).values())
    if isinstance(kind, type) and issubclass(kind, Row) and kind not in _LEFT_OUT
}
"""The tables of an archive, in order."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive is of. It holds the root key, and prints without it."""

    id: str
    created_at: int
    vault_id: str
    schema_version: int
    default_tenant: str
    root_key_id: str
    root_key: bytes
    columns: dict[str, tuple[str, ...]]
    """The columns of each table, in the order of its rows."""

    @property
    def root(self) -> RootKey:
        """The root key of the vault."""
        return RootKey(self.root_key_id, self.root_key)

    def __repr__(self) -> str:
        return f"Manifest(id={self.id!r}, vault_id={self.vault_id!r})"


class _Rows(msgspec.Struct, frozen=True, tag="rows"):
    table: str
    rows: list[list[Any]]


class _End(msgspec.Struct, frozen=True, tag="end"):
    counts: dict[str, int]


class _Beginning(msgspec.Struct, frozen=True, tag="manifest"):
    manifest: Manifest


_Record = _Beginning | _Rows | _End

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode


class Counted(NamedTuple):
    """How many rows an archive has, by table."""

    counts: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())


def count_rows(tx: StoreTransaction) -> int:
    """How many rows an archive of this moment would have."""
    return sum(tx.count(kind) for kind in ROW_TYPES.values())


def write_archive(
    tx: StoreTransaction, manifest: Manifest, write: Callable[[bytes], object], advance: Callable[[int], None]
) -> Counted:
    """Write all rows that ``tx`` sees; ``advance`` is told how many are written so far."""
    counts = dict.fromkeys(ROW_TYPES, 0)
    write(_framed(_Beginning(manifest)))
    done = 0
    for table, kind in ROW_TYPES.items():
        for rows in _all_rows(tx, kind):
            write(_framed(_Rows(table, [list(astuple(row)) for row in rows])))
            counts[table] += len(rows)
            done += len(rows)
            advance(done)
    write(_framed(_End(counts)))
    return Counted(counts)


def columns_now() -> dict[str, tuple[str, ...]]:
    """The columns of each table as this vaultctl has them."""
    return {table: kind.__struct_fields__ for table, kind in ROW_TYPES.items()}


class Archive:
    """An archive that is read, from its pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        """Read the manifest.

        Raises:
            VerificationFailed: There is none.
        """
        self._records = _records(pieces)
        first = next(self._records, None)
        if not isinstance(first, _Beginning):
            raise _malformed()
        self.manifest = first.manifest

    def require_known(self, schema_version: int) -> None:
        """Raise VaultUnavailable if the archive is of a newer vaultctl than knows ``schema_version``."""
        found = self.manifest.schema_version
        if found > schema_version:
            raise VaultUnavailable(
                f"The backup has schema {found}, from a newer vaultctl; this one knows up to {schema_version}.",
                hint="Upgrade vaultctl: pip install -U vaultctl",
            )

    def rows(self) -> Iterator[Row]:
        """All rows, once. They are complete only if this comes to its end.

        Raises:
            VerificationFailed: They are not what was written.
        """
        counts: Counter[str] = Counter()
        places = {table: place for place, table in enumerate(ROW_TYPES)}
        last = 0
        for record in self._records:
            if isinstance(record, _End):
                if next(self._records, None) is not None or +counts != +Counter(record.counts):
                    break
                return
            if not isinstance(record, _Rows) or places.get(record.table, -1) < last:
                break
            last = places[record.table]
            kind, columns = ROW_TYPES[record.table], self.manifest.columns.get(record.table, ())
            for values in record.rows:
                yield _row(kind, columns, values)
            counts[record.table] += len(record.rows)
        raise _malformed()


def _row(kind: type[Row], columns: tuple[str, ...], values: list[Any]) -> Row:
    if len(columns) == len(values):
        try:
            return kind(**dict(zip(columns, values, strict=True)))
        except TypeError:
            pass
    raise _malformed()


def _all_rows(tx: StoreTransaction, kind: type[Row]) -> Iterator[list[Row]]:
    """All rows of a table, by primary key, some at a time."""
    beyond: tuple[Where, ...] = ()
    limit = _AT_ONCE.get(kind, _MOST_AT_ONCE)
    while rows := tx.find(kind, *beyond, order=", ".join(kind.key), limit=limit):
        yield rows
        last = tuple(getattr(rows[-1], column) for column in kind.key)
        beyond = (Where(kind.key, ">", last) if len(last) > 1 else Where(kind.key[0], ">", last[0]),)


def _framed(record: _Record) -> bytes:
    data = _encode(record)
    return struct.pack(">I", len(data)) + data


def _records(pieces: Iterable[bytes]) -> Iterator[_Record]:
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        start = 0
        while len(buffer) - start >= 4:
            (length,) = struct.unpack_from(">I", buffer, start)
            if length > _LARGEST:
                raise _malformed()
            if len(buffer) - start - 4 < length:
                break
            try:
                yield _decode(bytes(memoryview(buffer)[start + 4 : start + 4 + length]))
            except (msgspec.MsgspecError, RecursionError):
                raise _malformed() from None
            start += 4 + length
        del buffer[:start]
    if buffer:
        raise _malformed()


def _malformed() -> VerificationFailed:
    return VerificationFailed("The backup does not hold what a backup holds.", hint="Take an earlier one.")
