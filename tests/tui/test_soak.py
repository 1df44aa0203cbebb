"""An hour of a busy vault, in seconds: the test moves the clock, everything is drawn, and nothing accumulates."""

import asyncio
import gc
import sys

from tests.bench.dashboard import Flood
from tests.conftest import Clock
from tests.tui.stage import head, press
from vaultctl.tui.app import Dashboard
from vaultctl.tui.model import RECENT_EVENTS
from vaultctl.tui.widgets.leases import LeaseTable

LEASES = 400
EVENTS_PER_SECOND = 10
SECONDS_A_FRAME = 15


def test_an_hour_of_events_leaves_the_dashboard_as_small_as_half_of_it(clock: Clock) -> None:
    flood = Flood(EVENTS_PER_SECOND, LEASES, clock)
    app = Dashboard(
        None,  # type: ignore[arg-type]
        flood.snapshot(),
        place="my-org",
        acts=True,
        export=lambda entries, kind: iter(()),
        clock=clock,
        feed=flood,  # type: ignore[arg-type]
    )
    sizes = []

    async def run() -> None:
        async with app.run_test(size=(120, 40)) as pilot:
            for frame in range(1, 3_600 // SECONDS_A_FRAME + 1):
                clock.advance(f"{SECONDS_A_FRAME}s")
                app.call_later(app.frame)
                await pilot._wait_for_screen()
                if frame % 15 == 0:
                    await press(pilot, "G", "pageup", "o", "tab", "k", "g", "tab")
                if frame * SECONDS_A_FRAME in (1_800, 3_600):
                    gc.collect()
                    sizes.append(sys.getallocatedblocks())
            assert "● live" in head(app)
            table = app.screen.query_one(LeaseTable)
            assert len(table.rows) == len(app.model.leases)

    asyncio.run(run())
    assert flood.written == 3_600 * EVENTS_PER_SECOND
    assert app.model.seq == flood.written + RECENT_EVENTS + LEASES - 1
    early, late = sizes
    assert late < early * 1.1
