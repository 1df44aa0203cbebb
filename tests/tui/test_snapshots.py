"""How each screen looks, pixel by pixel, with a clock that stands still and ids that are always the same.

``pytest tests/tui/test_snapshots.py --snapshot-update`` accepts how they look now. The README shows
``__snapshots__/test_snapshots/test_the_overview.svg``, which is therefore never out of date.
"""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.conftest import Clock
from tests.tui.stage import Stage, dashboard_of, is_live, press, until, until_shown
from vaultctl.tui.app import Dashboard

Compare = Callable[..., bool]

SIZES = [pytest.param((80, 24), id="80x24"), pytest.param((120, 40), id="120x40")]


@pytest.fixture
def stage(fast_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A day at work, the same every day."""
    numbers = count(1)
    for module in ("leases", "sessions", "tokens"):
        monkeypatch.setattr(
            f"vaultctl.engine.{module}.new_id", lambda prefix, random: f"{prefix}_{next(numbers) * 7919:022}"
        )
    made = Stage(fast_path, clock)
    kept = made.lease("deploy-agent", "deploy-key", ttl="30m", purpose="Deploy release 4.2 to staging")
    made.lease("analytics-bot", "orders-db-password", ttl="15m", purpose="Nightly revenue report")
    clock.advance("5m")
    made.lease("analytics-bot", "shopify-api-key", ttl="10m", purpose="Fetch the latest orders").renew("10m")
    made.denied()
    clock.advance("4m")
    made.lease("deploy-agent", "shopify-api-key", ttl="2m", purpose="Warm the product cache")
    made.lease("analytics-bot", "deploy-key", ttl="20m", purpose="Compare checksums").revoke()
    clock.advance("90s")
    kept.renew()
    yield made
    made.close()


def shot(
    stage: Stage, compare: Compare, size: tuple[int, int], *keys: str, shows: str, app: Dashboard | None = None
) -> bool:
    async def before(pilot: Pilot[int]) -> None:
        await until(pilot, lambda: is_live(dashboard_of(pilot)))
        await until_shown(pilot, "? help")
        for key in keys:
            await press(pilot, key)
            await pilot.pause(0.2)
        await until_shown(pilot, shows)
        await pilot.pause(0.4)

    return compare(app or stage.dashboard(), terminal_size=size, run_before=before)


def test_the_overview(stage: Stage, snap_compare: Compare) -> None:
    assert shot(stage, snap_compare, (130, 30), shows="deploy-agent")


def test_the_overview_on_a_small_terminal(stage: Stage, snap_compare: Compare) -> None:
    assert shot(stage, snap_compare, (80, 24), shows="deploy-agent")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("keys", "shows"),
    [
        pytest.param(["a"], "Agent ", id="agent"),
        pytest.param(["enter"], "session.started", id="session"),
        pytest.param(["c"], "credential.created", id="credential"),
        pytest.param(["t"], "lease.denied", id="token"),
        pytest.param(["5"], "entry ", id="audit"),
        pytest.param(["2"], "analytics-bot", id="agents"),
        pytest.param(["4"], "analytics-bot", id="tokens"),
        pytest.param(["d"], "lease.denied", id="denials"),
        pytest.param(["X"], "Revoke (y)", id="question"),
        pytest.param(["question_mark"], "Moving", id="help"),
    ],
)
def test_the_screen(stage: Stage, snap_compare: Compare, size: tuple[int, int], keys: list[str], shows: str) -> None:
    assert shot(stage, snap_compare, size, *keys, shows=shows)


def test_without_colours(stage: Stage, snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert shot(stage, snap_compare, (80, 24), shows="deploy-agent")


def test_in_light_colours(stage: Stage, snap_compare: Compare) -> None:
    app = stage.dashboard()
    app.theme = "vaultctl-light"
    assert shot(stage, snap_compare, (80, 24), shows="deploy-agent", app=app)
