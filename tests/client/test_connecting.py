"""Which vault ``connect`` means, and with which token it goes there."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.client import answers
from tests.client.scripted_server import ScriptedServer, answer
from tests.vaults import new_vault
from vaultctl import AsyncVault, Vault
from vaultctl.client import contexts, logins
from vaultctl.client.embedded import EmbeddedAdapter
from vaultctl.client.location import locate
from vaultctl.domain.errors import InvalidInput, NotAuthenticated, NotFound, VaultMissing, VaultUnavailable
from vaultctl.domain.secrets import Secret


@pytest.fixture(autouse=True)
def _answering(server: ScriptedServer) -> None:
    server.script = [answer(200, answers.WHOAMI)]


def whoami(**options: Any) -> None:
    """Ask through both doors."""
    with Vault.connect(**options) as vault:
        vault.whoami()

    async def ask() -> None:
        async with AsyncVault.connect(**options) as vault:
            await vault.whoami()

    asyncio.run(ask())


def bearers(server: ScriptedServer) -> set[str]:
    return {received.headers["authorization"].removeprefix("Bearer ") for received in server.received}


def tenants(server: ScriptedServer) -> set[str | None]:
    return {received.headers.get("x-vault-tenant") for received in server.received}


def test_a_base_url_leads_to_its_server(server: ScriptedServer, token: Secret) -> None:
    whoami(base_url=server.base_url, token=token)
    whoami(base_url=f"{server.base_url}/", token=token.reveal(), tenant="my-org")
    assert bearers(server) == {token.reveal()}
    assert tenants(server) == {None, "my-org"}


def test_the_environment_can_say_all_of_it(
    server: ScriptedServer, token: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_BASE_URL", server.base_url)
    monkeypatch.setenv("VAULT_TOKEN", token.reveal())
    monkeypatch.setenv("VAULT_TENANT", "my-org")
    whoami()
    assert bearers(server) == {token.reveal()}
    assert tenants(server) == {"my-org"}


def test_so_can_the_context_in_use(server: ScriptedServer, token: Secret) -> None:
    contexts.add(locate(), "team", server.base_url, "my-org", use=True)
    logins.keep(server.base_url, None, token)
    whoami()
    assert bearers(server) == {token.reveal()}
    assert tenants(server) == {"my-org"}


def test_a_context_can_be_named(server: ScriptedServer, token: Secret) -> None:
    contexts.add(locate(), "team", server.base_url)
    whoami(context="team", token=token)
    assert len(server.received) == 2
    with pytest.raises(NotFound):
        Vault.connect(context="another", token=token)


def test_what_is_named_outweighs_the_environment(
    server: ScriptedServer, token: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_BASE_URL", "https://vault.example.com")
    monkeypatch.setenv("VAULT_TOKEN", "another")
    monkeypatch.setenv("VAULT_TENANT", "another")
    whoami(base_url=server.base_url, token=token, tenant="my-org")
    assert bearers(server) == {token.reveal()}
    assert tenants(server) == {"my-org"}


def test_the_vault_of_this_machine_can_be_named(
    token: Secret, fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_vault(fast_path)
    monkeypatch.setenv("VAULT_BASE_URL", "https://vault.example.com")
    with Vault.connect(context="embedded", home=fast_path, token=token) as vault:
        assert isinstance(vault._adapter, EmbeddedAdapter)
    with pytest.raises(VaultUnavailable, match="VAULT_BASE_URL"):
        Vault.embedded(home=fast_path)


def test_without_a_server_it_is_the_vault_of_this_machine(token: Secret, tmp_path: Path) -> None:
    with pytest.raises(VaultMissing):
        Vault.connect(token=token, home=tmp_path)
    with pytest.raises(VaultMissing):
        AsyncVault.connect(token=token, home=tmp_path)


def test_a_login_is_used_for_its_own_server_only(server: ScriptedServer, token: Secret) -> None:
    logins.keep("http://127.0.0.1:1", None, token)
    with pytest.raises(NotAuthenticated) as refused:
        whoami(base_url=server.base_url)
    assert "vaultctl login" in refused.value.hint
    assert server.received == []


@pytest.mark.parametrize("base_url", [True, False])
def test_an_empty_token_is_no_way_to_another(
    server: ScriptedServer, token: Secret, monkeypatch: pytest.MonkeyPatch, base_url: bool
) -> None:
    logins.keep(server.base_url, None, token)
    named = {"base_url": server.base_url} if base_url else {}
    monkeypatch.setenv("VAULT_TOKEN", "")
    with pytest.raises(NotAuthenticated):
        Vault.connect(**named)
    monkeypatch.setenv("VAULT_TOKEN", token.reveal())
    for empty in ("", Secret("")):
        with pytest.raises(NotAuthenticated):
            Vault.connect(**named, token=empty)
    assert server.received == []


def test_two_vaults_at_once_are_refused(server: ScriptedServer, token: Secret) -> None:
    with pytest.raises(InvalidInput):
        Vault.connect(server.base_url, database="vault.db", token=token)


def test_a_malformed_token_is_not_sent(server: ScriptedServer) -> None:
    with pytest.raises(NotAuthenticated, match="not a vaultctl token"):
        Vault.connect(server.base_url, token="hunter2")
    assert server.received == []
