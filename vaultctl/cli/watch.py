"""``vaultctl audit watch``: follows a vault's log from another machine, and alarms if it does not go on as it was."""

import signal
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, plain_commands, verb
from vaultctl.cli.columns import Column
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import NotFound, TooManyRequests, VaultUnavailable, VerificationFailed
from vaultctl.domain.times import rfc3339

if TYPE_CHECKING:
    from vaultctl.cli.invocation import Invocation
    from vaultctl.client import Vault
    from vaultctl.client.watching import Observation

app = plain_commands()

_WITNESSED = [
    Column("log", lambda w: w.origin),
    Column("entries", lambda w: w.size),
    Column("root hash", lambda w: w.root_hash),
    Column("verifier key", lambda w: w.verifier_key),
]


@verb(
    app,
    "watch",
    "vaultctl audit watch --state audit-witness.json --once",
    "vaultctl audit watch --state audit-witness.json --once --key log.key",
)
def watch(
    ctx: typer.Context,
    state: Annotated[
        Path, opt.option("--state", metavar="FILE", help="Where what was seen is kept; made at the first look.")
    ],
    url: Annotated[str | None, opt.option("--url", metavar="URL", help="The server; the same as --base-url.")] = None,
    key: Annotated[
        str | None,
        opt.option(
            "--key",
            metavar="KEY",
            help="The log's verifier key, NAME+ID+BASE64, or a file that has it. Else that of the first look.",
        ),
    ] = None,
    interval: Annotated[
        Any,
        opt.option(
            "--interval", metavar="DURATION", help="How often to look; 1m if left out.", parser=opt.duration("interval")
        ),
    ] = "1m",
    once: Annotated[bool, opt.option("--once", help="Look once, show what is there, and end.")] = False,
    webhook: Annotated[
        str | None,
        opt.option("--webhook", metavar="URL", help="POST an alarm there as JSON; https://, or on this machine."),
    ] = None,
) -> None:
    """Watch an audit log from elsewhere: each look must find a log that goes on from what the last one found.

    A log that was shortened, rewritten, forked or signed by another key is an alarm: it is said, the webhook is told,
    and the exit status is 8. A vault out of reach is none; it is said, and tried again. The role viewer is enough.
    """
    from vaultctl.client.checkpoints import read_key

    run = invocation(ctx)
    run.base_url = url or run.base_url
    if webhook is not None:
        from vaultctl.client.webhook import check_webhook

        check_webhook(webhook)
    known = None if key is None else read_key(key)
    try:
        with run.vault() as vault:
            if once:
                output.one(run, _look(run, vault, state, known).now, _WITNESSED, lambda w: w.root_hash)
            else:
                _watch(run, vault, state, known, interval)
    except VerificationFailed as alarm:
        _say(run, f"ALARM: {alarm.message}")
        if webhook is not None:
            _tell(run, webhook, alarm, state)
        raise


def _watch(run: "Invocation", vault: "Vault", state: Path, key: str | None, interval: Duration) -> None:
    """Look again and again, until SIGTERM comes."""
    stopped = Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    silent = ""
    try:
        while not stopped.is_set():
            try:
                _look(run, vault, state, key)
                silent = ""
            except (VaultUnavailable, TooManyRequests, NotFound) as error:
                if silent != error.message:  # said once, not at each look
                    silent = error.message
                    _say(run, f"{silent} Trying again every {interval}.")
            stopped.wait(interval.total_seconds())
    finally:
        signal.signal(signal.SIGTERM, before)


def _look(run: "Invocation", vault: "Vault", state: Path, key: str | None) -> "Observation":
    from vaultctl.client.watching import look

    seen = look(vault, state, key)
    if seen.before is None:
        _say(run, f"First look at {seen.now.origin}: {_entries(seen.now.size)}.")
        if key is None:
            _say(run, f"Its key is trusted from now on: {seen.now.verifier_key}")
    elif seen.now.size > seen.before.size:
        _say(run, f"{_entries(seen.now.size)}, which begin with the {seen.before.size} from before.")
    return seen


def _tell(run: "Invocation", webhook: str, alarm: VerificationFailed, state: Path) -> None:
    from vaultctl.client.watching import load
    from vaultctl.client.webhook import tell
    from vaultctl.domain.wire import to_json_object

    message = {"event": "audit.alarm", "message": alarm.message, "hint": alarm.hint, "timestamp": _now()}
    problem = tell(webhook, message | {"witnessed": to_json_object(load(state))})
    if problem:
        _say(run, f"The webhook was not told: {problem}.")


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _say(run: "Invocation", text: str) -> None:
    run.tell(f"{_now()} {text}")


def _now() -> str:
    return rfc3339(datetime.now(UTC))
