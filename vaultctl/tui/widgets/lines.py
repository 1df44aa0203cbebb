"""A few lines of styled text."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip

from vaultctl.tui.widgets.palette import Painted
from vaultctl.tui.words import fit

Piece = tuple[str, str]
"""A text and the name of its style."""

Line = Sequence[Piece]


class Lines(Painted):
    """Shows lines, each a sequence of pieces; what does not fit is cut.

    A piece without a text is a spring: it pushes what follows it to the right.
    """

    DEFAULT_CSS = """
    Lines { height: auto; width: 1fr; }
    """

    def __init__(self, lines: Sequence[Line] = (), *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines = [tuple(line) for line in lines]

    @property
    def text(self) -> str:
        """What it shows, as plain text."""
        return "\n".join("".join(text for text, _ in line) for line in self._lines)

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines, and draw anew what differs."""
        fresh = [tuple(line) for line in lines]
        if fresh == self._lines:
            return
        resized = len(fresh) != len(self._lines)
        self._lines = fresh
        self.refresh(layout=resized)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002
        """As many lines as there are."""
        return len(self._lines)

    def get_content_width(self, container: Size, viewport: Size) -> int:  # noqa: ARG002
        """As wide as the longest line."""
        return max((sum(cell_len(text) for text, _ in line) for line in self._lines), default=0)

    def render_line(self, y: int) -> Strip:
        """One line."""
        width = self.size.width
        if y >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        room = width
        rest = max(0, width - sum(cell_len(text) for text, _ in self._lines[y]))
        segments = []
        for text, style in self._lines[y]:
            shown = " " * rest if not text else text if cell_len(text) <= room else fit(text, room)
            segments.append(Segment(shown, self.paint(style)))
            room -= cell_len(shown)
        if room > 0:
            segments.append(Segment(" " * room, self.rich_style))
        return Strip(segments, width)
