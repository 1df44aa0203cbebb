"""``vaultctl run``: a command with credentials in its environment."""

from typing import Annotated

import typer

from vaultctl.cli import options as opt
from vaultctl.cli.base import invocation, looked_up, plain_commands, verb
from vaultctl.cli.placeholders import FILES, VARIABLES

app = plain_commands()


@verb(
    app,
    "run",
    "vaultctl run --credential SHOPIFY_KEY=shopify-api-key -- sh -c 'echo ${#SHOPIFY_KEY} characters'",
    "vaultctl run --credential SHOPIFY_KEY=shopify-api-key --purpose 'Look at it' --redact -- env",
)
def run(
    ctx: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="-- COMMAND...",
            help="The command and its arguments.",
            show_default=False,
            autocompletion=looked_up(FILES),
        ),
    ],
    credential: Annotated[
        list[str] | None,
        opt.option(
            "--credential",
            metavar="ENV=NAME",
            help="Lease NAME, into the variable ENV. Can be repeated.",
            autocompletion=looked_up(VARIABLES),
        ),
    ] = None,
    purpose: Annotated[
        str | None, opt.option("--purpose", metavar="TEXT", help="Why, for the audit log; else the command's name.")
    ] = None,
    ttl: opt.LeaseTTL = None,
    redact: Annotated[
        bool, opt.option("--redact", help="Write **** for the values, however encoded, in what the command writes.")
    ] = False,
) -> None:
    """Run a command that has credentials in its environment.

    Each is leased, renewed while the command runs, and released when it ends. If one can't be had, none is and the
    command does not run. The command does not inherit VAULT_TOKEN, nor what else opens the vault. The exit status is
    the command's: 128+N if signal N ended it, 127 if it is not there, 126 if it can't be executed.
    """
    from vaultctl.cli.console import report, warn
    from vaultctl.run.child import CannotStart
    from vaultctl.run.environment import parse_wanted
    from vaultctl.run.running import run as run_with

    wanted = parse_wanted(credential or ())
    try:
        status = run_with(
            command,
            wanted,
            open_vault=invocation(ctx).open_vault,
            warn=warn,
            purpose=purpose,
            ttl=ttl,
            redact=redact,
        )
    except CannotStart as error:
        report(error)
        status = error.status
    raise typer.Exit(status)
