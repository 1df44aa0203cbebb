"""Tenants: their settings, and that nothing crosses their boundary."""

import pytest

from tests.contract.checks import fails_unrecorded
from tests.contract.world import World
from vaultctl.domain.errors import AlreadyExists, InvalidInput, NotFound


def test_a_new_tenant_has_the_defaults_of_the_design(world: World) -> None:
    world.owner("other")
    made = world.owner().tenants.get("other")
    assert (str(made.default_lease_ttl), str(made.max_lease_ttl)) == ("1h", "1d")
    assert made.created_at == world.clock.now


def test_a_tenant_can_be_made_with_settings_of_its_own(world: World) -> None:
    made = world.owner().tenants.create("other", default_lease_ttl="10m", max_lease_ttl="2h")
    assert (str(made.default_lease_ttl), str(made.max_lease_ttl)) == ("10m", "2h")
    brief = world.owner().tenants.create("brief", max_lease_ttl="5m")
    assert str(brief.default_lease_ttl) == "5m"


def test_tenants_are_listed_by_name_without_the_vaults_own(world: World) -> None:
    for name in ("zeta", "alpha"):
        world.owner().tenants.create(name)
    assert [tenant.id for tenant in world.owner().tenants.list()] == ["alpha", "my-org", "zeta"]


def test_what_is_not_named_stays(world: World) -> None:
    owner = world.owner()
    owner.tenants.update("my-org", default_lease_ttl="2h")
    changed = owner.tenants.update("my-org", max_lease_ttl="6h")
    assert (str(changed.default_lease_ttl), str(changed.max_lease_ttl)) == ("2h", "6h")
    assert owner.tenants.get("my-org") == changed
    entries = owner.audit_log.query(events=["tenant.settings_updated"])
    assert [entry.details for entry in entries] == [
        {"defaultLeaseTTL": "2h", "maxLeaseTTL": "1d"},
        {"defaultLeaseTTL": "2h", "maxLeaseTTL": "6h"},
    ]


def test_a_maximum_below_the_default_takes_the_default_with_it(world: World) -> None:
    changed = world.owner().tenants.update("my-org", max_lease_ttl="10m")
    assert (str(changed.default_lease_ttl), str(changed.max_lease_ttl)) == ("10m", "10m")


def test_a_default_above_the_maximum_is_refused(world: World) -> None:
    owner = world.owner()
    fails_unrecorded(owner, InvalidInput, lambda: owner.tenants.update("my-org", default_lease_ttl="25h"))
    fails_unrecorded(
        owner, InvalidInput, lambda: owner.tenants.create("new", default_lease_ttl="2h", max_lease_ttl="1h")
    )
    fails_unrecorded(owner, InvalidInput, lambda: owner.tenants.update("my-org"))


@pytest.mark.parametrize("name", ["", "My-Org", "_vault", "a b", "..", "-a", "x" * 129, "é"])
def test_what_is_no_name_is_refused(world: World, name: str) -> None:
    fails_unrecorded(world.owner(), InvalidInput, lambda: world.owner().tenants.create(name))


def test_a_taken_name_is_taken_and_nothing_of_its_tenant_changes(world: World) -> None:
    owner, other = world.owner(), world.owner("other")
    other.credentials.create("api", "api-key", "key-0123456789")
    fails_unrecorded(owner, AlreadyExists, lambda: owner.tenants.create("other", max_lease_ttl="1m"))
    assert other.leases.create("api").value.reveal() == "key-0123456789"


def test_the_vaults_own_place_is_no_tenant(world: World) -> None:
    owner = world.owner()
    for act in (owner.tenants.get, lambda name: owner.tenants.update(name, max_lease_ttl="1h")):
        fails_unrecorded(owner, NotFound, lambda act=act: act("_vault"))


def test_settings_count_in_their_tenant_alone(world: World) -> None:
    owner, other = world.owner(), world.owner("other")
    for vault in (owner, other):
        vault.credentials.create("api", "api-key", "key-0123456789")
    owner.tenants.update("my-org", default_lease_ttl="5m")
    assert str(owner.leases.create("api").lease.ttl) == "5m"
    assert str(other.leases.create("api").lease.ttl) == "1h"


def test_an_admin_changes_its_own_tenant(world: World) -> None:
    admin = world.human("admin@example.com", "admin")
    assert str(admin.tenants.update("my-org", max_lease_ttl="3h").max_lease_ttl) == "3h"
