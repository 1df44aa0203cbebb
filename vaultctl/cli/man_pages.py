"""Manual pages, one for each command, made of what ``--help`` says. ``make completions`` writes them.

They carry neither a date nor a version, so that they change when a command does and at no other time.
"""

from collections.abc import Iterator
from typing import Any

import typer

from vaultctl.domain.errors import ExitStatus

_STATUSES = {
    ExitStatus.DONE: "Done.",
    ExitStatus.UNEXPECTED: "Unexpected.",
    ExitStatus.USAGE: "The command line is wrong.",
    ExitStatus.NOT_AUTHENTICATED: "Not authenticated.",
    ExitStatus.NOT_ALLOWED: "Not allowed.",
    ExitStatus.NOT_FOUND: "Not found.",
    ExitStatus.CONFLICT: "A conflict, or an invalid state.",
    ExitStatus.UNAVAILABLE: "Unavailable: the vault, or what a run of an agent needs.",
    ExitStatus.VERIFICATION_FAILED: "A verification failed.",
    ExitStatus.INTERRUPTED: "Interrupted.",
}


def man_pages(root: Any) -> dict[str, str]:
    """The text of each page by the name of its file."""
    return {f"{'-'.join(path)}.1": _page(path, context) for path, context in _commands(root, ("vaultctl",), None)}


def _commands(command: Any, path: tuple[str, ...], parent: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    context = typer.Context(command, parent=parent, info_name=path[-1], resilient_parsing=True)
    yield path, context
    for name in _subcommands(context):
        yield from _commands(command.get_command(context, name), (*path, name), context)


def _subcommands(context: Any) -> list[str]:
    command = context.command
    return list(command.list_commands(context)) if hasattr(command, "list_commands") else []


def _page(path: tuple[str, ...], context: Any) -> str:
    command, name = context.command, "-".join(path)
    first, *others = [" ".join(part.split()) for part in (command.help or "").split("\n\n")]
    lines = [
        f'.TH {_text(name.upper())} 1 "" "vaultctl" "vaultctl manual"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(first.partition('. ')[0].rstrip('.'))}",
        ".SH SYNOPSIS",
        f"\\fB{_text(' '.join(path))}\\fR {_text(' '.join(command.collect_usage_pieces(context)))}",
        ".SH DESCRIPTION",
    ]
    for paragraph in (first, *others):
        lines += [".PP", _text(paragraph)]
    below = _subcommands(context)
    if below:
        lines.append(".SH COMMANDS")
    for sub in below:
        about = " ".join((command.get_command(context, sub).help or "").split("\n\n")[0].split())
        lines += [".TP", f"\\fB{_text(f'{name}-{sub}')}\\fR(1)", _text(about)]
    for title, records in command.sections(context).items():
        if records:
            lines.append(f".SH {title.upper()}")
        for names, help in records:
            lines += [".TP", f"\\fB{_text(names)}\\fR", _text(help)]
    if command.epilog:
        lines += [".SH EXAMPLES", ".nf", *(_text(line) for line in command.epilog.splitlines()), ".fi"]
    if len(path) == 1:
        lines.append(".SH EXIT STATUS")
        for status in ExitStatus:
            lines += [".TP", f"\\fB{status.value}\\fR", _STATUSES[status]]
    else:
        above = ["-".join(path[:length]) for length in range(1, len(path))]
        lines += [".SH SEE ALSO", ", ".join(f"\\fB{_text(page)}\\fR(1)" for page in above)]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """``text`` as roff reads it literally: no escapes, no requests, hyphens that can be copied and searched for."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    escaped = escaped.replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{escaped}" if escaped.startswith(".") else escaped
