"""What a run tells while it goes on, and what it answers at its end. None of it holds a value of the vault's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vaultctl.domain.records import Record


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The run has its session: from here on there is a trail."""

    session_id: str


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model calls a tool.

    Attributes:
        tool: ``server.tool``.
        arguments: What it sent, leased values masked.
    """

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolAnswered:
    """A tool has answered.

    Attributes:
        tool: ``server.tool``.
        refusal: What the model was told if it was refused, or the tool failed; empty: it succeeded.
        seconds: How long it took.
    """

    tool: str
    refusal: str
    seconds: float


Event = SessionOpened | ToolCalled | ToolAnswered
OnEvent = Callable[[Event], None]


class ToolCall(Record):
    """One call of a tool in a run. ``refused``: the model was told of a refusal or a failure instead of a result."""

    tool: str
    refused: bool


class Usage(Record):
    """What a run cost: answers of the model, tokens that it read, and tokens that it wrote."""

    requests: int
    input_tokens: int
    output_tokens: int


class RunResult(Record):
    """How a run ended. A value that the model was given in it is masked in ``output``."""

    output: str
    agent: str
    session_id: str
    session_ended: bool
    """Whether the vault has ended the session; if it could not be reached, it does so 15 minutes later by itself."""
    tool_calls: tuple[ToolCall, ...]
    """In the order in which they ended, each ``server.tool``."""
    usage: Usage
