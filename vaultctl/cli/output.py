"""The only module that writes stdout: data, in the form that ``--output`` asks for."""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vaultctl.domain.errors import VaultError

if TYPE_CHECKING:
    from vaultctl.cli.columns import Column
    from vaultctl.cli.invocation import Invocation
    from vaultctl.cli.tables import PlainTable
    from vaultctl.cli.terminal import Screen, TerminalTable


class OutputFailed(VaultError):
    """What a command had to say could not be written. What it did is done."""


class ReaderGone(Exception):
    """Whoever read the output has had enough, as ``head`` does. A class of its own: other pipes may break too."""


def write(text: str) -> None:
    """Write ``text`` to stdout, at once, so that a failure is noticed here.

    Raises:
        ReaderGone: Nobody reads it any more.
        OutputFailed: It can't be written for another reason.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        abandon()
        raise ReaderGone from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is closed"
        abandon()
        raise OutputFailed(
            f"The output can't be written: {reason}.", hint="What the command did is done; see vaultctl audit."
        ) from None


def abandon() -> None:
    """Drop what stdout still holds, which would fail once more when the interpreter ends."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def many(
    run: "Invocation", records: Sequence[Any], kind: type, columns: "Sequence[Column]", id: Callable[[Any], str]
) -> None:
    """Print a list.

    Args:
        run: What the global options said.
        records: The records.
        kind: What they are, for the columns of an empty CSV.
        columns: The columns of the table.
        id: What ``-q`` prints of each.
    """
    from vaultctl.domain.wire import to_json_object

    if run.quiet:
        write("".join(f"{_safe(id(record))}\n" for record in records))
    elif run.output == "json":
        write(_json(to_json_object(list(records)), indent=2) + "\n")
    elif run.output == "jsonl":
        write("".join(_json(to_json_object(record)) + "\n" for record in records))
    elif run.output == "csv":
        from vaultctl.cli.formats import csv_columns, csv_lines

        write("".join(csv_lines(to_json_object(list(records)), csv_columns(kind))))
    elif records:
        write(_table(columns).draw(records))
    else:
        run.tell("There are none.")


def one(run: "Invocation", record: Any, columns: "Sequence[Column]", id: Callable[[Any], str]) -> None:
    """Print one thing; see :func:`many`."""
    from vaultctl.domain.wire import to_json_object

    if run.quiet:
        write(f"{_safe(id(record))}\n")
    elif run.output in ("json", "jsonl"):
        write(_json(to_json_object(record), indent=2 if run.output == "json" else 0) + "\n")
    elif run.output == "csv":
        from vaultctl.cli.formats import csv_columns, csv_lines

        write("".join(csv_lines([to_json_object(record)], csv_columns(type(record)))))
    elif sys.stdout.isatty():
        from vaultctl.cli.terminal import terminal_block

        write(terminal_block(columns, record, _screen()))
    else:
        from vaultctl.cli.tables import plain_block

        write(plain_block(columns, record))


def done(run: "Invocation", record: Any, id: str) -> None:
    """Print what a change ended. As a table nothing: people were told already."""
    if run.quiet or run.output != "table":
        one(run, record, (), lambda _: id)


def stream(run: "Invocation", kind: type, columns: "Sequence[Column]", id: Callable[[Any], str]) -> Callable[..., None]:
    """What prints batches of a list that goes on; JSON becomes a line for each record. See :func:`many`."""
    from vaultctl.domain.wire import to_json_object

    if run.quiet:
        return lambda records: write("".join(f"{_safe(id(record))}\n" for record in records))
    if run.output in ("json", "jsonl"):
        return lambda records: write("".join(_json(to_json_object(record)) + "\n" for record in records))
    if run.output == "csv":
        from vaultctl.cli.formats import csv_columns, csv_lines

        names = csv_columns(kind)
        write(next(csv_lines([], names)))
        return lambda records: write("".join(list(csv_lines(to_json_object(list(records)), names))[1:]))

    table = _table(columns, growing=True)
    return lambda records: write(table.draw(records))


def when_reader_goes(then: Callable[[], None]) -> None:
    """Call ``then``, in another thread, as soon as nobody reads stdout any more. Where that can't be seen, never."""
    import select
    import threading

    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # what ends a pipe is told unasked
    except (OSError, ValueError):  # not a file
        return

    def watch() -> None:
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll()):
            then()

    threading.Thread(target=watch, name="vaultctl-reader", daemon=True).start()


def text_block(text: str) -> None:
    """Print lines as they are, but safe to show."""
    write("".join(f"{_safe(line)}\n" for line in text.splitlines()))


def _table(columns: "Sequence[Column]", *, growing: bool = False) -> "PlainTable | TerminalTable":
    if sys.stdout.isatty():
        from vaultctl.cli.terminal import TerminalTable

        return TerminalTable(columns, _screen(), growing=growing)
    from vaultctl.cli.tables import PlainTable

    return PlainTable(columns, growing=growing)


def _screen() -> "Screen":
    """The terminal that stdout is."""
    from datetime import UTC, datetime
    from shutil import get_terminal_size

    from vaultctl.cli.console import wants_colour
    from vaultctl.cli.terminal import Screen

    return Screen(get_terminal_size().columns, wants_colour(sys.stdout), _is_utf8(), datetime.now(UTC))


def _is_utf8() -> bool:
    return sys.stdout.encoding.lower().replace("-", "") == "utf8"


def _json(value: Any, *, indent: int = 0) -> str:
    from vaultctl.cli.formats import json_text

    return json_text(value, indent=indent, ascii_only=not _is_utf8())


def _safe(text: str) -> str:
    from vaultctl.domain.text import safe

    return safe(text)
