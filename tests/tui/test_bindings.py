"""Every key that the dashboard binds, pressed on every screen that offers it, and what comes of it.

The tables are compared with the bindings that are active there, so that a new key without a line here fails, and so
does a class with bindings that is on no screen here.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any

import pytest
from textual.binding import Binding
from textual.command import CommandPalette
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input

import vaultctl.tui
from tests.tui.stage import Stage, dashboard_of, press, screen_text, until
from vaultctl.tui.app import Dashboard
from vaultctl.tui.screens.agent import AgentScreen
from vaultctl.tui.screens.audit import AuditScreen, TrailInput
from vaultctl.tui.screens.confirm import Confirm
from vaultctl.tui.screens.credential import CredentialScreen
from vaultctl.tui.screens.entry import EntryScreen
from vaultctl.tui.screens.export import ExportTo
from vaultctl.tui.screens.help import Help
from vaultctl.tui.screens.lists import AgentsScreen, CredentialsScreen, TokensScreen
from vaultctl.tui.screens.overview import FilterInput, Overview
from vaultctl.tui.screens.session import SessionScreen
from vaultctl.tui.screens.token import TokenScreen
from vaultctl.tui.widgets.leases import LeaseTable
from vaultctl.tui.widgets.line_list import LineList

Effect = Callable[[Dashboard], bool]


def on(screen: type[Screen[Any]]) -> Effect:
    """The screen is of that kind."""
    return lambda app: isinstance(app.screen, screen)


def asked(question: str) -> Effect:
    """A question is asked, and nothing was done yet."""
    return lambda app: isinstance(app.screen, Confirm) and question in screen_text(app)


def said(text: str) -> Effect:
    """The screen shows a text."""
    return lambda app: text in screen_text(app)


def has_keys(widget: str) -> Effect:
    """A widget has the focus."""
    return lambda app: bool(app.screen.query(widget)) and app.screen.query_one(widget).has_focus


def cursor(row: int) -> Effect:
    """The cursor is on that row of the table."""
    return lambda app: app.screen.query_one(LeaseTable).cursor == row


def is_ordered(by: str, *, reverse: bool = False) -> Effect:
    return lambda app: (rows := app.screen.query_one(LeaseTable).rows).by == by and rows.reverse is reverse


def is_scrolled(lines: int) -> Effect:
    """The page is that far down."""
    return lambda app: app.screen.query_one(VerticalScroll).scroll_y == lines


LOOKING: dict[str, Effect] = {"a": on(AgentScreen), "c": on(CredentialScreen), "t": on(TokenScreen)}
ACTING: dict[str, Effect] = {
    "R": asked("Renew deploy-key of deploy-agent?"),
    "X": asked("Revoke deploy-key of deploy-agent?"),
    "E": asked("End this session of deploy-agent?"),
    "T": asked("Revoke this token of deploy-agent?"),
    "S": asked("Stop deploy-agent?"),
}
BACK: dict[str, Effect] = {"escape": on(Overview), "backspace": on(Overview)}


def without(keys: dict[str, Effect], *left_out: str) -> dict[str, Effect]:
    return {key: effect for key, effect in keys.items() if key not in left_out}


def tabs(there: str, back: str) -> dict[str, Effect]:
    return {"tab": has_keys(there), "shift+tab": has_keys(back)}


SCREENS: dict[type[Screen[Any]], tuple[list[str], dict[str, Effect]]] = {
    Overview: (
        [],
        LOOKING
        | ACTING
        | tabs("#events", "#events")
        | {
            "slash": has_keys("FilterInput"),
            "escape": lambda app: not app.screen.query_one(FilterInput).display,
            "backspace": lambda app: not app.screen.query_one(FilterInput).display,
            "o": is_ordered("agent"),
            "O": is_ordered("remaining", reverse=True),
            "d": said("event=denied"),
        },
    ),
    AgentScreen: (
        ["a"],
        without(LOOKING, "a") | ACTING | tabs("#leases", "#leases") | {"v": said("agent=deploy-agent")} | BACK,
    ),
    CredentialScreen: (
        ["c"],
        without(LOOKING, "c") | ACTING | tabs("#history", "#history") | {"v": said("credential=deploy-key")} | BACK,
    ),
    TokenScreen: (["t"], without(LOOKING, "t") | ACTING | tabs("#history", "#sessions") | BACK),
    SessionScreen: (["enter"], LOOKING | ACTING | {"v": said("session=cortex_sess_a1b2c3")} | BACK),
    AgentsScreen: (["2"], {"S": asked("Stop deploy-agent?"), "slash": has_keys("FilterInput")} | BACK),
    CredentialsScreen: (["3"], {"slash": has_keys("FilterInput")} | BACK),
    TokensScreen: (["4"], {"T": asked("Revoke this token of"), "slash": has_keys("FilterInput")} | BACK),
    AuditScreen: (["5"], {"w": on(ExportTo), "slash": has_keys("TrailInput")} | BACK),
    EntryScreen: (
        ["5", "enter"],
        {
            "escape": on(AuditScreen),
            "backspace": on(AuditScreen),
            "a": on(AgentScreen),
            "s": on(SessionScreen),
            "c": on(CredentialScreen),
            "l": said("lease=lease_"),
        },
    ),
    Confirm: (
        ["X"],
        dict.fromkeys(("left", "right", "h", "l"), has_keys("#yes"))
        | dict.fromkeys(("n", "escape", "q"), on(Overview))
        | {"y": lambda app: isinstance(app.screen, Overview) and len(app.model.leases) == 6},
    ),
    ExportTo: (["5", "w"], {"escape": on(AuditScreen)}),
    Help: (
        ["question_mark"],
        {
            "j": is_scrolled(1),
            "k": is_scrolled(0),
            "down": is_scrolled(1),
            "up": is_scrolled(0),
        }
        | dict.fromkeys(("escape", "q", "question_mark", "enter"), on(Overview)),
    ),
}  # fmt: skip

WIDGETS: dict[type[DOMNode], tuple[list[str], dict[str, Effect]]] = {
    LineList: (
        [],
        {
            "j": cursor(1),
            "down": cursor(1),
            "k": cursor(0),
            "up": cursor(0),
            "pagedown": cursor(6),
            "ctrl+f": cursor(6),
            "pageup": cursor(0),
            "ctrl+b": cursor(0),
            "G": cursor(6),
            "end": cursor(6),
            "g": cursor(0),
            "home": cursor(0),
            "enter": on(SessionScreen),
        },
    ),
    FilterInput: (["slash"], dict.fromkeys(("escape", "down"), has_keys("#leases"))),
    TrailInput: (["5", "slash"], dict.fromkeys(("escape", "down"), has_keys("#entries"))),
    Dashboard: (
        ["2"],
        {
            "question_mark": on(Help),
            "ctrl+p": on(CommandPalette),
            "colon": on(CommandPalette),
            "1": on(Overview),
            "2": on(AgentsScreen),
            "3": on(CredentialsScreen),
            "4": on(TokensScreen),
            "5": on(AuditScreen),
            "d": said("event=denied"),
        },
    ),
}
ENDING = {"q", "ctrl+c"}
"""They are pressed where the dashboard is run on a terminal."""


def bound(node: DOMNode) -> set[str]:
    """The keys that are active on a node, of those that our own classes bind."""
    ours = {
        (binding.key, binding.action)
        for base in type(node).__mro__
        if base.__module__.startswith("vaultctl.")
        for binding in Binding.make_bindings(base.__dict__.get("BINDINGS", ()))
    }
    active = node.app.screen.active_bindings.values()
    keys = {(item.binding.key, item.binding.action) for item in active if item.node is node and item.enabled}
    return {key for key, _ in keys & ours}


def is_settled(app: Dashboard) -> bool:
    """Whether there is a row under the cursor of the list with the keys, if one has them."""
    focused = app.focused
    if isinstance(focused, LineList):
        return focused.row is not None
    return focused is not None or app.screen.AUTO_FOCUS == ""


async def go(pilot: Pilot[int], way: list[str]) -> None:
    """By keys, waiting for each screen to have something on it."""
    for key in way:
        before = (pilot.app.screen, pilot.app.focused)
        await press(pilot, key)
        await until(pilot, lambda before=before: (pilot.app.screen, pilot.app.focused) != before)
        await until(pilot, lambda: is_settled(dashboard_of(pilot)))


async def play(
    pilot: Pilot[int], node: Callable[[Dashboard], DOMNode], way: list[str], keys: dict[str, Effect]
) -> None:
    """Press each of the keys on the screen that a way of keys leads to."""
    app = dashboard_of(pilot)
    table = app.screen.query_one(LeaseTable)
    await go(pilot, way)
    screen, focused = app.screen, app.focused
    await until(pilot, lambda: bound(node(app)) - ENDING == set(keys) - ENDING)
    for key, effect in keys.items():
        while app.screen not in (screen, app.screen_stack[0]) or (isinstance(app.focused, Input) and not way):
            await press(pilot, "escape")
        if app.screen is not screen or (focused is not None and not focused.display):
            await until(pilot, lambda: is_settled(app))
            await go(pilot, way)
            screen, focused = app.screen, app.focused
        app.screen.set_focus(focused)
        table.order_by("issued", app.now)
        table.order_by("remaining", app.now)
        table.action_top()
        await press(pilot, key)
        await until(pilot, lambda effect=effect: effect(app))


@pytest.fixture
def busy(stage: Stage) -> Stage:
    """Leases of one run, one that ended, and somebody who was refused; a lease is the last that the log tells of."""
    stage.lease("deploy-agent", "deploy-key", ttl="5m")
    for minutes in range(10, 15):
        stage.lease("deploy-agent", "shopify-api-key", ttl=f"{minutes}m")
    stage.clock.advance("10s")
    stage.lease("analytics-bot", "orders-db-password", ttl="1h").revoke()
    stage.denied()
    stage.runs["deploy-agent"].leases.create("deploy-key", ttl="4m").renew("4m")
    return stage


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.__name__)
def test_every_key_of_a_screen_does_what_it_says(busy: Stage, screen: type[Screen[Any]]) -> None:
    way, keys = SCREENS[screen]

    async def scenario(pilot: Pilot[int]) -> None:
        await play(pilot, lambda app: app.screen, way, keys)

    busy.play(scenario, size=(120, 24))


@pytest.mark.parametrize("kind", WIDGETS, ids=lambda kind: kind.__name__)
def test_every_key_of_a_widget_and_those_of_everywhere_do_what_they_say(busy: Stage, kind: type[DOMNode]) -> None:
    way, keys = WIDGETS[kind]

    def node(app: Dashboard) -> DOMNode:
        found = app if kind is Dashboard else app.focused
        assert isinstance(found, kind)
        return found

    async def scenario(pilot: Pilot[int]) -> None:
        await play(pilot, node, way, keys)

    busy.play(scenario, size=(120, 24))


def test_every_class_with_keys_is_in_the_tables() -> None:
    kinds = set()
    for module in pkgutil.walk_packages(vaultctl.tui.__path__, "vaultctl.tui."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if kind.__module__.startswith("vaultctl.tui.") and kind.__dict__.get("BINDINGS"):
                kinds.add(kind)
    tested = SCREENS.keys() | WIDGETS.keys()
    assert {kind for kind in kinds if not any(issubclass(there, kind) for there in tested)} == set()
