"""``vaultctl dashboard``: live leases and events in the terminal."""

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from vaultctl.cli import options as opt
from vaultctl.cli.base import invocation, plain_commands, verb
from vaultctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from vaultctl.domain.records import AuditEntry

app = plain_commands()


@verb(app, "dashboard", "vaultctl dashboard --read-only")
def dashboard(
    ctx: typer.Context,
    read_only: Annotated[
        bool, opt.option("--read-only", help="Offer nothing that changes anything: no renewing, no revoking.")
    ] = False,
) -> None:
    """Watch leases, renewals and refusals as they happen, and act on them. Press ? for the keys.

    Needs the role admin. Works embedded and against a server, over SSH and in tmux, from 80x24 up.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InvalidInput("The dashboard needs a terminal.", hint="In a script, use: vaultctl audit --follow")
    run = invocation(ctx)
    with run.vault() as vault:
        from vaultctl.tui.run import run_dashboard

        status = run_dashboard(vault, acts=not read_only, export=_export)
    if status:
        raise typer.Exit(status)


def _export(entries: "Iterable[AuditEntry]", kind: str) -> Iterator[str]:
    """Entries as the lines that ``vaultctl audit`` prints."""
    from vaultctl.cli.formats import csv_columns, csv_lines, json_text
    from vaultctl.domain.records import AuditEntry
    from vaultctl.domain.wire import to_json_object

    if kind == "csv":
        columns = csv_columns(AuditEntry)
        yield next(csv_lines([], columns))
        for entry in entries:
            yield from list(csv_lines([to_json_object(entry)], columns))[1:]
    else:
        for entry in entries:
            yield json_text(to_json_object(entry)) + "\n"
