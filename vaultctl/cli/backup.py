"""``vaultctl backup`` and ``restore``: the whole vault in one sealed file."""

from pathlib import Path
from typing import Annotated

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, plain_commands, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.invocation import passphrase_prompt
from vaultctl.cli.vault_commands import ROOT_KEY_PLACES

app = plain_commands()

_BACKED_UP = [
    Column("file", lambda b: b.file),
    Column("backup", lambda b: b.id),
    Column("vault", lambda b: b.vault_id),
    Column("taken", lambda b: b.created_at),
    Column("tenants", lambda b: b.tenants),
    Column("credentials", lambda b: b.credentials),
    Column("audit entries", lambda b: b.entries),
    Column("bytes", lambda b: b.size),
]

_RESTORED = [
    Column("vault", lambda r: r.vault_id),
    Column("home", lambda r: r.home),
    Column("database", lambda r: r.database),
    Column("tenant", lambda r: r.tenant),
    Column("root key", lambda r: r.root_key),
    Column("why", lambda r: r.root_key_note),
    Column("from vault", lambda r: r.from_vault),
    Column("taken", lambda r: r.backed_up_at),
    Column("tenants", lambda r: r.tenants),
    Column("credentials", lambda r: r.credentials),
    Column("audit entries", lambda r: r.entries),
]


@verb(app, "backup", "VAULT_BACKUP_PASSPHRASE_FILE=~/backup-passphrase vaultctl backup vault-backup.sealed")
def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file.", show_default=False)],
) -> None:
    """Write the whole vault, with its root key, into one file that is sealed under a passphrase of its own.

    The vault stays in use; the file is of one moment. The passphrase is asked for, or read from
    VAULT_BACKUP_PASSPHRASE_FILE or VAULT_BACKUP_PASSPHRASE. An existing file is never overwritten.
    """
    run = invocation(ctx)
    run.require_owner("backup is about the vault of this machine")
    from vaultctl.cli.progress import progress
    from vaultctl.client.backup import back_up

    with progress("Backing up", quiet=run.quiet) as advance:
        made = back_up(
            file,
            database=run.database,
            ask_passphrase=passphrase_prompt(),
            ask_backup_passphrase=passphrase_prompt("Passphrase for the backup", confirm=True),
            advance=advance,
        )
    output.one(run, made, _BACKED_UP, lambda b: b.file)
    run.tell("Whoever has the file and its passphrase has everything: keep the two apart.")


@verb(
    app,
    "restore",
    "VAULT_BACKUP_PASSPHRASE_FILE=~/backup-passphrase VAULTCTL_HOME=~/restored vaultctl restore vault-backup.sealed",
)
def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What backup wrote.", show_default=False)],
    root_key: Annotated[
        str,
        opt.option(
            "--root-key",
            metavar="WHERE",
            help="Where the new root key is kept: keyring, file or passphrase; auto as for init.",
            autocompletion=lambda: list(ROOT_KEY_PLACES),
        ),
    ] = "auto",
) -> None:
    """Make a new vault of a backup, once all of the file is verified. A vault that is there is never overwritten.

    It has a root key of its own. All tokens, sessions and leases of before are ended: mint new tokens. Its audit logs
    go on where the backup was taken, under a new origin, with an entry that says so.
    """
    run = invocation(ctx)
    run.require_here("restore makes a vault on this machine")
    from vaultctl.cli.progress import progress
    from vaultctl.client.backup import restore

    with progress("Restoring", quiet=run.quiet) as advance:
        made = restore(
            file,
            root_key=root_key,
            database=run.database,
            ask_passphrase=passphrase_prompt(confirm=True),
            ask_backup_passphrase=passphrase_prompt("Passphrase of the backup"),
            advance=advance,
        )
    output.one(run, made, _RESTORED, lambda r: r.vault_id)
    run.tell("No earlier token works here. Next: vaultctl token create --agent NAME")
