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
from tests.tui.stage import Stage, dashboard_of, is_live, press, until, until_shown, until_still
from vaultctl.tui.app import Dashboard

Compare = Callable[..., bool]

SMALL = (80, 24)
USUAL = (120, 40)


@pytest.fixture
def stage(fast_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A day at work, the same every day."""
    numbers = count(1)

    def numbered(prefix: str, *_: Any) -> str:
        return f"{prefix}_{next(numbers) * 7919:022}"

    for name in ("leases.new_timed_id", "sessions.new_id", "tokens.new_id"):
        monkeypatch.setattr(f"vaultctl.engine.{name}", numbered)
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
            await until_still(pilot)
        await until_shown(pilot, shows)
        await until_still(pilot)

    return compare(app or stage.dashboard(), terminal_size=size, run_before=before)


def test_the_overview(stage: Stage, snap_compare: Compare) -> None:
    assert shot(stage, snap_compare, (130, 30), shows="deploy-agent")


def test_the_overview_on_a_small_terminal(stage: Stage, snap_compare: Compare) -> None:
    assert shot(stage, snap_compare, (80, 24), shows="deploy-agent")


@pytest.mark.parametrize(
    ("size", "keys", "shows"),
    [
        pytest.param(SMALL, ["a"], "Agent ", id="agent-80x24"),
        pytest.param(USUAL, ["a"], "Agent ", id="agent-120x40"),
        pytest.param(SMALL, ["enter"], "session.started", id="session-80x24"),
        pytest.param(SMALL, ["c"], "credential.created", id="credential-80x24"),
        pytest.param(SMALL, ["t"], "lease.denied", id="token-80x24"),
        pytest.param(USUAL, ["t"], "lease.denied", id="token-120x40"),
        pytest.param(SMALL, ["5"], "entry ", id="audit-80x24"),
        pytest.param(USUAL, ["5"], "entry ", id="audit-120x40"),
        pytest.param(SMALL, ["2"], "analytics-bot", id="agents-80x24"),
        pytest.param(SMALL, ["3"], "orders-db-password", id="credentials-80x24"),
        pytest.param(SMALL, ["4"], "analytics-bot", id="tokens-80x24"),
        pytest.param(SMALL, ["d"], "lease.denied", id="denials-80x24"),
        pytest.param(SMALL, ["X"], "Revoke (y)", id="question-80x24"),
        pytest.param(SMALL, ["question_mark"], "Moving", id="help-80x24"),
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


def test_the_last_picture_while_the_vault_is_out_of_reach(stage: Stage, snap_compare: Compare) -> None:
    stage.denied()

    async def before(pilot: Pilot[int]) -> None:
        await until(pilot, lambda: is_live(dashboard_of(pilot)))
        stage.cable.is_cut = True
        await until_shown(pilot, "STALE for 0s")
        stage.clock.advance("75s")
        await until_shown(pilot, "STALE for 1m15s")
        await until_still(pilot)

    assert snap_compare(stage.dashboard(), terminal_size=SMALL, run_before=before)
