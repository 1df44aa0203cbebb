"""``vaultctl session``: runs of agents."""

from typing import Annotated

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, noun, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.confirm import confirm

app = noun("session", "vaultctl session list")

_LIST = [
    Column("id", lambda s: s.id),
    Column("agent", lambda s: s.agent),
    Column("state", lambda s: s.state.value, style=lambda s: "green" if s.state.value == "active" else ""),
    Column("leases", lambda s: s.active_leases),
    Column("started", lambda s: s.started_at, detail=1),
    Column("last seen", lambda s: s.last_seen_at, detail=2),
    Column("why ended", lambda s: s.end_reason, detail=2),
]

_ONE = [
    Column("id", lambda s: s.id),
    Column("agent", lambda s: s.agent),
    Column("state", lambda s: s.state.value, style=lambda s: "green" if s.state.value == "active" else ""),
    Column("active leases", lambda s: s.active_leases),
    Column("token", lambda s: s.token_id),
    Column("started", lambda s: s.started_at),
    Column("last seen", lambda s: s.last_seen_at),
    Column("expires", lambda s: s.expires_at),
    Column("ended", lambda s: s.ended_at),
    Column("why ended", lambda s: s.end_reason),
]


@verb(app, "list", "vaultctl session list --agent deploy-agent --state active")
def list_sessions(
    ctx: typer.Context,
    agent: opt.Agent = None,
    state: Annotated[
        str | None,
        opt.option("--state", metavar="STATE", help="active or ended.", autocompletion=opt.values_of("SessionState")),
    ] = None,
) -> None:
    """List the runs of agents, newest first."""
    run = invocation(ctx)
    with run.vault() as vault:
        found = vault.sessions.list(agent=agent, state=state)
    from vaultctl.domain.records import Session

    output.many(run, found, Session, _LIST, lambda s: s.id)


@verb(app, "show", 'vaultctl session show "$(vaultctl session list -q | head -n 1)"')
def show(ctx: typer.Context, id: opt.SessionId) -> None:
    """Show a run of an agent."""
    run = invocation(ctx)
    with run.vault() as vault:
        session = vault.sessions.get(id)
    output.one(run, session, _ONE, lambda s: s.id)


@verb(app, "end", 'vaultctl session end --dry-run "$(vaultctl session list -q | head -n 1)"')
def end(ctx: typer.Context, id: opt.SessionId, yes: opt.Yes = False, dry_run: opt.DryRun = False) -> None:
    """End a session and its leases. An ended session never opens again.

    A value that was already delivered works until the credential is rotated.
    """
    run = invocation(ctx)
    with run.vault() as vault:
        if dry_run or not yes:
            session = vault.sessions.get(id)
            leases = opt.count(session.active_leases or 0, "active lease")
            plan = f"The session {id} of {session.agent} with {leases} would end."
            if dry_run:
                run.tell(plan)
                return
            confirm(f"{plan} {opt.DELIVERED} End it?", yes=yes)
        ended = vault.sessions.end(id)
    run.tell(f"Ended {id}; {opt.count(ended.leases, 'lease')} ended. {opt.DELIVERED}")
    output.done(run, ended, id)
