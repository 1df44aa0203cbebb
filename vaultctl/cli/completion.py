"""``vaultctl completion``: what the Tab key knows, put where the shell finds it."""

from typing import Annotated

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, noun, verb
from vaultctl.cli.completions import SCRIPTS

app = noun("completion", "vaultctl completion install")

_SHELLS = "bash, zsh, fish or powershell."


@verb(app, "install", "vaultctl completion install --shell zsh", "vaultctl completion install --shell bash --dry-run")
def install(
    ctx: typer.Context,
    shell: Annotated[
        str | None,
        opt.option(
            "--shell",
            metavar="SHELL",
            help=f"{_SHELLS} Else the one that SHELL names.",
            autocompletion=lambda: list(SCRIPTS),
        ),
    ] = None,
    dry_run: opt.DryRun = False,
) -> None:
    """Install the completions for your user. Run it anew after an upgrade; what is current stays as it is."""
    run = invocation(ctx)
    from vaultctl.cli.listings import InstalledCompletion
    from vaultctl.cli.shell_setup import check_shell, setup_of, shell_in_use

    setup = setup_of(check_shell(shell) if shell else shell_in_use())
    missing = [] if setup.script_is_current else [setup.script]
    if setup.startup is not None and not setup.startup_is_current:
        missing.append(setup.startup)
    if not dry_run:
        setup.carry_out()
    for path in missing:
        would, done = ("write", "Wrote") if path == setup.script else ("add a line to", "Added a line to")
        run.tell(f"Would {would} {path}." if dry_run else f"{done} {path}.")
    if not missing:
        run.tell(f"The completions for {setup.shell} are installed and current.")
    if dry_run:
        return
    if missing:
        run.tell(f"Open a new {setup.shell} to use them.")
    installed = InstalledCompletion(
        shell=setup.shell,
        script=str(setup.script),
        startup_file=str(setup.startup) if setup.startup else None,
        changed=bool(missing),
    )
    output.done(run, installed, str(setup.script))


@verb(app, "show", "vaultctl completion show bash")
def show(
    ctx: typer.Context,
    shell: Annotated[
        str,
        typer.Argument(metavar="SHELL", help=_SHELLS, show_default=False, autocompletion=lambda: list(SCRIPTS)),
    ],
) -> None:
    """Print the script, to put it where you like."""
    invocation(ctx)
    from vaultctl.cli.shell_setup import check_shell

    output.write(SCRIPTS[check_shell(shell)])
