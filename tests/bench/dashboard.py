"""The dashboard under load: 10,000 active leases and 200 events a second, from a key to what it changes on the screen.

Everything that a terminal would be sent is rendered; only the terminal itself is not there.
"""

import asyncio
import gc
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from textual import events

from vaultctl.domain.durations import Duration
from vaultctl.domain.records import AuditEntry, Delivery, Event, Identity, Lease, LeaseState
from vaultctl.domain.times import SECOND, from_micros, rfc3339
from vaultctl.tui.app import Dashboard, system_clock
from vaultctl.tui.feed import Entries, Live, News
from vaultctl.tui.model import RECENT_EVENTS, Snapshot
from vaultctl.tui.widgets.leases import LeaseTable

LEASES = 10_000
EVENTS_PER_SECOND = 200
BUDGET_MS = 50
_TTL = 3_600
_KEYS = ("j", "j", "j", "k", "pagedown", "pageup", "G", "g")


class Flood:
    """News as a busy vault makes them: every event once, in order, as many as the time that has passed asks for."""

    def __init__(self, rate: float, leases: int = LEASES, clock: Callable[[], int] = system_clock) -> None:
        self._rate = rate
        self._leases = leases
        self._clock = clock
        self._random = random.Random(1)
        self._seq = leases - 1
        self._held = [f"lease_{number:022}" for number in range(leases)]
        self._renewals: dict[str, int] = {}
        self._last = clock()
        self.written = 0

    def snapshot(self) -> Snapshot:
        """What there is at first."""
        leases = tuple(lease_number(number, self._clock()) for number in range(self._leases))
        recent = tuple(self.entry() for _ in range(RECENT_EVENTS))
        return Snapshot(recent[-1].seq, leases, (), recent, is_whole_log=False)

    def start(self, first: Snapshot) -> None:
        self._last = self._clock()

    def stop(self) -> None:
        pass

    def hurry(self) -> None:
        pass

    def take(self) -> Iterator[News]:
        number = int((self._clock() - self._last) * self._rate / SECOND)
        if number:
            self._last += int(number / self._rate * SECOND)
            self.written += number
            yield Entries(tuple(self.entry() for _ in range(number)))
        yield Live()

    def entry(self) -> AuditEntry:
        """A lease that is renewed, or one that ends, or one that begins, or a refusal."""
        self._seq += 1
        at = self._clock()
        draw = self._random.random()
        index = self._random.randrange(len(self._held))
        expires = {"expiresAt": rfc3339(from_micros(at + _TTL * SECOND)), "ttl": "1h"}
        if draw < 0.6:
            id = self._held[index]
            self._renewals[id] = self._renewals.get(id, 0) + 1
            return _entry(self._seq, Event.LEASE_RENEWED, id, at, expires | {"renewals": self._renewals[id]})
        if draw < 0.98 and len(self._held) > self._leases:
            id = self._held.pop(index)
            self._renewals.pop(id, None)
            return _entry(self._seq, Event.LEASE_REVOKED, id, at, {"reason": "revoked"})
        if draw < 0.98:
            id = f"lease_{self._seq:022}"
            self._held.append(id)
            return _entry(self._seq, Event.LEASE_CREATED, id, at, expires)
        return _entry(self._seq, Event.LEASE_DENIED, None, at, {"rule": "token-scope"})


class Timed(Dashboard):
    """Renders every update as for a terminal, and says when one that shows the cursor elsewhere was done."""

    def _display(self, screen: Any, renderable: Any) -> None:
        if renderable is not None and hasattr(renderable, "render_segments"):
            renderable.render_segments(self.console)
        super()._display(screen, renderable)
        self.displayed(time.perf_counter())

    def expect(self, cursor: int) -> None:
        """A key is about to be pressed that moves the cursor away from ``cursor``."""
        self._cursor: int | None = cursor
        self.is_shown = asyncio.Event()

    def displayed(self, at: float) -> None:
        if getattr(self, "_cursor", None) is not None and self.screen.query_one(LeaseTable).cursor != self._cursor:
            self._cursor = None
            self.shown_at = at
            self.shown_cpu = time.process_time()
            self.is_shown.set()


def measure(seconds: float = 20, size: tuple[int, int] = (200, 50)) -> dict[str, float]:
    """Press a key every now and then for so long; milliseconds from the key to the repaint, and memory in MiB."""
    return asyncio.run(_measure(seconds, size))


async def _measure(seconds: float, size: tuple[int, int]) -> dict[str, float]:
    flood = Flood(EVENTS_PER_SECOND)
    app = Timed(
        None,  # type: ignore[arg-type]
        flood.snapshot(),
        place="bench",
        acts=True,
        export=lambda entries, kind: iter(()),
        feed=flood,  # type: ignore[arg-type]
    )
    keys = random.Random(2)
    times: list[float] = []
    work: list[float] = []
    async with app.run_test(size=size) as pilot:
        await pilot.pause(5)
        gc.collect()
        gc.freeze()  # as `vaultctl dashboard` does
        before = _resident()
        written = flood.written
        begun, cpu_begun = time.monotonic(), time.process_time()
        while time.monotonic() - begun < seconds:
            await asyncio.sleep(keys.uniform(0.02, 0.15))
            table = app.screen.query_one(LeaseTable)
            key = keys.choice(_KEYS)
            cursor = table.cursor
            if (key in ("k", "pageup", "g") and cursor == 0) or (
                key in ("j", "pagedown", "G") and cursor == len(table.source) - 1
            ):
                continue
            app.expect(cursor)
            pressed, cpu = time.perf_counter(), time.process_time()
            app.post_message(events.Key(key, key if len(key) == 1 else None))
            await asyncio.wait_for(app.is_shown.wait(), 5)
            times.append(app.shown_at - pressed)
            work.append(app.shown_cpu - cpu)
        busy = (time.process_time() - cpu_begun) / (time.monotonic() - begun)
        rate = (flood.written - written) / (time.monotonic() - begun)
        gc.unfreeze()
        gc.collect()
        after = _resident()
    times.sort()
    work.sort()
    return {
        "keys": len(times),
        "events/s": rate,
        "p50 ms": times[len(times) // 2] * 1e3,
        "p95 ms": times[int(len(times) * 0.95)] * 1e3,
        "worst ms": times[-1] * 1e3,
        "p95 CPU ms": work[int(len(work) * 0.95)] * 1e3,
        "busy": busy,
        "memory before MiB": before,
        "memory after MiB": after,
    }


def lease_number(number: int, now: int) -> Lease:
    """One of many leases, each issued a little before the last."""
    issued = now - number * SECOND // 10
    return Lease(
        id=f"lease_{number:022}",
        credential_id="cred_x",
        credential_name=f"credential-{number % 50}",
        credential_version=1,
        identity=_identity(number),
        ttl=Duration.of(_TTL),
        issued_at=from_micros(issued),
        expires_at=from_micros(issued + _TTL * SECOND),
        max_expires_at=from_micros(issued + 4 * _TTL * SECOND),
        renewals=0,
        state=LeaseState.ACTIVE,
        delivery=Delivery.VALUE,
        token_id="tok_x",
    )


def _identity(number: int) -> Identity:
    return Identity(
        type="agent",
        name=f"agent-{number % 200}",
        session_id=f"cortex_sess_{number % 400:022}",
        purpose=f"Reconcile the invoices of shop {number % 97}",
    )


def _entry(seq: int, event: Event, lease: str | None, at: int, details: dict[str, Any]) -> AuditEntry:
    return AuditEntry(
        id=f"entry_{seq}",
        seq=seq,
        event=event,
        timestamp=from_micros(at),
        tenant_id="bench",
        identity=_identity(seq),
        details=details,
        credential_name=f"credential-{seq % 50}",
        lease_id=lease,
    )


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    """Measure and print."""
    found = measure()
    print(f"Dashboard, {LEASES:,} leases, {found['events/s']:.0f} events/s, {found['keys']:.0f} keys:")
    print(
        f"  key to repaint p50 {found['p50 ms']:.1f} ms, p95 {found['p95 ms']:.1f} ms, worst {found['worst ms']:.1f} ms"
        f"   budget p95 {BUDGET_MS} ms {'ok' if found['p95 ms'] <= BUDGET_MS else 'MISSED'}"
    )
    print(f"  of the p95 {found['p95 CPU ms']:.1f} ms are its own work; it keeps a core busy for {found['busy']:.0%}")
    print(f"  memory {found['memory before MiB']:.1f} MiB, at the end {found['memory after MiB']:.1f} MiB")
    return int(found["p95 ms"] > BUDGET_MS)


if __name__ == "__main__":
    raise SystemExit(main())
