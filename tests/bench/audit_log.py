"""Queries of audit logs of 10 thousand and of 10 million entries, and the loader that makes such logs quickly."""

import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from vaultctl import Vault
from vaultctl.client.setup import initialise
from vaultctl.domain.times import from_micros, rfc3339
from vaultctl.store.rows import EntryRow

AGENTS = 50
CREDENTIALS = 10
EVENTS = ("lease.created", "lease.renewed", "lease.expired")
RUN = 50
"""Entries of one session."""

PERIOD = timedelta(days=730)
"""From the first entry to now."""

TENANT = "bench"
BYTES_AN_ENTRY = 1_100
"""On disk, indices included; measured."""


def make_vault(home: Path, entries: int) -> None:
    """A vault whose log has so many entries: runs of :data:`RUN` by :data:`AGENTS` agents in turn, for two years."""
    begin = time.time_ns() - PERIOD // timedelta(microseconds=1) * 1000
    with mock.patch("time.time_ns", return_value=begin):
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
    step = PERIOD // timedelta(microseconds=1) // entries
    connection.execute("BEGIN")
    connection.executemany(f"INSERT INTO entries VALUES ({marks})", _rows(first, entries, last_time, step))
    # As in a vault from before there were trees, which the next writer would make.
    connection.execute(
        "UPDATE logs SET size = ?, last_time = ?, frontier = NULL, checkpoints = NULL, unsigned_entries = NULL,"
        " checkpoint_time = NULL, mac = NULL WHERE tenant = ?",
        (entries, last_time + (entries - 1) * step, TENANT),
    )
    connection.execute("DELETE FROM tenant_keys WHERE tenant = ? AND purpose = 'signing'", (TENANT,))
    for _, sql in statements:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.close()


def _rows(first: int, entries: int, last_time: int, step: int) -> Iterator[tuple[str | int | bytes | None, ...]]:
    for seq in range(first, entries):
        run, at = seq // RUN, last_time + seq * step
        agent, session, lease = f"agent-{run % AGENTS}", f"cortex_sess_{run:08d}", f"lease_{seq // len(EVENTS):022d}"
        event, credential = EVENTS[seq % len(EVENTS)], f"api-key-{(run + seq // len(EVENTS) % 3) % CREDENTIALS}"
        text = (
            f'{{"credentialName":"{credential}","details":'
            '{"credentialVersion":1,"expiresAt":"2027-01-15T08:15:00Z","ttl":"15m"},'
            f'"event":"{event}","id":"{seq:032x}","identity":{{"name":"{agent}",'
            f'"purpose":"Fetch the latest orders","sessionId":"{session}","type":"agent"}},'
            f'"leaseId":"{lease}","seq":{seq},"tenantId":"{TENANT}",'
            f'"timestamp":"{rfc3339(from_micros(at))}"}}'
        ).encode()
        yield (TENANT, seq, at, event, agent, session, credential, lease, text)


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


def catch_up(home: Path) -> float:
    """Seconds that the tree over a log and its tallies take."""
    with Vault.embedded(home=home) as owner:
        engine = owner._adapter._engine  # type: ignore[attr-defined]
        start = time.perf_counter()
        engine.catch_up()
        return time.perf_counter() - start


def counting(home: Path, rounds: int = 10) -> dict[str, float]:
    """Milliseconds of the quickest of some counts, in the engine, by what is counted."""
    now = datetime.now(UTC)
    year, odd = now - timedelta(days=365), timedelta(hours=7, minutes=13)
    asked: dict[str, tuple[str, dict[str, Any]]] = {
        "by event": ("event", {}),
        "by agent": ("agent", {}),
        "by day, of a year": ("day", {"since": year}),
        "by credential, of an agent": ("credential", {"agent": "agent-7"}),
        "by agent, from and to some moment": ("agent", {"since": year + odd, "until": now - 3 * odd}),
        "by day, of an agent and an event": ("day", {"since": year, "agent": "agent-7", "events": ["lease.created"]}),
    }
    best = dict.fromkeys(asked, float("inf"))
    with Vault.embedded(home=home) as owner:
        for _ in range(rounds):
            for name, (by, options) in asked.items():
                start = time.perf_counter()
                owner.audit_log.stats(by, **options)
                best[name] = min(best[name], (time.perf_counter() - start) * 1e3)
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
        print(f"tree and tallies in {catch_up(Path(folder)):.0f} s")
        print(counting(Path(folder)))
