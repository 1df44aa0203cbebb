"""Queries whose filter no index knows, on a log that is longer than one query looks at."""

import os

import pytest

from tests.engine.conftest import Workshop
from vaultctl.domain import requests as ask
from vaultctl.engine import audit
from vaultctl.engine.authentication import Owner
from vaultctl.engine.dispatch import Call, apply
from vaultctl.engine.keys import Keys
from vaultctl.engine.transaction import Transaction

COUNT = 1_200


@pytest.fixture
def rare(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of a few entries of Ada's among many of the owner's."""
    monkeypatch.setattr(audit, "_SCAN", 500)
    owner = workshop.world.owner()
    owner.credentials.create("api", "api-key", "key-0123456789")
    ada = workshop.world.human("ada@example.com", "manager")
    ada.leases.create("api")
    with workshop.store.write() as store_tx:
        tx = Transaction(store_tx, Keys(workshop.root, os.urandom), os.urandom)
        tx.hold({"my-org"})
        for i in range(COUNT):
            request = ask.UpdateCredential(name="api", metadata={"count": str(i)})
            apply(tx, Call(Owner("my-org", "owner@localhost"), request))
        tx.finish()
    ada.leases.create("api")
    ada.leases.create("api")
    everything = owner.audit_log.query(limit=None)
    found = [entry.seq for entry in everything if entry.identity.email == "ada@example.com"]
    assert len(found) == 3
    assert found[1] - found[0] > COUNT
    return found


def test_a_query_finds_what_lies_far_apart(workshop: Workshop, rare: list[int]) -> None:
    query = workshop.world.owner().audit_log.query
    for limit in (None, 3, 100):
        assert [entry.seq for entry in query({"identity.email": "ada@example.com"}, limit=limit)] == rare


def test_following_the_log_finds_what_lies_far_apart(workshop: Workshop, rare: list[int]) -> None:
    after = workshop.world.owner().audit_log.after
    assert [entry.seq for entry in after(-1, {"identity.email": "ada@example.com"})] == rare
    assert [entry.seq for entry in after(rare[0], {"identity.email": "ada@example.com"})] == rare[1:]


def test_a_query_for_nobody_comes_to_an_end(workshop: Workshop, rare: list[int]) -> None:
    log = workshop.world.owner().audit_log
    assert log.query({"identity.email": "nobody@example.com"}, limit=None) == []
    assert list(log.after(-1, {"identity.email": "nobody@example.com"})) == []


def test_following_all_of_a_log_of_more_than_a_page_skips_nothing(workshop: Workshop, rare: list[int]) -> None:
    log = workshop.world.owner().audit_log
    assert [entry.seq for entry in log.after(-1)] == list(range(len(log.query(limit=None))))
