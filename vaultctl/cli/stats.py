"""``vaultctl audit stats``: how much there is in the log, by agent, credential, event or day."""

import sys
from typing import Annotated

import typer

from vaultctl.cli import audit_options as entries
from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, plain_commands, verb
from vaultctl.cli.columns import Column

app = plain_commands()

_BAR = 40


@verb(
    app,
    "stats",
    "vaultctl audit stats",
    "vaultctl audit stats --by day --agent deploy-agent --since 30d",
    "vaultctl audit stats --by credential --event lease.created -o csv",
)
def stats(
    ctx: typer.Context,
    by: Annotated[
        str,
        opt.option(
            "--by",
            metavar="WHAT",
            help="agent, credential, event or day; event if left out.",
            autocompletion=lambda: ["agent", "credential", "event", "day"],
        ),
    ] = "event",
    agent: entries.Agent = None,
    session: entries.Session = None,
    credential: entries.Credential = None,
    event: entries.Events = None,
    lease: entries.Lease = None,
    since: entries.Since = None,
    until: entries.Until = None,
) -> None:
    """Count the entries of the audit log that match: most first, days (in UTC) in their order."""
    run = invocation(ctx)
    wanted = entries.filters(agent, session, credential, event, lease, since, until, None)
    del wanted["filter"]
    with run.vault() as vault:
        found = vault.audit_log.stats(by, **wanted)
    from vaultctl.domain.records import AuditCount

    columns = [Column(by, lambda c: c.name), Column("entries", lambda c: c.entries)]
    if sys.stdout.isatty():
        most = max((count.entries for count in found), default=1)
        columns.append(Column("", lambda c: "#" * max(1, c.entries * _BAR // most), detail=1))
    output.many(run, found, AuditCount, columns, lambda c: c.name or "")
