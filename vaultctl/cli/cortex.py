"""``vaultctl cortex``: an agent run from the terminal."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, noun, verb
from vaultctl.cli.columns import Column
from vaultctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from vaultctl.cli.invocation import Invocation
    from vaultctl.cortex import CortexAgent, RunResult
    from vaultctl.cortex.events import Event

_EXAMPLE = 'vaultctl cortex run agent.json --task "Fetch the latest orders from our Shopify store and summarize them."'

app = noun("cortex", _EXAMPLE)

_LONGEST_TASK = 1_048_576
_LONGEST_SHOWN = 500
"""Characters that are shown of a call."""


@verb(app, "run", _EXAMPLE, 'echo "Deploy v2.1.0 to production." | vaultctl cortex run agent.json -o json')
def run_agent(
    ctx: typer.Context,
    agent_file: Annotated[
        Path, typer.Argument(metavar="AGENT_FILE", help="The agent's configuration, in JSON.", show_default=False)
    ],
    task: Annotated[
        str | None, opt.option("--task", metavar="TEXT", help="What it is to do; else stdin, or a prompt.")
    ] = None,
) -> None:
    """Have an agent do a task. Its answer goes to stdout; the calls of its tools are shown as they are made.

    The run is a session of its own, which ends with it, also after Ctrl-C.
    """
    run = invocation(ctx)
    if run.tenant or run.context or run.base_url or run.database:
        raise InvalidInput(
            "An agent goes to the vault that its file names.",
            hint='Put it into the vault server\'s env: {"VAULT_TENANT": "my-org", "VAULT_BASE_URL": "https://…"}',
        )
    from vaultctl.cortex import CortexAgent

    agent = CortexAgent.from_file(agent_file)
    text = _task(task)
    shown = _Shown(run)
    try:
        result = _perform(agent, text, shown)
    finally:
        shown.trail()
    if not result.session_ended:
        from vaultctl.cli.console import warn

        warn("The vault did not end the session; it does so by itself in 15 minutes.")
    if run.prints_tables:
        output.text_block(result.output)
    else:
        output.one(run, result, _COLUMNS, lambda result: result.session_id)


_COLUMNS = [Column("session", lambda r: r.session_id), Column("output", lambda r: r.output)]


class _Shown:
    """What people see of a run while it goes on, and where its trail is."""

    def __init__(self, run: "Invocation") -> None:
        self._run = run
        self._session_id: str | None = None

    def __call__(self, event: "Event") -> None:
        from vaultctl.cli.formats import json_text
        from vaultctl.cortex import events

        match event:
            case events.SessionOpened(session_id):
                self._session_id = session_id
                self._run.tell(f"session {session_id}")
            case events.ToolCalled(tool, arguments):
                self._tell(f"{tool} {json_text(arguments)}")
            case events.ToolAnswered(tool, refusal, seconds):
                self._tell(f"{tool} refused: {refusal}" if refusal else f"{tool} answered in {seconds:.1f} s")

    def trail(self) -> None:
        """Say how the trail is seen, if there is one."""
        if self._session_id is not None:
            self._run.tell(f"audit trail: vaultctl audit --session {self._session_id}")

    def _tell(self, text: str) -> None:
        self._run.tell(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")


def _task(task: str | None) -> str:
    """The task: what ``--task`` says, else stdin, which on a terminal is asked for."""
    if task is None:
        if sys.stdin.isatty():
            from vaultctl.cli.console import say

            say("What is the agent to do? End with Ctrl-D.")
        try:
            task = sys.stdin.read(_LONGEST_TASK + 1)
        except UnicodeDecodeError:
            raise InvalidInput("The task is not UTF-8 text.", hint="Give it with --task, or as text.") from None
    task = task.strip()
    if not task:
        raise InvalidInput("There is no task.", hint='Give one: --task "Fetch the latest orders."')
    if len(task) > _LONGEST_TASK:
        raise InvalidInput("The task is longer than 1 MiB.", hint="Say it shorter.")
    return task


def _perform(agent: "CortexAgent", task: str, on_event: "Callable[[Event], None]") -> "RunResult":
    """The run, which Ctrl-C, SIGTERM and SIGHUP end in an orderly way. Once it is ending, they are in vain."""
    import asyncio
    import gc
    import logging
    import signal

    from vaultctl.cli.console import warn

    class Warnings(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warn(record.getMessage())

    async def interruptible() -> "RunResult":
        running = asyncio.create_task(agent.run(task, on_event=on_event))
        loop = asyncio.get_running_loop()
        ending = False

        def end() -> None:
            nonlocal ending
            if not ending:
                ending = True
                running.cancel()

        # What whoever started this ignores, as nohup does, stays ignored.
        numbers = [n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
        for number in numbers:
            loop.add_signal_handler(number, end)
        try:
            return await running
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    root, ours = logging.getLogger(), logging.getLogger("vaultctl.cortex")
    # What libraries log may quote what a tool or a provider said: of it nothing is shown.
    silent, handler = logging.NullHandler(), Warnings(logging.WARNING)
    root.addHandler(silent)
    ours.addHandler(handler)
    gc.enable()  # this may run for hours
    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        ours.removeHandler(handler)
        root.removeHandler(silent)
