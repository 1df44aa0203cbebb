"""Queries of audit logs of 10 thousand and of 10 million entries, and the loader that makes such logs quickly."""

import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from vaultctl import Vault
from vaultctl.client.setup import initialise
from vaultctl.domain.times import from_micros, rfc3339
from vaultctl.store.rows import EntryRow

AGENTS = 50
RUN = 50
"""Entries of one session."""

TENANT = "bench"
BYTES_AN_ENTRY = 1_100
"""On disk, indices included; measured."""


def make_vault(home: Path, entries: int) -> None:
    """A vault whose log has so many entries: runs of :data:`RUN` leases by :data:`AGENTS` agents in turn."""
    initialise(tenant=TENANT, root_key="file", home=home)
    connection = sqlite3.connect(home / "vault.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = OFF").fetchone()
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -500000")
    connection.execute("PRAGMA temp_store = FILE")
    # Building an index from sorted runs is many times quicker than keeping it during ten million inserts.
    indices = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql LIKE '% ON entries %'"
    )
    statements = indices.fetchall()
    for name, _ in statements:
        connection.execute(f"DROP INDEX {name}")
    ((first, last_time),) = connection.execute(
        "SELECT size, last_time FROM logs WHERE tenant = ?", (TENANT,)
    ).fetchall()
    marks = ", ".join("?" for _ in EntryRow.__struct_fields__)
    connection.execute("BEGIN")
    connection.executemany(f"INSERT INTO entries VALUES ({marks})", _rows(first, entries, last_time))
    # As in a vault from before there were trees, which the next writer would make.
    connection.execute(
        "UPDATE logs SET size = ?, last_time = ?, frontier = NULL, checkpoints = NULL, unsigned_entries = NULL,"
        " checkpoint_time = NULL, mac = NULL WHERE tenant = ?",
        (entries, last_time + entries - 1, TENANT),
    )
    connection.execute("DELETE FROM tenant_keys WHERE tenant = ? AND purpose = 'signing'", (TENANT,))
    for _, sql in statements:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.close()


def _rows(first: int, entries: int, last_time: int) -> Iterator[tuple[str | int | bytes | None, ...]]:
    for seq in range(first, entries):
        run = seq // RUN
        agent, session, lease = f"agent-{run % AGENTS}", f"cortex_sess_{run:08d}", f"lease_{seq:022d}"
        text = (
            '{"credentialName":"api-key","details":{"credentialVersion":1,"expiresAt":"2027-01-15T08:15:00Z","ttl":"15m"},'
            f'"event":"lease.created","id":"{seq:032x}","identity":{{"name":"{agent}",'
            f'"purpose":"Fetch the latest orders","sessionId":"{session}","type":"agent"}},'
            f'"leaseId":"{lease}","seq":{seq},"tenantId":"{TENANT}",'
            f'"timestamp":"{rfc3339(from_micros(last_time + seq))}"}}'
        ).encode()
        yield (TENANT, seq, last_time + seq, "lease.created", agent, session, "api-key", lease, text)


def milliseconds(home: Path, entries: int, rounds: int = 30) -> dict[str, float]:
    """The quickest of some queries for the first 100 rows, in the engine, by what they filter by."""
    session = f"cortex_sess_{entries // RUN // 2:08d}"
    best = {"session": float("inf"), "agent": float("inf")}
    with Vault.embedded(home=home) as owner:
        for _ in range(rounds):
            for name, filters in (("session", {"session": session}), ("agent", {"agent": "agent-7"})):
                start = time.perf_counter()
                found = owner.audit_log.query(limit=100, **filters)
                best[name] = min(best[name], (time.perf_counter() - start) * 1e3)
                if len(found) != (RUN if name == "session" else 100):
                    raise SystemExit(f"{len(found)} entries of the {name}")
    return best


def fits(folder: Path, entries: int) -> bool:
    """Whether the disk has room for such a log."""
    return shutil.disk_usage(folder).free > 2 * entries * BYTES_AN_ENTRY


if __name__ == "__main__":
    import tempfile

    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        make_vault(Path(folder), count)
        size = (Path(folder) / "vault.db").stat().st_size
        print(f"{count} entries in {time.perf_counter() - start:.0f} s, {size / count:.0f} bytes each")
        print(milliseconds(Path(folder), count))
