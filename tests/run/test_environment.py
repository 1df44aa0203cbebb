"""What a command inherits, and which variables a credential may set."""

import os

import pytest

from vaultctl.crypto.tokens import new_token_secret
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.secrets import Secret
from vaultctl.run.environment import environment_for_child, parse_wanted


def test_each_variable_gets_the_credential_that_is_named() -> None:
    assert parse_wanted(["KEY=shopify-api-key", "_db2=orders-db"]) == {"KEY": "shopify-api-key", "_db2": "orders-db"}


@pytest.mark.parametrize("text", ["", "KEY", "=name", "1KEY=name", "K EY=name", "KEY=", "KEY=Not A Name", "K\n=name"])
def test_what_is_no_variable_or_no_credential_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_wanted([text])
    assert "Not A" not in refused.value.message + refused.value.hint


def test_a_variable_is_given_once() -> None:
    with pytest.raises(InvalidInput, match="KEY is given twice"):
        parse_wanted(["KEY=a", "KEY=b"])


@pytest.mark.parametrize(
    "variable",
    [
        "PATH",
        "LD_PRELOAD",
        "DYLD_INSERT_LIBRARIES",
        "BASH_ENV",
        "PYTHONSTARTUP",
        "NODE_OPTIONS",
        "GIT_SSH_COMMAND",
        "GIT_CONFIG_COUNT",
        "PERL5OPT",
        "IFS",
        "VAULT_TOKEN",
        "VAULTCTL_HOME",
        "_VAULTCTL_COMPLETE",
        "CORTEX_SESSION_ID",
    ],
)
def test_a_credential_sets_no_variable_that_programs_obey(variable: str) -> None:
    with pytest.raises(InvalidInput, match=f"The variable {variable} steers programs"):
        parse_wanted([f"{variable}=shopify-api-key"])


def test_the_command_inherits_everything_but_what_opens_the_vault() -> None:
    token = new_token_secret(os.urandom).reveal()
    ours = {
        "TERM": "xterm",
        "ODD": "\udcff",
        "VAULT_TOKEN": token,
        "VAULT_TOKEN_DEPLOY": token,
        "VAULT_PASSPHRASE": "correct horse",
        "VAULT_PASSPHRASE_FILE": "/run/secrets/passphrase",
        "VAULT_DATABASE_URL": "postgresql://vault:s3cr3t@db/vault",
        "VAULT_BASE_URL": "https://vault.example.com",
        "KEY": "replaced",
    }
    child = environment_for_child(ours, {"KEY": Secret("geheim☃")})
    assert child == {
        b"TERM": b"xterm",
        b"ODD": b"\xff",
        b"VAULT_BASE_URL": b"https://vault.example.com",
        b"KEY": "geheim☃".encode(),
    }
