"""When the vault does not answer: said, the last picture kept and marked, and then caught up without a hole."""

import time

import pytest
from textual.pilot import Pilot

from tests.tui.stage import Stage, dashboard_of, is_live, press, shown_leases, toasts, until, until_shown
from vaultctl.client import Vault
from vaultctl.tui import feed as feeding
from vaultctl.tui.feed import Entries, Feed, Live, Lost, take_snapshot
from vaultctl.tui.model import Snapshot
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


def read(feed: Feed, until: type) -> list[object]:
    news: list[object] = []
    deadline = time.monotonic() + 10
    while not (news and isinstance(news[-1], until)):
        assert time.monotonic() < deadline, news
        news += feed.take()
        time.sleep(0.005)
    return news


def test_far_behind_it_takes_a_new_snapshot_instead(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "_FAR_BEHIND", 5)
    feed = Feed(Vault(stage.cable), poll_seconds=0.01)
    try:
        feed.start(take_snapshot(stage.owner))
        read(feed, Live)
        stage.cable.is_cut = True
        read(feed, Lost)
        leases = [stage.lease("deploy-agent", "deploy-key") for _ in range(10)]
        stage.cable.is_cut = False
        feed.hurry()
        news = read(feed, Live)
        snapshots = [item for item in news if isinstance(item, Snapshot)]
        assert len(snapshots) == 1
        assert {lease.id for lease in snapshots[0].leases} == {lease.id for lease in leases}
        assert not any(isinstance(item, Entries) for item in news)
    finally:
        feed.stop()


def test_it_reads_everything_once_and_in_order(stage: Stage) -> None:
    feed = Feed(Vault(stage.cable), poll_seconds=0.01)
    first = take_snapshot(stage.owner)
    try:
        feed.start(first)
        for _ in range(20):
            stage.lease("deploy-agent", "deploy-key")
        end = stage.owner.audit_log.query(limit=1)[-1].seq
        seqs: list[int] = []
        while not seqs or seqs[-1] < end:
            for item in read(feed, Live):
                if isinstance(item, Entries):
                    seqs += [entry.seq for entry in item.entries]
        assert seqs == list(range(first.seq + 1, end + 1))
    finally:
        feed.stop()
