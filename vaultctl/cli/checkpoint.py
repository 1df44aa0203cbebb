"""``vaultctl audit checkpoint``: a signed statement of how long the log is and of what, to keep elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, plain_commands, verb
from vaultctl.cli.columns import Column
from vaultctl.domain.errors import InvalidInput

app = plain_commands()

_CHECKPOINT = [
    Column("log", lambda c: c.origin),
    Column("entries", lambda c: c.size),
    Column("root hash", lambda c: c.root_hash),
    Column("verifier key", lambda c: c.verifier_key),
]


@verb(
    app,
    "checkpoint",
    "vaultctl audit checkpoint --export checkpoint.txt",
    "vaultctl audit checkpoint --key > log.key",
)
def checkpoint(
    ctx: typer.Context,
    export: Annotated[
        Path | None,
        opt.option("--export", metavar="FILE", help="Write the signed note into this file; - prints it."),
    ] = None,
    key: Annotated[bool, opt.option("--key", help="Print only the key that verifies the log's checkpoints.")] = False,
) -> None:
    """Make a checkpoint over all entries of the audit log, and show it.

    Keep one where whoever runs the vault can't change it, with the verifier key: vaultctl audit verify --against FILE
    then shows that nothing before it was changed, removed or inserted.
    """
    run = invocation(ctx)
    if export is not None and key:
        raise InvalidInput("--export and --key are two things.", hint="Give one of them at a time.")
    with run.vault() as vault:
        made = vault.audit_log.checkpoint()
    if key:
        output.text_block(made.verifier_key)
    elif export == Path("-"):
        output.text_block(made.note)
    elif export is not None:
        from vaultctl.client.checkpoints import export_checkpoint

        export_checkpoint(made, export)
        entries = "1 entry" if made.size == 1 else f"{made.size} entries"
        run.tell(f"The checkpoint over {entries} is in {export}.")
    else:
        output.one(run, made, _CHECKPOINT, lambda c: c.root_hash)
