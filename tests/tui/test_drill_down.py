"""From an agent to its sessions to an entry; a credential's holders; what a token reaches and did."""

import threading

import pytest
from textual.pilot import Pilot

from tests.tui.stage import PATIENCE, Stage, dashboard_of, press, screen_text, shown_leases, until, until_shown
from vaultctl.tui.screens.agent import AgentScreen
from vaultctl.tui.screens.confirm import Confirm
from vaultctl.tui.screens.entry import EntryScreen
from vaultctl.tui.screens.export import ExportTo
from vaultctl.tui.screens.live import LiveScreen
from vaultctl.tui.screens.overview import Overview
from vaultctl.tui.screens.session import SessionScreen
from vaultctl.tui.screens.token import TokenScreen
from vaultctl.tui.widgets.entries import EntryList


def test_a_lease_leads_to_the_timeline_of_its_run_with_the_purposes(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key", purpose="Deploy to staging").renew()
    stage.denied()

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "enter")
        await until_shown(pilot, "Session cortex_sess_a1b2c3")
        for shown in ("session.started", "lease.created", "lease.renewed", "✖ lease.denied", "Deploy to staging"):
            await until_shown(pilot, shown)
        recorded = [entry.seq for entry in stage.owner.audit_log.query(session="cortex_sess_a1b2c3")]
        assert [entry.seq for entry in app.screen.query_one(EntryList).source] == recorded
        stage.lease("deploy-agent", "shopify-api-key", purpose="What came later")
        stage.lease("analytics-bot", "shopify-api-key", purpose="Another run")
        await until_shown(pilot, "What came later")
        assert "Another run" not in screen_text(app)
        await until_shown(pilot, "active leases 2")

    stage.play(scenario)


def test_an_agent_has_its_sessions_and_its_leases(stage: Stage) -> None:
    lease = stage.lease("deploy-agent", "deploy-key")
    stage.lease("analytics-bot", "deploy-key", ttl="1h")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "a")
        await until_shown(pilot, "Agent deploy-agent")
        await until_shown(pilot, "cortex_sess_a1b2c3")
        await until_shown(pilot, "1 active of 1")
        assert shown_leases(app) == [lease.id]
        assert "cortex_sess_d4e5f6" not in screen_text(app)
        stage.runs["deploy-agent"].leases.create("shopify-api-key")
        await until(pilot, lambda: len(shown_leases(app)) == 2)
        stage.world.connect(stage.tokens["deploy-agent"]).sessions.open("cortex_sess_second")
        await until_shown(pilot, "cortex_sess_second")
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, AgentScreen))
        await press(pilot, "tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        await press(pilot, "a")
        await until(pilot, lambda: isinstance(app.screen, AgentScreen))

    stage.play(scenario)


def test_a_credential_has_who_holds_it_now_and_who_held_it(stage: Stage) -> None:
    stage.lease("analytics-bot", "deploy-key", purpose="Long over").revoke()
    held = stage.lease("deploy-agent", "deploy-key", purpose="Deploy to staging")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "c")
        await until_shown(pilot, "Credential deploy-key")
        await until_shown(pilot, "maximum TTL 4h")
        await until_shown(pilot, "Long over")
        assert shown_leases(app) == [held.id]
        held.revoke()
        await until_shown(pilot, "Nobody holds it.")

    stage.play(scenario)


def test_a_token_has_what_it_reaches_and_what_it_did(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key", purpose="Deploy to staging")
    stage.lease("analytics-bot", "deploy-key", purpose="Not of this token", ttl="1h")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        token = stage.tokens["deploy-agent"]
        await press(pilot, "t")
        await until_shown(pilot, f"Token {token.token.id}")
        await until_shown(pilot, "credentials deploy-* shopify-*")
        await until_shown(pilot, "reaches deploy-key shopify-api-key")
        await until_shown(pilot, "cortex_sess_a1b2c3")
        await until_shown(pilot, "lease.created")
        assert "Not of this token" not in screen_text(app)
        assert set(token.reaches) == {"deploy-key", "shopify-api-key"}

    stage.play(scenario, size=(160, 50))


def test_an_entry_has_all_its_fields(stage: Stage) -> None:
    stage.denied()
    entry = stage.owner.audit_log.query(limit=1)[-1]

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, EntryScreen))
        await until_shown(pilot, entry.id)
        for shown in ("lease.denied", "sessionId", "cortex_sess_a1b2c3", "Curiosity", "token-scope", str(entry.seq)):
            assert shown in screen_text(app)

    stage.play(scenario)


def test_numbers_lead_to_the_lists_and_from_there_on(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")
    stage.clock.advance("2s")

    async def scenario(pilot: Pilot[int]) -> None:
        for key, listed, opened in (
            ("2", ["deploy-agent", "analytics-bot"], "Agent deploy-agent"),
            ("3", ["deploy-key", "orders-db-password", "generic-secret"], "Credential deploy-key"),
            ("4", ["deploy-agent", "analytics-bot", "89d23h"], "Token tok_"),
        ):
            await press(pilot, key)
            for text in listed:
                await until_shown(pilot, text)
            await press(pilot, "enter")
            await until_shown(pilot, opened)
            await press(pilot, "1")
            await until(pilot, lambda: isinstance(pilot.app.screen, Overview))

    stage.play(scenario)


def test_lists_are_filtered_as_one_types_and_follow_what_changes(stage: Stage) -> None:
    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "2")
        await until_shown(pilot, "analytics-bot")
        await press(pilot, "slash", *"deploy")
        await until(pilot, lambda: "analytics-bot" not in screen_text(app))
        await press(pilot, "escape")
        stage.owner.tokens.create(agent="new-agent", credentials=["*"])
        stage.clock.advance("2s")
        await until_shown(pilot, "new-agent")

    stage.play(scenario)


def test_escape_leads_back_and_the_overview_is_as_the_vault_is(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        late = stage.lease("analytics-bot", "shopify-api-key")
        await until(pilot, lambda: late.id in app.model.leases)
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, Overview) and set(shown_leases(app)) == stage.active())

    stage.play(scenario)


def test_a_key_typed_at_once_is_for_the_screen_and_not_for_a_filter_on_it(stage: Stage) -> None:
    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await pilot.press("5", "w")
        await until(pilot, lambda: isinstance(app.screen, ExportTo))

    stage.play(scenario)


@pytest.mark.parametrize(
    ("way", "there", "key", "leads_to"),
    [
        ("enter", SessionScreen, "a", AgentScreen),
        ("enter", SessionScreen, "t", TokenScreen),
        ("enter", SessionScreen, "T", Confirm),
        ("enter", SessionScreen, "S", Confirm),
        ("t", TokenScreen, "a", AgentScreen),
        ("t", TokenScreen, "S", Confirm),
    ],
)
def test_a_key_pressed_before_the_vault_has_answered_is_not_lost(
    stage: Stage, way: str, there: type, key: str, leads_to: type
) -> None:
    stage.lease("deploy-agent", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        stage.cable.is_open.clear()
        await press(pilot, way)
        await until(pilot, lambda: isinstance(app.screen, there))
        await press(pilot, key)
        assert isinstance(app.screen, there)
        stage.cable.is_open.set()
        await until(pilot, lambda: isinstance(app.screen, leads_to))

    stage.play(scenario)


def test_what_began_while_one_looked_elsewhere_is_there_when_one_is_back(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "a")
        await until_shown(pilot, "cortex_sess_a1b2c3")
        await press(pilot, "tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, SessionScreen))
        stage.world.connect(stage.tokens["deploy-agent"]).sessions.open("cortex_sess_second")
        await until(pilot, lambda: "cortex_sess_second" in app.model.sessions)
        await press(pilot, "escape")
        await until_shown(pilot, "cortex_sess_second")

    stage.play(scenario)


def test_the_cursor_stays_with_its_entry_when_a_token_is_looked_at_again(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key").renew()

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "t")
        await until(pilot, lambda: isinstance(app.screen, TokenScreen) and app.focused is not None)
        history = app.screen.query_one(EntryList)
        await until(pilot, lambda: history.row is not None)
        await press(pilot, "tab", "k")
        await until(pilot, lambda: not history.is_following)
        row, known = history.row, len(history.source)
        stage.world.connect(stage.tokens["deploy-agent"]).sessions.open("cortex_sess_second")
        await until(pilot, lambda: len(history.source) > known)
        assert history.row == row

    stage.play(scenario)


def test_an_answer_that_is_older_than_what_is_shown_is_dropped(stage: Stage) -> None:
    late = threading.Event()
    shown: list[str] = []

    async def scenario(pilot: Pilot[int]) -> None:
        screen = pilot.app.screen
        assert isinstance(screen, LiveScreen)
        screen.look(lambda _: "older" if late.wait(PATIENCE) else "", shown.append)
        screen.look(lambda _: "newer", shown.append)
        await until(pilot, lambda: shown)
        late.set()
        await until(pilot, lambda: all(thread.name != "dashboard-query" for thread in threading.enumerate()))
        screen.ask(lambda _: "last", shown.append)
        await until(pilot, lambda: "last" in shown)

    stage.play(scenario)
    assert shown == ["newer", "last"]
