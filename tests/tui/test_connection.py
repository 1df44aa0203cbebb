"""When the vault does not answer: said, the last picture kept and marked, and then caught up without a hole."""

from textual.pilot import Pilot

from tests.tui.stage import Stage, dashboard_of, is_live, press, shown_leases, toasts, until, until_shown
from vaultctl.tui.widgets.events import EventStream


def test_it_says_so_keeps_the_picture_and_catches_up_without_a_hole(stage: Stage) -> None:
    lease = stage.lease("deploy-agent", "deploy-key", ttl="1m")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        stage.cable.is_cut = True
        await until_shown(pilot, "⚠ STALE for 0s: The vault does not answer.")
        stage.clock.advance("90s")
        await until_shown(pilot, "⚠ STALE for 1m30s")
        assert shown_leases(app) == [lease.id]  # as it was last seen
        missed = [stage.lease("deploy-agent", "deploy-key") for _ in range(3)]
        missed[0].revoke()
        stage.denied()
        stage.cable.is_cut = False
        app._feed.hurry()
        await until(pilot, lambda: is_live(app))
        await until(pilot, lambda: set(shown_leases(app)) == stage.active())
        stream = app.screen.query_one(EventStream).source
        seen = [stream[i].seq for i in range(len(stream))]
        assert seen == list(range(stage.owner.audit_log.query(limit=1)[-1].seq + 1))

    stage.play(scenario)


def test_an_action_that_can_not_reach_the_vault_says_so(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        stage.cable.is_cut = True
        await press(pilot, "E")
        await until(pilot, lambda: "Look whether its server runs." in toasts(dashboard_of(pilot)))

    stage.play(scenario)
