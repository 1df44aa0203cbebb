"""The overview: what is active, what happens, and the keys."""

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.stage import (
    SECRET,
    Stage,
    dashboard_of,
    head,
    press,
    screen_text,
    shown_leases,
    toasts,
    until,
    until_shown,
)
from vaultctl.tui.screens.overview import Overview
from vaultctl.tui.widgets.events import EventStream
from vaultctl.tui.widgets.leases import LeaseTable


def test_it_starts_with_the_leases_that_are_active(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key", purpose="Deploy to staging")
    ended = stage.lease("analytics-bot", "shopify-api-key")
    ended.revoke()

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        assert set(shown_leases(app)) == stage.active()
        await until_shown(pilot, "deploy-agent")
        await until_shown(pilot, "Deploy to staging")
        assert "1 lease " in head(app)
        assert "2 sessions" in head(app)

    stage.play(scenario, size=(200, 50))


def test_it_agrees_with_the_listing_after_leases_came_were_renewed_revoked_and_ran_out(stage: Stage) -> None:
    first = stage.lease("deploy-agent", "deploy-key", ttl="5m")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        second = stage.lease("analytics-bot", "shopify-api-key", ttl="1m")
        third = stage.lease("analytics-bot", "deploy-key", ttl="2m")
        await until(pilot, lambda: len(shown_leases(app)) == 3)
        stage.clock.advance("30s")
        first.renew()
        second.revoke()
        await until(pilot, lambda: app.model.leases[first.id].renewals == 1)
        stage.clock.advance("2m")
        await until(pilot, lambda: shown_leases(app) == [first.id])
        assert third.id not in stage.active()
        assert set(shown_leases(app)) == stage.active()
        assert app.model.leases[first.id].expires_at == stage.clock.micros + 180_000_000

    stage.play(scenario)


def test_a_renewal_moves_the_bar_back(stage: Stage) -> None:
    lease = stage.lease("deploy-agent", "deploy-key", ttl="10m")

    async def scenario(pilot: Pilot[int]) -> None:
        stage.clock.advance("9m")
        await until_shown(pilot, "1m00s")
        before = screen_text(dashboard_of(pilot)).count("█")
        lease.renew()
        await until_shown(pilot, "10m00s")
        assert screen_text(dashboard_of(pilot)).count("█") > before + 5

    stage.play(scenario)


def test_a_lease_that_is_about_to_end_has_a_glyph(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key", ttl="10m")

    async def scenario(pilot: Pilot[int]) -> None:
        assert "!" not in screen_text(dashboard_of(pilot))
        stage.clock.advance("8m")
        await until_shown(pilot, "!█")
        stage.clock.advance("90s")
        await until_shown(pilot, "‼▌")
        assert "‼ 1 ending" in head(dashboard_of(pilot))

    stage.play(scenario)


def test_denials_can_not_be_missed_until_somebody_looks_at_them(stage: Stage) -> None:
    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        stage.denied()
        await until_shown(pilot, "✖ 1 denial, press d to look")
        stage.denied()
        await until_shown(pilot, "✖ 2 denials, press d to look")
        await until_shown(pilot, "[token-scope]")
        assert "✖ 2 denied/h" in head(app)
        await press(pilot, "d")
        await until_shown(pilot, "✖ lease.denied")
        assert "press d to look" not in screen_text(app)
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, Overview) and "press d to look" not in screen_text(app))

    stage.play(scenario)


def test_the_event_stream_tells_of_everything_that_happens_to_leases(stage: Stage) -> None:
    async def scenario(pilot: Pilot[int]) -> None:
        lease = stage.lease("deploy-agent", "deploy-key")
        short = stage.lease("deploy-agent", "deploy-key", ttl="10s")
        lease.renew()
        lease.revoke()
        stage.denied()
        stage.clock.advance("11s")
        for told in ("+ issued", "↻ renewed", "⊘ revoked", "✖ DENIED", "○ expired"):
            await until_shown(pilot, told)
        assert short.id not in shown_leases(dashboard_of(pilot))

    stage.play(scenario)


def test_typing_filters_in_any_column_and_escape_takes_it_away(stage: Stage) -> None:
    mine = stage.lease("deploy-agent", "deploy-key", purpose="Deploy to staging")
    other = stage.lease("analytics-bot", "shopify-api-key", purpose="Nightly report")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "slash", *"nig")
        assert shown_leases(app) == [other.id]
        await press(pilot, *"xx")
        assert shown_leases(app) == []
        await press(pilot, "backspace", "backspace", "enter")
        assert app.screen.query_one(LeaseTable).has_focus
        another = stage.lease("analytics-bot", "deploy-key", purpose="Nightly backup")
        await until(pilot, lambda: another.id in shown_leases(app))
        assert mine.id not in shown_leases(app)
        await press(pilot, "escape")
        assert set(shown_leases(app)) == {mine.id, other.id, another.id}
        assert not app.screen.query_one(Input).display

    stage.play(scenario)


def test_o_goes_through_the_orders_and_turns_them_round_with_shift(stage: Stage) -> None:
    long = stage.lease("analytics-bot", "deploy-key", ttl="1h")
    short = stage.lease("deploy-agent", "deploy-key", ttl="1m")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        assert shown_leases(app) == [short.id, long.id]
        await press(pilot, "o")
        assert "Ordered by agent" in toasts(app)
        assert shown_leases(app) == [long.id, short.id]
        assert "agent▲" in screen_text(app)
        await press(pilot, "O")
        assert shown_leases(app) == [short.id, long.id]
        assert "agent▼" in screen_text(app)

    stage.play(scenario)


def test_the_cursor_stays_with_its_lease_while_others_come_and_go(stage: Stage) -> None:
    leases = [stage.lease("deploy-agent", "deploy-key", ttl=f"{minutes}m") for minutes in (10, 20, 30)]

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        table = app.screen.query_one(LeaseTable)
        await press(pilot, "j")
        assert table.row is not None
        assert table.row.id == leases[1].id
        stage.lease("deploy-agent", "deploy-key", ttl="5m")
        await until(pilot, lambda: len(shown_leases(app)) == 4)
        assert table.row.id == leases[1].id
        await until(pilot, lambda: table.cursor == 2)
        leases[1].revoke()
        await until(pilot, lambda: table.row is not None and table.row.id == leases[2].id)

    stage.play(scenario)


def test_the_cursor_is_always_in_sight(stage: Stage) -> None:
    for _ in range(60):
        stage.lease("analytics-bot", "deploy-key", ttl="1h")

    async def scenario(pilot: Pilot[int]) -> None:
        screen = dashboard_of(pilot).screen
        table, stream = screen.query_one(LeaseTable), screen.query_one(EventStream)
        await until(pilot, lambda: table.region.y == stream.region.y)
        room = table.scrollable_content_region.height - 1
        for key, row in (
            ("pagedown", room - 1),
            ("j", room),
            ("G", 59),
            ("pageup", 60 - room),
            ("k", 59 - room),
            ("g", 0),
        ):
            await press(pilot, key)
            assert table.cursor == row
            assert table.scroll_offset.y <= table.cursor < table.scroll_offset.y + room

    stage.play(scenario, size=(160, 40))


def test_a_click_selects_another_opens_and_one_on_a_heading_orders(stage: Stage) -> None:
    first = stage.lease("deploy-agent", "deploy-key", ttl="10m")
    second = stage.lease("analytics-bot", "deploy-key", ttl="20m")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        table = app.screen.query_one(LeaseTable)
        assert "remaining▲" in screen_text(app)
        await pilot.click(LeaseTable, offset=(2, 0))
        assert shown_leases(app) == [second.id, first.id]
        await until_shown(pilot, "agent▲")
        await pilot.click(LeaseTable, offset=(2, 0))
        assert shown_leases(app) == [first.id, second.id]
        await until_shown(pilot, "agent▼")
        await pilot.click(LeaseTable, offset=(5, 2))
        assert table.row is not None
        assert table.row.id == second.id
        await pilot.double_click(LeaseTable, offset=(5, 2))
        await until_shown(pilot, "Session cortex_sess_d4e5f6")

    stage.play(scenario)


def test_tab_goes_to_the_events_and_back_and_the_stream_stops_while_one_reads(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        stream = app.screen.query_one(EventStream)
        await press(pilot, "tab")
        assert stream.has_focus
        last = stream.row
        await press(pilot, "k")
        held = stream.row
        assert held is not None
        assert last is not None
        assert held.seq == last.seq - 1
        stage.lease("deploy-agent", "deploy-key")
        await until(pilot, lambda: app.model.seq > last.seq)
        await pilot.pause()
        assert stream.row is not None
        assert stream.row.seq == held.seq
        await press(pilot, "G")
        stage.lease("deploy-agent", "deploy-key")
        await until(pilot, lambda: stream.row is not None and stream.row.seq == app.model.seq)
        await press(pilot, "tab")
        assert app.screen.query_one(LeaseTable).has_focus

    stage.play(scenario)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 50)])
def test_nothing_of_the_columns_that_matter_is_cut_at_any_size(stage: Stage, size: tuple[int, int]) -> None:
    stage.lease("deploy-agent", "deploy-key", ttl="15m")

    async def scenario(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "? help")
        await until_shown(pilot, "remaining▲")
        text = screen_text(dashboard_of(pilot))
        for whole in ("deploy-agent", "deploy-key", "15m00s", "remaining▲", "+ issued", "● live"):
            assert whole in text
        assert all(len(line) == size[0] for line in text.splitlines())

    stage.play(scenario, size=size)


def test_it_follows_when_the_terminal_is_resized(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        table, stream = app.screen.query_one(LeaseTable), app.screen.query_one(EventStream)
        await until(pilot, lambda: table.region.y == stream.region.y)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: table.region.y < stream.region.y)
        assert "15m00s" in screen_text(app)

    stage.play(scenario, size=(160, 40))


def test_markup_and_control_characters_are_shown_as_they_are(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key", purpose="[red]not[/red] \u202eevil\u200b")

    async def scenario(pilot: Pilot[int]) -> None:
        text = screen_text(dashboard_of(pilot))
        assert "[red]not[/red]" in text
        assert "\\u202e" in text
        assert "\u202e" not in text

    stage.play(scenario, size=(200, 50))


def test_no_secret_is_ever_on_the_screen_or_in_the_model(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        for keys, shown in (
            ([], "deploy-key"),
            (["enter"], "lease.created"),
            (["escape", "c"], "credential.created"),
            (["escape", "t"], "lease.created"),
            (["escape", "a"], "1 active of 1"),
        ):
            await press(pilot, *keys)
            await until_shown(pilot, shown)
            text = screen_text(app)
            assert SECRET[:12] not in text
            assert "vault_token_" not in text

    app = stage.play(scenario)
    assert SECRET[:12] not in repr(vars(app.model))


def test_quitting_ends_the_reading(stage: Stage) -> None:
    async def scenario(pilot: Pilot[int]) -> None:
        assert isinstance(pilot.app.screen, Overview)
        await pilot.press("q")

    app = stage.play(scenario)
    assert app.return_code == 0
    assert not app._feed._threads[0].is_alive()


def test_what_is_done_is_done_to_the_lease_that_was_seen_even_before_the_next_frame(stage: Stage) -> None:
    seen = stage.lease("deploy-agent", "deploy-key", ttl="10m")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        table = app.screen.query_one(LeaseTable)
        await until(pilot, lambda: table.row is not None)
        stage.lease("deploy-agent", "shopify-api-key", ttl="1m")
        app.model.apply(stage.owner.audit_log.after(app.model.seq))
        table.rows.watch(app.model.leases)  # the new one is the first row now, but that was not drawn yet
        assert table.rows[0].id != seen.id
        assert table.row is not None
        assert table.row.id == seen.id

    stage.play(scenario)
