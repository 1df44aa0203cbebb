"""The question before anything is changed."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from vaultctl.tui.actions import Plan


class Confirm(ModalScreen[bool]):
    """Says what will happen, and asks. The safe answer has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "yes"),
        Binding("n,escape,q", "answer(False)", "no"),
        Binding("left,right,h,l", "app.focus_next", "other button", show=False),
    ]
    BINDING_GROUP_TITLE = "The question"

    AUTO_FOCUS = "#no"
    """Enter alone changes nothing."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan = plan

    def compose(self) -> ComposeResult:
        """The question, what will happen, and two buttons."""
        with Vertical(classes="dialog"):
            yield Static(self.plan.question, classes="question", markup=False)
            yield Static("\n".join(self.plan.consequences), classes="consequences", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("No (n)", id="no")
                yield Button(f"{self.plan.button} (y)", id="yes", variant="error")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button was chosen."""
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """A key was pressed."""
        self.dismiss(yes)
