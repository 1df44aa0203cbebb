"""Every request survives its way over HTTP, and what does not fit is refused without being quoted."""

import json
import string
from datetime import UTC, datetime
from typing import Any, get_type_hints
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput, NotFound
from vaultctl.domain.http_messages import decode_request, encode_request
from vaultctl.domain.records import AllowedIdentity, CredentialType, Event, Policy
from vaultctl.domain.routes import ROUTES, match
from vaultctl.domain.secrets import Secret

CANARY = "canary-0123456789"

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [".", "..", "a/b", "%2e", "?x=1", "null", "self", "revoke", "true", "1"]
)
DURATIONS = st.integers(1, 10**8).map(Duration.of)
DATES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))


def of_type(hint: Any, optional: bool) -> st.SearchStrategy[Any]:
    if hint is str:
        return TEXTS
    if hint is Secret:
        return TEXTS.map(Secret)
    if hint is Duration:
        return DURATIONS
    if hint is datetime:
        return DATES
    if hint is int:
        return st.integers(-(10**18), 10**18)
    if hint is Policy:
        return st.builds(Policy, default_lease_ttl=st.none() | DURATIONS, max_lease_ttl=st.none() | DURATIONS)
    if hint is AllowedIdentity:
        return st.builds(AllowedIdentity, type=st.just("agent"), name=TEXTS)
    return st.from_type(hint)


for kind in (str, int, Secret, Duration, datetime, Policy, AllowedIdentity):
    st.register_type_strategy(kind, of_type(kind, False))


def requests_of(kind: type[ask.Request[Any]]) -> st.SearchStrategy[ask.Request[Any]]:
    hints = get_type_hints(kind)
    required, optional = {}, {}
    for field in msgspec.structs.fields(kind):
        fields = required if field.required else optional
        fields[field.name] = st.from_type(hints[field.name]).filter(lambda value: value is not msgspec.UNSET)
    return st.fixed_dictionaries(required, optional=optional).map(lambda fields: kind(**fields))


REQUESTS = st.sampled_from(list(ROUTES)).flatmap(requests_of)


def over_http(request: ask.Request[Any]) -> ask.Request[Any]:
    sent = encode_request(request)
    found = match(sent.method, [unquote(segment) for segment in sent.path.split("/")[2:]])
    assert found is not None
    assert found.kind is type(request)
    return decode_request(found.kind, found.path, sent.query, sent.body or b"")


@given(REQUESTS)
def test_every_request_arrives_as_it_was_sent(request: ask.Request[Any]) -> None:
    if request == ask.GetToken(id="self"):
        with pytest.raises(NotFound):
            encode_request(request)
        return
    assert over_http(request) == request


def test_every_request_has_a_route() -> None:
    kinds = {kind for kind in vars(ask).values() if isinstance(kind, type) and issubclass(kind, ask.Request)}
    assert set(ROUTES) == kinds - {ask.Request, ask.AuditQuestion, ask.VerifyLog}


def test_a_path_is_never_two_requests() -> None:
    assert len({(route.method, route.segments) for route in ROUTES.values()}) == len(ROUTES)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a?b", "a#b", "%2F", "a b"])
def test_a_name_stays_within_its_segment(name: str) -> None:
    assert encode_request(ask.GetCredential(name=name)).path.count("/") == 3
    assert over_http(ask.GetCredential(name=name)) == ask.GetCredential(name=name)


def test_null_takes_a_ttl_away_and_absence_leaves_it() -> None:
    taken = ask.UpdateCredential(name="it", max_lease_ttl=None)
    assert json.loads(encode_request(taken).body or b"") == {"maxLeaseTTL": None}
    assert decode_request(ask.UpdateCredential, {"name": "it"}, (), b"{}") == ask.UpdateCredential(name="it")


def test_a_request_does_not_show_its_body() -> None:
    request = ask.CreateCredential(name="it", type=CredentialType.API_KEY, value=Secret(CANARY))
    assert CANARY not in repr(encode_request(request))


@pytest.mark.parametrize(
    ("kind", "path", "query", "body"),
    [
        (ask.CreateCredential, {}, [], f'{{"{CANARY}": 1}}'.encode()),
        (ask.CreateCredential, {}, [], f'{{"name": "x", "type": "{CANARY}", "value": "v"}}'.encode()),
        (ask.CreateCredential, {}, [], f'{{"name": "x", "type": "api-key", "value": ["{CANARY}"]}}'.encode()),
        (ask.CreateCredential, {}, [], CANARY.encode()),
        (ask.CreateCredential, {}, [], f'{{"name": "{CANARY}'.encode()),
        (ask.CreateCredential, {}, [], b"\xff" + CANARY.encode()),
        (ask.CreateCredential, {}, [], b""),
        (ask.CreateCredential, {}, [], b"[" * 5_000 + b"]" * 5_000),
        (ask.RotateCredential, {"name": "x"}, [], b'{"value": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"),
        (ask.RotateCredential, {"name": "x"}, [], f'{{"name": "{CANARY}", "value": "v"}}'.encode()),
        (ask.RotateCredential, {"name": "x"}, [(CANARY, CANARY)], b'{"value": "v"}'),
        (ask.CreateLease, {}, [], f'{{"credentialName": "x", "ttl": "{CANARY}"}}'.encode()),
        (ask.CreateLease, {}, [], b'{"credentialName": "x", "ttl": 5}'),
        (ask.DeleteCredential, {"name": "x"}, [], b"{}"),
        (ask.ListLeases, {}, [], b"{}"),
        (ask.ListLeases, {}, [("limit", CANARY)], b""),
        (ask.ListLeases, {}, [("limit", "9" * 5_000)], b""),
        (ask.ListLeases, {}, [("state", CANARY)], b""),
        (ask.ListLeases, {}, [(CANARY, "1")], b""),
        (ask.ListLeases, {}, [("agent", "a"), ("agent", CANARY)], b""),
        (ask.QueryAudit, {}, [("since", CANARY)], b""),
        (ask.QueryAudit, {}, [("event", CANARY)], b""),
        (ask.QueryAudit, {}, [("events", "lease.created")], b""),
    ],
)
def test_what_does_not_fit_is_refused_and_not_quoted(
    kind: type[ask.Request[Any]], path: dict[str, str], query: list[tuple[str, str]], body: bytes
) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_request(kind, path, query, body)
    error = caught.value
    assert CANARY not in f"{error.message} {error.hint}"
    assert error.__cause__ is None
    assert error.__context__ is None


def test_events_are_asked_for_one_by_one() -> None:
    query = encode_request(ask.QueryAudit(events=(Event.LEASE_CREATED, Event.LEASE_DENIED))).query
    assert query == (("event", "lease.created"), ("event", "lease.denied"))


def test_ids_are_not_taken_for_other_paths() -> None:
    assert match("POST", ["leases", "revoke"]) != match("GET", ["leases", "revoke"])
    found = match("PUT", ["leases", string.ascii_letters])
    assert found is not None
    assert (found.kind, found.allowed) == (None, ("GET",))
    assert match("GET", ["nothing"]) is None
    assert match("GET", []) is None


def test_a_lone_surrogate_is_malformed() -> None:
    surrogate = "\ud800"
    for request in (
        ask.GetCredential(name=surrogate),
        ask.ListLeases(agent=surrogate),
        ask.CreateLease(credential_name=surrogate),
    ):
        with pytest.raises(InvalidInput):
            encode_request(request)
