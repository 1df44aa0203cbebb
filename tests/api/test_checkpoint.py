"""The checkpoint over HTTP: as C2SP tlog-tiles lays it out for any client, and as JSON for ours."""

from pathlib import Path

from tests.api.conftest import Site
from vaultctl.engine.service import Service
from vaultctl.ledger.checkpoint import open_checkpoint
from vaultctl.ledger.note import parse_verifier_key


def test_a_checkpoint_is_a_note_for_whoever_does_not_ask_for_json(site: Site) -> None:
    client = site.client(site.serve(), site.admin)
    made = client.post("/v1/audit/checkpoint").json()
    for accept in (None, "*/*", "text/plain"):
        answer = client.get("/v1/audit/checkpoint", headers={"accept": accept} if accept else {})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.text == made["note"]
    assert client.get("/v1/audit/checkpoint", headers={"accept": "application/json"}).json() == made
    key = parse_verifier_key(made["verifierKey"])
    assert open_checkpoint(answer.content, key).size == made["size"]


def test_an_agent_gets_none_and_that_is_in_the_log(site: Site, tmp_path: Path) -> None:
    server = site.serve()
    for method in ("get", "post"):
        assert getattr(site.client(server, site.agent), method)("/v1/audit/checkpoint").status_code == 403
    entries = site.client(server, site.admin).get("/v1/audit", params={"limit": 2}).json()["items"]
    assert {entry["details"]["operation"] for entry in entries} == {"audit.checkpoint"}


def test_a_log_that_grows_no_more_gets_a_checkpoint_by_itself(site: Site) -> None:
    server = site.serve(service=Service(site.door.engine, reap_seconds=0.02))
    client = site.client(server, site.admin)
    site.clock.advance("2s")
    size = client.get("/v1/audit", params={"limit": 1}).json()["items"][0]["seq"] + 1
    answer = client.get("/v1/audit/checkpoint")
    while answer.status_code == 404 or int(answer.text.split("\n")[1]) < size:
        answer = client.get("/v1/audit/checkpoint")
    assert int(answer.text.split("\n")[1]) == size
