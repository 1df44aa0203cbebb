"""What can be done from the dashboard: asked first, then done, audited as the operator."""

from textual.pilot import Pilot

from tests.tui.stage import Stage, dashboard_of, press, screen_text, toasts, until, until_shown
from vaultctl.domain.records import Event
from vaultctl.tui.screens.confirm import Confirm
from vaultctl.tui.screens.overview import Overview

ACTIONS = {
    "R": "Renew deploy-key of deploy-agent?",
    "X": "Revoke deploy-key of deploy-agent?",
    "E": "End this session of deploy-agent?",
    "T": "Revoke this token of deploy-agent?",
    "S": "Stop deploy-agent?",
}


def last_entry(stage: Stage, event: Event) -> object:
    return stage.owner.audit_log.query(events=[event])[-1]


async def confirmed(pilot: Pilot[int], key: str, *answers: str) -> str:
    """Press the key, and answer the question; the text of the question."""
    await press(pilot, key)
    await until_shown(pilot, "(y)")
    text = screen_text(dashboard_of(pilot))
    await press(pilot, *answers)
    return text


def test_each_asks_first_and_the_safe_answer_which_has_the_keys_changes_nothing(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")
    last = stage.owner.audit_log.query(limit=1)[-1].seq

    async def scenario(pilot: Pilot[int]) -> None:
        for key, question in ACTIONS.items():
            assert question in await confirmed(pilot, key, "enter")
            await until(pilot, lambda: isinstance(pilot.app.screen, Overview))

    stage.play(scenario)
    assert stage.owner.audit_log.query(limit=1)[-1].seq == last


def test_renewing_extends_the_lease_and_is_audited_as_the_operator(stage: Stage) -> None:
    lease = stage.lease("deploy-agent", "deploy-key", ttl="10m")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        stage.clock.advance("5m")
        await confirmed(pilot, "R", "y")
        await until(pilot, lambda: app.model.leases[lease.id].renewals == 1)
        await until(pilot, lambda: "Renewed deploy-key of deploy-agent" in toasts(app))

    stage.play(scenario)
    entry = stage.owner.audit_log.query(events=["lease.renewed"])[-1]
    assert entry.identity.email == "owner@localhost"
    assert entry.details["agent"] == "deploy-agent"


def test_revoking_ends_the_lease_under_the_cursor_alone(stage: Stage) -> None:
    first = stage.lease("deploy-agent", "deploy-key", ttl="10m")
    second = stage.lease("deploy-agent", "shopify-api-key", ttl="20m")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        await press(pilot, "j")
        question = await confirmed(pilot, "X", "y")
        assert "Revoke shopify-api-key of deploy-agent?" in question
        assert second.id in question
        await until(pilot, lambda: set(app.model.leases) == {first.id})

    stage.play(scenario)
    assert stage.active() == {first.id}
    assert stage.owner.audit_log.query(events=["lease.revoked"])[-1].identity.email == "owner@localhost"


def test_the_question_is_about_the_lease_that_it_was_asked_for_whatever_comes_meanwhile(stage: Stage) -> None:
    chosen = stage.lease("deploy-agent", "deploy-key", ttl="10m")

    async def scenario(pilot: Pilot[int]) -> None:
        await press(pilot, "X")
        await until(pilot, lambda: isinstance(pilot.app.screen, Confirm))
        stage.lease("deploy-agent", "shopify-api-key", ttl="1m")
        await until(pilot, lambda: len(dashboard_of(pilot).model.leases) == 2)
        await press(pilot, "y")
        await until(pilot, lambda: chosen.id not in stage.active())

    stage.play(scenario)
    assert len(stage.active()) == 1


def test_ending_a_session_says_how_many_leases_go_with_it(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")
    stage.lease("deploy-agent", "shopify-api-key")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        question = await confirmed(pilot, "E", "y")
        assert "cortex_sess_a1b2c3" in question
        assert "2 active leases will end with it." in question
        await until(pilot, lambda: not app.model.leases and "cortex_sess_a1b2c3" not in app.model.sessions)

    stage.play(scenario)
    assert stage.owner.sessions.get("cortex_sess_a1b2c3").state == "ended"


def test_revoking_a_token_says_how_many_leases_go_with_it(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")
    stage.lease("deploy-agent", "shopify-api-key")
    kept = stage.lease("analytics-bot", "deploy-key", ttl="1h")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        question = await confirmed(pilot, "T", "y")
        assert stage.tokens["deploy-agent"].token.id in question
        assert "1 session and 2 leases will end with it." in question
        await until(pilot, lambda: set(app.model.leases) == {kept.id})
        await until(pilot, lambda: "1 session and 2 leases ended with it" in toasts(app))

    stage.play(scenario)
    assert stage.owner.tokens.get(stage.tokens["deploy-agent"].token.id).state == "revoked"


def test_stopping_an_agent_revokes_all_of_its_tokens(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key")
    other = stage.owner.tokens.create(agent="deploy-agent", credentials=["shopify-*"])
    stage.world.connect(other).leases.create("shopify-api-key", purpose="Without a session")

    async def scenario(pilot: Pilot[int]) -> None:
        question = await confirmed(pilot, "S", "y")
        assert "2 tokens will be revoked" in question
        assert "1 session and 2 leases will end." in question
        await until(pilot, lambda: not dashboard_of(pilot).model.leases)

    stage.play(scenario)
    assert stage.active() == set()
    assert {t.state.value for t in stage.owner.tokens.list() if t.agent == "deploy-agent"} == {"revoked"}


def test_an_action_that_fails_shows_what_happened_and_what_to_do(stage: Stage) -> None:
    stage.lease("deploy-agent", "deploy-key", ttl="4h")

    async def scenario(pilot: Pilot[int]) -> None:
        await confirmed(pilot, "R", "y")
        await until(pilot, lambda: "Request a new lease" in toasts(dashboard_of(pilot)))

    stage.play(scenario)


def test_what_the_lease_does_not_have_is_said(stage: Stage) -> None:
    stage.owner.leases.create("deploy-key", purpose="By hand")

    async def scenario(pilot: Pilot[int]) -> None:
        app = dashboard_of(pilot)
        for key, said in (
            ("E", "This lease has no session."),
            ("T", "The owner's leases have no token."),
            ("S", "This lease is not an agent's."),
        ):
            await press(pilot, key)
            await until(pilot, lambda said=said: said in toasts(app))

    stage.play(scenario)


def test_without_a_lease_an_action_says_so(stage: Stage) -> None:
    async def scenario(pilot: Pilot[int]) -> None:
        await press(pilot, "X")
        await until_shown(pilot, "There is no lease to do that with.")

    stage.play(scenario)


class TestReadOnly:
    def test_it_has_none_of_the_keys_that_change_anything(self, stage: Stage) -> None:
        stage.lease("deploy-agent", "deploy-key")
        last = stage.owner.audit_log.query(limit=1)[-1].seq

        async def scenario(pilot: Pilot[int]) -> None:
            app = dashboard_of(pilot)
            for way in ([], ["enter"], ["2"], ["enter"], ["4"], ["enter"], ["1", "c"]):
                await press(pilot, *way)
                await until(pilot, lambda: app.screen.active_bindings)
                assert not set(app.screen.active_bindings) & set(ACTIONS)
                for key in ACTIONS:
                    await press(pilot, key)
                assert not isinstance(app.screen, Confirm)
            assert "read-only" in screen_text(app)

        stage.play(scenario, acts=False)
        assert stage.owner.audit_log.query(limit=1)[-1].seq == last

    def test_its_help_does_not_name_them(self, stage: Stage) -> None:
        async def scenario(pilot: Pilot[int]) -> None:
            await press(pilot, "question_mark")
            await until_shown(pilot, "Everywhere")
            text = screen_text(dashboard_of(pilot))
            assert "revoke" not in text
            assert "stop agent" not in text

        stage.play(scenario, acts=False, size=(120, 60))
