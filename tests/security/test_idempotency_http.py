"""An idempotency key, over HTTP, makes one thing and never gives more than asking anew would."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.security.served import Served

AT_ONCE = 12


@pytest.fixture(params=["sqlite", "postgres"])
def served(request: pytest.FixtureRequest, fast_path: Path) -> Iterator[Served]:
    with ExitStack() as stack:
        made = Served(request.param, fast_path, stack)
        made.owner.credentials.create("key", "generic-secret", "value-0123456789")
        yield made


def lease(client: httpx.Client, key: str) -> httpx.Response:
    return client.post("/v1/leases", json={"credentialName": "key", "ttl": "10m"}, headers={"Idempotency-Key": key})


def test_one_key_sent_many_times_at_once_to_two_servers_makes_one_lease(served: Served) -> None:
    token = served.owner.tokens.create(agent="ours", credentials=["*"]).secret.reveal()
    clients = [served.client(server, token) for server in (served.serve(), served.serve()) for _ in range(AT_ONCE // 2)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda client: lease(client, "once"), clients))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == len(served.owner.leases.list()) == 1
    events = [entry.event.value for entry in served.owner.audit_log.query(limit=None)]
    assert (events.count("lease.created"), events.count("lease.replayed")) == (1, AT_ONCE - 1)


def test_a_repetition_prolongs_nothing(served: Served) -> None:
    token = served.owner.tokens.create(agent="ours", credentials=["*"]).secret.reveal()
    client = served.client(served.serve(), token)
    first = lease(client, "once").json()
    renewal = f"/v1/leases/{first['id']}/renew"
    served.clock.advance("5m")
    renewed = client.post(renewal, json={}, headers={"Idempotency-Key": "renewal"}).json()
    served.clock.advance("5m")
    assert lease(client, "once").json()["expiresAt"] == renewed["expiresAt"]
    again = client.post(renewal, json={}, headers={"Idempotency-Key": "renewal"}).json()
    assert (again["expiresAt"], again["renewals"]) == (renewed["expiresAt"], 1)
    served.clock.advance("5m")
    ended = lease(client, "once")
    assert (ended.status_code, "value" in ended.json()) == (409, False)
    assert client.post(renewal, json={}, headers={"Idempotency-Key": "renewal"}).json()["state"] == "expired"


@pytest.mark.parametrize("how", ["token revoked", "token rotated", "lease revoked", "credential revoked", "policy"])
def test_a_repetition_after_access_was_taken_away_gives_no_value(served: Served, how: str) -> None:
    owner = served.owner
    issued = owner.tokens.create(agent="ours", credentials=["*"])
    client = served.client(served.serve(), issued.secret.reveal())
    made = lease(client, "once").json()
    assert lease(client, "once").json()["value"] == "value-0123456789"
    match how:
        case "token revoked":
            owner.tokens.revoke(issued.token.id)
        case "token rotated":
            owner.tokens.rotate(issued.token.id)
        case "lease revoked":
            owner.leases.revoke(made["id"])
        case "credential revoked":
            owner.credentials.revoke("key")
        case "policy":
            owner.credentials.update("key", allow=["agent:other"])
    answer = lease(client, "once")
    assert answer.status_code in (401, 404, 409)
    assert "value-0123456789" not in answer.text


@pytest.mark.parametrize("key", ["", "k" * 256, "k" * 20_000, "k\x01", "ké".encode("latin-1")])
def test_a_key_that_is_none_makes_nothing(served: Served, key: str | bytes) -> None:
    token = served.owner.tokens.create(agent="ours", credentials=["*"]).secret.reveal()
    client = served.client(served.serve(), token)
    headers = [(b"Idempotency-Key", key if isinstance(key, bytes) else key.encode())]
    answer = client.post("/v1/leases", json={"credentialName": "key"}, headers=headers)
    assert answer.status_code in (400, 422, 431)
    assert served.owner.leases.list() == []
