"""What all screens share: the head, the keys that lead everywhere, and the way to ask the vault without waiting."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from vaultctl.client import Vault
from vaultctl.domain.errors import VaultError
from vaultctl.domain.records import AuditEntry
from vaultctl.tui import actions
from vaultctl.tui.host import Host
from vaultctl.tui.model import LiveLease, Model
from vaultctl.tui.widgets.keys import Keys
from vaultctl.tui.widgets.status import DenialLine, StatusLines

T = TypeVar("T")


class Answered(Message):
    """The vault has answered a thread."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.then = then


@dataclass(frozen=True, slots=True)
class Fresh:
    """What is new in a frame.

    Attributes:
        changed: Ids of leases that came, changed or went.
        entries: Entries that were applied.
        anew: Everything may differ: the model began anew, or the screen was out of sight.
    """

    changed: set[str] = field(default_factory=set)
    entries: Sequence[AuditEntry] = ()
    anew: bool = False


class LiveScreen(Screen[None]):
    """A screen over the model, drawn anew frame by frame."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace", "back", "back"),
    ]
    BINDING_GROUP_TITLE = "This screen"

    AUTO_FOCUS = "LineList"
    """From the first moment on, keys are for the list; never for a filter above it."""

    _was_in_sight = False
    _looks = _looks_shown = 0

    @property
    def dashboard(self) -> Host:
        """The application."""
        return cast("Host", self.app)

    @property
    def model(self) -> Model:
        """The picture."""
        return self.dashboard.model

    @property
    def now(self) -> int:
        """The vault's time."""
        return self.dashboard.now

    @property
    def can_draw(self) -> bool:
        """Whether there is something to draw on: it is built, and is not being taken down."""
        return self._was_in_sight and self.app.is_running and self in self.app.screen_stack

    def compose(self) -> ComposeResult:
        """The head, the screen's own, the keys."""
        yield StatusLines(id="status")
        yield DenialLine(id="denials")
        yield from self.content()
        yield Keys(show_command_palette=False)

    def content(self) -> ComposeResult:
        """What is between head and keys."""
        raise NotImplementedError

    def fresh(self, news: Fresh) -> None:
        """Draw what differs since the last frame."""
        raise NotImplementedError

    def on_screen_resume(self) -> None:
        """In sight, for the first time or again."""
        self._was_in_sight = True
        if self.can_draw:
            self.dashboard.draw_head(self)
            self.fresh(Fresh(anew=True))

    def action_back(self) -> None:
        """To where one came from."""
        self.dashboard.back()

    def ask(
        self,
        work: Callable[[Vault], T],
        then: Callable[[T], None],
        otherwise: Callable[[], None] = lambda: None,
    ) -> None:
        """Let a thread ask the vault; ``then`` gets the answer, unless the screen is gone.

        Errors are shown, and ``otherwise`` is called. A defect ends the dashboard, as one outside of threads does.
        """
        vault = self.dashboard.vault  # the thread may come to it when the screen is no longer of the application

        def run() -> None:
            try:
                answer = work(vault)
            except VaultError as error:
                answered = Answered(partial(self._failed, error, otherwise))
            except Exception as defect:
                answered = Answered(partial(_raise, defect))
            else:
                answered = Answered(partial(then, answer))
            with suppress(RuntimeError):  # the screen, or all of it, has ended: nobody waits for the answer
                self.post_message(answered)

        threading.Thread(target=run, name="dashboard-query", daemon=True).start()

    def look(self, work: Callable[[Vault], T], then: Callable[[T], None]) -> None:
        """Like :meth:`ask`, for what the screen shows of the vault and asks for again when it changes.

        Threads may answer in another order than they were asked: what is older than what is shown is dropped.
        """
        self._looks += 1
        look = self._looks

        def shown(answer: T) -> None:
            if look > self._looks_shown:
                self._looks_shown = look
                then(answer)

        self.ask(work, shown)

    def known(self, found: T | None, work: Callable[[Vault], T], then: Callable[[T], None]) -> None:
        """Do something with what was found, or with what the vault answers if nothing was yet.

        So a key that is pressed before the screen is filled is not lost. It is void once another screen is in sight.
        """

        def answered(answer: T) -> None:
            if self.is_current:
                then(answer)

        if found is None:
            self.ask(work, answered)
        else:
            then(found)

    def _failed(self, error: VaultError, otherwise: Callable[[], None]) -> None:
        self.dashboard.tell_error(error)
        otherwise()

    def on_answered(self, event: Answered) -> None:
        """An answer is there."""
        event.stop()
        if self.can_draw:
            event.then()

    def act(self, planner: actions.Planner) -> None:
        """Plan something, ask whether to do it, do it, and say what came of it."""
        self.ask(planner, self._confirm)

    def _confirm(self, plan: actions.Plan) -> None:
        from vaultctl.tui.screens.confirm import Confirm

        def decided(yes: bool | None) -> None:
            if yes:
                self.ask(plan.run, self._done)

        self.app.push_screen(Confirm(plan), decided)

    def _done(self, outcome: str) -> None:
        self.dashboard.hurry()
        self.dashboard.tell(outcome)


def _raise(defect: Exception) -> None:
    raise defect


class LeaseScreen(LiveScreen):
    """A screen with a lease to act on: the one that :meth:`lease` names."""

    LOOKING: ClassVar[list[BindingType]] = [
        Binding("a", "agent", "agent", show=False),
        Binding("c", "credential", "credential", show=False),
        Binding("t", "token", "token", show=False),
    ]
    ACTING: ClassVar[list[BindingType]] = [
        Binding("R", "renew", "renew", tooltip="Extend the lease"),
        Binding("X", "revoke", "revoke", tooltip="End the lease"),
        Binding("E", "end_session", "end session", show=False, tooltip="End the session of the lease"),
        Binding(
            "T",
            "revoke_token",
            "revoke token",
            show=False,
            tooltip="End the token of the lease, its sessions and leases",
        ),
        Binding("S", "stop_agent", "stop agent", tooltip="Revoke all tokens of the agent"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [*LOOKING, *ACTING]
    HERE: ClassVar[str] = ""
    """The action that would lead to where one is already, and is therefore not offered."""

    def lease(self) -> LiveLease | None:
        """The lease under the cursor."""
        raise NotImplementedError

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Whether a key does something here: nothing changes anything in a read-only dashboard."""
        return action != self.HERE and (self.dashboard.acts or action not in ACTING_NAMES)

    def action_agent(self) -> None:
        """To the lease's agent."""
        if (lease := self._some_lease()) and self._has(lease.agent, "This lease is not an agent's."):
            self.dashboard.open_agent(cast("str", lease.agent))

    def action_credential(self) -> None:
        """To the lease's credential."""
        if lease := self._some_lease():
            self.dashboard.open_credential(lease.credential)

    def action_token(self) -> None:
        """To the lease's token."""
        if (lease := self._some_lease()) and self._has(lease.token, "The owner's leases have no token."):
            self.dashboard.open_token(cast("str", lease.token))

    def action_renew(self) -> None:
        """Extend the lease."""
        if lease := self._some_lease():
            self.act(actions.renew(lease))

    def action_revoke(self) -> None:
        """End the lease."""
        if lease := self._some_lease():
            self.act(actions.revoke_lease(lease))

    def action_end_session(self) -> None:
        """End the lease's session."""
        if (lease := self._some_lease()) and self._has(lease.session, "This lease has no session."):
            self.act(actions.end_session(cast("str", lease.session)))

    def action_revoke_token(self) -> None:
        """End the lease's token."""
        if (lease := self._some_lease()) and self._has(lease.token, "The owner's leases have no token."):
            self.act(actions.revoke_token(cast("str", lease.token)))

    def action_stop_agent(self) -> None:
        """Revoke everything of the lease's agent."""
        if (lease := self._some_lease()) and self._has(lease.agent, "This lease is not an agent's."):
            self.act(actions.stop_agent(cast("str", lease.agent)))

    def _some_lease(self) -> LiveLease | None:
        lease = self.lease()
        if lease is None:
            self.dashboard.tell("There is no lease to do that with.")
        return lease

    def _has(self, what: Any, otherwise: str) -> bool:
        if not what:
            self.dashboard.tell(otherwise)
        return bool(what)


ACTING_NAMES = frozenset({"renew", "revoke", "end_session", "revoke_token", "stop_agent"})
"""The actions that change something."""
