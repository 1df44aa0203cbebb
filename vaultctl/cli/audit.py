"""``vaultctl audit``: what happened, every access and every refusal.

A command of its own, and a group of others about the log as a whole, whose modules are imported when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.main import get_command

from vaultctl.cli import audit_options as entries
from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import GlobalOption, Group, global_options, invocation, typer_app
from vaultctl.cli.columns import Column
from vaultctl.cli.invocation import Invocation
from vaultctl.domain.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from vaultctl.client import Vault
    from vaultctl.domain.records import AuditEntry

SUBCOMMANDS = {
    "export": ("vaultctl.cli.export", "Entries as a file, or as a bundle that proves itself anywhere."),
    "checkpoint": ("vaultctl.cli.checkpoint", "A signed checkpoint of the log, to keep elsewhere."),
    "stats": ("vaultctl.cli.stats", "How much there is, by agent, credential, event or day."),
    "verify": ("vaultctl.cli.verify", "Prove that nothing in the log was changed, removed or inserted."),
    "watch": ("vaultctl.cli.watch", "Follow the log from elsewhere, and alarm if it was rewritten or cut off."),
}
"""Each subcommand, the module whose ``app`` has it, and its line in the help."""


class _Log(Group):
    """The group, which without a subcommand shows entries."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.params = [*self.params, *global_options()]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; without arguments it shows entries, not help."""
        return super().parse_args(ctx, args or ["--"])

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """All subcommands."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The subcommand, from its module."""
        if cmd_name not in SUBCOMMANDS:
            return None
        group: Any = get_command(import_module(SUBCOMMANDS[cmd_name][0]).app)
        return group.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """The subcommands and their lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in SUBCOMMANDS.items()])


app = typer_app(
    "audit",
    "Show the audit log, oldest entry first: who used what, when, and why.\n\n"
    "--agent and --session find the whole trail, what others did to it included; --filter asks who acted, strictly.",
    (
        "vaultctl audit --session cortex_sess_abc123",
        "vaultctl audit --agent deploy-agent --event lease.denied --since 24h -o json",
        "vaultctl audit --credential shopify-api-key --at 2h",
        "vaultctl audit --filter identity.name=deploy-agent --limit 0 -o csv",
    ),
    _Log,
)
app.info.subcommand_metavar = "[COMMAND]"


@app.callback(invoke_without_command=True)
def audit(
    ctx: typer.Context,
    agent: entries.Agent = None,
    session: entries.Session = None,
    credential: entries.Credential = None,
    event: entries.Events = None,
    lease: entries.Lease = None,
    since: entries.Since = None,
    until: entries.Until = None,
    filter: entries.Filter = None,
    at: Annotated[
        Any,
        opt.option(
            "--at",
            metavar="TIME",
            help="With --credential: who had it then, as the leases that were active.",
            parser=entries.moment("time"),
        ),
    ] = None,
    limit: Annotated[
        Any, opt.option("--limit", metavar="N", help="The newest N; 100 if left out, 0 for all.", parser=opt.limit)
    ] = 100,
    follow: Annotated[
        bool, opt.option("--follow", help="Go on with new entries until Ctrl-C. With -o json an object a line.")
    ] = False,
) -> None:
    """Show entries; a subcommand does what it says instead."""
    if ctx.invoked_subcommand is not None:
        _refuse_filters(ctx)
        return
    run = invocation(ctx)
    filters = entries.filters(agent, session, credential, event, lease, since, until, filter)
    columns = [c for c in COLUMNS if not (c.title == "session" and session)]
    if at is not None:
        _show_holders(run, at, agent, session, credential, limit, follow or event or lease or since or until or filter)
        return
    with run.vault() as vault:
        if follow:
            _follow(run, vault, columns, filters, limit)
            return
        found = vault.audit_log.query(**filters, limit=limit or None)
    from vaultctl.domain.records import AuditEntry

    output.many(run, found, AuditEntry, columns, lambda e: e.id)


def _show_holders(
    run: Invocation,
    at: "datetime",
    agent: str | None,
    session: str | None,
    credential: str | None,
    limit: int,
    others: object,
) -> None:
    """The leases of a credential that were active at a moment.

    Raises:
        InvalidInput: No credential is named, or something that is about entries.
    """
    if credential is None or others:
        raise InvalidInput(
            "--at is about the leases of a credential.",
            hint="With it go --credential, --agent, --session and --limit.",
        )
    from vaultctl.cli.lease import HOLDERS
    from vaultctl.domain.records import Lease

    with run.vault() as vault:
        held = vault.leases.list(credential=credential, agent=agent, session=session, active_at=at, limit=limit or None)
    output.many(run, held, Lease, HOLDERS, lambda x: x.id)


def _refuse_filters(ctx: typer.Context) -> None:
    """Refuse what stands before a subcommand, which would not see it.

    Raises:
        InvalidInput: Something does that is not for every command.
    """
    for param in ctx.command.params:
        source = ctx.get_parameter_source(str(param.name))
        if not isinstance(param, GlobalOption) and source is not None and source.name == "COMMANDLINE":
            raise InvalidInput(
                f"{param.opts[0]} stands before a subcommand, which would not see it.",
                hint=f"Put options behind the subcommand; see {ctx.command_path} --help.",
            )


def _follow(run: Invocation, vault: "Vault", columns: list[Column], filters: dict[str, Any], limit: int) -> None:
    """The entries that there are, then those that come, until somebody interrupts it or nobody reads them."""
    import gc
    from threading import Event as Flag

    from vaultctl.domain.errors import VaultError
    from vaultctl.domain.records import AuditEntry

    gc.enable()
    show: Callable[[list[AuditEntry]], None] = output.stream(run, AuditEntry, columns, lambda e: e.id)
    there = vault.audit_log.query(**filters, limit=limit or None)
    show(there)
    gone = Flag()

    def stop() -> None:
        gone.set()
        vault.close()

    output.when_reader_goes(stop)
    try:
        for entry in vault.audit_log.follow(there[-1].seq if there else -1, **filters, on_state=_say_state(run)):
            show([entry])
    except VaultError:
        if not gone.is_set():
            raise
    if gone.is_set():
        raise output.ReaderGone


def _say_state(run: Invocation) -> "Callable[[bool], None]":
    """What tells people that the server went away, and that it is back."""
    is_there = True

    def tell(reached: bool) -> None:
        nonlocal is_there
        if reached is not is_there:
            run.tell("The server is back." if reached else "The server is out of reach; trying again.")
        is_there = reached

    return tell


def outcome(entry: "AuditEntry") -> str:
    """What came of it, in a few words, and whom it concerned if not whoever acted."""
    text = _result(entry)
    subject = entry.details.get("agent") or entry.details.get("email")
    return f"{text} ({subject})" if subject and subject != entry.identity.label else text


def _result(entry: "AuditEntry") -> str:
    details = entry.details
    match entry.event.value.partition(".")[2]:
        case "denied":
            text = f"denied: {details['rule']}" if details.get("rule") else "denied"
            return f"{text} in {details['operation']}" if entry.event.value == "access.denied" else text
        case "created" | "renewed" as done if entry.lease_id:
            text = f"{'granted' if done == 'created' else done} {details.get('ttl', '')}".strip()
            asked = details.get("requestedTTL")
            text = text if asked in (None, details.get("ttl")) else f"{text} of {asked}"
            return f"{text} by reference" if details.get("delivery") == "reference" else text
        case "expired" | "redeemed" as done:
            return done
        case "revoked" | "ended" | "deleted" as done:
            ended = [opt.count(details[f"{kind}s"], kind) for kind in ("session", "lease") if details.get(f"{kind}s")]
            reason = details.get("reason")
            text = done if reason in (None, done) else f"{done}: {reason}"
            return f"{text}, with {' and '.join(ended)}" if ended else text
    return "ok"


def _style(entry: "AuditEntry") -> str:
    match entry.event.value.partition(".")[2]:
        case "denied":
            return "red"
        case "expired" | "revoked" | "deleted":
            return "yellow"
        case "created" | "renewed" | "redeemed" if entry.lease_id:
            return "green"
    return ""


COLUMNS = [
    Column("time", lambda e: e.timestamp, least=9),
    Column("event", lambda e: e.event.value, least=15),
    Column("agent", lambda e: e.identity.label, detail=2, least=14),
    Column("credential", lambda e: e.credential_name, detail=1, least=16),
    Column("purpose", lambda e: e.identity.purpose, wrap=24, detail=3, least=24),
    Column("lease", lambda e: e.lease_id, detail=3, least=28),
    Column("session", lambda e: e.identity.session_id or e.details.get("sessionId"), detail=4, least=31),
    Column("outcome", outcome, wrap=14, style=_style, least=14),
]
