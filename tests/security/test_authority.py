"""Authority is what token and session have together at each use, and the log says whose it was."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.conftest import Clock
from tests.security.conftest import Scene
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import NotFound, VaultError
from vaultctl.domain.records import Event, LeaseState


@pytest.fixture
def late(make_scene: Callable[..., Scene]) -> Scene:
    """A vault whose reaper never comes: nothing may depend on it."""
    scene = make_scene(Clock(), reaps=False)
    scene.owner.credentials.create("ours-1", "generic-secret", "value-0123456789")
    scene.owner.credentials.create("theirs-1", "generic-secret", "other-0123456789")
    return scene


def is_refused(act: Callable[[], object]) -> bool:
    try:
        act()
    except VaultError:
        return True
    return False


def test_a_session_that_expired_with_its_token_is_not_brought_back_by_new_time_for_the_token(late: Scene) -> None:
    issued = late.owner.tokens.create(agent="ours", credentials=["ours-*"], ttl="10m")
    session = late.world.session(late.world.connect(issued), "mcp_sess_1")
    late.clock.advance("11m")
    assert is_refused(session.whoami)
    late.owner.tokens.rotate(issued.token.id, ttl="1h")
    assert is_refused(lambda: session.leases.create("ours-1"))


def test_a_session_that_was_silent_too_long_is_not_brought_back_by_new_time_for_its_token(late: Scene) -> None:
    issued = late.owner.tokens.create(agent="ours", credentials=["ours-*"])
    session = late.world.session(late.world.connect(issued), "mcp_sess_1")
    late.clock.advance("16m")
    late.owner.tokens.rotate(issued.token.id, ttl="1h")
    assert is_refused(lambda: session.leases.create("ours-1"))


def test_a_lease_is_not_renewed_beyond_the_end_that_its_token_has_now(late: Scene) -> None:
    issued = late.owner.tokens.create(agent="ours", credentials=["ours-*"])
    lease = late.world.connect(issued).leases.create("ours-1", ttl="1h")
    rotated = late.owner.tokens.rotate(issued.token.id, ttl="2h")
    renewed = late.world.connect(rotated).leases.renew(lease.id, "8h")
    assert renewed.expires_at <= rotated.token.expires_at


def test_a_refused_renewal_is_recorded_as_of_who_asked_for_it(late: Scene) -> None:
    issued = late.owner.tokens.create(agent="ours", credentials=["ours-*"])
    lease = late.world.connect(issued).leases.create("ours-1", ttl="4h")
    late.owner.tokens.rotate(issued.token.id, ttl="1h")
    late.clock.advance("61m")
    manager = late.world.human("manager@example.com", "manager")
    before = late.owner.audit_log.query()[-1].seq
    assert is_refused(lambda: manager.leases.renew(lease.id))
    (entry,) = late.owner.audit_log.after(before, events=[Event.LEASE_DENIED, Event.ACCESS_DENIED])
    assert entry.identity.email == "manager@example.com"
    assert entry.lease_id == lease.id


@pytest.mark.parametrize("in_session", [False, True])
def test_a_token_does_not_renew_what_it_could_not_lease(late: Scene, in_session: bool) -> None:
    """A narrow token of the same agent, which stole nothing but may name its sibling's lease."""
    wide, narrow = late.world.agent("ours", "*"), late.world.agent("ours", "ours-*")
    lease = late.world.session(wide, "mcp_sess_1").leases.create("theirs-1", ttl="1h")
    vault = late.world.session(narrow, "mcp_sess_1") if in_session else narrow
    with pytest.raises(NotFound):
        vault.leases.create("theirs-1")
    before = late.owner.leases.get(lease.id).expires_at
    assert is_refused(lambda: vault.leases.renew(lease.id, "8h"))
    assert late.owner.leases.get(lease.id).expires_at == before


def test_a_viewer_of_the_same_agent_does_not_renew_its_siblings_lease(late: Scene) -> None:
    lease = late.world.agent("ours", "*").leases.create("ours-1", ttl="1h")
    viewer = late.world.agent("ours", "*", role="viewer")
    assert is_refused(lambda: viewer.leases.renew(lease.id))


def test_what_a_manager_guesses_about_a_value_is_recorded(late: Scene) -> None:
    """Metadata must not hold the value, so the refusal answers whether it does: sixteen thousand PINs a request."""
    late.owner.credentials.create("pin", "generic-secret", "4711", allow=["human:nobody@example.com"])
    manager = late.world.human("manager@example.com", "manager")
    before = late.owner.audit_log.query()[-1].seq
    guesses = " ".join(f"{n:04}" for n in range(4700, 4790))
    assert is_refused(lambda: manager.credentials.update("pin", metadata={"note": guesses}))
    (entry,) = late.owner.audit_log.after(before)
    assert entry.identity.email == "manager@example.com"
    assert "4711" not in str(entry)


REDUCTIONS: dict[str, Callable[[Scene, str], object]] = {
    "the token is revoked": lambda scene, token: scene.owner.tokens.revoke(token),
    "the token is rotated": lambda scene, token: scene.owner.tokens.rotate(token),
    "the token expires": lambda scene, token: scene.clock.advance("91d"),
    "the policy names another": lambda scene, token: scene.owner.credentials.update("ours-1", allow=["agent:other"]),
    "the credential is revoked": lambda scene, token: scene.owner.credentials.revoke("ours-1"),
    "the credential is deleted": lambda scene, token: scene.owner.credentials.delete("ours-1"),
    "it is delivered by reference from now on": lambda scene, token: scene.owner.credentials.update(
        "ours-1", delivery="reference"
    ),
}


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_authority_that_was_taken_away_is_gone_at_the_next_use(late: Scene, reduction: str) -> None:
    issued = late.owner.tokens.create(agent="ours", credentials=["ours-*"])
    agent = late.world.connect(issued)
    lease = agent.leases.create("ours-1", ttl="24h")
    REDUCTIONS[reduction](late, issued.token.id)
    assert is_refused(lambda: agent.leases.create("ours-1"))
    assert is_refused(lambda: agent.leases.renew(lease.id))


@pytest.mark.parametrize("reduction", [it for it in REDUCTIONS if it != "the token is rotated"])
def test_so_it_is_for_the_token_of_a_session(late: Scene, reduction: str) -> None:
    issued = late.owner.tokens.create(agent="ours", credentials=["ours-*"])
    session = late.world.session(late.world.connect(issued), "mcp_sess_1")
    lease = session.leases.create("ours-1", ttl="24h")
    REDUCTIONS[reduction](late, issued.token.id)
    assert is_refused(lambda: session.leases.create("ours-1").value)
    assert is_refused(lambda: session.leases.renew(lease.id))


def test_nothing_that_ended_becomes_active_again(late: Scene) -> None:
    issued = late.owner.tokens.create(agent="ours", credentials=["ours-*"])
    agent = late.world.connect(issued)
    session = late.world.session(agent, "mcp_sess_1")
    lease = session.leases.create("ours-1", ttl="1h")
    late.owner.sessions.end("mcp_sess_1")
    acts: list[Callable[[], object]] = [
        lambda: agent.sessions.open("mcp_sess_1"),
        lambda: session.sessions.touch(),
        lambda: session.leases.renew(lease.id),
        lambda: agent.leases.renew(lease.id),
        lambda: late.owner.leases.renew(lease.id),
        lambda: late.owner.tokens.rotate(late.owner.tokens.list()[0].id),
    ]
    for act in acts:
        is_refused(act)
        assert late.owner.sessions.get("mcp_sess_1").state == "ended"
        assert late.owner.leases.get(lease.id).state is LeaseState.REVOKED
        assert is_refused(session.whoami)


def test_a_clock_that_goes_back_extends_nothing(late: Scene) -> None:
    agent = late.world.agent("ours", "ours-*")
    lease = agent.leases.create("ours-1", ttl="1m")
    late.clock.advance("61s")
    agent.leases.create("ours-1")
    late.clock.advance(-timedelta(minutes=2))
    assert late.owner.leases.get(lease.id).state is LeaseState.EXPIRED
    assert is_refused(lambda: agent.leases.renew(lease.id))


def test_no_door_but_one_leads_to_the_owner(late: Scene) -> None:
    for token in ("", " ", "vault_token_", "\0"):
        with pytest.raises(VaultError):
            Vault.connect(token=token)
