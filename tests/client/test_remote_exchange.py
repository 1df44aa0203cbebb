"""What is sent, what an answer means, and what is tried again: without any connection."""

import json
from typing import Any

import pytest

from tests.client import answers
from vaultctl.client.remote.exchange import (
    LONGEST_PAUSE,
    MOST_TRIES,
    Answer,
    Exchange,
    Lost,
    origin,
    pause_before,
    seconds_allowed,
)
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import (
    Conflict,
    InvalidInput,
    LeaseAtMaximum,
    NotAuthenticated,
    NotFound,
    TooManyRequests,
    VaultError,
    VaultUnavailable,
)
from vaultctl.domain.secrets import Secret

BASE_URL = "https://vault.example.com/team"
CREATE = ask.CreateLease(credential_name="shopify-api-key", purpose="Fetch orders")
READ = ask.GetSelf()
PATCH = ask.UpdateTenant(id="my-org")
DELETE = ask.DeleteCredential(name="shopify-api-key")

UNSENT = Lost("can't be reached", sent=False)
BROKEN = Lost("broke the connection", sent=True)


def exchange(token: Secret, request: ask.Request[Any] = CREATE, tenant: str | None = None) -> Exchange[Any]:
    count = iter(range(100))
    return Exchange(origin(BASE_URL, token, tenant), request, random=lambda size: bytes([next(count)]) * size)


def json_answer(status: int, content: Any, content_type: str = "application/json", retry_after: str = "") -> Answer:
    return Answer(status, content_type, retry_after, json.dumps(content).encode())


def refusal(status: int, code: str, retry_after: str = "") -> Answer:
    content = {"status": status, "code": code, "detail": "Refused.", "hint": "Do this."}
    return json_answer(status, content, "application/problem+json", retry_after)


def judge(sent: Exchange[Any], result: Answer | Lost, seconds_left: float = 45) -> float | None:
    return sent.judge(result, seconds_left=seconds_left, chance=lambda: 1.0)


def failure(sent: Exchange[Any]) -> VaultError:
    with pytest.raises(VaultError) as raised:
        sent.answer()
    return raised.value


def test_a_request_goes_below_the_base_url_with_its_tenant_and_key(token: Secret) -> None:
    message = exchange(token, tenant="my-org").message
    assert (message.method, message.url) == ("POST", "https://vault.example.com/team/v1/leases")
    assert message.headers["X-Vault-Tenant"] == "my-org"
    assert message.headers["Idempotency-Key"] == "00" * 16
    assert message.headers["User-Agent"].startswith("vaultctl/")
    assert json.loads(message.body or b"") == {"credentialName": "shopify-api-key", "purpose": "Fetch orders"}


def test_only_a_post_has_a_key_and_the_tenant_is_named_if_it_is_known(token: Secret) -> None:
    for request in (READ, PATCH, DELETE):
        headers = exchange(token, request).message.headers
        assert not {"Idempotency-Key", "X-Vault-Tenant"} & headers.keys()


def test_a_query_keeps_what_it_says(token: Secret) -> None:
    url = exchange(token, ask.QueryAudit(agent="a&b=c d+é", after_seq=3)).message.url
    assert url == f"{BASE_URL}/v1/audit?agent=a%26b%3Dc%20d%2B%C3%A9&afterSeq=3"


def test_neither_token_nor_value_is_shown(token: Secret) -> None:
    sent = exchange(token, ask.RotateCredential(name="x", value=Secret(answers.VALUE)))
    judge(sent, json_answer(200, answers.ISSUED_LEASE))
    shown = f"{sent.message!r} {sent.message.headers!r} {json_answer(200, answers.ISSUED_LEASE)!r} {failure(sent)!r}"
    assert token.reveal() not in shown
    assert answers.VALUE not in shown


def test_an_answer_is_decoded(token: Secret) -> None:
    sent = exchange(token)
    assert judge(sent, json_answer(201, answers.ISSUED_LEASE)) is None
    assert sent.answer().value.reveal() == answers.VALUE


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "not_authenticated", NotAuthenticated),
        (404, "not_found", NotFound),
        (409, "lease_at_maximum", LeaseAtMaximum),
        (409, "of_a_newer_server", InvalidInput),
        (500, "of_a_newer_server", VaultUnavailable),
        (409, "conflict", Conflict),
    ],
)
def test_a_problem_is_the_same_error_and_final(token: Secret, status: int, code: str, kind: type[VaultError]) -> None:
    sent = exchange(token)
    assert judge(sent, refusal(status, code)) is None
    error = failure(sent)
    assert type(error) is kind
    assert (error.message, error.hint) == ("Refused.", "Do this.")
    assert error.__context__ is None


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "text/html", "", b"<html>c4n4ry"),
        Answer(404, "text/html", "", b"<html>c4n4ry"),
        Answer(200, "application/json", "", b"c4n4ry"),
        Answer(200, "application/json", "", b'{"lease": "c4n4ry"}'),
        Answer(403, "application/problem+json", "", b"c4n4ry"),
        Answer(403, "application/problem+json", "", b'["c4n4ry"]'),
        Answer(204, "application/json", "", b""),
        Answer(200, "", "", b"{}"),
    ],
)
def test_what_no_vaultctl_server_says_is_told_and_not_shown(token: Secret, answer: Answer) -> None:
    sent = exchange(token)
    assert judge(sent, answer) is None
    error = failure(sent)
    assert type(error) is VaultUnavailable
    assert "not as a vaultctl server does" in error.message
    assert "c4n4ry" not in f"{error} {error.hint} {error.__context__!r}"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_an_error(token: Secret, status: int) -> None:
    sent = exchange(token, READ)
    assert judge(sent, Answer(status, "text/html", "", b"")) is None
    assert "redirects" in failure(sent).message


@pytest.mark.parametrize("request_", [CREATE, READ, PATCH, DELETE])
def test_what_was_not_sent_is_tried_again(token: Secret, request_: ask.Request[Any]) -> None:
    assert judge(exchange(token, request_), UNSENT) is not None
    assert judge(exchange(token, request_), refusal(429, "too_many_requests", "1")) is not None


@pytest.mark.parametrize(
    "result", [BROKEN, refusal(503, "vault_unavailable"), *(Answer(s, "text/html", "", b"") for s in (502, 503, 504))]
)
def test_what_may_have_been_done_is_tried_again_if_that_does_no_harm(token: Secret, result: Answer | Lost) -> None:
    for request in (CREATE, READ):
        assert judge(exchange(token, request), result) is not None
    for request in (PATCH, DELETE):
        assert judge(exchange(token, request), result) is None


def test_whoever_may_have_changed_something_is_told_to_look(token: Secret) -> None:
    for request, hint in ((DELETE, "look before"), (READ, "Try again")):
        sent = exchange(token, request)
        judge(sent, BROKEN)
        assert hint in failure(sent).hint


def test_what_can_not_pass_is_not_tried_again(token: Secret) -> None:
    assert judge(exchange(token, READ), UNSENT._replace(final=True)) is None


def test_it_gives_up_in_the_end_and_pauses_longer_each_time(token: Secret) -> None:
    sent = exchange(token)
    pauses = [judge(sent, UNSENT) for _ in range(MOST_TRIES)]
    assert pauses[-1] is None
    waited = [pause for pause in pauses if pause is not None]
    assert len(waited) == MOST_TRIES - 1
    assert waited == sorted(waited)
    assert BASE_URL in failure(sent).message


def test_an_answer_after_failures_is_the_answer(token: Secret) -> None:
    sent = exchange(token)
    judge(sent, BROKEN)
    assert judge(sent, json_answer(201, answers.ISSUED_LEASE)) is None
    assert sent.answer().lease.id == "lease_1"


def test_a_pause_that_time_does_not_allow_ends_it(token: Secret) -> None:
    sent = exchange(token)
    assert judge(sent, refusal(429, "too_many_requests", "3"), seconds_left=2) is None
    assert type(failure(sent)) is TooManyRequests


def test_the_server_says_how_long_to_wait_within_bounds() -> None:
    assert pause_before(1, "3", lambda: 0.0) == 3
    assert pause_before(1, str(int(LONGEST_PAUSE) + 1), lambda: 0.0) is None
    for odd in ("", "soon", "-1", "Wed, 21 Oct 2026 07:28:00 GMT", "²"):
        assert pause_before(1, odd, lambda: 0.0) == pause_before(1, "", lambda: 0.0)
    assert pause_before(1, "9" * 5_000, lambda: 0.0) is None


def test_many_clients_do_not_come_back_at_once() -> None:
    assert pause_before(2, "", lambda: 0.0) != pause_before(2, "", lambda: 1.0)
    assert pause_before(2, "1", lambda: 0.0) != pause_before(2, "1", lambda: 1.0)


def test_a_malformed_token_or_tenant_is_refused_before_anything_is_sent(token: Secret) -> None:
    with pytest.raises(NotAuthenticated):
        origin(BASE_URL, Secret("vault_token_x\r\nX: y"), None)
    with pytest.raises(InvalidInput):
        origin(BASE_URL, token, "my-org\r\nX: y")
    with pytest.raises(InvalidInput):
        origin("http://vault.example.com", token, None)


def test_an_operation_has_some_time() -> None:
    assert seconds_allowed(None) > 1
    assert seconds_allowed(0.5) == 0.5
    for none in (0, -1, float("nan")):
        with pytest.raises(InvalidInput):
            seconds_allowed(none)
