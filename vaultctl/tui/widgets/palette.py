"""The styles that texts are drawn in, by name, and the themes that give them colours.

The colours are those of Okabe and Ito, which people with the common kinds of colour blindness tell apart.
"""

from typing import ClassVar

from rich.style import Style
from textual.theme import Theme
from textual.widget import Widget

STYLES = ("plain", "faint", "title", "good", "calm", "warn", "alarm", "shout", "key")
"""``shout`` is for what must not be missed: inverted, so that it stands out without colours too."""

_CLASSES = {name: f"text--{name}" for name in STYLES}

THEMES = (
    Theme(
        name="vaultctl-dark",
        primary="#56B4E9",
        secondary="#0072B2",
        accent="#CC79A7",
        success="#3CC29A",
        warning="#E69F00",
        error="#F0703C",
        foreground="#D8DEE6",
        background="#10151C",
        surface="#161D26",
        panel="#1E2833",
    ),
    Theme(
        name="vaultctl-light",
        primary="#0072B2",
        secondary="#56B4E9",
        accent="#A3477A",
        success="#00704F",
        warning="#8A5F00",
        error="#B34A00",
        foreground="#1B222B",
        background="#FAFAF7",
        surface="#F1F1EC",
        panel="#E4E5DE",
        dark=False,
    ),
)


class Painted(Widget):
    """A widget that draws texts in the named styles."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*_CLASSES.values()}

    DEFAULT_CSS = """
    Painted {
        & > .text--faint { color: $foreground 60%; }
        & > .text--title { color: $primary; text-style: bold; }
        & > .text--good { color: $success; }
        & > .text--calm { color: $primary; }
        & > .text--warn { color: $warning; text-style: bold; }
        & > .text--alarm { color: $error; text-style: bold; }
        & > .text--shout { color: $background; background: $error; text-style: bold; }
        & > .text--key { color: $accent; text-style: bold; }
    }
    """

    def paint(self, name: str) -> Style:
        """The style of that name, on this widget's background."""
        if name == "shout" and self.app.no_color:
            return Style(reverse=True, bold=True)
        return self.get_component_rich_style(_CLASSES[name])
