"""A second tenant's tokens, tried over HTTP on every path and identifier of the first, get and change nothing."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import pytest

from tests.api.harness import RunningServer
from tests.security.served import Served, Told, told
from tests.security.test_isolation import NEVER, VICTIM, Identifiers, requests_about
from vaultctl.client.vault import Vault
from vaultctl.domain import requests as ask
from vaultctl.domain.http_messages import encode_request
from vaultctl.domain.records import Role
from vaultctl.domain.routes import ROUTES
from vaultctl.domain.secrets import Secret

STRANGER = "stranger-org"


class Stage(NamedTuple):
    served: Served
    server: RunningServer
    victims: Identifiers
    victims_tokens: dict[str, str]
    hidden: tuple[str, ...]
    strangers: dict[str, str]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with ExitStack() as stack:
        served = Served(request.param, tmp_path_factory.mktemp("isolation"), stack)
        server = served.serve()
        victims, others = served.owner_of(VICTIM), served.owner_of(STRANGER)
        victims.credentials.create(
            "victims-only-key", "generic-secret", "victims-secret-value", metadata={"note": "victims-metadata"}
        )
        others.credentials.create("strangers-key", "generic-secret", "strangers-own-value-0")
        issued = victims.tokens.create(agent="victim-agent-1", credentials=["*"])
        human = victims.tokens.create(human="victim1@example.com", role="admin")
        agent = served.door.connect(issued.secret, None)
        opened = agent.sessions.open("mcp_sess_victims1234567", claimed={"client": "victims-claim"})
        lease = served.door.connect(opened.token, None).leases.create(
            "victims-only-key", purpose="victims-purpose", response_format="reference"
        )
        assert lease.credential_reference is not None
        known = Identifiers(
            "victims-only-key", lease.id, issued.token.id, opened.session.id, "victim-agent-1", "victim1@example.com",
            VICTIM, lease.credential_reference.ref,
        )  # fmt: skip
        hidden = (
            *(
                lease.id,
                issued.token.id,
                human.token.id,
                "victims-metadata",
                "victims-claim",
                "victims-purpose",
                "victims-secret-value",
                lease.credential_reference.ref,
            ),
            *(entry.id for entry in victims.audit_log.query(limit=None)),
        )
        tokens = {
            "agent": issued.secret,
            "session": opened.token,
            "runtime": opened.redeem_token,
            "admin": human.secret,
        }
        strangers = {role.value: _human(others, role) for role in Role}
        of_agent = others.tokens.create(agent="other-agent-1", credentials=["*"])
        strangers["agent"] = of_agent.secret.reveal()
        in_session = served.door.connect(of_agent.secret, None).sessions.open("mcp_sess_own11111111111")
        strangers["session"] = in_session.token.reveal()
        strangers["runtime"] = in_session.redeem_token.reveal()
        strangers["operator"] = served.owner.tokens.create(operator=True).secret.reveal()
        if request.param == "postgres":  # who asks makes no difference to a store
            strangers = {name: strangers[name] for name in ("admin", "session", "runtime", "operator")}
        yield Stage(
            served, server, known, {name: secret.reveal() for name, secret in tokens.items()}, hidden, strangers
        )


def _human(owner: Vault, role: Role) -> str:
    return owner.tokens.create(human=f"{role}@example.org", role=role).secret.reveal()


def send(client: httpx.Client, request: ask.Request[Any], **headers: str) -> httpx.Response:
    travelling = encode_request(request)
    if travelling.body is not None:
        headers["Content-Type"] = "application/json"
    return client.request(
        travelling.method, travelling.path, params=list(travelling.query), content=travelling.body, headers=headers
    )


def is_vaults_own_business(stranger: str, request_type: type[ask.Request[Any]]) -> bool:
    """Operators administer tenants: their names and settings are no secret from them."""
    return stranger == "operator" and request_type in (
        *(ask.CreateTenant, ask.ListTenants, ask.GetTenant, ask.UpdateTenant, ask.RotateKek),
    )


@pytest.mark.parametrize("request_type", ROUTES, ids=lambda kind: kind.__name__)
def test_every_path_of_the_victim_is_to_a_stranger_as_one_that_never_was(
    stage: Stage, request_type: type[ask.Request[Any]]
) -> None:
    for name, token in stage.strangers.items():
        if is_vaults_own_business(name, request_type):
            continue
        client = stage.served.client(stage.server, token)
        before = stage.served.database.rows_of(VICTIM)
        real = [send(client, request) for _, request in requests_about(request_type, stage.victims)]
        assert stage.served.database.rows_of(VICTIM) == before, f"{name} changed something"
        never = [send(client, request) for _, request in requests_about(request_type, NEVER)]
        for one, other in zip(real, never, strict=True):
            assert nameless(one, stage.victims) == nameless(other, NEVER), name
            assert_tells_nothing(stage, one)


def nameless(answer: httpx.Response, asked: Identifiers) -> Told:
    """An answer without the names that were asked for; of one that made or lists the asker's own, its shape."""
    said = told(answer, *asked)
    if answer.is_success:
        headers = tuple(header for header in said.headers if header[0] != "content-length")
        is_json = answer.headers["content-type"].startswith("application/json")
        return Told(said.status, headers, str(sorted(answer.json())) if is_json else said.body)
    return said


def assert_tells_nothing(stage: Stage, answer: httpx.Response) -> None:
    everything = answer.text + str(answer.headers.multi_items())
    for hidden in stage.hidden:
        assert hidden not in everything


@pytest.mark.parametrize("path", ["/v1/audit/stream?afterSeq=-1", "/v1/audit?limit=1000"])
def test_the_log_of_a_stranger_holds_nothing_of_the_victims(stage: Stage, path: str) -> None:
    for name, token in stage.strangers.items():
        for wanted in ("", f"&sessionId={stage.victims.session}", f"&agent={stage.victims.agent}"):
            client = stage.served.client(stage.server, token)
            with client.stream("GET", path + wanted) as answer:
                if not answer.is_success:
                    answer.read()
                    assert_tells_nothing(stage, answer)
                    continue
                said = next(answer.iter_text()) if "stream" in path else answer.read().decode()
            for hidden in stage.hidden:
                assert hidden not in without_own_exports(said), name


def without_own_exports(said: str) -> str:
    """Entries, as a stream or as a list, without those of exports: they quote by what whoever exported has filtered."""
    if said.startswith("{"):
        items = [item for item in json.loads(said)["items"] if item["event"] != "audit.exported"]
        return json.dumps(items, ensure_ascii=False)
    return "\n\n".join(part for part in said.split("\n\n") if "audit.exported" not in part)


def test_naming_the_victims_tenant_is_as_naming_one_that_never_was(stage: Stage) -> None:
    for name, token in stage.strangers.items():
        answers = []
        for tenant in (VICTIM, NEVER.tenant, "_vault", "NOT A NAME"):
            client = stage.served.client(stage.server, token, **{"X-Vault-Tenant": tenant})
            before = stage.served.database.rows_of(VICTIM)
            answers.append([told(send(client, request)) for request in _harmless(stage, name)])
            assert stage.served.database.rows_of(VICTIM) == before
        assert all(other == answers[0] for other in answers), name
        if name != "operator":
            assert {said.status for said in answers[0]} == {401}


def _harmless(stage: Stage, stranger: str) -> list[ask.Request[Any]]:
    asked = [
        ask.GetSelf(),
        ask.ListCredentials(),
        ask.CreateLease(credential_name=stage.victims.credential),
        ask.GetLease(id=stage.victims.lease),
    ]
    # An operator's log is the vault's own, and grows by the refusals of the others.
    return asked if stranger == "operator" else [*asked, ask.QueryAudit()]


REPEATED: dict[str, tuple[str, Callable[[Stage], ask.Request[Any]]]] = {
    "lease": ("agent", lambda stage: ask.CreateLease(credential_name=stage.victims.credential, purpose="once")),
    "renewal": ("agent", lambda stage: ask.RenewLease(id=stage.victims.lease)),
    "redemption": ("runtime", lambda stage: ask.RedeemLease(id=stage.victims.lease, ref=stage.victims.ref)),
    "session": ("agent", lambda stage: ask.OpenSession(id="mcp_sess_once1111111111")),
    "token": ("admin", lambda stage: ask.CreateToken(agent="once", credentials=("*",))),
    "revocation": ("admin", lambda stage: ask.RevokeLeases(agent="nobody")),
    "credential": (
        "admin",
        lambda stage: ask.RotateCredential(name=stage.victims.credential, value=Secret("another-0123456789")),
    ),
}


@pytest.mark.parametrize("what", REPEATED)
def test_a_key_and_body_of_the_victims_give_a_stranger_nothing(stage: Stage, what: str) -> None:
    who, make = REPEATED[what]
    request, key = make(stage), f"victims-idempotency-key-{what}"
    victim = stage.served.client(stage.server, stage.victims_tokens[who])
    first = send(victim, request, **{"Idempotency-Key": key})
    assert first.is_success, first.text
    before = stage.served.database.rows_of(VICTIM)
    for name, token in stage.strangers.items():
        stranger = stage.served.client(stage.server, token)
        answer = send(stranger, request, **{"Idempotency-Key": key})
        fresh = send(stranger, request, **{"Idempotency-Key": f"{key}-{name}"})
        assert stage.served.database.rows_of(VICTIM) == before
        if not answer.is_success:  # a session's id, say, is the stranger's own by now
            assert fresh.is_error
            assert told(answer) == told(fresh), name
        assert_tells_nothing(stage, answer)
        made = first.json().get("id", "")
        for secret in (*stage.victims_tokens.values(), *([made] if made and made not in repr(request) else [])):
            assert secret not in answer.text


def test_the_victim_itself_is_answered_on_these_paths(stage: Stage) -> None:
    """Else nothing were proved."""
    client = stage.served.client(stage.server, stage.victims_tokens["admin"], **{"X-Vault-Tenant": VICTIM})
    for request in (
        ask.GetCredential(name=stage.victims.credential),
        ask.GetLease(id=stage.victims.lease),
        ask.GetToken(id=stage.victims.token),
        ask.GetSession(id=stage.victims.session),
        ask.GetTenant(id=VICTIM),
    ):
        assert send(client, request).status_code == 200
