"""The keys, read from the bindings that are active, so that this page is never wrong."""

from collections.abc import Iterator
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from vaultctl.tui.widgets.lines import Line, Lines

_KEY_CELLS = 22


def key_lines(app: Any, screen: Any) -> Iterator[Line]:
    """A line for each action that ``screen`` offers, under the title of who offers it."""
    groups: dict[str, dict[str, tuple[list[str], str]]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.system or not active.enabled or not binding.description:
            continue
        title = active.node.BINDING_GROUP_TITLE
        if title is None or binding.action not in _own_actions(type(active.node)):
            continue
        keys, _ = groups.setdefault(title, {}).setdefault(
            binding.action, ([], f"{binding.description}  {binding.tooltip}".strip())
        )
        keys.append(app.get_key_display(binding))
    for title, found in groups.items():
        yield [(title, "title")]
        for keys, description in found.values():
            yield [(f"  {' '.join(dict.fromkeys(keys)):<{_KEY_CELLS}}", "key"), (description, "plain")]
        yield []


def _own_actions(kind: type) -> set[str]:
    """The actions that our own classes bind, without those that come with Textual."""
    ours = [base for base in kind.__mro__ if base.__module__.startswith("vaultctl.")]
    return {binding.action for base in ours for binding in base.__dict__.get("BINDINGS", ())}


class Help(ModalScreen[None]):
    """The keys of the screen below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter", "dismiss", "close"),
        Binding("down,j", "scroll(1)", "down", show=False),
        Binding("up,k", "scroll(-1)", "up", show=False),
    ]

    AUTO_FOCUS = ""
    """The keys are the page's own."""

    def __init__(self, lines: list[Line]) -> None:
        super().__init__()
        self._lines = lines

    def compose(self) -> ComposeResult:
        """The list."""
        with VerticalScroll(classes="help"):
            yield Lines(self._lines)

    def action_scroll(self, lines: int) -> None:
        """Up or down."""
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
