"""Arguments and options that several commands share, and how their texts are read.

What can be judged without a vault is judged while the command line is parsed, before any vault is opened.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from vaultctl.cli import placeholders as names
from vaultctl.cli.base import looked_up
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput


def duration(what: str, *, clearable: bool = False) -> Any:
    """A parser of durations; ``what`` names it in the error. ``clearable`` ones may be ``none``."""

    def parse(text: str) -> Any:
        if clearable and text == "none":
            return text
        return Duration.parse(text, what=what)

    return parse


def whole_number(what: str) -> Any:
    """A parser of numbers from 0 on."""

    def parse(text: Any) -> Any:
        if isinstance(text, int):
            return text
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise InvalidInput(f"{what} is not a whole number.", hint="Write it like 100.")
        return int(text)

    return parse


limit = whole_number("The limit")

DELIVERED = "A value that was delivered works until its credential is rotated."
"""What everybody who ends a lease should know."""


def pairs(texts: list[str] | None, what: str) -> dict[str, str] | None:
    """``k=v`` texts as a dictionary; None if there are none.

    Raises:
        InvalidInput: One has no ``=``, or a key comes twice.
    """
    if not texts:
        return None
    result: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f"A {what} is key=value.", hint=f"For example --{what} {_EXAMPLES[what]}")
        if key in result:
            raise InvalidInput(f"A {what} is given twice.", hint="Name each key once.")
        result[key] = value
    return result


_EXAMPLES = {"metadata": "owner=platform-team", "filter": "identity.name=deploy-agent"}


def values_of(kind: str) -> Any:
    """A completion of the values of an enumeration in :mod:`vaultctl.domain.records`."""

    def complete() -> list[str]:
        from vaultctl.domain import records

        return [member.value for member in getattr(records, kind)]

    return complete


def option(*names: str, metavar: str | None = None, help: str, **settings: Any) -> Any:
    """An option whose default is not worth showing."""
    return typer.Option(*names, metavar=metavar, help=help, show_default=False, **settings)


def count(number: int, noun: str) -> str:
    """``1 lease``, ``2 leases``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _argument(metavar: str, help: str, **settings: Any) -> Any:
    return typer.Argument(metavar=metavar, help=help, show_default=False, **settings)


Credential = Annotated[str, _argument("NAME", "The credential.", autocompletion=looked_up(names.CREDENTIALS))]
NewCredential = Annotated[str, _argument("NAME", "The credential.")]
LeaseId = Annotated[str, _argument("ID", "The lease, lease_….", autocompletion=looked_up(names.LEASES))]
TokenId = Annotated[
    str, _argument("ID", "The token's id, tok_…; not its secret.", autocompletion=looked_up(names.TOKENS))
]
SessionId = Annotated[
    str, _argument("ID", "The session, cortex_sess_… or mcp_sess_….", autocompletion=looked_up(names.SESSIONS))
]

Context = Annotated[str, _argument("NAME", "The context, or embedded.", autocompletion=looked_up(names.CONTEXTS))]

FromFile = Annotated[Path | None, option("--from-file", metavar="FILE", help="Read the value from a file.")]
FromEnv = Annotated[str | None, option("--from-env", metavar="VAR", help="Read it from an environment variable.")]

LeaseTTL = Annotated[
    Duration | None,
    option("--ttl", metavar="DURATION", help="How long, like 30s, 15m or 1h30m.", parser=duration("TTL")),
]
Agent = Annotated[
    str | None,
    option("--agent", metavar="NAME", help="Only this agent's.", autocompletion=looked_up(names.AGENTS)),
]
Session = Annotated[
    str | None,
    option("--session", metavar="ID", help="Only this session's.", autocompletion=looked_up(names.SESSIONS)),
]
OfCredential = Annotated[
    str | None,
    option(
        "--credential", metavar="NAME", help="Only of this credential.", autocompletion=looked_up(names.CREDENTIALS)
    ),
]

Yes = Annotated[bool, option("--yes", help="Don't ask.")]
DryRun = Annotated[bool, option("--dry-run", help="Say what it would do, and do nothing.")]
