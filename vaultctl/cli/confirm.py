"""Asking before something is destroyed."""

import sys

from vaultctl.cli import console
from vaultctl.domain.errors import ExitStatus, InvalidInput


class Declined(Exception):
    """Whoever was asked said no. The command ends as if it had been interrupted."""

    exit_status = ExitStatus.INTERRUPTED


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if ``yes``, or if the terminal's user agrees.

    Raises:
        Declined: They don't.
        InvalidInput: There is nobody to ask.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInput(
            "This needs a confirmation, and there is no terminal to ask on.",
            hint="Add --yes to do it, or --dry-run to see what it would do.",
        )
    if not console.ask(question):
        console.say("Nothing was changed.")
        raise Declined
