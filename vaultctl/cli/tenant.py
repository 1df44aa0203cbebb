"""``vaultctl tenant``: tenants and their settings."""

from typing import Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output, placeholders
from vaultctl.cli.base import invocation, looked_up, noun, verb
from vaultctl.cli.columns import Column
from vaultctl.domain.errors import InvalidInput, VerificationFailed

app = noun("tenant", "vaultctl tenant list")

_COLUMNS = [
    Column("tenant", lambda t: t.id),
    Column("default lease ttl", lambda t: t.default_lease_ttl),
    Column("max lease ttl", lambda t: t.max_lease_ttl),
    Column("created", lambda t: t.created_at, detail=1),
]

DefaultLeaseTTL = Annotated[
    Any,
    opt.option(
        "--default-lease-ttl",
        metavar="DURATION",
        help="TTL of a lease that asks for none.",
        parser=opt.duration("default lease TTL"),
    ),
]
MaxLeaseTTL = Annotated[
    Any,
    opt.option(
        "--max-lease-ttl",
        metavar="DURATION",
        help="Longest a lease may live, renewals included.",
        parser=opt.duration("maximum lease TTL"),
    ),
]
Tenant = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="Which one; else the one that you work in.",
        show_default=False,
        autocompletion=looked_up(placeholders.TENANTS),
    ),
]


_ROTATED = [
    Column("tenant", lambda r: r.id),
    Column("key version", lambda r: r.version),
    Column("remaining", lambda r: r.remaining),
]

_STEP = 500
"""Data keys that are rewrapped in one transaction, which others wait for."""


@verb(app, "create", "vaultctl tenant create staging --max-lease-ttl 8h")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.", show_default=False)],
    default_lease_ttl: DefaultLeaseTTL = None,
    max_lease_ttl: MaxLeaseTTL = None,
) -> None:
    """Create a tenant with its own keys and its own audit log."""
    run = invocation(ctx)
    with run.vault() as vault:
        tenant = vault.tenants.create(name, default_lease_ttl=default_lease_ttl, max_lease_ttl=max_lease_ttl)
    run.tell(f"Work in it with --tenant {tenant.id}, or VAULT_TENANT={tenant.id}.")
    output.one(run, tenant, _COLUMNS, lambda t: t.id)


@verb(app, "list", "vaultctl tenant list")
def list_tenants(ctx: typer.Context) -> None:
    """List the tenants."""
    run = invocation(ctx)
    with run.vault() as vault:
        found = vault.tenants.list()
    from vaultctl.domain import records

    output.many(run, found, records.Tenant, _COLUMNS, lambda t: t.id)


@verb(app, "show", "vaultctl tenant show")
def show(ctx: typer.Context, name: Tenant = None) -> None:
    """Show a tenant and its settings."""
    run = invocation(ctx)
    with run.vault() as vault:
        tenant = vault.tenants.get(name or vault.whoami().tenant)
    output.one(run, tenant, _COLUMNS, lambda t: t.id)


@verb(app, "set", "vaultctl tenant set --default-lease-ttl 30m --max-lease-ttl 8h")
def set_settings(
    ctx: typer.Context,
    name: Tenant = None,
    default_lease_ttl: DefaultLeaseTTL = None,
    max_lease_ttl: MaxLeaseTTL = None,
) -> None:
    """Change a tenant's settings; what is not named stays. Running leases keep what they were granted."""
    if default_lease_ttl is None and max_lease_ttl is None:
        raise InvalidInput("There is nothing to set.", hint="See vaultctl tenant set --help.")
    run = invocation(ctx)
    with run.vault() as vault:
        tenant = vault.tenants.update(
            name or vault.whoami().tenant, default_lease_ttl=default_lease_ttl, max_lease_ttl=max_lease_ttl
        )
    output.one(run, tenant, _COLUMNS, lambda t: t.id)


@verb(app, "rotate-kek", "vaultctl tenant rotate-kek")
def rotate_kek(ctx: typer.Context, name: Tenant = None, dry_run: opt.DryRun = False) -> None:
    """Make a new key-encryption key, and rewrap the data keys of all credentials by it. Values stay as they are.

    It works in short steps while the vault is in use. If it is interrupted, run it again: it goes on where it was.
    """
    run = invocation(ctx)
    with run.vault() as vault:
        tenant = vault.tenants.get(name or vault.whoami().tenant).id
        if dry_run:
            run.tell(f"Would make a new key-encryption key for {tenant}, and rewrap all its data keys by it.")
            return
        from vaultctl.cli.progress import progress

        with progress("Rewrapping", quiet=run.quiet) as advance:
            state = first = vault.tenants.rotate_kek(tenant, limit=_STEP)
            while state.remaining:
                advance(first.remaining - state.remaining, first.remaining)
                before, state = state, vault.tenants.rotate_kek(tenant, version=first.version, limit=_STEP)
                if state.remaining and state.remaining >= before.remaining:
                    raise _spoiled(tenant, state.remaining)
    run.tell(f"The key-encryption key of {tenant} is at version {first.version}; earlier versions are destroyed.")
    output.one(run, state, _ROTATED, lambda r: str(r.version))


def _spoiled(tenant: str, count: int) -> VerificationFailed:
    return VerificationFailed(
        f"{opt.count(count, 'data key')} of {tenant} can't be rewrapped: something other than the vault changed their "
        "rows. The earlier key-encryption key stays.",
        hint="See which they are: vaultctl doctor. Restore them from a backup, or delete those credentials.",
    )
