"""The OpenAPI document says all that there is, and schemathesis finds nothing that it does not say."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from tests.api.conftest import CREDENTIAL, Site
from tests.api.harness import RunningServer
from vaultctl.api.openapi import STREAM, document
from vaultctl.api.throttle import FailedAuthentications
from vaultctl.domain import requests as ask
from vaultctl.domain.routes import ROUTES

SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
SETTINGS = """
[parameters]
"header.X-Vault-Tenant" = "my-org"
"""
"""Another tenant than the token's would be refused before anything else is looked at."""
LEFT_OUT = r"/stream$|/tokens/\{id\}/(rotate|revoke)$"
"""A stream has no end; and a fuzzer that ends its own token finds nothing more."""
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance"
)


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return document()


def operations(api: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_the_document_is_valid(api: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(OPENAPI_31).validate(api)


def test_every_reference_leads_somewhere(api: dict[str, Any]) -> None:
    text = json.dumps(api)
    for part in text.split('"$ref": "')[1:]:
        where: Any = api
        for step in part.split('"')[0].removeprefix("#/").split("/"):
            where = where[step]
    assert "Page_" not in text
    assert "``" not in text


def test_every_route_is_in_it_and_every_operation_is_served(api: dict[str, Any]) -> None:
    documented = {(method, path) for method, path, _ in operations(api)}
    routes = {(route.method, route.template) for route in ROUTES.values()}
    others = {"/v1/health", "/v1/health/live", "/v1/health/ready", STREAM, "/metrics", "/openapi.json"}
    assert documented == routes | {("GET", path) for path in others}


def test_operations_have_names_of_their_own(api: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(api)]
    assert len(set(names)) == len(names)
    assert {name for name in names if name in ("createLease", "queryAudit", "streamAudit", "health")}


def test_every_operation_of_the_vault_says_what_can_go_wrong(api: dict[str, Any]) -> None:
    for method, path, operation in operations(api):
        if operation.get("security") == [] or path == "/metrics":
            continue
        assert {"401", "403", "404", "422", "429", "500", "503"} <= operation["responses"].keys()
        assert {part["name"] for part in operation["parameters"]} >= {"X-Vault-Tenant"}
        names = {part["name"] for part in operation["parameters"]}
        assert ("Idempotency-Key" in names) == (method == "POST")
        if "requestBody" in operation:
            assert {"408", "409", "413", "415"} <= operation["responses"].keys()


def test_the_fields_of_the_path_are_not_asked_for_in_the_body(api: dict[str, Any]) -> None:
    body = api["paths"]["/v1/credentials/{name}"]["patch"]["requestBody"]["content"]["application/json"]["schema"]
    assert "name" not in body["properties"]
    assert body["additionalProperties"] is False


def test_filters_have_the_names_that_they_travel_by(api: dict[str, Any]) -> None:
    names = {part["name"] for part in api["paths"]["/v1/audit"]["get"]["parameters"]}
    assert names >= {"event", "identity.name", "identity.sessionId", "afterSeq", "cursor", "limit", "since"}
    assert len(names) == len(ask.QueryAudit.__struct_fields__) + 1
    stream = {part["name"] for part in api["paths"][STREAM]["get"]["parameters"]}
    assert stream == names - {"cursor", "limit"} | {"Last-Event-ID"}


def test_answers_are_as_they_are_documented(api: dict[str, Any], site: Site) -> None:
    client = site.client(site.serve(), site.admin)
    lease = client.post("/v1/leases", json={"credentialName": CREDENTIAL, "ttl": "1h30m"})
    answers = {
        "IssuedLease": lease,
        "Lease": client.get(f"/v1/leases/{lease.json()['id']}"),
        "LeasePage": client.get("/v1/leases"),
        "IssuedToken": client.post("/v1/tokens", json={"agent": "a", "credentials": ["*"]}),
        "WhoAmI": client.get("/v1/tokens/self"),
        "AuditEntryPage": client.get("/v1/audit"),
        "CredentialPage": client.get("/v1/credentials"),
        "Revocation": client.post("/v1/leases/revoke", json={"agent": "a"}),
        "Problem": client.get("/v1/leases/none"),
        "Health": client.get("/v1/health"),
    }
    agent = site.client(site.serve(), site.agent)
    opened = answers["OpenedSession"] = agent.post("/v1/sessions", json={})
    session, runtime = (site.client(site.serve(), opened.json()[name]) for name in ("token", "redeemToken"))
    given = {"credentialName": CREDENTIAL, "responseFormat": "reference"}
    by_reference = session.post("/v1/leases", json=given)
    ref = {"ref": by_reference.json()["credentialReference"]["ref"]}
    answers["RedeemedLease"] = runtime.post(f"/v1/leases/{by_reference.json()['id']}/redeem", json=ref)
    for name, answer in [*answers.items(), ("IssuedLease", by_reference)]:
        schema = {"$ref": f"#/components/schemas/{name}", "components": api["components"]}
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        validator.validate(answer.json())
    for name in ("IssuedLease", "IssuedToken", "OpenedSession", "RedeemedLease"):
        # What is flattened is documented flat: no field more, none less, but for those that can be left out.
        documented = api["components"]["schemas"][name]
        assert set(documented["required"]) <= answers[name].json().keys() <= documented["properties"].keys()


def test_every_operation_needs_a_token(site: Site) -> None:
    client = site.client(site.serve(failures=FailedAuthentications(sleep=at_once)))
    for route in ROUTES.values():
        path = re.sub(r"\{.*?\}", "x", route.template)
        assert client.request(route.method, path).status_code == 401
    assert client.get(STREAM).status_code == 401


async def at_once(_: float) -> None:
    """Sleep no time."""


def fuzz(server: RunningServer, token: str, directory: Path, *options: str) -> Counter[int]:
    """Let schemathesis loose on ``server``; answers how many requests had which status."""
    settings = directory / "schemathesis.toml"
    settings.write_text(SETTINGS)
    command = [
        SCHEMATHESIS, "--config-file", str(settings), "run", f"{server.url}/openapi.json",
        "--header", f"Authorization:Bearer {token}", "--checks", CHECKS, "--exclude-path-regex", LEFT_OUT,
        "--request-timeout", "20", "--generation-database", "none", "--warnings", "off", "--no-color", *options,
    ]  # fmt: skip
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, str(server.lines("unexpected")[:5]) + run.stdout[-12_000:] + run.stderr[-2_000:]
    server.stop(10)
    return Counter(line["status"] for line in server.lines("request"))


@pytest.mark.parametrize(
    ("who", "phases"),
    [("admin", ("coverage", "--mode", "positive")), ("agent", ("fuzzing", "--max-examples", "3", "--seed", "1"))],
)
def test_schemathesis_finds_no_server_error_and_nothing_undocumented(
    who: str, phases: tuple[str, ...], site: Site, tmp_path: Path
) -> None:
    server = site.serve(failures=FailedAuthentications(sleep=at_once))
    statuses = fuzz(server, site.admin if who == "admin" else site.agent, tmp_path, "--phases", *phases)
    assert statuses.total() >= 80, "hardly anything was generated"
    assert statuses[200] + statuses[201] >= 10
    assert statuses[422] >= 10
    assert statuses[401] == 0, "the token was lost on the way"
