"""Help, palette, themes, colours: what one expects of a program in a terminal."""

import pytest
from textual.command import CommandPalette
from textual.pilot import Pilot

from tests.tui.stage import Stage, dashboard_of, press, screen_text, until, until_shown
from vaultctl.tui.screens.agent import AgentScreen
from vaultctl.tui.screens.audit import AuditScreen
from vaultctl.tui.screens.help import Help
from vaultctl.tui.screens.overview import Overview
from vaultctl.tui.widgets.palette import THEMES


def test_help_lists_every_key_of_the_screen_and_nothing_that_is_not_ours(stage: Stage) -> None:
    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help))
        await until_shown(pilot, "Everywhere")
        text = screen_text(app)
        for binding in [*Overview.BINDINGS, *type(app).BINDINGS]:
            assert binding.description.lower() in text.lower()  # type: ignore[union-attr]
        for foreign in ("Scroll Left", "Copy selected text", "Page Right"):
            assert foreign not in text
        await press(pilot, "escape")
        await until(pilot, lambda: isinstance(app.screen, Overview))

    stage.play(scenario, size=(120, 60))


def test_the_palette_leads_to_screens_and_agents(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "colon")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await press(pilot, *"agent dep")
        await until_shown(pilot, "Its runs and leases")
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, AgentScreen))
        await press(pilot, "colon")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await press(pilot, *"audit")
        await until_shown(pilot, "Go to: audit log")
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, AuditScreen))

    stage.play(scenario)


def test_other_colours_are_drawn_at_once(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await until_shown(pilot, "deploy-agent")

        def backgrounds() -> set[str]:
            strips = app.screen._compositor.render_strips()
            return {str(s.style.bgcolor) for strip in strips for s in strip if s.style and s.style.bgcolor}

        before = backgrounds()
        app.theme = THEMES[1].name
        await until(pilot, lambda: not before & backgrounds())
        assert "deploy-agent" in screen_text(app)

    stage.play(scenario)


def test_without_colours_it_has_none_and_says_the_same(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stage.lease("deploy-agent", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        stage.denied()
        await until_shown(pilot, "✖ DENIED")
        await until_shown(pilot, "15m00s")
        strips = app.screen._compositor.render_strips()
        colours = {colour for strip in strips for s in strip if s.style for colour in (s.style.color, s.style.bgcolor)}
        greys = [c.triplet for c in colours if c is not None and c.triplet is not None]
        assert all(max(grey) - min(grey) <= 1 for grey in greys)
        denial = [s for strip in strips for s in strip if "DENIED" in s.text]
        assert all(s.style is not None and s.style.reverse for s in denial)

    stage.play(scenario)


@pytest.mark.parametrize("is_in_a_thread", [False, True])
def test_a_defect_ends_it_without_a_traceback_of_its_own(
    stage: Stage, capfd: pytest.CaptureFixture[str], is_in_a_thread: bool
) -> None:
    app = stage.dashboard()

    def defect(*_: object) -> None:
        {}["a secret in a local variable"]

    async def scenario(pilot: Pilot[int]) -> None:
        if is_in_a_thread:
            assert isinstance(app.screen, Overview)
            app.screen.ask(defect, lambda _: None)
        else:
            app.call_later(defect)
        await until(pilot, lambda: app.failure is not None)

    with pytest.raises(KeyError):  # as the test harness of Textual tells it
        stage.play(scenario, app=app)
    assert isinstance(app.failure, KeyError)
    assert app.return_code == 1
    told = capfd.readouterr()
    assert "Traceback" not in told.out + told.err
    assert "secret" not in told.out + told.err
