"""``vaultctl audit verify``: proves that the log is what the vault wrote, or tells what is not."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, plain_commands, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.progress import progress
from vaultctl.domain.errors import InvalidInput, VerificationFailed

app = plain_commands()

_VERIFICATION = [
    Column("log", lambda v: v.origin),
    Column("verified", lambda v: v.verified, style=lambda v: "green" if v.verified else "red"),
    Column("entries", lambda v: v.size),
    Column("looked at", lambda v: v.entries),
    Column("checkpoints", lambda v: v.checkpoints),
    Column("root hash", lambda v: v.root_hash),
]

_PROBLEMS = [
    Column("entries", lambda p: _entries(p), least=8),
    Column("problem", lambda p: p.message, wrap=40, style=lambda _: "red"),
]


@verb(
    app,
    "verify",
    "vaultctl audit verify",
    "vaultctl audit verify --against checkpoint.txt",
    "vaultctl audit verify --since-checkpoint checkpoint.txt",
    "vaultctl audit verify --bundle audit-bundle --key log.key",
)
def verify(
    ctx: typer.Context,
    since: Annotated[
        Path | None,
        opt.option("--since-checkpoint", metavar="FILE", help="Take what this checkpoint covers for verified."),
    ] = None,
    against: Annotated[
        list[Path] | None,
        opt.option("--against", metavar="FILE", help="A checkpoint that was kept elsewhere. Repeatable."),
    ] = None,
    key: Annotated[
        str | None,
        opt.option(
            "--key",
            metavar="KEY",
            help="The log's verifier key, NAME+ID+BASE64, or a file that has it. Else the one the vault has.",
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        opt.option("--bundle", metavar="DIR", help="Check what audit export --bundle wrote. No vault is needed."),
    ] = None,
) -> None:
    """Check all that is stored of the audit log; exit with status 8 if anything is not as the vault wrote it.

    Every entry's bytes, number and time, the columns by which it is found, the tallies of audit stats, the Merkle tree,
    and every checkpoint. That the log was not set back or replaced as a whole only a checkpoint shows that was kept
    elsewhere: --against.
    """
    from vaultctl.client.checkpoints import read_checkpoint, read_key

    run = invocation(ctx)
    notes = [read_checkpoint(path) for path in against or ()]
    begin = None if since is None else read_checkpoint(since)
    known = None if key is None else read_key(key)
    if bundle is None:
        with run.vault() as vault, progress("Verifying", quiet=run.quiet) as advance:
            found = vault.audit_log.verify(since=begin, against=notes, key=known, progress=advance)
    else:
        from vaultctl.client.bundles import verify_bundle

        if begin is not None:
            raise InvalidInput(
                "A bundle is looked at as a whole.",
                hint="Name the checkpoint by --against in place of --since-checkpoint.",
            )
        with progress("Verifying", quiet=run.quiet) as advance:
            found = verify_bundle(bundle, key=known, against=notes, progress=advance)
        if known is None:
            run.tell("The verifier key is the bundle's own. Name the one you know: --key")
    if run.output == "table" and found.problems and not run.quiet:
        from vaultctl.domain.records import LogProblem

        output.many(run, found.problems, LogProblem, _PROBLEMS, lambda p: p.message)
    else:
        output.one(run, found, _VERIFICATION, lambda v: v.root_hash)
    if not found.verified:
        raise VerificationFailed(
            f"The audit log does not verify: {opt.count(found.problem_count, 'problem')}.",
            hint="Keep a copy as it is, find out who could write to it, and look for one from before."
            if bundle
            else "Keep a copy of the database as it is, find out who can write to it, and restore a backup.",
        )


def _entries(problem: Any) -> str:
    if problem.first_entry is None:
        return ""
    first, last = problem.first_entry, problem.last_entry
    return str(first) if first == last else f"{first}-{last}"
