"""Operations over a real socket: who asks, what is asked, and how it is answered."""

import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import CREDENTIAL, VALUE, Site
from tests.api.harness import RunningServer
from vaultctl.domain.problems import MEDIA_TYPE
from vaultctl.engine.service import Service


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that ``response`` is."""
    assert (response.status_code, response.headers["content-type"]) == (status, MEDIA_TYPE), response.text
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"]
    assert body["requestId"] == response.headers["x-request-id"]
    return body


def test_a_credential_is_created_leased_renewed_and_revoked(admin: httpx.Client, agent: httpx.Client) -> None:
    made = admin.post("/v1/credentials", json={"name": "new", "type": "generic-secret", "value": "v-123456"})
    assert (made.status_code, made.json()["name"]) == (201, "new")
    assert "v-123456" not in made.text

    lease = agent.post("/v1/leases", json={"credentialName": CREDENTIAL, "ttl": "15m", "purpose": "sync orders"})
    assert lease.status_code == 201
    assert (lease.json()["value"], lease.json()["ttl"]) == (VALUE, "15m")

    renewed = agent.post(f"/v1/leases/{lease.json()['id']}/renew", json={"ttl": "30m"})
    assert (renewed.status_code, renewed.json()["ttl"]) == (200, "30m")
    assert "value" not in renewed.json()

    revoked = agent.post(f"/v1/leases/{lease.json()['id']}/revoke")
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    assert admin.delete("/v1/credentials/new").json() == {"leases": 0, "sessions": 0}


def test_lists_come_in_pages(admin: httpx.Client, site: Site) -> None:
    for number in range(3):
        site.owner.credentials.create(f"c{number}", "generic-secret", "value-123")
    first = admin.get("/v1/credentials", params={"limit": 2}).json()
    assert [item["name"] for item in first["items"]] == ["c0", "c1"]
    second = admin.get("/v1/credentials", params={"limit": 2, "cursor": first["nextCursor"]}).json()
    assert [item["name"] for item in second["items"]] == ["c2", CREDENTIAL]
    assert "nextCursor" not in second


def test_the_audit_log_is_filtered_by_the_fields_of_its_entries(admin: httpx.Client, agent: httpx.Client) -> None:
    agent.post("/v1/leases", json={"credentialName": CREDENTIAL, "purpose": "one"})
    query = {"identity.name": "deploy-agent", "event": ["lease.created", "lease.revoked"]}
    (entry,) = admin.get("/v1/audit", params=query).json()["items"]
    assert (entry["event"], entry["identity"]["purpose"]) == ("lease.created", "one")


def test_an_answer_is_not_kept_by_caches_and_has_an_id_of_the_server(admin: httpx.Client) -> None:
    answers = [admin.get("/v1/credentials", headers={"X-Request-Id": "mine"}) for _ in range(2)]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] == "application/json"
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 2
    assert "mine" not in ids


# Who asks


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(scheme: str, site: Site, nobody: httpx.Client) -> None:
    answer = nobody.get("/v1/tokens/self", headers={"Authorization": f"{scheme}  {site.agent}"})
    assert answer.json()["identity"]["name"] == "deploy-agent"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Basic dXNlcjpwYXNz", "vault_token_x", "Bearer vault_token_x", "Bearer a b"]
)
def test_without_a_token_nothing_is_answered(header: str | None, nobody: httpx.Client) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = nobody.get("/v1/tokens/self", headers=headers)
    problem(answer, 401, "not_authenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_mistyped_token_is_told_from_an_unknown_one(site: Site, nobody: httpx.Client) -> None:
    mistyped = site.agent[:-1] + ("0" if site.agent[-1] != "0" else "1")
    body = problem(nobody.get("/v1/leases", headers={"Authorization": f"Bearer {mistyped}"}), 401, "not_authenticated")
    assert "mistyped" in body["detail"]


def test_two_tokens_are_none(site: Site, server: RunningServer) -> None:
    headers = [("Authorization", f"Bearer {site.admin}"), ("Authorization", f"Bearer {site.agent}")]
    problem(httpx.get(f"{server.url}/v1/leases", headers=headers, trust_env=False), 422, "invalid_input")


def test_a_revoked_token_is_refused(site: Site, agent: httpx.Client) -> None:
    (token,) = [token for token in site.owner.tokens.list() if token.agent == "deploy-agent"]
    site.owner.tokens.revoke(token.id)
    problem(agent.get("/v1/leases"), 401, "not_authenticated")


@pytest.mark.parametrize("named", ["another", "no-such", "", "_vault", "MY-ORG"])
def test_a_tenant_that_disagrees_with_the_token_is_refused_whether_it_exists_or_not(
    named: str, site: Site, agent: httpx.Client
) -> None:
    site.world.owner("another")
    answer = agent.get("/v1/credentials", headers={"X-Vault-Tenant": named})
    body = problem(answer, 401, "not_authenticated")
    assert body["detail"] == "The token is not one of this vault and tenant."


def test_the_tenant_of_the_token_may_be_named(agent: httpx.Client) -> None:
    assert agent.get("/v1/credentials", headers={"X-Vault-Tenant": "my-org"}).status_code == 200


# What is asked


def test_unknown_paths_are_problems(admin: httpx.Client) -> None:
    for path in (
        "/",
        "/v1",
        "/v1/",
        "/v2/credentials",
        "/v1/nothing",
        "/v1//credentials",
        "/v1/leases/a/b/c",
        "/metrics/",
    ):
        problem(admin.get(path), 404, "invalid_input")


def test_a_path_says_which_methods_it_knows(admin: httpx.Client) -> None:
    for method, path, allowed in (
        ("PUT", "/v1/credentials/x", {"GET", "PATCH", "DELETE"}),
        ("DELETE", "/v1/credentials", {"GET", "POST"}),
        ("HEAD", "/v1/leases", {"GET", "POST"}),
        ("POST", "/v1/health", {"GET", "HEAD"}),
        ("POST", "/v1/audit/stream", {"GET", "HEAD"}),
        ("OPTIONS", "/v1/tokens/self", {"GET"}),
    ):
        answer = admin.request(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == allowed


def test_segments_of_a_path_are_decoded_one_by_one(admin: httpx.Client, site: Site) -> None:
    site.owner.credentials.create("a.b", "generic-secret", "value-123")
    assert admin.get("/v1/credentials/a%2Eb").json()["name"] == "a.b"
    assert admin.get("/v1/%63redentials/a.b").json()["name"] == "a.b"
    # A slash that was encoded does not part what is asked for into another path.
    problem(admin.get("/v1/credentials/a.b%2Fversions"), 422, "invalid_input")
    problem(admin.get("/v1/credentials%2Fa.b"), 404, "invalid_input")
    problem(admin.get("/v1/credentials/%FF"), 404, "invalid_input")
    problem(admin.get("/v1/credentials/%2e%2e"), 422, "invalid_input")


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "json"],
)
def test_a_body_that_does_not_say_it_is_json_is_not_read(content_type: str | None, agent: httpx.Client) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    body = json.dumps({"credentialName": CREDENTIAL}).encode()
    problem(agent.post("/v1/leases", content=body, headers=headers), 415, "invalid_input")


def test_a_compressed_body_is_not_read(agent: httpx.Client) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    problem(agent.post("/v1/leases", content=b"\x1f\x8b", headers=headers), 415, "invalid_input")


def test_json_may_name_its_charset(agent: httpx.Client) -> None:
    body = json.dumps({"credentialName": CREDENTIAL}).encode()
    headers = {"Content-Type": 'application/json; charset="UTF-8"'}
    assert agent.post("/v1/leases", content=body, headers=headers).status_code == 201


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"credentialName": 1}', b'{"credentialName": "x", "more": 1}', b"\xff", b"[" * 5_000],
)
def test_a_malformed_body_is_a_problem_that_does_not_quote_it(body: bytes, agent: httpx.Client) -> None:
    answer = agent.post("/v1/leases", content=body, headers={"Content-Type": "application/json"})
    problem(answer, 422, "invalid_input")


def test_no_input_is_quoted(agent: httpx.Client, admin: httpx.Client, server: RunningServer) -> None:
    secret = "sk_live_canary_0123456789"
    answers = [
        agent.post("/v1/leases", json={secret: secret}),
        agent.post("/v1/leases", json={"credentialName": CREDENTIAL, "ttl": secret}),
        agent.get("/v1/leases", params={secret: secret}),
        agent.get("/v1/leases", params={"state": secret}),
        agent.get(f"/v1/leases?{secret}=%ff"),
        agent.get(f"/v1/{secret}"),
        agent.request(secret.upper().replace("_", "-"), "/v1/leases"),
        agent.get("/v1/leases", headers={"Authorization": f"Bearer {secret}"}),
        agent.post("/v1/leases", json={}, headers={"Idempotency-Key": secret.encode() + b"\xe9"}),
        admin.post("/v1/credentials", json={"name": secret.upper(), "type": "api-key", "value": secret}),
    ]
    for answer in answers:
        assert answer.status_code >= 400
        assert secret not in answer.text.lower()
    server.stop(10)
    assert secret not in server.log.lower()


def test_queries_are_checked(admin: httpx.Client) -> None:
    for query in (
        "limit=0", "limit=x", "limit=5&limit=6", "nothing=1", "afterSeq=99999999999999999999", "cursor=x",
        "since=2026-01-01T00:00:00", "event=nothing", "&".join(f"a{n}=1" for n in range(300)), "limit=%ff", "state=%00",
    ):  # fmt: skip
        problem(admin.get(f"/v1/audit?{query}"), 422, "invalid_input")


def test_a_get_has_no_body_and_a_post_no_query(admin: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    problem(admin.request("GET", "/v1/leases", content=b"{}", headers=headers), 422, "invalid_input")
    problem(admin.post("/v1/leases?ttl=1h", json={"credentialName": CREDENTIAL}), 422, "invalid_input")


# What goes wrong


def test_refusals_have_the_status_of_their_kind(admin: httpx.Client, agent: httpx.Client) -> None:
    problem(agent.post("/v1/leases", json={"credentialName": "not-there"}), 404, "not_found")
    problem(
        agent.post("/v1/credentials", json={"name": "n", "type": "api-key", "value": "abc-123"}), 403, "not_allowed"
    )
    again = {"name": CREDENTIAL, "type": "generic-secret", "value": "abc-123"}
    assert problem(admin.post("/v1/credentials", json=again), 409, "already_exists")["hint"]


def test_what_nobody_foresaw_is_a_problem_without_a_word_of_it(site: Site) -> None:
    class Broken(Service):
        async def perform(self, *arguments: Any, **options: Any) -> Any:
            raise RuntimeError(VALUE)

    server = site.serve(service=Broken(site.door.engine))
    body = problem(site.client(server, site.agent).get("/v1/leases"), 500, "internal_error")
    server.stop(10)
    (line,) = server.lines("unexpected")
    assert line["exception"] == "RuntimeError"
    assert line["at"].startswith("tests.api.test_operations:")
    assert line["requestId"] == body["requestId"]
    assert VALUE not in server.log + json.dumps(body)


# Once, however often it is asked for


def test_a_repeated_post_has_its_effect_once(agent: httpx.Client, site: Site) -> None:
    key = {"Idempotency-Key": "b1f3"}
    leases = [agent.post("/v1/leases", json={"credentialName": CREDENTIAL}, headers=key) for _ in range(2)]
    assert [lease.status_code for lease in leases] == [201, 201]
    assert leases[0].json() == leases[1].json()
    assert len(site.owner.leases.list()) == 1


def test_a_key_is_of_one_path_and_one_body(agent: httpx.Client) -> None:
    key = {"Idempotency-Key": "b1f3"}
    first, second = (agent.post("/v1/leases", json={"credentialName": CREDENTIAL}).json()["id"] for _ in range(2))
    assert agent.post(f"/v1/leases/{first}/renew", json={"ttl": "5m"}, headers=key).status_code == 200
    problem(agent.post(f"/v1/leases/{second}/renew", json={"ttl": "5m"}, headers=key), 409, "conflict")
    problem(agent.post(f"/v1/leases/{first}/renew", json={"ttl": "6m"}, headers=key), 409, "conflict")
    assert agent.post(f"/v1/leases/{first}/renew", json={"ttl": "5m"}, headers=key).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "\u00e9".encode("latin-1")])
def test_a_malformed_key_is_refused(key: str, agent: httpx.Client) -> None:
    answer = agent.post("/v1/leases", json={"credentialName": CREDENTIAL}, headers={"Idempotency-Key": key})
    problem(answer, 422, "invalid_input")
