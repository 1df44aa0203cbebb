"""Importing many values: all or none, nothing twice, and no answer to a guess that leaves no entry."""

import pytest

from tests.contract.checks import Trail, fails_unrecorded, refused
from tests.contract.world import World
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import Conflict, InvalidInput, NotAllowed
from vaultctl.domain.records import ImportResult

LONG = "value-that-is-long-enough-"


def changes(result: ImportResult) -> dict[str, tuple[str, int]]:
    return {item.name: (item.change, item.version) for item in result.items}


def test_values_are_new_changed_or_unchanged_and_a_dry_run_only_says_so(world: World) -> None:
    owner = world.owner()
    owner.credentials.create("same", "api-key", LONG + "1")
    owner.credentials.create("other", "api-key", LONG + "2")
    values = {name: ("generic-secret", LONG + str(n)) for n, name in enumerate(("new", "same", "other"))}
    values["other"] = ("generic-secret", LONG + "9")
    trail = Trail(owner)
    planned = owner.credentials.import_values(values, dry_run=True)
    assert changes(planned) == {"new": ("new", 0), "same": ("unchanged", 1), "other": ("changed", 1)}
    assert [item.type.value for item in planned.items] == ["generic-secret", "api-key", "api-key"]
    assert trail.events() == {"credential.compared": 2}
    assert [credential.name for credential in owner.credentials.list()] == ["other", "same"]
    done = owner.credentials.import_values(values)
    assert changes(done) == {"new": ("new", 1), "same": ("unchanged", 1), "other": ("changed", 2)}
    assert trail.events() == {"credential.compared": 1, "credential.created": 1, "credential.rotated": 1}
    assert owner.leases.create("other").value.reveal() == LONG + "9"
    again = owner.credentials.import_values(values)
    assert {change for change, _ in changes(again).values()} == {"unchanged"}


def test_one_value_that_is_wrong_keeps_all_of_them_out_and_is_named(world: World) -> None:
    owner = world.owner()
    owner.credentials.create("db", "database-url", "postgresql://u:p@db/orders")
    owner.credentials.create("gone", "api-key", LONG)
    owner.credentials.revoke("gone")
    for name, value, error in (
        ("db", "not-a-url-but-a-secret", InvalidInput),
        ("gone", LONG + "2", Conflict),
        ("empty", "", InvalidInput),
        ("Not A Name", LONG, InvalidInput),
    ):
        values = {"first": ("api-key", LONG), name: ("generic-secret", value)}
        problem = fails_unrecorded(owner, error, lambda values=values: owner.credentials.import_values(values))
        assert "secret" not in problem.message
        assert name == "Not A Name" or name in problem.message


def test_a_value_in_its_own_name_is_refused_before_anything_is_stored(world: World) -> None:
    owner = world.owner()
    values = {"first": ("api-key", LONG), "the-very-secret-1": ("api-key", "the-very-secret-1")}
    assert refused(owner, InvalidInput, lambda: owner.credentials.import_values(values)).rule == "secret-in-text"


def test_a_short_value_is_compared_only_for_those_who_could_lease_it(world: World) -> None:
    owner = world.owner()
    owner.credentials.create("pin", "generic-secret", "1234", allow=["human:alice@*"])
    owner.credentials.create("long", "generic-secret", LONG, allow=["human:alice@*"])
    guess = {"pin": ("generic-secret", "1234"), "long": ("generic-secret", LONG)}
    alice, bob = world.human("alice@example.com", "manager"), world.human("bob@example.com", "manager")
    trail = Trail(owner)
    assert changes(alice.credentials.import_values(guess, dry_run=True))["pin"] == ("unchanged", 1)
    assert trail.events() == {"credential.compared": 2}
    assert changes(bob.credentials.import_values(guess, dry_run=True)) == {
        "pin": ("changed", 1),
        "long": ("unchanged", 1),
    }
    (entry,) = trail.gained()
    assert (entry.credential_name, entry.identity.email) == ("long", "bob@example.com")
    assert "1234" not in str(entry)


@pytest.mark.parametrize("role", ["viewer", "user"])
def test_below_manager_nobody_imports_nor_compares(world: World, role: str) -> None:
    owner = world.owner()
    owner.credentials.create("api", "api-key", LONG)
    guess = {"api": ("api-key", LONG)}
    for caller in (world.human("h@example.com", role), world.agent("a", "*")):
        for dry_run in (True, False):
            act = lambda caller=caller, dry_run=dry_run: caller.credentials.import_values(guess, dry_run=dry_run)  # noqa: E731
            assert refused(owner, NotAllowed, act).rule == "role"


def test_an_import_has_bounds(world: World) -> None:
    owner = world.owner()
    many = {f"n-{n}": ("generic-secret", LONG) for n in range(ask.MOST_IMPORTED + 1)}
    fails_unrecorded(owner, InvalidInput, lambda: owner.credentials.import_values(many))
    fails_unrecorded(owner, InvalidInput, lambda: owner.credentials.import_values({}))
    del many["n-0"]
    assert len(owner.credentials.import_values(many).items) == ask.MOST_IMPORTED
