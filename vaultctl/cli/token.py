"""``vaultctl token``: what agents and people authenticate with."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output, placeholders
from vaultctl.cli.base import exactly_one, invocation, looked_up, noun, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.confirm import confirm
from vaultctl.cli.invocation import Invocation

if TYPE_CHECKING:
    from vaultctl.client import Vault
    from vaultctl.domain.records import IssuedToken, Token

app = noun("token", "vaultctl token create --agent deploy-agent --credential 'deploy-*'")

TTL = Annotated[
    Any,
    opt.option(
        "--ttl", metavar="DURATION", help="How long it authenticates; 90d if left out.", parser=opt.duration("TTL")
    ),
]

_LIST = [
    Column("id", lambda t: t.id),
    Column("for", lambda t: _holder(t)),
    Column("role", lambda t: t.role.value),
    Column("credentials", lambda t: t.credentials, wrap=20, detail=1),
    Column("state", lambda t: t.state.value, style=lambda t: "" if t.state.value == "active" else "yellow"),
    Column("expires", lambda t: t.expires_at, detail=2),
    Column("requests a minute", lambda t: t.requests_per_minute, detail=3),
    Column("created by", lambda t: t.created_by, detail=3),
]

_ONE = [
    Column("id", lambda t: t.id),
    Column("for", lambda t: _holder(t)),
    Column("role", lambda t: t.role.value),
    Column("state", lambda t: t.state.value, style=lambda t: "" if t.state.value == "active" else "yellow"),
    Column("credentials", lambda t: _ceiling(t)),
    Column("max lease ttl", lambda t: t.max_lease_ttl),
    Column("requests a minute", lambda t: t.requests_per_minute),
    Column("expires", lambda t: t.expires_at),
    Column("created", lambda t: t.created_at),
    Column("created by", lambda t: t.created_by),
    Column("rotated", lambda t: t.rotated_at),
    Column("revoked", lambda t: t.revoked_at),
    Column("session", lambda t: t.session_id),
    Column("parent", lambda t: t.parent),
]

_ISSUED = [
    Column("token", lambda i: i.secret.reveal(), whole=True, style="bold"),
    Column("id", lambda i: i.token.id),
    Column("for", lambda i: _holder(i.token)),
    Column("role", lambda i: i.token.role.value),
    Column("credentials", lambda i: _ceiling(i.token)),
    Column("reaches", lambda i: i.reaches or "nothing yet", style=lambda i: "" if i.reaches else "yellow"),
    Column("max lease ttl", lambda i: i.token.max_lease_ttl),
    Column("requests a minute", lambda i: i.token.requests_per_minute),
    Column("expires", lambda i: i.token.expires_at),
]


@verb(
    app,
    "create",
    "vaultctl token create --agent deploy-agent --credential 'deploy-*' --ttl 30d",
    "vaultctl token create --human alice@example.com --role manager",
)
def create(
    ctx: typer.Context,
    agent: Annotated[
        str | None,
        opt.option("--agent", metavar="NAME", help="For this agent.", autocompletion=looked_up(placeholders.AGENTS)),
    ] = None,
    human: Annotated[
        str | None,
        opt.option(
            "--human",
            metavar="EMAIL",
            help="For this person; needs --role.",
            autocompletion=looked_up(placeholders.PEOPLE),
        ),
    ] = None,
    operator: Annotated[
        bool, opt.option("--operator", help="For whoever runs a server; belongs to no tenant.")
    ] = False,
    role: Annotated[
        str | None,
        opt.option(
            "--role",
            metavar="ROLE",
            help="viewer, user, manager or admin. An agent's is user, or viewer.",
            autocompletion=opt.values_of("Role"),
        ),
    ] = None,
    credential: Annotated[
        list[str] | None,
        opt.option(
            "--credential",
            metavar="GLOB",
            help="Names it may lease, at most. Repeatable. An agent's without any reaches what names the agent.",
            autocompletion=looked_up(placeholders.CREDENTIALS),
        ),
    ] = None,
    ttl: TTL = None,
    max_lease_ttl: Annotated[
        Any,
        opt.option(
            "--max-lease-ttl",
            metavar="DURATION",
            help="Longest a lease of it may live.",
            parser=opt.duration("maximum lease TTL"),
        ),
    ] = None,
    requests_per_minute: Annotated[
        Any,
        opt.option(
            "--requests-per-minute",
            metavar="N",
            help="What a server lets it ask; else as many as any token.",
            parser=opt.whole_number("The number of requests"),
        ),
    ] = None,
) -> None:
    """Mint a token, and say what it reaches. The token is shown this once."""
    exactly_one(
        (agent, human, operator),
        "A token is for exactly one of --agent, --human and --operator.",
        "For example: vaultctl token create --agent deploy-agent",
    )
    run = invocation(ctx)
    with run.vault() as vault:
        issued = vault.tokens.create(
            agent=agent,
            human=human,
            operator=operator,
            role=role,
            credentials=credential or (),
            ttl=ttl,
            max_lease_ttl=max_lease_ttl,
            requests_per_minute=requests_per_minute,
        )
    _print_issued(run, issued)


@verb(app, "list", "vaultctl token list")
def list_tokens(ctx: typer.Context) -> None:
    """List tokens, newest first, without those of sessions."""
    run = invocation(ctx)
    with run.vault() as vault:
        found = vault.tokens.list()
    from vaultctl.domain.records import Token

    output.many(run, found, Token, _LIST, lambda t: t.id)


@verb(app, "show", 'vaultctl token show "$(vaultctl token list -q | head -n 1)"')
def show(ctx: typer.Context, id: opt.TokenId) -> None:
    """Show a token, without its secret."""
    run = invocation(ctx)
    with run.vault() as vault:
        token = vault.tokens.get(id)
    output.one(run, token, _ONE, lambda t: t.id)


@verb(app, "rotate", 'vaultctl token rotate "$(vaultctl token list -q | head -n 1)" --ttl 90d')
def rotate(
    ctx: typer.Context,
    id: opt.TokenId,
    ttl: Annotated[
        Any,
        opt.option(
            "--ttl", metavar="DURATION", help="New time from now; else the expiry stays.", parser=opt.duration("TTL")
        ),
    ] = None,
) -> None:
    """Replace a token's secret. Its id, sessions and leases stay; the old secret dies at once."""
    run = invocation(ctx)
    with run.vault() as vault:
        issued = vault.tokens.rotate(id, ttl=ttl)
    _print_issued(run, issued)


@verb(app, "revoke", 'vaultctl token revoke --dry-run "$(vaultctl token list -q | head -n 1)"')
def revoke(ctx: typer.Context, id: opt.TokenId, yes: opt.Yes = False, dry_run: opt.DryRun = False) -> None:
    """End a token, its sessions and their leases, in one step.

    A value that was already delivered works until the credential is rotated.
    """
    run = invocation(ctx)
    with run.vault() as vault:
        if dry_run or not yes:
            plan = _plan(vault, id)
            if dry_run:
                run.tell(f"Would revoke: {plan}")
                return
            confirm(f"{plan} {opt.DELIVERED} Revoke it?", yes=yes)
        ended = vault.tokens.revoke(id)
    run.tell(
        f"Revoked {id}; {opt.count(ended.sessions, 'session')} and {opt.count(ended.leases, 'lease')} ended. "
        f"{opt.DELIVERED}"
    )
    output.done(run, ended, id)


def _print_issued(run: Invocation, issued: "IssuedToken") -> None:
    output.one(run, issued, _ISSUED, lambda i: i.secret.reveal())
    run.tell("Store the token now: it is not shown again.")
    agent = issued.token.agent
    if agent is None or issued.reaches or run.quiet:
        return
    from vaultctl.cli.console import warn

    if issued.token.credentials:
        hint = "Store one whose name matches, or see what keeps it out: vaultctl credential list"
    else:
        hint = (
            f"Name the agent in a credential: vaultctl credential update NAME --allow agent:{agent}; "
            f"or mint a token with globs: vaultctl token create --agent {agent} --credential GLOB"
        )
    warn("This token reaches no credential yet.", hint)


def _plan(vault: "Vault", id: str) -> str:
    token = vault.tokens.get(id)
    sessions = [s for s in vault.sessions.list(agent=token.agent, state="active") if s.token_id == id]
    leases = vault.leases.list(token=id, state="active")
    return (
        f"The token {id} of {_holder(token)} with {opt.count(len(sessions), 'active session')} and "
        f"{opt.count(len(leases), 'active lease')} would end."
    )


def _holder(token: "Token") -> str:
    return token.agent or token.email or token.kind


def _ceiling(token: "Token") -> Any:
    if token.credentials or token.kind == "operator":
        return token.credentials
    return "all that its role may" if token.agent is None else "those that name the agent"
