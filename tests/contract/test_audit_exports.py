"""What of an audit log leaves the vault as a whole, and that it does so with an entry about it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contract.world import World
from vaultctl.client.bundles import export_bundle, verify_bundle
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import AlreadyExists, InvalidInput, NotAllowed, NotFound, VaultError
from vaultctl.domain.records import Event
from vaultctl.ledger.checkpoint import open_checkpoint
from vaultctl.ledger.merkle import leaf_hash
from vaultctl.ledger.note import parse_verifier_key
from vaultctl.ledger.tiles import decode_bundle


@pytest.fixture(scope="module")
def owner(shared_world: World) -> Vault:
    owner = shared_world.owner()
    for name in ("api", "mail"):
        owner.credentials.create(name, "api-key", f"key-of-{name}-1")
    agent = shared_world.agent("ours", "api")
    for _ in range(3):
        agent.leases.create("api", purpose='=HYPERLINK("x")')
    return owner


def refused(kind: type[VaultError], act: Callable[[], object]) -> None:
    with pytest.raises(kind):
        act()


def test_an_export_is_what_was_there_when_it_began_and_begins_with_an_entry_about_itself(owner: Vault) -> None:
    there = owner.audit_log.query(limit=None)
    entries = owner.audit_log.export(format="csv")
    first = next(entries)
    (announced,) = owner.audit_log.query(limit=1)
    owner.credentials.update("mail", metadata={"k": "v"})
    assert [first, *entries] == there
    assert (announced.event, announced.seq) == (Event.AUDIT_EXPORTED, len(there))
    assert announced.details == {"format": "csv", "size": len(there), "filters": {}}


def test_an_export_keeps_to_its_filters_and_tells_of_them(owner: Vault) -> None:
    wanted = {"agent": "ours", "events": ["lease.created"], "credential": "api"}
    found = list(owner.audit_log.export({"identity.type": "agent"}, **wanted))
    assert found == owner.audit_log.query({"identity.type": "agent"}, **wanted, limit=None)
    assert len(found) == 3
    (announced,) = owner.audit_log.query(events=["audit.exported"], limit=1)
    assert announced.details["filters"] == {
        "agent": "ours",
        "credentialName": "api",
        "events": ["lease.created"],
        "identityType": "agent",
    }


def test_what_begins_an_export_covers_all_that_was_there(owner: Vault) -> None:
    there = owner.audit_log.query(limit=1)[0].seq + 1
    end = owner.audit_log.begin_export(format="bundle")
    assert end.size == there
    assert open_checkpoint(end.note.encode(), parse_verifier_key(end.verifier_key)).size == there


@pytest.mark.parametrize("role", ["viewer", "user", "manager"])
def test_only_an_admin_exports_entries(shared_world: World, owner: Vault, role: str) -> None:
    human = shared_world.human(f"{role}@example.com", role)
    before = owner.audit_log.query(limit=1)[0].seq
    for act in (lambda: next(human.audit_log.export()), lambda: human.audit_log.tile("entries/000.p/1")):
        refused(NotAllowed, act)
    entries = list(owner.audit_log.after(before))
    assert [entry.event.value for entry in entries] == ["access.denied"] * 2
    assert [entry.details["operation"] for entry in entries] == ["audit.export", "audit.tile"]


def test_an_agent_gets_nothing_of_the_log_as_a_whole(shared_world: World, owner: Vault) -> None:
    agent = shared_world.agent("curious", "*")
    for vault in (agent, shared_world.session(agent)):
        refused(NotAllowed, lambda vault=vault: next(vault.audit_log.export()))
        for path in ("0/000.p/1", "entries/000.p/1", "no/tile"):
            refused(NotAllowed, lambda vault=vault, path=path: vault.audit_log.tile(path))


def test_a_filter_that_can_not_be_kept_is_refused_before_anything_is_recorded(owner: Vault) -> None:
    before = owner.audit_log.query(limit=1)
    for agent in ("a" * 501, "a\nb"):
        refused(InvalidInput, lambda agent=agent: next(owner.audit_log.export(agent=agent)))
    assert owner.audit_log.query(limit=1) == before


def test_hash_tiles_are_for_whoever_sees_metadata_and_are_those_of_the_entries(
    shared_world: World, owner: Vault
) -> None:
    viewer = shared_world.human("see@example.com", "viewer")
    size = owner.audit_log.checkpoint().size
    bodies = decode_bundle(owner.audit_log.tile(f"entries/000.p/{size}"), size)
    assert viewer.audit_log.tile(f"0/000.p/{size}") == b"".join(map(leaf_hash, bodies))
    assert decode_bundle(owner.audit_log.tile("entries/000.p/2"), 2) == bodies[:2]
    assert viewer.audit_log.tile("0/000.p/1") == leaf_hash(bodies[0])


@pytest.mark.parametrize(
    "path", ["0/000", "0/001.p/1", "1/000.p/1", "entries/000", "0/000.p/0", "0/0", "..", "64/000.p/1", "0/000.p/01"]
)
def test_there_is_no_tile_beyond_the_tree_or_by_another_name(owner: Vault, path: str) -> None:
    refused(NotFound, lambda: owner.audit_log.tile(path))


def test_a_bundle_proves_itself_without_a_vault(shared_world: World, owner: Vault, tmp_path: Path) -> None:
    kept = owner.audit_log.checkpoint()
    owner.credentials.update("mail", metadata={"k": "w"})
    bundle = tmp_path / "bundle"
    end = export_bundle(owner, bundle)
    assert all((path.stat().st_mode & 0o077) == 0 for path in [bundle, *bundle.rglob("*")] if path.is_file())
    found = verify_bundle(bundle, key=kept.verifier_key, against=[kept.note])
    assert (found.verified, found.size, found.root_hash) == (True, end.size, end.root_hash)
    (announced,) = owner.audit_log.query(limit=1)
    assert announced.details == {"format": "bundle", "size": end.size, "filters": {}}
    with pytest.raises(AlreadyExists):
        export_bundle(owner, bundle)
    assert owner.audit_log.query(limit=1) == [announced]
    viewer = shared_world.human("viewer@example.com", "viewer")
    with pytest.raises(VaultError):
        export_bundle(viewer, tmp_path / "refused")
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
