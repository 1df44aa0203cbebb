"""Which tenants a call may write to. Their logs are held before anything is read that the call goes by."""

from collections.abc import Iterable
from typing import Any

from vaultctl.domain import requests as ask
from vaultctl.domain.names import is_name
from vaultctl.engine.authentication import VAULT_TENANT, Owner, Principal
from vaultctl.engine.dispatch import Call
from vaultctl.engine.transaction import Transaction


def tenants_of(tx: Transaction, calls: Iterable[Call]) -> set[str]:
    """The callers' tenants, and the others that their requests can change.

    A token is not judged here: where it turns out to be of another tenant, the transaction is run again.
    """
    tenants: set[str] = set()
    known: dict[Principal, str | None] = {}  # many calls of a group have the same caller
    for principal, request, _ in calls:
        if principal in known:
            tenant = known[principal]
        else:
            tenant = principal.tenant if isinstance(principal, Owner) else tx.tenant_of(principal.token_hash)
            known[principal] = tenant
        if tenant is not None:
            tenants.add(tenant)
            if type(request) is not ask.CreateLease:  # by far the most there are of
                tenants |= _others(tenant, principal, request)
    return tenants


def _others(tenant: str, principal: Principal, request: ask.Request[Any]) -> set[str]:
    """Which tenants beside the caller's a request can change."""
    tenants: set[str] = set()
    runs_the_vault = isinstance(principal, Owner) or tenant == VAULT_TENANT
    match request:
        case ask.UpdateTenant() if runs_the_vault and is_name(request.id):
            tenants.add(request.id)
        # Whoever makes a key excludes whoever rotates the root key, which holds the vault's own log.
        case ask.CreateTenant() if runs_the_vault and is_name(request.id):
            tenants |= {request.id, VAULT_TENANT}
        case ask.RotateKek():
            tenants |= {request.id, VAULT_TENANT} if runs_the_vault and is_name(request.id) else {VAULT_TENANT}
        case ask.CreateToken(operator=True) | ask.RotateToken() | ask.RevokeToken() if runs_the_vault:
            tenants.add(VAULT_TENANT)
    return tenants
