"""A canary goes through every operation; afterwards it is nowhere in the files of the vault."""

import base64
from urllib.parse import quote

import pytest

from tests.contract.world import Vault, secret_of
from tests.engine.conftest import Workshop
from vaultctl.domain.errors import VaultError

CANARIES = [f"canary-{name}-0123456789" for name in ("one", "two", "three")]


def forms(secret: str) -> set[bytes]:
    data = secret.encode()
    aligned = {base64.b64encode(b"\0" * shift + data)[4:-4] for shift in range(3)}
    return {data, data.hex().encode(), data.hex().upper().encode(), quote(secret, safe="").encode(), *aligned}


def attempt(*acts: object) -> None:
    for act in acts:
        assert callable(act)
        with pytest.raises(VaultError):
            act()


def play(workshop: Workshop) -> list[str]:
    """Every operation with a canary in it; answers all secrets that there were."""
    world, owner = workshop.world, workshop.world.owner()
    one, two, three = CANARIES
    owner.credentials.create("it", "generic-secret", one)
    owner.credentials.create("other", "api-key", "key-0123456789")
    token = owner.tokens.create(agent="ours", credentials=["*"])
    agent = world.connect(token)
    opened = agent.sessions.open("cortex_sess_1")
    session = world.connect(opened)
    lease = session.leases.create("it", purpose="Working")
    session.leases.renew(lease.id, "2h")
    owner.credentials.rotate("it", two)
    session.leases.create("it").revoke()
    owner.credentials.rollback("it", 1)
    attempt(
        lambda: session.leases.create("other", purpose=f"With {one}"),
        lambda: session.leases.create("other", purpose=base64.b64encode(one.encode()).decode()),
        lambda: session.leases.create("other", claimed={"client": two}),
        lambda: session.leases.create(one),
        lambda: session.leases.get(one),
        lambda: session.credentials.get(two),
        lambda: session.audit_log.query(session=one),
        lambda: agent.sessions.open(f"mcp_sess_{one}"),
        lambda: owner.credentials.update("it", metadata={"note": one}),
        lambda: owner.credentials.create("new", "database-url", three),
        lambda: owner.credentials.create(three, "api-key", three),
        lambda: owner.credentials.rotate("other", f"{three} with spaces"),
        lambda: owner.credentials.create("new", "api-key", three, metadata={"note": three}),
    )
    rotated = owner.tokens.rotate(token.token.id)
    owner.sessions.end("cortex_sess_1")
    return [*CANARIES, *(secret_of(each).reveal() for each in (token, opened, rotated))]


def everything_on_disk(workshop: Workshop) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(workshop.path.parent.rglob("*")) if path.is_file())


def test_no_secret_is_in_any_file_of_the_vault(workshop: Workshop) -> None:
    secrets = play(workshop)
    content = everything_on_disk(workshop)
    assert b"cortex_sess_1" in content
    for secret in secrets:
        for form in forms(secret) | forms(secret.removeprefix("vault_token_")):
            assert form not in content


def test_no_secret_stays_behind_when_its_credential_is_deleted(workshop: Workshop) -> None:
    secrets = play(workshop)
    owner: Vault = workshop.world.owner()
    owner.credentials.delete("it")
    for secret in secrets:
        assert secret.encode() not in everything_on_disk(workshop)


def test_the_root_key_is_not_in_the_database(workshop: Workshop) -> None:
    play(workshop)
    assert workshop.root.key not in everything_on_disk(workshop)


def test_all_files_are_for_their_owner_alone(workshop: Workshop) -> None:
    play(workshop)
    files = [path for path in workshop.path.parent.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o600"}
