"""``vaultctl root-key``: the key that all others are wrapped by, and where it is kept."""

from typing import Annotated

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, noun, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.confirm import confirm
from vaultctl.cli.invocation import passphrase_prompt

app = noun("root-key", "vaultctl root-key show")

_ABOUT = "root-key is about the vault of this machine"

_PLACES = ("keyring", "file", "passphrase")

_ONE = [
    Column("key", lambda k: k.key_id),
    Column("kept by", lambda k: k.provider),
    Column("place", lambda k: k.place),
    Column("vault", lambda k: k.vault_id),
    Column("in use", lambda k: k.in_use, style=lambda k: "" if k.in_use else "red"),
    Column("problems", lambda k: k.problems, style="red"),
]


@verb(app, "show", "vaultctl root-key show")
def show(ctx: typer.Context) -> None:
    """Show where the root key is kept, and whether it can be had there. Never the key itself."""
    run = invocation(ctx)
    run.require_owner(_ABOUT)
    from vaultctl.client.root_key import show_root_key

    output.one(run, show_root_key(database=run.database), _ONE, lambda k: k.key_id)


@verb(app, "rotate", "vaultctl root-key rotate --yes")
def rotate(ctx: typer.Context, yes: opt.Yes = False, dry_run: opt.DryRun = False) -> None:
    """Make a new root key in the same place, and wrap all tenants' keys by it. Values stay as they are.

    It is one step: interrupted at any moment, the vault opens with the old key or the new, and the other one is removed
    when it is next opened. Servers on this machine go on; other machines need a copy of the new key. Backups keep the
    key that they were made with.
    """
    run = invocation(ctx)
    run.require_owner(_ABOUT)
    from vaultctl.client.root_key import rotate_root_key, show_root_key

    if dry_run or not yes:
        there = show_root_key(database=run.database)
        plan = f"The root key {there.key_id} ({there.place}) would be replaced by a new one, and destroyed."
        if dry_run:
            run.tell(f"Would rotate: {plan}")
            return
        confirm(f"{plan} Copies of it no longer open the vault. Rotate it?", yes=yes)
    made = rotate_root_key(database=run.database, ask_passphrase=passphrase_prompt())
    run.tell("Keep a copy of the new root key elsewhere, and bring it to other machines that use this database.")
    output.one(run, made, _ONE, lambda k: k.key_id)


@verb(app, "move", "vaultctl root-key move --to file --dry-run")
def move(
    ctx: typer.Context,
    to: Annotated[
        str,
        opt.option("--to", metavar="WHERE", help="keyring, file or passphrase.", autocompletion=lambda: list(_PLACES)),
    ],
    yes: opt.Yes = False,
    dry_run: opt.DryRun = False,
) -> None:
    """Keep the root key elsewhere; to passphrase, where it is kept so already, changes the passphrase.

    A new passphrase is asked for, or read from VAULT_NEW_PASSPHRASE_FILE or VAULT_NEW_PASSPHRASE. The key is written
    to the new place and read back before the old one is cleared.
    """
    run = invocation(ctx)
    run.require_owner(_ABOUT)
    from vaultctl.client.root_key import move_root_key, show_root_key

    if dry_run or not yes:
        there = show_root_key(database=run.database)
        plan = f"The root key {there.key_id} would go from {there.provider} ({there.place}) to {to}."
        if dry_run:
            run.tell(f"Would move: {plan}")
            return
        confirm(f"{plan} Move it?", yes=yes)
    moved = move_root_key(
        to,
        database=run.database,
        ask_passphrase=passphrase_prompt(),
        ask_new_passphrase=passphrase_prompt("New passphrase", confirm=True),
    )
    output.one(run, moved, _ONE, lambda k: k.key_id)
