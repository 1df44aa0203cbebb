"""No value and no token shows in what a server logs, counts, documents, answers by mistake, or stores."""

import io
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.harness import RunningServer
from tests.security import canaries
from tests.security.canaries import Canary, found_in, patterns_of
from tests.security.served import Served
from vaultctl.api import logs
from vaultctl.engine import dispatch, leases, tokens

KEY = {"Idempotency-Key": "canary-key"}


class Stage:
    """A server that logs as much as it can, in either form, and a canary for every secret that it meets."""

    def __init__(self, store: str, form: str, directory: Path, stack: ExitStack, patch: pytest.MonkeyPatch) -> None:
        self.served = Served(store, directory, stack)
        self.canaries = [canaries.api_key(), canaries.generic_secret(), canaries.api_key_like_a_name()]
        self.foreign = io.StringIO()
        handler = logging.StreamHandler(self.foreign)
        handler.addFilter(lambda record: not record.name.startswith(("httpx", "httpcore")))  # the client's own
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        stack.callback(root.setLevel, level)
        stack.callback(root.removeHandler, handler)
        patch.setattr("tests.api.harness.Log", lambda _form, stream: logs.Log(form, stream))  # type: ignore[arg-type]
        self.server: RunningServer = self.served.serve()
        self.admin = self.token(human="admin@example.com", role="admin")
        self.agent = self.token(agent="ours", credentials=["*"])
        self.answers: list[httpx.Response] = []

    def token(self, **options: Any) -> str:
        return self.keep(self.served.owner.tokens.create(**options).secret.reveal())

    def keep(self, secret: str) -> str:
        self.canaries.append(Canary("token", secret, (secret, secret.removeprefix("vault_token_"))))
        return secret

    def ask(self, token: str, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self.served.client(self.server, token).request(method, path, **options)
        self.answers.append(answer)
        return answer

    def found(self, content: bytes | str) -> list[bytes]:
        return found_in(content, patterns_of(self.canaries))


@pytest.fixture(params=[("sqlite", "json"), ("postgres", "text")], ids="-".join)
def stage(request: pytest.FixtureRequest, fast_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with ExitStack() as stack:
        yield Stage(*request.param, fast_path, stack, monkeypatch)


def use(stage: Stage) -> None:
    """Store, lease, mint, open, rotate and repeat, each with an idempotency key."""
    for number, canary in enumerate(stage.canaries[:3]):
        body = {"name": f"key-{number}", "type": canary.type, "value": canary.value}
        given, key = {"credentialName": f"key-{number}"}, {"Idempotency-Key": str(number)}
        for _ in range(2):
            assert stage.ask(stage.admin, "POST", "/v1/credentials", json=body, headers=key).status_code == 201
        for _ in range(2):
            answer = stage.ask(stage.agent, "POST", "/v1/leases", json=given, headers=key)
            assert answer.json()["value"] == canary.value
    for token, path, body in (
        (stage.admin, "/v1/tokens", {"agent": "second", "credentials": ["*"]}),
        (stage.agent, "/v1/sessions", {}),
    ):
        for _ in range(2):
            issued = stage.ask(token, "POST", path, json=body, headers=KEY).json()
            for name in ("token", "redeemToken"):
                if name in issued:
                    stage.keep(issued[name])
    by_reference(stage)


def by_reference(stage: Stage) -> None:
    """Lease by reference and redeem, each twice with its key, and once in vain."""
    opened = stage.ask(stage.agent, "POST", "/v1/sessions", json={}).json()
    session, runtime = stage.keep(opened["token"]), stage.keep(opened["redeemToken"])
    for number, canary in enumerate(stage.canaries[:3]):
        given, key = (
            {"credentialName": f"key-{number}", "responseFormat": "reference"},
            {"Idempotency-Key": str(number)},
        )
        for _ in range(2):
            issued = stage.ask(session, "POST", "/v1/leases", json=given, headers=key)
            assert stage.found(issued.text) == []
        path = f"/v1/leases/{issued.json()['id']}/redeem"
        ref = {"ref": issued.json()["credentialReference"]["ref"]}
        for _ in range(2):
            assert stage.ask(runtime, "POST", path, json=ref, headers=key).json()["value"] == canary.value
        for token, body, status in ((runtime, ref, 409), (runtime, {"ref": canary.value}, 404), (session, ref, 403)):
            refused = stage.ask(token, "POST", path, json=body)
            assert (refused.status_code, stage.found(refused.text)) == (status, [])


def test_what_a_server_logs_counts_documents_and_stores_holds_no_secret(
    stage: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    use(stage)
    tables = stage.served.database.tables()
    assert "idempotency_keys" in tables
    assert len(stage.served.database.rows("idempotency_keys")) >= 5
    assert stage.found(stage.served.database.content()) == []
    counters = stage.ask(stage.admin, "GET", "/metrics").text
    assert "vaultctl_http_requests_total" in counters
    assert stage.found(counters) == []
    assert stage.found(stage.ask(stage.admin, "GET", "/openapi.json").text) == []
    assert stage.found(stage.ask(stage.admin, "GET", "/v1/audit?limit=1000").text) == []
    stage.server.stop(10)
    assert "request" in stage.server.log
    assert stage.found(stage.server.log) == []
    assert stage.found(stage.foreign.getvalue() + "".join(capfd.readouterr())) == []


def test_a_secret_in_the_wrong_place_is_not_told_back(stage: Stage) -> None:
    use(stage)
    before = len(stage.answers)
    for canary in stage.canaries:
        secret = canary.secrets[0]
        for method, path, options in (
            ("GET", f"/v1/tokens/{secret}", {}),
            ("GET", f"/v1/leases/{secret}", {}),
            ("GET", f"/v1/sessions/{secret}", {}),
            ("GET", "/v1/leases", {"params": {secret: secret}}),
            ("GET", "/v1/leases", {"params": {"cursor": secret}}),
            ("GET", "/v1/leases", {"params": {"limit": secret}}),
            ("GET", "/v1/audit", {"params": {"since": secret}}),
            ("GET", "/v1/audit/stream", {"params": {"event": secret}}),
            ("GET", "/v1/audit/stream", {"headers": {"Last-Event-ID": secret}}),
            ("POST", "/v1/leases", {"json": {"credentialName": "key-0", "ttl": secret}}),
            ("POST", "/v1/leases", {"json": {"credentialName": "key-0", secret: secret}}),
            ("POST", "/v1/leases", {"content": secret}),
            ("POST", "/v1/leases", {"content": f'{{"credentialName": "{secret[:9]}', "headers": {"X-A": secret}}),
            ("POST", "/v1/credentials", {"json": {"name": "a", "type": secret, "value": secret}}),
            ("POST", "/v1/credentials", {"json": {"name": "a", "type": "ssh-key", "value": secret}}),
            ("POST", "/v1/credentials", {"json": {"name": "a", "type": "database-url", "value": secret}}),
            ("POST", "/v1/credentials", {"json": {"name": "a", "type": "api-key", "value": [secret]}}),
            ("POST", f"/{secret}", {}),
            ("GET", f"/{secret}", {"headers": {"X-Vault-Tenant": secret}}),
            ("GET", "/v1/leases", {"headers": {"X-Vault-Tenant": secret}}),
            ("POST", "/v1/leases", {"headers": {"Idempotency-Key": secret + "\x7f"}, "json": {"credentialName": "x"}}),
        ):
            if secret.isascii() and "\n" not in secret:
                try:
                    stage.ask(stage.admin, method, path, **options)
                except httpx.InvalidURL:
                    continue
    wrong = stage.answers[before:]
    assert len(wrong) > 50
    assert {answer.status_code for answer in wrong} <= {400, 401, 404, 405, 409, 415, 422}
    for answer in wrong:
        assert stage.found(answer.text + str(answer.headers.multi_items())) == [], answer.request.url.path
    stage.server.stop(10)
    assert stage.found(stage.server.log) == []
    assert stage.found(stage.foreign.getvalue()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyError, OSError])
def test_a_failure_that_quotes_a_secret_is_reported_by_its_kind_and_place(
    stage: Stage, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(stage)
    secret = stage.canaries[0].value

    def fail(*_arguments: object) -> None:
        raise error(secret)

    dispatch._load.cache_clear()
    for module, name in ((leases, "create_lease"), (leases, "list_leases"), (tokens, "create_token")):
        monkeypatch.setattr(module, name, fail)
    try:
        answers = [
            stage.ask(stage.agent, "POST", "/v1/leases", json={"credentialName": "key-0"}),
            stage.ask(stage.agent, "GET", "/v1/leases"),
            stage.ask(stage.admin, "POST", "/v1/tokens", json={"agent": "third"}),
        ]
    finally:
        dispatch._load.cache_clear()
    for answer in answers:
        assert answer.status_code in (500, 503)
        assert answer.headers["content-type"] == "application/problem+json"
        assert stage.found(answer.text) == []
    stage.server.stop(10)
    assert error.__name__ in stage.server.log
    assert stage.found(stage.server.log) == []
    assert stage.found(stage.foreign.getvalue()) == []
    assert "Traceback" not in stage.server.log
