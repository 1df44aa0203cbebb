"""``vaultctl credential import``: what would change, a question, and then the change, some values at a time."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vaultctl.cli.confirm import confirm
from vaultctl.cli.invocation import Invocation
from vaultctl.cli.options import count
from vaultctl.client.import_files import MOST_BYTES, Found, read_secrets
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import CredentialType, ImportedCredential
from vaultctl.domain.requests import MOST_IMPORTED

if TYPE_CHECKING:
    from vaultctl.client import Vault

_MOST_CHARACTERS = 150_000
"""Of the values of one step: a server takes bodies of a megabyte, in which a character can be six."""


def import_secrets(
    run: Invocation, file: Path, *, prefix: str, type: str | None, yes: bool, dry_run: bool
) -> list[ImportedCredential]:
    """Import the secrets of a file; answers what became of each.

    Raises:
        InvalidInput: The file can't be read, or something in it can't be imported.
        Declined: Whoever was asked does not want it.
    """
    found, empty = read_secrets(_content(file), prefix=prefix, type=_type(type))
    if empty:
        run.tell(f"{count(empty, 'entry').replace('entrys', 'entries')} without a value left out.")
    with run.vault() as vault:
        if dry_run or not yes:
            plan = _import(run, vault, found, dry_run=True)
            if dry_run:
                return plan
            changes = Counter(item.change for item in plan)
            for item in plan:
                run.tell(f"  {item.change:9}  {item.type.value:15}  {item.name}")
            confirm(
                f"{changes['new']} new, {changes['changed']} changed, {changes['unchanged']} unchanged. Import them?",
                yes=yes,
            )
        return _import(run, vault, found, dry_run=False)


def _import(run: Invocation, vault: "Vault", found: list[Found], *, dry_run: bool) -> list[ImportedCredential]:
    from vaultctl.cli.progress import progress

    done: list[ImportedCredential] = []
    with progress("Comparing" if dry_run else "Importing", quiet=run.quiet or len(found) <= MOST_IMPORTED) as advance:
        for step in _steps(found):
            values = {it.name: (it.type, it.value) for it in step}
            done += vault.credentials.import_values(values, dry_run=dry_run).items
            advance(len(done), len(found))
    return done


def _steps(found: list[Found]) -> Iterator[list[Found]]:
    step: list[Found] = []
    size = 0
    for it in found:
        length = len(it.value.reveal())
        if step and (len(step) == MOST_IMPORTED or size + length > _MOST_CHARACTERS):
            yield step
            step, size = [], 0
        step.append(it)
        size += length
    if step:
        yield step


def _content(file: Path) -> bytes:
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with file.open("rb") as stream:
                data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        reason = error.strerror
    else:
        if len(data) > MOST_BYTES:
            raise InvalidInput("The file is longer than 8 MiB.", hint="Import a part of it at a time.")
        return data
    raise InvalidInput(f"The file can't be read: {reason}.", hint="Name a dotenv file or an export, or - for stdin.")


def _type(text: str | None) -> CredentialType | None:
    if text is None:
        return None
    try:
        return CredentialType(text)
    except ValueError:
        pass
    known = ", ".join(type.value for type in CredentialType)
    raise InvalidInput("There is no such credential type.", hint=f"One of: {known}.")
