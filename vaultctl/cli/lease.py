"""``vaultctl lease``: time-limited access to a credential."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output, placeholders
from vaultctl.cli.base import invocation, looked_up, noun, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.confirm import confirm
from vaultctl.domain.errors import InvalidInput, VaultError

if TYPE_CHECKING:
    from vaultctl.domain.records import Lease

app = noun("lease", "vaultctl lease list --state active")


def _state_style(lease: "Lease") -> str:
    return {"active": "green", "expired": "yellow"}.get(lease.state.value, "red")


_LIST = [
    Column("id", lambda x: x.id),
    Column("credential", lambda x: x.credential_name),
    Column("holder", lambda x: x.identity.label),
    Column("state", lambda x: x.state.value, style=_state_style),
    Column("expires", lambda x: x.expires_at, detail=1),
    Column("purpose", lambda x: x.identity.purpose, wrap=24, detail=2),
    Column("session", lambda x: x.identity.session_id, detail=2),
]

HOLDERS = [
    Column("holder", lambda x: x.identity.label),
    Column("session", lambda x: x.identity.session_id),
    Column("purpose", lambda x: x.identity.purpose, wrap=24),
    Column("from", lambda x: x.issued_at),
    Column("until", lambda x: min(x.expires_at, x.ended_at or x.expires_at)),
    Column("lease", lambda x: x.id, detail=1),
    Column("state now", lambda x: x.state.value, style=_state_style, detail=2),
]
"""Who had a credential."""

_ONE = [
    Column("id", lambda x: x.id),
    Column("credential", lambda x: x.credential_name),
    Column("version", lambda x: x.credential_version),
    Column("holder", lambda x: x.identity.label),
    Column("session", lambda x: x.identity.session_id),
    Column("purpose", lambda x: x.identity.purpose),
    Column("state", lambda x: x.state.value, style=_state_style),
    Column("delivery", lambda x: x.delivery.value),
    Column("redeemed", lambda x: x.redeemed_at),
    Column("ttl", lambda x: x.ttl),
    Column("issued", lambda x: x.issued_at),
    Column("expires", lambda x: x.expires_at),
    Column("at most until", lambda x: x.max_expires_at),
    Column("renewals", lambda x: x.renewals),
    Column("renewed", lambda x: x.renewed_at),
    Column("ended", lambda x: x.ended_at),
    Column("why ended", lambda x: x.end_reason),
    Column("token", lambda x: x.token_id),
]

_ISSUED = [
    Column("lease", lambda i: i.lease.id),
    Column("credential", lambda i: i.lease.credential_name),
    Column("version", lambda i: i.lease.credential_version),
    Column("type", lambda i: i.type.value),
    Column("ttl", lambda i: i.lease.ttl),
    Column("expires", lambda i: i.lease.expires_at),
    Column("at most until", lambda i: i.lease.max_expires_at),
    Column("attributes", lambda i: i.attributes),
]

_VALUE = Column("value", lambda i: i.value.reveal(), whole=True, style="bold")

_REFERENCE = [
    Column("reference", lambda i: i.credential_reference.ref, whole=True, style="bold"),
    Column("preview", lambda i: i.credential_reference.preview),
]


@verb(app, "create", "vaultctl lease create shopify-api-key --ttl 15m --purpose 'Fetch the latest orders'")
def create(
    ctx: typer.Context,
    name: opt.Credential,
    ttl: opt.LeaseTTL = None,
    purpose: Annotated[str | None, opt.option("--purpose", metavar="TEXT", help="Why, for the audit log.")] = None,
) -> None:
    """Lease a credential. The answer has its value, or a reference to it.

    An agent is given a reference where the credential's policy says so; its session's redeem token redeems it.
    The TTL is capped at the smallest maximum of credential, token and tenant; the answer says what was granted.
    """
    run = invocation(ctx)
    with run.vault() as vault:
        issued = vault.leases.create(name, ttl=ttl, purpose=purpose).issued
    if issued.value is None:
        output.one(run, issued, [*_ISSUED, *_REFERENCE], lambda i: i.lease.id)
        return
    value = issued.value.reveal()
    fits = "\n" not in value
    output.one(run, issued, [*_ISSUED, _VALUE] if fits else _ISSUED, lambda i: i.lease.id)
    if run.prints_tables and not fits:
        output.text_block(value)


@verb(app, "list", "vaultctl lease list --agent deploy-agent --state active")
def list_leases(
    ctx: typer.Context,
    agent: opt.Agent = None,
    session: opt.Session = None,
    credential: opt.OfCredential = None,
    state: Annotated[
        str | None,
        opt.option(
            "--state",
            metavar="STATE",
            help="active, expired or revoked.",
            autocompletion=opt.values_of("LeaseState"),
        ),
    ] = None,
) -> None:
    """List the leases within your reach, newest first."""
    run = invocation(ctx)
    with run.vault() as vault:
        found = vault.leases.list(agent=agent, session=session, credential=credential, state=state)
    _print_many(run, found)


@verb(app, "show", 'vaultctl lease show "$(vaultctl lease list -q | head -n 1)"')
def show(ctx: typer.Context, id: opt.LeaseId) -> None:
    """Show a lease, without the value."""
    run = invocation(ctx)
    with run.vault() as vault:
        lease = vault.leases.get(id)
    output.one(run, lease, _ONE, lambda x: x.id)


@verb(app, "renew", 'vaultctl lease renew "$(vaultctl lease list --state active -q | head -n 1)" --ttl 30m')
def renew(ctx: typer.Context, id: opt.LeaseId, ttl: opt.LeaseTTL = None) -> None:
    """Extend a lease, counted from now, by --ttl or by what it was granted; never past its maximum."""
    run = invocation(ctx)
    with run.vault() as vault:
        lease = vault.leases.renew(id, ttl)
    output.one(run, lease, _ONE, lambda x: x.id)


@verb(
    app,
    "revoke",
    'vaultctl lease revoke "$(vaultctl lease list --state active -q | head -n 1)"',
    "vaultctl lease revoke --agent deploy-agent --dry-run",
)
def revoke(
    ctx: typer.Context,
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID...]",
            help="The leases, lease_….",
            show_default=False,
            autocompletion=looked_up(placeholders.LEASES),
        ),
    ] = None,
    agent: opt.Agent = None,
    session: opt.Session = None,
    credential: opt.OfCredential = None,
    yes: opt.Yes = False,
    dry_run: opt.DryRun = False,
) -> None:
    """End leases: those named, or all active ones of an agent, a session or a credential.

    A value that was already delivered works until the credential is rotated.
    """
    filtered = any((agent, session, credential))
    if bool(ids) == filtered:
        raise InvalidInput(
            "Name either leases, or an agent, a session or a credential.", hint="See vaultctl lease revoke --help."
        )
    run = invocation(ctx)
    with run.vault() as vault:
        if ids:
            _revoke_named(run, vault, ids, dry_run=dry_run)
            return
        if dry_run or not yes:
            found = vault.leases.list(agent=agent, session=session, credential=credential, state="active")
            if dry_run:
                run.tell(f"Would revoke {opt.count(len(found), 'lease')}.")
                _print_many(run, found)
                return
            confirm(f"{opt.count(len(found), 'active lease')} would end. {opt.DELIVERED} Revoke?", yes=yes)
        ended = vault.leases.revoke_where(agent=agent, session=session, credential=credential)
    run.tell(f"Revoked {opt.count(ended.leases, 'lease')}. {opt.DELIVERED}")
    if not run.quiet:
        output.done(run, ended, "")


def _revoke_named(run: Any, vault: Any, ids: list[str], *, dry_run: bool) -> None:
    """Revoke, or only look at, each of ``ids``; one that fails does not keep the others from it."""
    from vaultctl.cli.console import report

    leases: list[Lease] = []
    failures: list[VaultError] = []
    for id in ids:
        try:
            leases.append(vault.leases.get(id) if dry_run else vault.leases.revoke(id))
        except VaultError as error:
            failures.append(error)
    if leases:
        count = opt.count(len(leases), "lease")
        run.tell(f"Would revoke {count}." if dry_run else f"Revoked {count}. {opt.DELIVERED}")
    if dry_run or not run.prints_tables:
        _print_many(run, leases)
    for failure in failures[:-1]:
        report(failure)
    if failures:
        raise failures[-1]


def _print_many(run: Any, leases: "list[Lease]") -> None:
    from vaultctl.domain.records import Lease

    output.many(run, leases, Lease, _LIST, lambda x: x.id)
