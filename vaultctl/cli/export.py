"""``vaultctl audit export``: entries for other programs, or the whole log in a directory that stands alone."""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaultctl.cli import audit_options as entries
from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, plain_commands, verb
from vaultctl.cli.progress import progress
from vaultctl.domain.errors import AlreadyExists, InvalidInput, VaultUnavailable

if TYPE_CHECKING:
    from vaultctl.cli.invocation import Invocation
    from vaultctl.client import Vault

app = plain_commands()

_AT_ONCE = 500


@verb(
    app,
    "export",
    "vaultctl audit export --out audit.jsonl",
    "vaultctl audit export --agent deploy-agent --since 30d -o csv > deploy-agent.csv",
    "vaultctl audit export --bundle audit-bundle",
)
def export(
    ctx: typer.Context,
    agent: entries.Agent = None,
    session: entries.Session = None,
    credential: entries.Credential = None,
    event: entries.Events = None,
    lease: entries.Lease = None,
    since: entries.Since = None,
    until: entries.Until = None,
    filter: entries.Filter = None,
    out: Annotated[
        Path | None,
        opt.option("--out", metavar="FILE", help="Write them into this new file, for you alone; else to stdout."),
    ] = None,
    bundle: Annotated[
        Path | None,
        opt.option(
            "--bundle", metavar="DIR", help="Write the whole log, its tree and a checkpoint into this new directory."
        ),
    ] = None,
) -> None:
    """Write all entries that match and are there now: JSON, one object a line, or with -o csv a table for spreadsheets.

    Who exports, and what, is recorded in the log before the first entry leaves. A bundle has the layout of C2SP
    tlog-tiles; vaultctl audit verify --bundle DIR proves it anywhere, without a vault.
    """
    run = invocation(ctx)
    if run.output == "json":
        raise InvalidInput("An export is JSON with one object a line.", hint="Say -o jsonl or -o csv.")
    wanted = entries.filters(agent, session, credential, event, lease, since, until, filter)
    if bundle is not None:
        if out is not None or any(wanted.values()) or run.output == "csv":
            raise InvalidInput(
                "A bundle is the whole log, in a form of its own.", hint="Leave out the filters, --out and -o csv."
            )
        _export_bundle(run, bundle)
        return
    form = "csv" if run.output == "csv" else "jsonl"
    gc.enable()
    with run.vault() as vault:
        lines = _lines(vault, form, wanted)
        if out is None:
            for text in lines:
                output.write(text)
            return
        with _new_file(out) as write:
            for text in lines:
                write(text)
    run.tell(f"The entries are in {out}.")


def _export_bundle(run: "Invocation", directory: Path) -> None:
    from vaultctl.client.bundles import export_bundle

    with run.vault() as vault, progress("Exporting", quiet=run.quiet) as advance:
        end = export_bundle(vault, directory, advance)
    entries = "1 entry" if end.size == 1 else f"{end.size} entries"
    run.tell(f"The log of {entries} is in {directory}.")
    run.tell(f"Its verifier key, to give to whoever verifies it: {end.verifier_key}")


def _lines(vault: "Vault", form: str, wanted: dict[str, Any]) -> Iterator[str]:
    """The export as text, some lines at a time."""
    from vaultctl.cli.formats import csv_columns, csv_lines, json_text
    from vaultctl.domain.records import AuditEntry
    from vaultctl.domain.wire import to_json_object

    found = vault.audit_log.export(**wanted, format=form)
    columns = csv_columns(AuditEntry)
    begun = False
    for batch in _batches(found):
        objects = to_json_object(batch)
        if form == "jsonl":
            yield "".join(f"{json_text(item)}\n" for item in objects)
        else:
            yield "".join(islice(csv_lines(objects, columns), int(begun), None))
        begun = True
    if form == "csv" and not begun:
        yield "".join(csv_lines([], columns))


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while batch := list(islice(rest, _AT_ONCE)):
        yield batch


@contextmanager
def _new_file(path: Path) -> Iterator[Callable[[str], None]]:
    """What writes text into a file that gets its name when all of it is there."""
    from vaultctl.client.private_files import new_file

    try:
        if path.exists():
            raise FileExistsError  # before anything is recorded
        with new_file(path) as stream:

            def write(text: str) -> None:
                stream.write(text.encode())

            yield write

    except FileExistsError:
        raise AlreadyExists(f"{path} is there already.", hint="Name a new file; nothing is overwritten.") from None
    except OSError as error:
        raise VaultUnavailable(
            f"The export {path} can't be written: {error.strerror}.", hint="Name a place with space that is yours."
        ) from None
