"""What the environment says, and what it outweighs: the part of ``doctor`` that is the same here and at a server."""

import os
from collections.abc import Iterator

from vaultctl.client import contexts
from vaultctl.client.findings import Finding
from vaultctl.client.location import Home
from vaultctl.crypto.tokens import PREFIX
from vaultctl.domain.errors import VaultError

_OTHER_PRODUCTS = {
    "hvs.": "HashiCorp Vault",
    "hvb.": "HashiCorp Vault",
    "s.": "HashiCorp Vault or OpenBao",
    "b.": "HashiCorp Vault or OpenBao",
    "dp.": "Doppler",
    "st.": "Infisical",
    "ops_": "1Password",
    "ghp_": "GitHub",
    "glpat-": "GitLab",
}
"""How the tokens of others begin that may stand in ``VAULT_TOKEN``."""


def token_findings() -> Iterator[Finding]:
    """What is wrong with ``VAULT_TOKEN`` before anybody is asked; nothing if it is unset, or could be ours."""
    token = os.environ.get("VAULT_TOKEN")
    if token is None or token.startswith(PREFIX):
        return
    hint = "Unset it, or set a vaultctl token."
    product = next((name for beginning, name in _OTHER_PRODUCTS.items() if token.startswith(beginning)), None)
    if not token:
        message = "VAULT_TOKEN is empty."
    elif product is None:
        message = "VAULT_TOKEN is a token of another product."
    else:
        message = f"VAULT_TOKEN is a token of another product, {product} by its beginning."
        hint = "Unset it in shells in which you use vaultctl, or set a vaultctl token."
    yield Finding(check="token", level="problem", message=message, hint=hint)


def shadowed(home: Home, tenant: str | None) -> Iterator[Finding]:
    """Settings that a variable of the environment outweighs.

    Args:
        home: Where the contexts are.
        tenant: The tenant that the context or ``init`` noted.
    """
    try:
        current = contexts.load(home).current
    except VaultError:
        current = contexts.EMBEDDED  # what is wrong with the contexts is said where they are needed
    for variable in ("VAULT_BASE_URL", "VAULT_DATABASE_URL"):
        if os.environ.get(variable) and current != contexts.EMBEDDED:
            yield _outweighs(variable, f"the context in use, {current}")
    named = os.environ.get("VAULT_TENANT")
    if named and tenant and named != tenant:
        yield _outweighs("VAULT_TENANT", f"the tenant that is noted, {tenant}")


def outweighed_database(noted: str) -> Finding:
    """``VAULT_DATABASE_URL`` names another database than ``init`` noted."""
    return _outweighs("VAULT_DATABASE_URL", f"the database that init noted, {noted}")


def _outweighs(variable: str, what: str) -> Finding:
    return Finding(
        check="settings",
        level="warning",
        message=f"{variable} is set, and outweighs {what}.",
        hint=f"Unset {variable} if that is not what you want.",
    )
