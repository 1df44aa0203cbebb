"""The line of keys at the foot of a screen.

Textual's own makes its parts anew each time the keys differ, and goes on watching over those that it has thrown away:
18 with each change of the focus, for a dashboard that stays open all day.
"""

from textual.app import ComposeResult
from textual.widgets import Footer


class Keys(Footer):
    """Textual's footer, which forgets what is gone."""

    def compose(self) -> ComposeResult:
        """The keys."""
        for watchers in getattr(self, "__watchers", {}).values():
            watchers[:] = [(node, told) for node, told in watchers if node.is_attached and not node._closing]
        yield from super().compose()
