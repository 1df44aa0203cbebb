"""A real vault with agents at work, and the dashboard over it, driven as a person drives it."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from textual.events import Key
from textual.keys import _character_to_key, key_to_character
from textual.pilot import Pilot

from tests.conftest import Clock
from tests.contract.world import DOORS, World
from vaultctl.cli.dashboard import _export
from vaultctl.client import LeaseHandle, Vault
from vaultctl.client.adapters import OnState
from vaultctl.client.following import poll
from vaultctl.client.vault import Adapter
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultUnavailable
from vaultctl.domain.records import AuditEntry
from vaultctl.tui.app import Dashboard
from vaultctl.tui.feed import Feed, take_snapshot
from vaultctl.tui.screens.live import LiveScreen
from vaultctl.tui.widgets.leases import LeaseTable

PATIENCE = 20
SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLE"

Scenario = Callable[[Pilot[int]], Awaitable[None]]


class Cable(Adapter):
    """The way to the vault, which can be cut, and on which questions can be held up."""

    def __init__(self, vault: Vault) -> None:
        self._adapter = vault._adapter
        self.is_cut = False
        self.is_open = threading.Event()
        self.is_open.set()
        self._closed = threading.Event()

    def perform(self, request: ask.Request[Any]) -> Any:
        self.is_open.wait(PATIENCE)
        if self.is_cut:
            raise VaultUnavailable("The vault does not answer.", hint="Look whether its server runs.")
        return self._adapter.perform(request)

    def follow(self, request: ask.QueryAudit, *, poll_seconds: float, on_state: OnState) -> Iterator[AuditEntry]:
        return poll(self.perform, request, lambda: self._closed.wait(poll_seconds))

    def close(self) -> None:
        self._closed.set()
        self.is_open.set()
        self._adapter.close()


class Stage:
    """A vault with three credentials and two agents, one of which may lease only one of them."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.clock = clock
        self.world = World(DOORS["embedded-sqlite"], directory, clock)
        self.owner = self.world.owner()
        for name in ("shopify-api-key", "orders-db-password", "deploy-key"):
            self.owner.credentials.create(name, "generic-secret", SECRET, max_ttl="4h")
        self.tokens = {
            "deploy-agent": self.owner.tokens.create(agent="deploy-agent", credentials=["deploy-*", "shopify-*"]),
            "analytics-bot": self.owner.tokens.create(agent="analytics-bot", credentials=["*"]),
        }
        self.runs = {
            "deploy-agent": self._run("deploy-agent", "cortex_sess_a1b2c3"),
            "analytics-bot": self._run("analytics-bot", "cortex_sess_d4e5f6"),
        }
        self.cable = Cable(self.owner)

    def lease(self, agent: str, credential: str, ttl: str = "15m", purpose: str = "Nightly report") -> LeaseHandle:
        return self.runs[agent].leases.create(credential, ttl=ttl, purpose=purpose)

    def denied(self, agent: str = "deploy-agent") -> None:
        try:
            self.lease(agent, "orders-db-password", purpose="Curiosity")
        except Exception as error:
            assert "no credential" in str(error)  # noqa: PT017
        else:
            raise AssertionError("it was not refused")

    def active(self) -> set[str]:
        """What ``vaultctl lease list --state active`` shows."""
        return {lease.id for lease in self.owner.leases.list(state="active")}

    def dashboard(self, *, acts: bool = True) -> Dashboard:
        vault = Vault(self.cable)
        return Dashboard(
            vault,
            take_snapshot(vault),
            place="my-org as owner@localhost",
            acts=acts,
            export=_export,
            clock=self.clock,
            feed=Feed(vault, poll_seconds=0.02, watch_seconds=1.0),
        )

    def play(
        self, scenario: Scenario, *, size: tuple[int, int] = (120, 40), acts: bool = True, app: Dashboard | None = None
    ) -> Dashboard:
        """Run a scenario with a dashboard."""
        app = app or self.dashboard(acts=acts)

        async def run() -> None:
            async with app.run_test(size=size, notifications=True) as pilot:
                await until(pilot, lambda: is_live(app))
                await scenario(pilot)

        asyncio.run(run())
        return app

    def close(self) -> None:
        self.cable.close()
        self.world.close()

    def _run(self, agent: str, id: str) -> Vault:
        vault = self.world.connect(self.tokens[agent])
        return self.world.session(vault, id)


def dashboard_of(pilot: Pilot[int]) -> Dashboard:
    assert isinstance(pilot.app, Dashboard)
    return pilot.app


def is_live(app: Dashboard) -> bool:
    return "● live" in head(app)


def head(app: Dashboard) -> str:
    screen = app.screen
    return screen.query_one("#status").text if isinstance(screen, LiveScreen) and screen.query("#status") else ""  # type: ignore[attr-defined]


def screen_text(app: Dashboard) -> str:
    """What the terminal shows, as text."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


def shown_leases(app: Dashboard) -> list[str]:
    rows = app.screen.query_one(LeaseTable).rows
    return [rows[i].id for i in range(len(rows))]


def toasts(app: Dashboard) -> str:
    return "\n".join(f"{n.title} {n.message}" for n in app._notifications)


async def until(pilot: Pilot[Any], condition: Callable[[], Any]) -> None:
    """Let the dashboard go on, frame by frame, until something is so."""
    app = dashboard_of(pilot)
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, screen_text(app)
        app.call_later(app.frame)
        await pilot.pause(0.005)


async def until_shown(pilot: Pilot[int], text: str) -> None:
    await until(pilot, lambda: text in screen_text(dashboard_of(pilot)))


async def until_still(pilot: Pilot[int]) -> None:
    """Let the dashboard go on until some frames show the same."""
    app = dashboard_of(pilot)
    frames: list[str] = []

    def is_still() -> bool:
        frames.append(screen_text(app))
        return len(frames) > 10 and len(set(frames[-10:])) == 1

    await until(pilot, is_still)


async def press(pilot: Pilot[int], *keys: str) -> None:
    """Press keys, and let all that they set off be done.

    Unlike ``pilot.press`` it does not wait for the process to be idle, which one that reads and draws never is.
    """
    app = dashboard_of(pilot)
    for key in keys:
        name = _character_to_key(key) if len(key) == 1 and not key.isalnum() else key
        event = Key(name, key_to_character(name))
        event.set_sender(app)
        assert app._driver is not None
        app._driver.send_message(event)
        for _ in range(3):  # from the application to the screen with the widget that acts, and what that sets off
            await pilot._wait_for_screen()
