"""Rotating a tenant's key-encryption key: data keys are rewrapped in steps, values never, and nobody notices."""

import pytest

from tests.contract.checks import Trail, fails_unrecorded, refused
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import Conflict, InvalidInput, NotAllowed, NotFound


def stocked(world: World, versions: int = 5) -> Vault:
    owner = world.owner()
    for n in range(versions):
        owner.credentials.create(f"c-{n}", "generic-secret", f"value-number-{n}")
    return owner


def values(vault: Vault) -> list[str]:
    return [vault.leases.create(credential.name).value.reveal() for credential in vault.credentials.list()]


def test_steps_rewrap_all_data_keys_and_values_stay(world: World) -> None:
    owner = stocked(world)
    before = values(owner)
    trail = Trail(owner)
    state = first = owner.tenants.rotate_kek("my-org", limit=2)
    assert (first.id, first.version, first.remaining) == ("my-org", 2, 3)
    assert values(owner) == before
    while state.remaining:
        state = owner.tenants.rotate_kek("my-org", version=2, limit=2)
    assert values(owner) == before
    details = [e.details for e in trail.gained() if e.event.value == "tenant.kek_rotated"]
    assert [d["rewrapped"] for d in details] == [2, 2, 1]
    assert [d["remaining"] for d in details] == [3, 1, 0]
    assert {d["version"] for d in details} == {2}


def test_what_is_stored_in_the_middle_of_a_rotation_is_under_the_new_key(world: World) -> None:
    owner = stocked(world)
    owner.tenants.rotate_kek("my-org", limit=1)
    owner.credentials.create("late", "generic-secret", "value-that-came-late")
    owner.credentials.rotate("c-4", "value-of-a-new-version")
    assert owner.tenants.rotate_kek("my-org", version=2, limit=1).remaining == 3
    assert owner.tenants.rotate_kek("my-org", version=2).remaining == 0
    assert owner.credentials.rollback("c-4", 1).version == 3
    assert values(owner)[-1] == "value-that-came-late"


def test_an_interrupted_rotation_is_taken_up_and_a_late_step_begins_none(world: World) -> None:
    owner = stocked(world)
    assert owner.tenants.rotate_kek("my-org", limit=1).version == 2
    resumed = owner.tenants.rotate_kek("my-org")
    assert (resumed.version, resumed.remaining) == (2, 0)
    trail = Trail(owner)
    late = owner.tenants.rotate_kek("my-org", version=2)
    assert (late.version, late.remaining) == (2, 0)
    assert owner.tenants.rotate_kek("my-org", version=1).remaining == 0
    assert trail.gained() == []
    assert owner.tenants.rotate_kek("my-org").version == 3


def test_a_tenant_without_credentials_gets_a_new_key_in_one_step(world: World) -> None:
    assert world.owner().tenants.rotate_kek("my-org").remaining == 0


def test_a_version_that_is_not_there_and_a_step_of_no_size_are_refused(world: World) -> None:
    owner = stocked(world, 1)
    fails_unrecorded(owner, Conflict, lambda: owner.tenants.rotate_kek("my-org", version=2))
    fails_unrecorded(owner, InvalidInput, lambda: owner.tenants.rotate_kek("my-org", limit=0))


@pytest.mark.parametrize("role", ["viewer", "user", "manager"])
def test_below_admin_nobody_rotates(world: World, role: str) -> None:
    human = world.human("h@example.com", role)
    refused(world.owner(), NotAllowed, lambda: human.tenants.rotate_kek("my-org"))


def test_it_stays_within_the_tenant(world: World) -> None:
    owner, other = stocked(world, 1), world.owner("other")
    other.credentials.create("api", "generic-secret", "value-of-the-other")
    admin = world.human("admin@example.com", "admin")
    refused(owner, NotFound, lambda: admin.tenants.rotate_kek("other"))
    agent = world.agent("deploy", "*")
    refused(owner, NotAllowed, lambda: agent.tenants.rotate_kek("my-org"))
    assert admin.tenants.rotate_kek("my-org").version == 2
    assert world.operator().tenants.rotate_kek("other").version == 2
    assert values(other) == ["value-of-the-other"]
    fails_unrecorded(owner, NotFound, lambda: owner.tenants.rotate_kek("_vault"))
