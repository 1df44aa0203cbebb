"""To an agent at a server, what it may not lease is as what never was: all of the answer, and one denial each."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from tests.api.harness import RunningServer
from tests.security.served import Served, told

NEVER = "ours-never-there-"
HIDDEN = ("beyond-its-globs1", "ours-of-others-01", "ours-thats-revoked"[:17], "ours-thats-deleted"[:17])


class Stage(NamedTuple):
    served: Served
    server: RunningServer
    tokens: dict[str, str]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        served = Served(request.param, tmp_path_factory.mktemp("hidden"), stack)
        owner = served.owner
        for name in HIDDEN:
            allow = ["agent:other"] if "others" in name else []
            owner.credentials.create(name, "api-key", f"key-{name}", allow=allow)
        owner.credentials.revoke(HIDDEN[2])
        owner.credentials.delete(HIDDEN[3])
        issued = owner.tokens.create(agent="ours", credentials=["ours-*"])
        session = served.door.connect(issued.secret, None).sessions.open("mcp_sess_hidden1234567")
        tokens = {"agent": issued.secret.reveal(), "session": session.token.reveal()}
        yield Stage(served, served.serve(), tokens)


REQUESTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "get": ("GET", "/v1/credentials/NAME", {}),
    "versions": ("GET", "/v1/credentials/NAME/versions", {}),
    "lease": ("POST", "/v1/leases", {"json": {"credentialName": "NAME"}}),
    "lease with everything": (
        "POST",
        "/v1/leases",
        {"json": {"credentialName": "NAME", "ttl": "1h", "purpose": "Deploying", "claimed": {"client": "test"}}},
    ),
    "lease, once": ("POST", "/v1/leases", {"json": {"credentialName": "NAME"}, "headers": {"Idempotency-Key": "NAME"}}),
    "update": ("PATCH", "/v1/credentials/NAME", {"json": {"metadata": {"a": "b"}}}),
    "rotate": ("POST", "/v1/credentials/NAME/rotate", {"json": {"value": "key-0123456789"}}),
    "rollback": ("POST", "/v1/credentials/NAME/rollback", {"json": {"to": 1}}),
    "revoke": ("POST", "/v1/credentials/NAME/revoke", {"json": {}}),
    "delete": ("DELETE", "/v1/credentials/NAME", {}),
    "leases of it": ("GET", "/v1/leases?credentialName=NAME", {}),
    "revocation of its leases": ("POST", "/v1/leases/revoke", {"json": {"credentialName": "NAME"}}),
}
SILENT = ("leases of it", "revocation of its leases")
"""Requests that answer with what there is, and so refuse nothing."""


@pytest.mark.parametrize("who", ["agent", "session"])
@pytest.mark.parametrize("what", REQUESTS)
def test_what_is_hidden_is_answered_like_a_name_that_never_was(stage: Stage, what: str, who: str) -> None:
    client = stage.served.client(stage.server, stage.tokens[who])
    method, path, options = REQUESTS[what]

    def ask(name: str) -> tuple[Any, list[str]]:
        before = len(stage.served.owner.audit_log.query(limit=None))
        filled = json.loads(json.dumps(options).replace("NAME", name))
        answer = client.request(method, path.replace("NAME", name), **filled)
        entries = stage.served.owner.audit_log.query(limit=None)[before:]
        return told(answer, name), [entry.event.value for entry in entries]

    expected, denials = ask(NEVER)
    assert len(denials) == (what not in SILENT)
    for name in HIDDEN:
        assert ask(name) == (expected, denials), name
