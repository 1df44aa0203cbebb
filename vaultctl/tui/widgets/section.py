"""A title above a list that says how many rows it has, and shows whether the list has the keys."""

from collections.abc import Iterator
from typing import Any

from textual.widget import Widget

from vaultctl.tui.widgets.line_list import HEAD, LineList
from vaultctl.tui.widgets.lines import Lines


class SectionTitle(Lines):
    """Stands above one of several lists of a screen."""

    DEFAULT_CSS = """
    SectionTitle {
        background: $panel;
        padding: 0 1;
        &.-here { background: $secondary 35%; }
    }
    """

    def __init__(self, title: str, rows: LineList[Any], *, is_short: bool) -> None:
        super().__init__([[(title, "title")]])
        self._title = title
        self._rows = rows
        self._is_short = is_short

    def on_mount(self) -> None:
        """Look at the list from now on."""
        self.watch(self._rows, "length", self._count)
        self.watch(self._rows, "has_focus", self._light)

    def _light(self, here: bool) -> None:
        self.set_class(here, "-here")

    def _count(self, length: int) -> None:
        self.show([[(f"{self._title}  ", "title"), (f"{length:,}", "faint")]])
        if self._is_short:
            self._rows.styles.max_height = max(1, length) + HEAD


def section(title: str, rows: LineList[Any], *, is_short: bool = False) -> Iterator[Widget]:
    """The title and the list, which takes no more room than its rows need if it ``is_short``."""
    yield SectionTitle(title, rows, is_short=is_short)
    yield rows
