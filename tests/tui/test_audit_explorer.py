"""The audit explorer: filters, pages in both directions, exports."""

import csv
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.stage import Stage, dashboard_of, press, screen_text, toasts, until, until_shown
from vaultctl.domain.errors import VaultUnavailable
from vaultctl.domain.records import AuditEntry
from vaultctl.tui import trail
from vaultctl.tui.screens.entry import EntryScreen
from vaultctl.tui.screens.export import ExportTo, export
from vaultctl.tui.widgets.entries import EntryList


def shown(pilot: Pilot[int]) -> list[AuditEntry]:
    return list(pilot.app.screen.query_one(EntryList).source)


async def explore(pilot: Pilot[int], text: str) -> None:
    await press(pilot, "5")
    await until(pilot, lambda: bool(shown(pilot)))
    await press(pilot, "slash")
    field = pilot.app.screen.query_one("#trail")
    field.value = text  # type: ignore[attr-defined]
    await press(pilot, "enter")


FILTERS = {
    "identity.name=deploy-agent": {"filter": {"identity.name": "deploy-agent"}},
    "identity.sessionId=cortex_sess_a1b2c3": {"filter": {"identity.sessionId": "cortex_sess_a1b2c3"}},
    "session=cortex_sess_d4e5f6": {"session": "cortex_sess_d4e5f6"},
    "agent=deploy-agent": {"agent": "deploy-agent"},
    "credential=deploy-key": {"credential": "deploy-key"},
    "event=lease.created": {"events": ["lease.created"]},
    "event=denied": {"events": ["lease.denied", "access.denied"]},
    "agent=deploy-agent event=lease.created credential=deploy-key": {
        "agent": "deploy-agent",
        "events": ["lease.created"],
        "credential": "deploy-key",
    },
}


def test_a_filter_finds_what_the_same_query_finds(stage: Stage) -> None:
    for agent in ("deploy-agent", "analytics-bot"):
        stage.lease(agent, "deploy-key")
        stage.lease(agent, "shopify-api-key")
    stage.denied()

    async def scenario(pilot: Pilot[int]) -> None:
        for text, query in FILTERS.items():
            expected = [entry.seq for entry in stage.owner.audit_log.query(**query)]  # type: ignore[arg-type]
            assert expected
            await explore(pilot, text)
            await until(pilot, lambda expected=expected: [entry.seq for entry in shown(pilot)] == expected)

    stage.play(scenario)


def test_a_filter_by_time(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")
    stage.clock.advance("10m")
    recent = stage.lease("analytics-bot", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        await explore(pilot, "since=5m event=lease.created")
        await until(pilot, lambda: [entry.lease_id for entry in shown(pilot)] == [recent.id])

    stage.play(scenario)


def test_what_is_no_filter_is_said_with_a_way_on(stage: Stage) -> None:
    async def scenario(pilot: Pilot[int]) -> None:
        for text, said in (
            ("nonsense", "A filter is field=value."),
            ("colour=red", "Fields: agent, session"),
            ("event=lease.eaten", "There is no such event."),
            ("since=tomorrowish", "since"),
        ):
            await explore(pilot, text)
            await until(pilot, lambda said=said: said in toasts(dashboard_of(pilot)))
            await until(pilot, lambda: bool(shown(pilot)))
            pilot.app.clear_notifications()
            await press(pilot, "escape")

    stage.play(scenario)


def test_it_reads_any_number_of_entries_page_by_page_and_keeps_a_window(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "PAGE", 20)
    monkeypatch.setattr("vaultctl.tui.screens.paging.PAGE", 20)
    monkeypatch.setattr("vaultctl.tui.screens.paging.WINDOW", 60)
    lease = stage.lease("deploy-agent", "deploy-key", ttl="1h")
    for number in range(110):
        if number % 40 == 0:  # many of the same moment, and some not
            stage.clock.advance("1s")
        lease.renew()
    last = stage.owner.audit_log.query(limit=1)[-1].seq
    seen: set[int] = set()

    async def scenario(pilot: Pilot[int]) -> None:
        await press(pilot, "5")
        await until(pilot, lambda: bool(shown(pilot)))
        assert shown(pilot)[-1].seq == last
        while 0 not in seen:
            first = shown(pilot)[0].seq
            await press(pilot, "g")
            await until(pilot, lambda first=first: shown(pilot)[0].seq < first or first == 0)
            now = [entry.seq for entry in shown(pilot)]
            assert now == list(range(now[0], now[0] + len(now)))
            assert len(now) <= 60
            seen.update(now)
        while last not in [entry.seq for entry in shown(pilot)]:
            end = shown(pilot)[-1].seq
            await press(pilot, "G")
            await until(pilot, lambda end=end: shown(pilot)[-1].seq > end)
            now = [entry.seq for entry in shown(pilot)]
            assert now == list(range(now[0], now[0] + len(now)))
            assert len(now) <= 60

    stage.play(scenario)
    assert seen == set(range(last + 1)) or min(seen) == 0


def test_reading_on_while_the_vault_is_asked_for_something_else_is_not_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "PAGE", 5)
    monkeypatch.setattr("vaultctl.tui.screens.paging.PAGE", 5)

    async def scenario(pilot: Pilot[int]) -> None:
        await press(pilot, "5")
        await until(pilot, lambda: bool(shown(pilot)) and not pilot.app.screen._pages._busy)  # type: ignore[attr-defined]
        first = shown(pilot)[0].seq
        assert first > 0
        stage.cable.is_open.clear()
        pilot.app.screen._pages.catch_up()  # type: ignore[attr-defined]
        await press(pilot, "g")
        stage.cable.is_open.set()
        await until(pilot, lambda: shown(pilot)[0].seq < first)

    stage.play(scenario)


def test_without_a_filter_new_entries_come_by_themselves(stage: Stage) -> None:
    async def scenario(pilot: Pilot[int]) -> None:
        await press(pilot, "5")
        await until(pilot, lambda: bool(shown(pilot)))
        stage.lease("deploy-agent", "deploy-key", purpose="What came later")
        await until_shown(pilot, "What came later")

    stage.play(scenario)


def test_with_a_filter_new_entries_come_within_a_second(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key", purpose="First")

    async def scenario(pilot: Pilot[int]) -> None:
        await explore(pilot, "event=lease.created")
        await until(pilot, lambda: len(shown(pilot)) == 1)
        later = stage.lease("deploy-agent", "deploy-key", purpose="What came later")
        await until(pilot, lambda: later.id in dashboard_of(pilot).model.leases)
        stage.clock.advance("2s")
        await until(pilot, lambda: [entry.lease_id for entry in shown(pilot)][1:] == [later.id])

    stage.play(scenario)


def test_what_is_written_while_one_looks_elsewhere_or_the_vault_is_out_of_reach_is_not_missing(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)

        async def is_whole() -> None:
            stage.clock.advance("2s")
            end = stage.owner.audit_log.query(limit=1)[-1].seq
            await until(pilot, lambda: [entry.seq for entry in shown(pilot)] == list(range(end + 1)))

        await press(pilot, "5")
        await is_whole()
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, EntryScreen))
        stage.lease("deploy-agent", "deploy-key")
        await until(pilot, lambda: len(app.model.leases) == 2)
        await press(pilot, "escape")
        await is_whole()
        stage.cable.is_cut = True
        app.screen._pages.load()  # type: ignore[attr-defined]  # what asks at the wrong moment
        await until(pilot, lambda: "does not answer" in toasts(app))
        stage.cable.is_cut = False
        app.hurry()
        stage.lease("deploy-agent", "deploy-key")
        await is_whole()

    stage.play(scenario)


def test_it_exports_what_matches_to_a_file_of_ones_own(stage: Stage, tmp_path: Path) -> None:
    stage.lease("deploy-agent", "deploy-key", purpose="=SUM(A1)")
    stage.lease("analytics-bot", "deploy-key", purpose="Nightly report")
    table, lines = tmp_path / "audit.csv", tmp_path / "audit.jsonl"

    async def export(pilot: Pilot[int], path: Path) -> None:
        await press(pilot, "w")
        await until(pilot, lambda: isinstance(pilot.app.screen, ExportTo))
        pilot.app.screen.query_one("#file").value = str(path)  # type: ignore[attr-defined]
        await press(pilot, "enter")

    async def scenario(pilot: Pilot[int]) -> None:
        await explore(pilot, "event=lease.created")
        await until(pilot, lambda: len(shown(pilot)) == 2)
        for path in (table, lines):
            await export(pilot, path)
            await until(pilot, lambda path=path: f"Wrote 2 entries to {path}" in toasts(dashboard_of(pilot)))
        await export(pilot, table)
        await until(pilot, lambda: "can't be written" in toasts(dashboard_of(pilot)))

    stage.play(scenario)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (table, lines)] == [0o600, 0o600]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["event"] for row in rows] == ["lease.created"] * 2
    assert rows[0]["identity.purpose"] == "'=SUM(A1)"
    assert [json.loads(line)["event"] for line in lines.read_text().splitlines()] == ["lease.created"] * 2
    # Each was recorded before it left; the one that could not be written did not leave.
    recorded = [entry.details for entry in stage.owner.audit_log.query(events=["audit.exported"])]
    assert [(details["format"], details["filters"]) for details in recorded] == [
        ("csv", {"events": ["lease.created"]}),
        ("jsonl", {"events": ["lease.created"]}),
    ]


def test_an_export_that_breaks_off_leaves_no_half_of_a_file(stage: Stage, tmp_path: Path) -> None:
    def broken() -> Iterator[AuditEntry]:
        yield from stage.owner.audit_log.query(limit=3)
        raise VaultUnavailable("The vault does not answer.", hint="Look whether its server runs.")

    with pytest.raises(VaultUnavailable):
        export(lambda kind: broken(), str(tmp_path / "audit.csv"), stage.dashboard().export)
    assert not list(tmp_path.glob("audit*"))


def test_an_export_with_another_ending_is_refused(stage: Stage, tmp_path: Path) -> None:
    async def scenario(pilot: Pilot[int]) -> None:
        await press(pilot, "5")
        await until(pilot, lambda: bool(shown(pilot)))
        await press(pilot, "w")
        await until(pilot, lambda: isinstance(pilot.app.screen, ExportTo))
        pilot.app.screen.query_one("#file").value = str(tmp_path / "audit.exe")  # type: ignore[attr-defined]
        await press(pilot, "enter")
        await until(pilot, lambda: ".csv or .jsonl" in toasts(dashboard_of(pilot)))
        assert "entry" in screen_text(dashboard_of(pilot))

    stage.play(scenario)
    assert not list(tmp_path.glob("audit*"))
