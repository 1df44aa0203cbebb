"""Operations on tenants."""

import msgspec

from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import AlreadyExists, Conflict, InvalidInput, NotAllowed, NotFound
from vaultctl.domain.names import check_name
from vaultctl.domain.records import Event, KekRotation, Page, Role, Tenant
from vaultctl.domain.rules import (
    DEFAULT_LEASE_TTL,
    DEFAULT_MAX_LEASE_TTL,
    Caller,
    Refusal,
    require_operator,
    require_role,
)
from vaultctl.engine import paging, views
from vaultctl.engine.authentication import VAULT_TENANT
from vaultctl.engine.free_text import refuse_disclosure
from vaultctl.engine.refusals import refuse_if
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import TenantRow


def create_tenant(tx: Transaction, caller: Caller, request: ask.CreateTenant) -> Tenant:
    """Create a tenant with its own keys and its own log."""
    refuse_if(caller, require_operator(caller))
    check_name(request.id, "tenant")
    refuse_disclosure(tx, caller, (request.id,), Event.ACCESS_DENIED)
    default, maximum = _ttls(request.default_lease_ttl, request.max_lease_ttl, DEFAULT_LEASE_TTL, DEFAULT_MAX_LEASE_TTL)
    if tx.get(TenantRow, request.id) is not None:
        raise AlreadyExists(f"There is a tenant {request.id!r} already.", hint="Choose another name.")
    row = tx.create_tenant(request.id, default.seconds_total, maximum.seconds_total)
    _audit(tx, caller, Event.TENANT_CREATED, row)
    return views.tenant(row)


def list_tenants(tx: Transaction, caller: Caller, request: ask.ListTenants) -> Page[Tenant]:
    """All tenants for whoever runs the vault; for others their own."""
    limit = paging.page_size(request.limit)
    if not caller.is_operator:
        return Page(items=(views.tenant(_reachable(tx, caller, caller.tenant)),))
    after = paging.decode(request.cursor, str)[0] if request.cursor else ""
    conditions = (Where("tenant", ">", after), Where("tenant", "!=", VAULT_TENANT))
    rows = tx.find(TenantRow, *conditions, order="tenant", limit=limit + 1)
    return paging.page(rows, limit, views.tenant, lambda row: (row.tenant,))


def get_tenant(tx: Transaction, caller: Caller, request: ask.GetTenant) -> Tenant:
    """One tenant."""
    return views.tenant(_reachable(tx, caller, request.id))


def update_tenant(tx: Transaction, caller: Caller, request: ask.UpdateTenant) -> Tenant:
    """Change a tenant's settings."""
    row = _reachable(tx, caller, request.id)
    refuse_if(caller, None if caller.is_operator else require_role(caller, Role.ADMIN))
    if request.default_lease_ttl is None and request.max_lease_ttl is None:
        raise InvalidInput("Nothing to change was named.", hint="Give a default or a maximum lease TTL.")
    default, maximum = _ttls(
        request.default_lease_ttl,
        request.max_lease_ttl,
        Duration.of(row.default_lease_ttl),
        Duration.of(row.max_lease_ttl),
    )
    row = tx.update(row, default_lease_ttl=default.seconds_total, max_lease_ttl=maximum.seconds_total)
    _audit(tx, caller, Event.SETTINGS_UPDATED, row)
    return views.tenant(row)


def rotate_kek(tx: Transaction, caller: Caller, request: ask.RotateKek) -> KekRotation:
    """Rewrap some of a tenant's data keys by its newest key-encryption key, which the first step makes.

    Earlier versions stay until nothing names them, then they are destroyed in the same transaction as the last step.
    """
    tenant = _administered(tx, caller, request.id)
    limit = paging.page_size(request.limit)
    *earlier, version = tx.kek_versions(tenant)
    if request.version is not None and request.version > version:
        raise Conflict(
            f"The key-encryption key of tenant {tenant!r} has no version {request.version}.", hint="Start a new one."
        )
    if request.version is None and not earlier:
        earlier, version = [version], tx.add_kek(tenant)
    if not earlier or request.version not in (None, version):
        return KekRotation(id=tenant, version=version, remaining=0)
    rewrapped = tx.rewrap_data_keys(tenant, version, limit)
    remaining = tx.count_data_keys_before(tenant, version)
    if not remaining:
        tx.drop_keks_before(tenant, version)
    if rewrapped or not remaining:
        counts = {"version": version, "rewrapped": rewrapped, "remaining": remaining}
        tx.audit(tenant, Event.KEK_ROTATED, caller.identity, counts)
    return KekRotation(id=tenant, version=version, remaining=remaining)


def kek_rotation(tx: Transaction, caller: Caller, tenant: str) -> KekRotation:
    """How far a tenant's rotation is: the answer to a step that was carried out before."""
    tenant = _administered(tx, caller, tenant)
    version = tx.kek_versions(tenant)[-1]
    return KekRotation(id=tenant, version=version, remaining=tx.count_data_keys_before(tenant, version))


def _administered(tx: Transaction, caller: Caller, tenant: str) -> str:
    row = _reachable(tx, caller, tenant)
    refuse_if(caller, None if caller.is_operator else require_role(caller, Role.ADMIN))
    return row.tenant


def _reachable(tx: Transaction, caller: Caller, tenant: str) -> TenantRow:
    """A tenant that the caller may know of. To others it does not exist, whether it does or not."""
    if caller.is_agent:
        refuse_if(caller, Refusal("humans-only", NotAllowed("An agent does not see tenants.")))
    missing = NotFound("There is no such tenant.", hint="List them: vaultctl tenant list")
    if tenant != caller.tenant and not caller.is_operator:
        refuse_if(caller, Refusal("tenant", missing))
    row = None if tenant == VAULT_TENANT else tx.get(TenantRow, tenant)
    if row is None:
        raise missing
    return row


def _ttls(
    default: Duration | None, maximum: Duration | None, current_default: Duration, current_maximum: Duration
) -> tuple[Duration, Duration]:
    new_maximum = maximum or current_maximum
    new_default = default or min(current_default, new_maximum)
    if new_default > new_maximum:
        raise InvalidInput(f"The default lease TTL {new_default} is longer than the maximum {new_maximum}.")
    return new_default, new_maximum


def settings_details(row: TenantRow) -> dict[str, str]:
    """A tenant's settings as its entries in the audit log have them."""
    settings = msgspec.to_builtins(views.tenant(row), enc_hook=str)
    return {name: settings[name] for name in ("defaultLeaseTTL", "maxLeaseTTL")}


def _audit(tx: Transaction, caller: Caller, event: Event, row: TenantRow) -> None:
    tx.audit(row.tenant, event, caller.identity, settings_details(row))
