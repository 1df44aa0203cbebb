"""The known facts of one thing: a name and a value each, side by side where there is room."""

from collections.abc import Sequence

from vaultctl.domain.text import safe
from vaultctl.tui.widgets.lines import Line, Lines, Piece

Fact = tuple[str, str]


class Facts(Lines):
    """A title, and facts."""

    def tell(self, title: str, facts: Sequence[Fact]) -> None:
        """Show them; facts without a value are left out."""
        known = [(name, safe(value)) for name, value in facts if value]
        lines: list[Line] = [[(safe(title), "title")]]
        row: list[Piece] = []
        used = 0
        width = (self.size.width or self.app.size.width) - 2
        for name, value in known:
            pieces: list[Piece] = [(f"{name} ", "faint"), (f"{value}   ", "plain")]
            cells = sum(len(text) for text, _ in pieces)
            if row and used + cells > width:
                lines.append(row)
                row, used = [], 0
            row += pieces
            used += cells
        if row:
            lines.append(row)
        self.show(lines)
