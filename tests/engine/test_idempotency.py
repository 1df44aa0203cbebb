"""A request that is sent again with its key is carried out once, and answered as far as the caller may have it now."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.engine.crowd import Crowd, lease, meddled
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import Conflict, InvalidInput, NotAllowed, NotFound, VaultError, VaultUnavailable
from vaultctl.domain.records import (
    AllowedIdentity,
    CredentialType,
    Delivery,
    Identity,
    ResponseFormat,
    Role,
)
from vaultctl.domain.routes import ROUTES
from vaultctl.domain.secrets import Secret
from vaultctl.domain.times import SECOND
from vaultctl.domain.wire import to_json_object
from vaultctl.engine.authentication import Bearer, Principal
from vaultctl.engine.idempotency import Idempotency
from vaultctl.engine.keys import Keys
from vaultctl.engine.transaction import Transaction
from vaultctl.store.rows import IdempotencyRow, TokenRow

KEY = Idempotency("a-key", b"POST /v1/leases\n{}")
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


def records(crowd: Crowd) -> list[IdempotencyRow]:
    with crowd.door.store.read() as tx:
        return tx.find(IdempotencyRow, order="created_at")


def move(crowd: Crowd, micros: int) -> None:
    crowd.door.store._clock.micros += micros


@pytest.fixture
def admin(crowd: Crowd) -> Bearer:
    return Bearer.of(crowd.mint(agent=None, email="a@example.com", role=Role.ADMIN, credentials=()).secret)


# Each kind of request


def setting(crowd: Crowd, admin: Bearer) -> dict[type[ask.Request[Any]], tuple[Principal, Callable[[], Any]]]:
    """For each kind of request that travels by POST: who makes it, and it."""
    agent = crowd.agents["my-org"]
    perform = crowd.engine.perform
    session = crowd.open_session()
    redeemable = Redeemable(crowd)
    value = Secret("value-0123456789")

    def made_lease() -> str:
        return perform(agent, lease()).lease.id

    return {
        ask.CreateCredential: (
            admin,
            lambda: ask.CreateCredential(name="new", type=CredentialType.API_KEY, value=value),
        ),
        ask.RotateCredential: (admin, lambda: ask.RotateCredential(name="api", value=value)),
        ask.RollbackCredential: (admin, lambda: _rotated(crowd) or ask.RollbackCredential(name="api", to=1)),
        ask.RevokeCredential: (admin, lambda: made_lease() and ask.RevokeCredential(name="api")),
        ask.CreateLease: (agent, lease),
        ask.RenewLease: (agent, lambda: ask.RenewLease(id=made_lease())),
        ask.RedeemLease: (redeemable.runtime, lambda: redeemable.request),
        ask.RevokeLease: (agent, lambda: ask.RevokeLease(id=made_lease())),
        ask.RevokeLeases: (admin, lambda: made_lease() and ask.RevokeLeases(agent="ours")),
        ask.CreateToken: (admin, lambda: ask.CreateToken(agent="another", credentials=("a*",))),
        ask.RotateToken: (admin, lambda: ask.RotateToken(id=crowd.mint().token.id)),
        ask.RevokeToken: (admin, lambda: ask.RevokeToken(id=crowd.mint().token.id)),
        ask.OpenSession: (agent, lambda: ask.OpenSession()),
        ask.TouchSession: (session, lambda: ask.TouchSession()),
        ask.EndSession: (agent, lambda: ask.EndSession(id=perform(agent, ask.OpenSession()).session.id)),
        ask.ImportCredentials: (
            admin,
            lambda: ask.ImportCredentials(
                values=tuple(ask.NamedValue(name=n, type=CredentialType.API_KEY, value=value) for n in ("api", "in"))
            ),
        ),
        ask.InviteMember: (admin, lambda: ask.InviteMember(email="new@example.com", role=Role.USER)),
        ask.RotateKek: (admin, lambda: ask.RotateKek(id="my-org")),
        ask.CreateCheckpoint: (admin, lambda: ask.CreateCheckpoint()),
        ask.BeginExport: (admin, lambda: ask.BeginExport(agent="ours")),
        ask.CreateTenant: (crowd.owner(), lambda: ask.CreateTenant(id="third-org")),
    }


class Redeemable:
    """A lease by reference in a session, and the runtime that can redeem it."""

    def __init__(self, crowd: Crowd) -> None:
        opened = crowd.engine.perform(crowd.agents["my-org"], ask.OpenSession())
        self.session, self.runtime = Bearer.of(opened.token), Bearer.of(opened.redeem_token)
        issued = crowd.engine.perform(self.session, lease(response_format=ResponseFormat.REFERENCE))
        assert issued.credential_reference is not None
        self.lease = issued.lease.id
        self.request = ask.RedeemLease(id=self.lease, ref=issued.credential_reference.ref)


def _rotated(crowd: Crowd) -> None:
    crowd.engine.perform(crowd.owner(), ask.RotateCredential(name="api", value=Secret("rotated-0123456")))


POSTS = [kind for kind, route in ROUTES.items() if route.method == "POST"]


@pytest.mark.parametrize("kind", POSTS, ids=lambda kind: kind.__name__)
def test_every_kind_of_post_is_carried_out_once_and_answered_alike(
    crowd: Crowd, admin: Bearer, kind: type[ask.Request[Any]]
) -> None:
    principal, make = setting(crowd, admin)[kind]
    request = make()
    first = crowd.engine.perform(principal, request, KEY)
    events = crowd.events()
    again = crowd.engine.perform(principal, request, KEY)
    assert to_json_object(again) == to_json_object(first)
    replayed = {
        ask.CreateLease: ["lease.replayed"],
        ask.RedeemLease: ["lease.replayed"],
        ask.CreateToken: ["token.replayed"],
        ask.InviteMember: ["token.replayed"],
        ask.RotateToken: ["token.replayed"],
        ask.OpenSession: ["token.replayed"],
    }
    assert crowd.events()[len(events) :] == replayed.get(kind, [])
    assert len(records(crowd)) == 1


def test_no_record_holds_a_secret(crowd: Crowd, admin: Bearer) -> None:
    secrets: list[str] = []
    kinds = setting(crowd, admin)
    del kinds[ask.RevokeCredential]  # after which the others would have nothing to lease
    for number, (principal, make) in enumerate(kinds.values()):
        answer = crowd.engine.perform(principal, make(), Idempotency(f"key-{number}", b"body-with-a-secret"))
        for text in (getattr(answer, "secret", None), getattr(answer, "token", None)):
            secrets += [text.reveal()] if isinstance(text, Secret) else []
    assert len(secrets) >= 3
    stored = repr(records(crowd))
    assert not any(text in stored for text in [*secrets, "value-0123456789", "body-with-a-secret", "my-org-api"])
    assert "secret" not in repr(Idempotency("k", b"secret"))


# References


def test_a_lease_by_reference_is_answered_with_the_same_reference_and_never_with_its_value(crowd: Crowd) -> None:
    session = crowd.open_session()
    request = lease(response_format=ResponseFormat.REFERENCE)
    first = crowd.engine.perform(session, request, KEY)
    again = crowd.engine.perform(session, request, KEY)
    assert again.value is None
    assert again.credential_reference == first.credential_reference is not None


def test_what_was_delivered_by_value_is_not_answered_again_once_only_references_are_given(crowd: Crowd) -> None:
    session = crowd.open_session()
    crowd.engine.perform(session, lease(), KEY)
    by_reference = ask.UpdateCredential(name="api", delivery=Delivery.REFERENCE)
    crowd.engine.perform(crowd.owner(), by_reference)
    with pytest.raises(NotAllowed):
        crowd.engine.perform(session, lease(), KEY)


def test_a_redemption_that_is_repeated_with_its_key_is_one_and_without_it_a_conflict(crowd: Crowd) -> None:
    """An answer that was lost on its way can be had again by whoever has redeem token, reference and key."""
    redeemable = Redeemable(crowd)
    runtime, request = redeemable.runtime, redeemable.request
    first = crowd.engine.perform(runtime, request, KEY)
    move(crowd, MINUTE)
    assert crowd.engine.perform(runtime, request, KEY) == first
    for other in (None, Idempotency("another-key", KEY.body)):
        with pytest.raises(Conflict, match="redeemed already"):
            crowd.engine.perform(runtime, request, other)
    with pytest.raises(Conflict, match="another request"):
        crowd.engine.perform(runtime, request, Idempotency(KEY.key, b"another ref"))
    events = crowd.events()
    assert [events.count(f"lease.{what}") for what in ("redeemed", "replayed", "denied")] == [1, 1, 2]
    (replayed,) = (entry for entry in crowd.log() if entry.event == "lease.replayed")
    assert replayed.details["replayed"] == "lease.redeemed"


def test_with_the_key_and_the_reference_but_without_the_redeem_token_nothing_is_answered(crowd: Crowd) -> None:
    redeemable = Redeemable(crowd)
    crowd.engine.perform(redeemable.runtime, redeemable.request, KEY)
    for thief in (redeemable.session, crowd.agents["my-org"], crowd.owner()):
        with pytest.raises(NotAllowed):
            crowd.engine.perform(thief, redeemable.request, KEY)
    with pytest.raises(NotFound):
        crowd.engine.perform(Redeemable(crowd).runtime, redeemable.request, KEY)
    assert "lease.replayed" not in crowd.events()


@pytest.mark.parametrize("ended", ["lease", "credential", "policy"])
def test_a_repeated_redemption_is_authorised_anew(crowd: Crowd, ended: str) -> None:
    redeemable = Redeemable(crowd)
    crowd.engine.perform(redeemable.runtime, redeemable.request, KEY)
    ending: ask.Request[Any] = {
        "lease": ask.RevokeLease(id=redeemable.lease),
        "credential": ask.RevokeCredential(name="api"),
        "policy": ask.UpdateCredential(name="api", allowed_identities=(AllowedIdentity(type="agent", name="no"),)),
    }[ended]
    crowd.engine.perform(crowd.owner(), ending)
    with pytest.raises(NotFound if ended == "policy" else Conflict):
        crowd.engine.perform(redeemable.runtime, redeemable.request, KEY)
    assert "lease.replayed" not in crowd.events()


def test_the_repeated_opening_of_a_session_answers_with_the_same_redeem_token(crowd: Crowd) -> None:
    agent = crowd.agents["my-org"]
    first = crowd.engine.perform(agent, ask.OpenSession(), KEY)
    again = crowd.engine.perform(agent, ask.OpenSession(), KEY)
    assert (again.token, again.redeem_token) == (first.token, first.redeem_token)
    stored = repr(records(crowd))
    assert first.redeem_token.reveal() not in stored


# Whose key it is, and for what


def test_a_key_that_was_used_for_another_body_is_a_conflict(crowd: Crowd) -> None:
    agent = crowd.agents["my-org"]
    crowd.engine.perform(agent, lease(), KEY)
    with pytest.raises(Conflict, match="another request"):
        crowd.engine.perform(agent, lease(), Idempotency(KEY.key, b"another body"))
    assert crowd.events().count("lease.created") == 1


def test_the_same_key_of_another_caller_or_for_another_operation_is_another_key(crowd: Crowd) -> None:
    callers = [*crowd.agents.values(), crowd.open_session(), Bearer.of(crowd.mint().secret)]
    made = {crowd.engine.perform(caller, lease(), KEY).lease.id for caller in callers}
    made.add(crowd.engine.perform(callers[0], ask.OpenSession(), KEY).session.id)
    assert len(made) == 5


@pytest.mark.parametrize("key", ["", "k" * 256, "ключ", "two\nlines", "\x7f"])
def test_a_key_that_is_none_is_refused(crowd: Crowd, key: str) -> None:
    with pytest.raises(InvalidInput, match="idempotency key"):
        crowd.engine.perform(crowd.agents["my-org"], lease(), Idempotency(key, b""))
    assert "lease.created" not in crowd.events()


def test_a_refusal_is_not_remembered(crowd: Crowd) -> None:
    agent = crowd.agents["my-org"]
    with pytest.raises(NotFound):
        crowd.engine.perform(agent, lease("new"), KEY)
    crowd.store_credential("new")
    assert crowd.engine.perform(agent, lease("new"), KEY).value.reveal() == "my-org-new-0123456"


def test_what_did_not_commit_is_not_remembered(crowd: Crowd) -> None:
    meddler, engine = meddled(crowd)

    def fail() -> None:
        raise VaultUnavailable("The disk is full.")

    meddler.before_commit = fail
    with pytest.raises(VaultUnavailable):
        engine.perform(crowd.agents["my-org"], lease(), KEY)
    assert records(crowd) == []
    meddler.before_commit = lambda: None
    engine.perform(crowd.agents["my-org"], lease(), KEY)
    assert crowd.events().count("lease.created") == 1


def test_what_committed_and_was_not_answered_is_answered_by_the_repetition(crowd: Crowd) -> None:
    _, engine = meddled(crowd)
    agent = crowd.agents["my-org"]
    crowd.engine.perform(agent, lease(), KEY)  # whose answer is lost
    first = crowd.engine.perform(crowd.owner(), ask.ListLeases()).items[0].id
    assert engine.perform(agent, lease(), KEY).lease.id == first


# A lease, again


def test_a_lease_that_has_ended_is_not_answered_again(crowd: Crowd) -> None:
    agent = crowd.agents["my-org"]
    issued = crowd.engine.perform(agent, lease(), KEY)
    crowd.engine.perform(crowd.owner(), ask.RevokeLease(id=issued.lease.id))
    with pytest.raises(Conflict, match="has ended") as caught:
        crowd.engine.perform(agent, lease(), KEY)
    assert "new idempotency key" in caught.value.hint

    crowd.engine.perform(agent, lease(), Idempotency("another", b""))
    move(crowd, 2 * HOUR)
    with pytest.raises(Conflict, match="has ended"):
        crowd.engine.perform(agent, lease(), Idempotency("another", b""))


def test_a_lease_is_answered_with_the_version_that_was_leased(crowd: Crowd) -> None:
    agent = crowd.agents["my-org"]
    crowd.engine.perform(agent, lease(), KEY)
    _rotated(crowd)
    again = crowd.engine.perform(agent, lease(), KEY)
    assert (again.value.reveal(), again.lease.credential_version) == ("my-org-api-0123456", 1)


def test_whoever_may_not_lease_any_more_is_refused_as_if_there_were_nothing(crowd: Crowd) -> None:
    agent = crowd.agents["my-org"]
    crowd.engine.perform(agent, lease(), KEY)
    others = (AllowedIdentity(type="agent", name="others-*"),)
    crowd.engine.perform(crowd.owner(), ask.UpdateCredential(name="api", allowed_identities=others))
    with pytest.raises(NotFound) as replayed:
        crowd.engine.perform(agent, lease(), KEY)
    with pytest.raises(NotFound) as anew:
        crowd.engine.perform(agent, lease())
    assert (replayed.value.message, replayed.value.hint) == (anew.value.message, anew.value.hint)
    assert crowd.events()[-3:] == ["acl.updated", "lease.denied", "lease.denied"]


# A token, again


def test_a_token_is_answered_again_for_ten_minutes(crowd: Crowd, admin: Bearer) -> None:
    request = ask.CreateToken(agent="another", credentials=("*",))
    first = crowd.engine.perform(admin, request, KEY)
    move(crowd, 9 * MINUTE)
    assert crowd.engine.perform(admin, request, KEY).secret == first.secret
    move(crowd, 2 * MINUTE)
    with pytest.raises(Conflict) as caught:
        crowd.engine.perform(admin, request, KEY)
    assert f"vaultctl token rotate {first.token.id}" in caught.value.hint
    assert crowd.events().count("token.created") == 3  # the agent's, the admin's, and the one


def test_a_token_is_answered_again_to_the_bearer_alone(crowd: Crowd, admin: Bearer) -> None:
    request = ask.CreateToken(agent="another", credentials=("*",))
    crowd.engine.perform(admin, request, KEY)
    knows_the_hash_only = Bearer(admin.token_hash)
    with pytest.raises(Conflict):
        crowd.engine.perform(knows_the_hash_only, request, KEY)
    admin_id = crowd.engine.perform(admin, ask.GetSelf()).token.id
    rotated = Bearer.of(crowd.engine.perform(crowd.owner(), ask.RotateToken(id=admin_id)).secret)
    with pytest.raises(Conflict):
        crowd.engine.perform(rotated, request, KEY)


def test_a_token_that_was_rotated_since_is_not_answered_again(crowd: Crowd, admin: Bearer) -> None:
    request = ask.CreateToken(agent="another", credentials=("*",))
    first = crowd.engine.perform(admin, request, KEY)
    crowd.engine.perform(crowd.owner(), ask.RotateToken(id=first.token.id))
    with pytest.raises(Conflict, match="replaced"):
        crowd.engine.perform(admin, request, KEY)


def test_a_session_is_answered_again_until_it_is_opened_anew_or_ends(crowd: Crowd) -> None:
    agent = crowd.agents["my-org"]
    first = crowd.engine.perform(agent, ask.OpenSession(), KEY)
    assert crowd.engine.perform(agent, ask.OpenSession(), KEY).token == first.token
    crowd.engine.perform(agent, ask.OpenSession(id=first.session.id))
    with pytest.raises(Conflict, match="opened again"):
        crowd.engine.perform(agent, ask.OpenSession(), KEY)
    crowd.engine.perform(agent, ask.EndSession(id=first.session.id))
    with pytest.raises(Conflict, match="has ended"):
        crowd.engine.perform(agent, ask.OpenSession(), KEY)


def test_whoever_lost_the_role_since_is_refused(crowd: Crowd, admin: Bearer) -> None:
    requests: tuple[ask.Request[Any], ...] = (
        ask.CreateToken(agent="another", credentials=("*",)),
        ask.RotateCredential(name="api", value=Secret("value-0123456789")),
        ask.RevokeCredential(name="api"),
        ask.RevokeToken(id=crowd.tokens["my-org"].token.id),
    )
    for request in requests:
        crowd.engine.perform(admin, request, KEY)
    token = crowd.engine.perform(admin, ask.GetSelf()).token
    assert token is not None
    with crowd.door.store.write() as store_tx:  # no operation does this to a token yet
        tx = Transaction(store_tx, Keys(crowd.door.root, os.urandom), os.urandom)
        tx.hold({"my-org"})
        row = tx.get(TokenRow, "my-org", token.id)
        assert row is not None
        tx.update(row, role="user")
        tx.audit("my-org", "token.demoted", Identity(type="human", user_id="owner"), {})
        tx.finish()
    for request in requests:
        with pytest.raises(NotAllowed):
            crowd.engine.perform(admin, request, KEY)


# Its end, and whoever writes to the database


def test_records_are_dropped_after_a_day_and_answers_after_ten_minutes(crowd: Crowd, admin: Bearer) -> None:
    crowd.engine.perform(admin, ask.CreateToken(agent="another", credentials=("*",)), KEY)
    assert [row.answer is None for row in records(crowd)] == [False]
    move(crowd, 11 * MINUTE)
    crowd.engine.reap()
    assert [row.answer for row in records(crowd)] == [None]
    with pytest.raises(Conflict):
        crowd.engine.perform(admin, ask.CreateToken(agent="another", credentials=("*",)), KEY)
    move(crowd, 24 * HOUR)
    crowd.engine.reap()
    assert records(crowd) == []


def test_a_key_is_free_again_after_a_day_even_if_the_reaper_is_late(crowd: Crowd) -> None:
    agent = crowd.agents["my-org"]
    first = crowd.engine.perform(agent, lease(), KEY)
    move(crowd, 25 * HOUR)
    again = crowd.engine.perform(agent, lease(), Idempotency(KEY.key, b"whatever it is now"))
    assert again.lease.id != first.lease.id
    assert crowd.engine.perform(agent, lease(), Idempotency(KEY.key, b"whatever it is now")).lease.id == again.lease.id


def test_a_record_that_was_changed_from_outside_answers_nothing(crowd: Crowd) -> None:
    agent, other = crowd.agents["my-org"], Bearer.of(crowd.mint().secret)
    mine = crowd.engine.perform(other, lease()).lease.id
    crowd.engine.perform(agent, lease(), KEY)
    (row,) = records(crowd)
    with crowd.door.store.write() as tx:
        tx.update(replace(row, made=json.dumps({"id": mine})))
    with pytest.raises(VaultError, match="changed by something other"):
        crowd.engine.perform(agent, lease(), KEY)
