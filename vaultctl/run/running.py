"""A command with credentials, from the leases to the exit status."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import PurePath

from vaultctl.client.vault import LeaseHandle
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput, VaultError
from vaultctl.domain.scrubbing import SHORTEST
from vaultctl.domain.text import check_free_text
from vaultctl.engine.credential_types import fragments
from vaultctl.run.child import Child, Interrupted, Stops, deferring_stops, taking_signals
from vaultctl.run.environment import environment_for_child
from vaultctl.run.loans import Loans, OpenVault, Warn
from vaultctl.run.redaction import Redaction


def run(
    command: list[str],
    wanted: Mapping[str, str],
    *,
    open_vault: OpenVault,
    warn: Warn,
    purpose: str | None = None,
    ttl: Duration | None = None,
    redact: bool = False,
) -> int:
    """Run ``command`` with the credentials ``wanted``, and say how it ended.

    Args:
        command: The program and its arguments.
        wanted: The credential of each variable. One that can't be had keeps the command from running.
        open_vault: Opens the vault.
        warn: Tells people what goes wrong while the command runs.
        purpose: Why, for the audit log; else the command's name, without its arguments, which could hold secrets.
        ttl: How long the leases are at first, and each time that they are renewed.
        redact: Whether the secrets are taken out of what it writes.

    Returns:
        The command's exit status; 128 + N if the signal N ended it, or asked to stop before it began.

    Raises:
        VaultError: A credential can't be had, or the command not be started. All leases are released.
    """
    try:
        with deferring_stops() as stops:
            loans = Loans.open(open_vault, warn)
            try:
                issued = _take_all(loans, wanted, ttl, purpose or _purpose_of(command), stops)
                return _run_child(command, issued, loans, stops, redact=redact)
            finally:
                stops.forget()
                _release(loans, warn)
    except Interrupted as interrupted:
        return 128 + interrupted.number


def _take_all(
    loans: Loans, wanted: Mapping[str, str], ttl: Duration | None, purpose: str, stops: Stops
) -> dict[str, LeaseHandle]:
    issued: dict[str, LeaseHandle] = {}
    for variable, name in wanted.items():
        stops.check()
        issued[variable] = loans.take(name, ttl, purpose)
    return issued


def _run_child(
    command: list[str], issued: Mapping[str, LeaseHandle], loans: Loans, stops: Stops, *, redact: bool
) -> int:
    environment = environment_for_child(os.environ, {variable: lease.value for variable, lease in issued.items()})
    with ExitStack() as stack:
        redaction = None
        if redact:
            redaction = Redaction(_secrets(issued.values()))
            stack.callback(redaction.finish)
        stack.enter_context(taking_signals())
        stops.check()
        child = Child.start(command, environment, redaction.files if redaction else {})
        if redaction:
            redaction.start()
        loans.start_keeping()
        return child.wait(redaction.resized if redaction else _nothing)


def _secrets(issued: Iterable[LeaseHandle]) -> Iterator[str]:
    for lease in issued:
        value = lease.value.reveal()
        if len(value.strip()) < SHORTEST:
            raise InvalidInput(
                f"The value of {lease.lease.credential_name!r} is too short to be taken out of what a command writes.",
                hint="Run the command without --redact, or store a longer secret.",
            )
        yield from fragments(lease.type, value)


def _release(loans: Loans, warn: Warn) -> None:
    try:
        loans.release()
    except (VaultError, Interrupted) as error:
        why = error.message if isinstance(error, VaultError) else "Interrupted."
        warn(f"The leases were not released: {why}", "They end by themselves; see: vaultctl lease list --state active")


def _purpose_of(command: list[str]) -> str:
    name = PurePath(command[0]).name
    try:
        return check_free_text(f"Run {name}", "purpose")
    except InvalidInput:
        return "Run a command"


def _nothing() -> None:
    pass
