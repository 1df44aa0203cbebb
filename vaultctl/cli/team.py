"""``vaultctl team``: the people of a tenant, and what they may do."""

from typing import Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output, placeholders
from vaultctl.cli.base import invocation, looked_up, noun, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.confirm import confirm

app = noun("team", "vaultctl team list")

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="Their e-mail address.", show_default=False)]
Person = Annotated[
    str,
    typer.Argument(
        metavar="EMAIL",
        help="Their e-mail address.",
        show_default=False,
        autocompletion=looked_up(placeholders.PEOPLE),
    ),
]

_ROLES = "viewer, user, manager or admin."

_COLUMNS = [
    Column("email", lambda m: m.id),
    Column("role", lambda m: m.role.value),
    Column("tokens", lambda m: m.tokens, style=lambda m: "" if m.tokens else "yellow"),
    Column("since", lambda m: m.created_at, detail=1),
    Column("invited by", lambda m: m.created_by, detail=2),
]

_INVITED = [
    Column("token", lambda i: i.secret.reveal(), whole=True, style="bold"),
    Column("id", lambda i: i.token.id),
    Column("for", lambda i: i.token.email),
    Column("role", lambda i: i.token.role.value),
    Column("expires", lambda i: i.token.expires_at),
]


@verb(app, "list", "vaultctl team list")
def list_members(ctx: typer.Context) -> None:
    """List the people of the tenant."""
    run = invocation(ctx)
    with run.vault() as vault:
        found = vault.team.list()
    from vaultctl.domain.records import Member

    output.many(run, found, Member, _COLUMNS, lambda m: m.id)


@verb(app, "invite", "vaultctl team invite bob@example.com --role manager")
def invite(
    ctx: typer.Context,
    email: Email,
    role: Annotated[str, opt.option("--role", metavar="ROLE", help=_ROLES, autocompletion=opt.values_of("Role"))],
    ttl: Annotated[
        Any,
        opt.option(
            "--ttl", metavar="DURATION", help="How long the token authenticates; else 90d.", parser=opt.duration("TTL")
        ),
    ] = None,
) -> None:
    """Take a person into the team, and mint their personal token, which is shown this once.

    They log in with it: vaultctl login. Another token for them: vaultctl token create --human EMAIL.
    """
    run = invocation(ctx)
    with run.vault() as vault:
        issued = vault.team.invite(email, role, ttl=ttl)
    output.one(run, issued, _INVITED, lambda i: i.secret.reveal())
    run.tell("Hand the token over now: it is not shown again.")


@verb(app, "role", "vaultctl team role bob@example.com user")
def role(
    ctx: typer.Context,
    email: Person,
    role: Annotated[
        str, typer.Argument(metavar="ROLE", help=_ROLES, show_default=False, autocompletion=opt.values_of("Role"))
    ],
) -> None:
    """Give a person another role. Their tokens follow at once."""
    run = invocation(ctx)
    with run.vault() as vault:
        member = vault.team.change_role(email, role)
    output.one(run, member, _COLUMNS, lambda m: m.id)


@verb(app, "remove", "vaultctl team remove bob@example.com --dry-run")
def remove(ctx: typer.Context, email: Person, yes: opt.Yes = False, dry_run: opt.DryRun = False) -> None:
    """Take a person out of the team. Their tokens and leases end, in one step.

    A value that was already delivered works until the credential is rotated.
    """
    run = invocation(ctx)
    with run.vault() as vault:
        if dry_run or not yes:
            member = vault.team.get(email)
            plan = f"{email} ({member.role.value}) would be removed, and {opt.count(member.tokens, 'token')} would end."
            if member.role.value == "admin" and not any(
                it.role.value == "admin" and it.id != email for it in vault.team.list()
            ):
                plan += " Nobody else in the team is an admin."
            if dry_run:
                run.tell(f"Would remove: {plan}")
                return
            confirm(f"{plan} {opt.DELIVERED} Remove them?", yes=yes)
        ended = vault.team.remove(email)
    run.tell(f"Removed {email}; {opt.count(ended.leases, 'lease')} ended. {opt.DELIVERED}")
    output.done(run, ended, email)
