"""Leases of a command: renewed in time while it runs, and released when it ends."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from tests.vaults import new_vault
from vaultctl.client import Vault
from vaultctl.client.adapters import Adapter, OnState
from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import NotAllowed, NotFound, VaultUnavailable
from vaultctl.domain.records import AuditEntry, LeaseState
from vaultctl.domain.secrets import Secret
from vaultctl.run.loans import Loans

T = TypeVar("T")

MINUTE = timedelta(minutes=1)


class World:
    """A vault, an agent that may use one credential of it, and what people were told."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.warnings: list[str] = []
        self.owner = Vault.embedded(home=home)
        self.owner.credentials.create("short", "generic-secret", "a generic secret", max_ttl="30m")
        self.owner.credentials.create("long", "generic-secret", "another one", max_ttl="8h")
        token = self.owner.tokens.create(agent="deploy-agent", credentials=["short", "long"])
        self.token = token.secret
        self.token_id = token.token.id

    def open(self, token: Secret | None) -> Vault:
        return Vault.connect(token=token or self.token, home=self.home)

    def open_as_owner(self, token: Secret | None) -> Vault:
        return Vault.embedded(home=self.home) if token is None else self.open(token)

    def loans(self, opens: Callable[[Secret | None], Vault] | None = None) -> Loans:
        return Loans.open(opens or self.open, lambda what, hint: self.warnings.append(f"{what} {hint}"))


@pytest.fixture
def world(fast_path: Path) -> Iterator[World]:
    new_vault(fast_path)
    made = World(fast_path)
    yield made
    made.owner.close()


def test_an_agents_leases_are_in_a_session_that_ends_with_the_command(world: World) -> None:
    loans = world.loans()
    lease = loans.take("long", None, "Run make").lease
    assert lease.identity.session_id
    assert world.owner.sessions.get(lease.identity.session_id).state.value == "active"
    loans.release()
    assert world.owner.leases.get(lease.id).state is LeaseState.REVOKED
    assert world.owner.sessions.get(lease.identity.session_id).state.value == "ended"


def test_in_a_session_of_somebody_else_only_the_leases_end(world: World) -> None:
    with world.open(None) as vault:
        opened = vault.sessions.open("cortex_sess_abc")
    loans = world.loans(lambda token: world.open(token or opened.token))
    lease = loans.take("long", None, "Run make").lease
    assert lease.identity.session_id == "cortex_sess_abc"
    loans.release()
    assert world.owner.leases.get(lease.id).state is LeaseState.REVOKED
    assert world.owner.sessions.get("cortex_sess_abc").state.value == "active"


def test_the_owner_has_leases_without_a_session(world: World) -> None:
    loans = world.loans(world.open_as_owner)
    lease = loans.take("long", None, "Run make").lease
    assert lease.identity.session_id is None
    loans.release()
    assert world.owner.leases.get(lease.id).state is LeaseState.REVOKED


def test_what_can_not_be_had_leaves_what_was_taken_to_be_released(world: World) -> None:
    loans = world.loans()
    lease = loans.take("long", None, "Run make").lease
    with pytest.raises(NotFound):
        loans.take("absent", None, "Run make")
    loans.release()
    assert world.owner.leases.get(lease.id).state is LeaseState.REVOKED


def test_what_is_delivered_by_reference_is_refused_and_released(world: World) -> None:
    world.owner.credentials.update("long", delivery="reference")
    loans = world.loans()
    with pytest.raises(NotAllowed, match="'long' is delivered to agents by reference only"):
        loans.take("long", None, "Run make")
    loans.release()
    assert [lease.state for lease in world.owner.leases.list()] == [LeaseState.REVOKED]


def test_a_lease_is_renewed_five_minutes_before_it_ends_and_not_earlier(world: World) -> None:
    loans = world.loans()
    lease = loans.take("long", Duration.parse("1h"), "Run make").lease
    loans.attend(lease.expires_at - 6 * MINUTE)
    assert world.owner.leases.get(lease.id).renewals == 0
    again = loans.attend(lease.expires_at - 5 * MINUTE)
    renewed = world.owner.leases.get(lease.id)
    assert renewed.renewals == 1
    assert renewed.ttl == lease.ttl
    assert again <= lease.expires_at - 4 * MINUTE  # it looks again within a minute, whatever the clock did
    loans.release()
    assert world.warnings == []


def test_a_short_lease_is_renewed_half_way(world: World) -> None:
    loans = world.loans()
    lease = loans.take("long", Duration.parse("1m"), "Run make").lease
    half = lease.issued_at + MINUTE / 2
    assert loans.attend(lease.issued_at) == half
    loans.attend(half)
    assert world.owner.leases.get(lease.id).renewals == 1
    loans.release()


def test_at_the_maximum_people_are_told_once_what_to_do(world: World) -> None:
    loans = world.loans()
    lease = loans.take("short", None, "Run make").lease
    assert not lease.renewable
    for _ in range(2):
        loans.attend(lease.expires_at - 5 * MINUTE)
    (warning,) = world.warnings
    assert "The lease on short has reached its maximum and ends at" in warning
    assert "run the command anew" in warning
    loans.release()


def test_a_refused_renewal_is_told_and_not_tried_again(world: World) -> None:
    loans = world.loans()
    lease = loans.take("long", None, "Run make").lease
    world.owner.leases.revoke(lease.id)
    for _ in range(2):
        loans.attend(lease.expires_at - 5 * MINUTE)
    assert len(world.warnings) == 1
    assert "is not renewed any more" in world.warnings[0]
    loans.release()


def test_a_lease_that_ended_while_the_machine_slept_is_told(world: World) -> None:
    loans = world.loans()
    lease = loans.take("long", None, "Run make").lease
    loans.attend(lease.expires_at + MINUTE)
    assert "has ended" in world.warnings[0]
    loans.release()


class OutOfReach:
    """A real adapter whose vault is out of reach for the next renewals."""

    def __init__(self, adapter: Adapter, failures: int) -> None:
        self._adapter = adapter
        self.failures = failures

    def perform(self, request: ask.Request[T]) -> T:
        if isinstance(request, ask.RenewLease) and self.failures:
            self.failures -= 1
            raise VaultUnavailable("The server can't be reached.")
        return self._adapter.perform(request)

    def follow(self, request: ask.QueryAudit, *, poll_seconds: float, on_state: OnState) -> Iterator[AuditEntry]:
        return self._adapter.follow(request, poll_seconds=poll_seconds, on_state=on_state)

    def close(self) -> None:
        self._adapter.close()


def test_an_unreachable_vault_is_asked_again_until_the_lease_ends(world: World) -> None:
    failing = OutOfReach(world.open_as_owner(None)._adapter, failures=2)
    loans = world.loans(lambda _: Vault(failing))
    lease = loans.take("long", None, "Run make").lease
    due = lease.expires_at - 5 * MINUTE
    again = loans.attend(due)
    assert due < again <= due + MINUTE
    once_more = loans.attend(again)
    assert again < once_more <= again + MINUTE
    assert world.owner.leases.get(lease.id).renewals == failing.failures == 0
    loans.attend(once_more)
    assert world.owner.leases.get(lease.id).renewals == 1
    assert world.warnings == []
    loans.release()


def test_a_session_gets_signs_of_life(world: World) -> None:
    loans = world.loans()
    session = str(loans.take("long", None, "Run make").lease.identity.session_id)
    before = world.owner.sessions.get(session).last_seen_at
    loans.attend(datetime.now(UTC) + 5 * MINUTE)
    assert world.owner.sessions.get(session).last_seen_at > before
    loans.release()


def test_a_session_that_was_ended_meanwhile_is_as_good_as_released(world: World) -> None:
    loans = world.loans()
    loans.take("long", None, "Run make")
    world.owner.tokens.revoke(world.token_id)
    loans.release()
