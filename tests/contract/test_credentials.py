"""Credentials: typed, versioned, revoked for good, and nowhere to be seen but in the lease that hands them out."""

import json

import pytest

from tests.contract.checks import as_text, fails_unrecorded
from tests.contract.values import value_of
from tests.contract.world import World
from vaultctl.client.vault import Vault
from vaultctl.domain.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from vaultctl.domain.records import CredentialState, CredentialType, Delivery, LeaseState

EVERY_TYPE = pytest.mark.parametrize("type", list(CredentialType))


@pytest.fixture
def owner(world: World) -> Vault:
    return world.owner()


class TestTypes:
    """Six types, each with a real value."""

    @EVERY_TYPE
    def test_a_value_comes_back_as_it_was_stored(self, owner: Vault, type: CredentialType) -> None:
        value = value_of(type)
        created = owner.credentials.create("it", type, value)
        assert (created.type, created.version, created.state) == (type, 1, CredentialState.ACTIVE)
        assert owner.leases.create("it").value.reveal() == value
        assert owner.leases.create("it").type is type

    @EVERY_TYPE
    def test_the_value_is_in_the_lease_alone(self, owner: Vault, type: CredentialType) -> None:
        value = value_of(type)
        owner.credentials.create("it", type, value)
        lease = owner.leases.create("it", purpose="Looking")
        owner.leases.renew(lease.id)
        shown = as_text(
            [
                owner.credentials.get("it"),
                owner.credentials.versions("it"),
                owner.leases.list(),
                lease.lease,
                owner.audit_log.query(limit=None),
            ]
        )
        for part in {value, value.strip(), json.dumps(value)[1:-1]}:
            assert part not in shown
            assert part not in repr(lease)

    @EVERY_TYPE
    def test_what_is_not_of_the_type_is_refused_without_being_quoted(self, owner: Vault, type: CredentialType) -> None:
        for wrong in ("", "\0", "canary\0canary", "\ud800canary"):
            error = fails_unrecorded(owner, InvalidInput, lambda it=wrong: owner.credentials.create("it", type, it))
            assert "canary" not in f"{error} {error.hint}"

    @pytest.mark.parametrize(
        ("type", "wrong"),
        [
            ("api-key", "has a space canary"),
            ("oauth-token", '{"refresh_token": "canary"}'),
            ("ssh-key", "canary"),
            ("ssh-key", "-----BEGIN OPENSSH PRIVATE KEY-----\nY2FuYXJ5\n-----END OPENSSH PRIVATE KEY-----"),
            ("tls-certificate", "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----"),
            ("database-url", "canary"),
            ("database-url", "postgresql://user:canary@:99999/db"),
            ("database-url", "gopher://user:canary@host/db"),
        ],
    )
    def test_a_malformed_value_is_refused_without_being_quoted(self, owner: Vault, type: str, wrong: str) -> None:
        error = fails_unrecorded(owner, InvalidInput, lambda: owner.credentials.create("it", type, wrong))
        assert not any(part in f"{error} {error.hint}" for part in ("canary", "Y2FuYXJ5"))

    def test_metadata_that_is_not_secret_is_read_from_the_value(self, owner: Vault) -> None:
        expected = {
            "ssh-key": {"algorithm", "fingerprint"},
            "tls-certificate": {"subject", "issuer", "expiresAt"},
            "database-url": {"driver", "host", "port", "database"},
            "api-key": {"prefix"},
        }
        for type, names in expected.items():
            assert names <= owner.credentials.create(f"a-{type}", type, value_of(type)).attributes.keys()
        url = owner.credentials.get("a-database-url").attributes
        assert (url["host"], url["port"], url["database"]) == ("db.example.com", "5432", "orders")

    def test_there_is_no_other_type(self, owner: Vault) -> None:
        fails_unrecorded(owner, InvalidInput, lambda: owner.credentials.create("it", "password", "canary-0123456"))

    @pytest.mark.parametrize(
        "name", ["", "Api", "api key", "-api", ".", "..", "../api", "a/b", "é", "x" * 129, "api\n", "API", "a\0b"]
    )
    def test_what_is_no_name_is_refused(self, owner: Vault, name: str) -> None:
        fails_unrecorded(owner, InvalidInput, lambda: owner.credentials.create(name, "api-key", "key-0123456789"))
        for act in (owner.credentials.get, owner.credentials.delete, owner.leases.create):
            fails_unrecorded(owner, InvalidInput, lambda act=act: act(name))


class TestVersions:
    """Rotate and roll back: always one more version, and the earlier ones stay."""

    def test_rotating_makes_the_next_version_current(self, world: World, owner: Vault) -> None:
        owner.credentials.create("it", "api-key", "key-number-one")
        world.clock.advance("1m")
        assert owner.credentials.rotate("it", "key-number-two").version == 2
        versions = owner.credentials.versions("it")
        assert [(v.version, v.current, v.restored_from) for v in versions] == [(2, True, None), (1, False, None)]
        assert versions[0].created_at == world.clock.now
        assert owner.leases.create("it").value.reveal() == "key-number-two"

    def test_rolling_back_makes_a_new_version_of_the_old_value(self, owner: Vault) -> None:
        first, second = value_of("database-url"), value_of("database-url").replace("db.example", "db2.example")
        owner.credentials.create("it", "database-url", first)
        owner.credentials.rotate("it", second)
        rolled = owner.credentials.rollback("it", 1)
        assert (rolled.version, rolled.attributes["host"]) == (3, "db.example.com")
        assert owner.leases.create("it").value.reveal() == first
        assert owner.credentials.versions("it")[0].restored_from == 1
        assert owner.credentials.rollback("it", 2).version == 4
        assert owner.leases.create("it").value.reveal() == second

    @pytest.mark.parametrize("to", [0, -1, 3, 2**63, 10**30])
    def test_a_version_that_is_not_there_is_not_found(self, owner: Vault, to: int) -> None:
        owner.credentials.create("it", "api-key", "key-number-one")
        owner.credentials.rotate("it", "key-number-two")
        fails_unrecorded(owner, NotFound, lambda: owner.credentials.rollback("it", to))

    def test_a_rotation_keeps_policy_and_metadata(self, owner: Vault) -> None:
        owner.credentials.create(
            "it", "api-key", "key-number-one", metadata={"team": "shop"}, allow=["agent:a"], max_ttl="1h"
        )
        rotated = owner.credentials.rotate("it", "key-number-two")
        assert rotated.metadata == {"team": "shop"}
        assert (str(rotated.policy.max_lease_ttl), len(rotated.policy.allowed_identities)) == ("1h", 1)


class TestUpdate:
    """Metadata and policy, each part by itself."""

    def test_what_is_not_named_stays(self, world: World, owner: Vault) -> None:
        owner.credentials.create(
            "it",
            "api-key",
            "key-number-one",
            metadata={"team": "shop"},
            default_ttl="10m",
            max_ttl="1h",
            allow=["agent:deploy-*", "human:*@example.com"],
        )
        world.clock.advance("1m")
        changed = owner.credentials.update("it", max_ttl="2h")
        assert (str(changed.policy.default_lease_ttl), str(changed.policy.max_lease_ttl)) == ("10m", "2h")
        assert [identity.glob for identity in changed.policy.allowed_identities] == ["deploy-*", "*@example.com"]
        assert changed.metadata == {"team": "shop"}
        assert changed.updated_at == world.clock.now
        assert owner.credentials.get("it") == changed

    def test_a_ttl_can_be_taken_away(self, owner: Vault) -> None:
        owner.credentials.create("it", "api-key", "key-number-one", default_ttl="10m", max_ttl="1h")
        changed = owner.credentials.update("it", default_ttl="none", max_ttl="none")
        assert (changed.policy.default_lease_ttl, changed.policy.max_lease_ttl) == (None, None)

    def test_the_change_of_a_policy_is_recorded_as_it_became(self, owner: Vault) -> None:
        owner.credentials.create("it", "api-key", "key-number-one")
        owner.credentials.update("it", allow=["agent:deploy-*"], max_ttl="2h", delivery=Delivery.REFERENCE)
        (entry,) = owner.audit_log.query(events=["acl.updated"])
        assert entry.details["allowedIdentities"] == ["agent:deploy-*"]
        assert (entry.details["maxLeaseTTL"], entry.details["delivery"]) == ("2h", "reference")

    @pytest.mark.parametrize("allow", ["deploy-*", "agent:", "robot:x", "agent:Deploy", "human:", "agent:a b", ""])
    def test_what_is_no_identity_is_refused(self, owner: Vault, allow: str) -> None:
        owner.credentials.create("it", "api-key", "key-number-one")
        fails_unrecorded(owner, InvalidInput, lambda: owner.credentials.update("it", allow=[allow]))

    def test_too_many_identities_are_refused(self, owner: Vault) -> None:
        owner.credentials.create("it", "api-key", "key-number-one", allow=["agent:a"] * 100)
        fails_unrecorded(owner, InvalidInput, lambda: owner.credentials.update("it", allow=["agent:a"] * 101))


class TestRevokeAndDelete:
    """A revoked credential is never leased again; a deleted one leaves its name and its trail."""

    def test_revoking_ends_all_leases_for_good(self, world: World, owner: Vault) -> None:
        owner.credentials.create("it", "api-key", "key-number-one")
        owner.credentials.create("other", "api-key", "key-number-two")
        agent = world.agent("ours", "*")
        ids = [owner.leases.create("it").id, agent.leases.create("it").id, world.session(agent).leases.create("it").id]
        kept = agent.leases.create("other").id
        assert owner.credentials.revoke("it").leases == 3
        assert {owner.leases.get(id).state for id in ids} == {LeaseState.REVOKED}
        assert owner.leases.get(kept).state is LeaseState.ACTIVE
        assert owner.credentials.get("it").state is CredentialState.REVOKED
        for act in (
            lambda: owner.credentials.revoke("it"),
            lambda: owner.credentials.rotate("it", "key-number-two"),
            lambda: owner.credentials.rollback("it", 1),
        ):
            fails_unrecorded(owner, Conflict, act)
        with pytest.raises(Conflict):
            owner.leases.create("it")

    def test_deleting_leaves_the_trail(self, owner: Vault) -> None:
        owner.credentials.create("it", "api-key", "key-number-one")
        id = owner.leases.create("it").id
        assert owner.credentials.delete("it").leases == 1
        for act in (owner.credentials.get, owner.credentials.versions, owner.credentials.delete, owner.leases.create):
            with pytest.raises(NotFound):
                act("it")
        assert owner.leases.get(id).end_reason == "credential deleted"
        events = [entry.event for entry in owner.audit_log.query(credential="it")]
        assert events[:4] == ["credential.created", "lease.created", "lease.revoked", "credential.deleted"]

    def test_a_revoked_one_can_be_deleted(self, owner: Vault) -> None:
        owner.credentials.create("it", "api-key", "key-number-one")
        owner.credentials.revoke("it")
        owner.credentials.delete("it")
        assert owner.credentials.list() == []

    def test_the_next_of_that_name_is_another_and_revives_no_lease(self, world: World, owner: Vault) -> None:
        first = owner.credentials.create("it", "api-key", "key-number-one", allow=["agent:ours"])
        owner.credentials.rotate("it", "key-number-two")
        agent = world.agent("ours", "*")
        old = agent.leases.create("it").id
        owner.credentials.delete("it")
        second = owner.credentials.create("it", "generic-secret", "something else")
        assert second.id != first.id
        assert (second.version, len(owner.credentials.versions("it"))) == (1, 1)
        assert second.policy.allowed_identities == ()
        assert owner.leases.get(old).state is LeaseState.REVOKED
        with pytest.raises(Conflict):
            agent.leases.renew(old)
        new = agent.leases.create("it")
        assert new.value.reveal() == "something else"
        assert owner.credentials.revoke("it").leases == 1

    def test_a_taken_name_is_taken(self, owner: Vault) -> None:
        owner.credentials.create("it", "api-key", "key-number-one")
        fails_unrecorded(owner, AlreadyExists, lambda: owner.credentials.create("it", "api-key", "key-number-two"))
        owner.credentials.revoke("it")
        fails_unrecorded(owner, AlreadyExists, lambda: owner.credentials.create("it", "api-key", "key-number-two"))
