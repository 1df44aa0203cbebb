"""Writing audit entries to a file of one's own."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import AuditEntry
from vaultctl.tui import words
from vaultctl.tui.trail import Exporter

_FORMATS = ("csv", "jsonl")


class ExportTo(ModalScreen[str | None]):
    """Asks for the file."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "cancel")]

    def __init__(self, name: str, filter: str) -> None:
        super().__init__()
        self._name = name
        self._filter = filter

    def compose(self) -> ComposeResult:
        """One line to edit."""
        with Vertical(classes="dialog"):
            what = f"the entries that match {self._filter}" if self._filter else "the whole audit log"
            yield Static(f"Export {what} to a new file, .csv or .jsonl", classes="question", markup=False)
            yield Input(self._name, id="file")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """That file."""
        self.dismiss(event.value.strip() or None)


def export(entries: Callable[[str], Iterable[AuditEntry]], file: str, writer: Exporter) -> str:
    """Write entries to a new file that only its owner reads; answers what was done.

    ``entries`` is asked for them, and told whether they leave as ``csv`` or ``jsonl``.

    Raises:
        InvalidInput: The name has another ending, or the file can't be made.
    """
    path = Path(file).expanduser()
    kind = path.suffix.removeprefix(".")
    if kind not in _FORMATS:
        raise InvalidInput("The file's name must end with .csv or .jsonl.", hint="Export again with such a name.")
    number = 0

    def counted() -> Iterable[AuditEntry]:
        nonlocal number
        for entry in entries(kind):
            number += 1
            yield entry

    is_half = False
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8", newline="") as out:
            is_half = True
            for text in writer(counted(), kind):
                out.write(text)
        is_half = False
    except OSError as error:
        raise InvalidInput(
            f"The file can't be written: {error.strerror}.", hint="Export again to another file."
        ) from None
    finally:
        if is_half:
            path.unlink(missing_ok=True)
    return f"Wrote {words.count(number, 'entry').replace('entrys', 'entries')} to {path}."
