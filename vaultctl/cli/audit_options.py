"""Which entries of the audit log a command is about: the options that ``audit`` and its subcommands share."""

from datetime import UTC, datetime
from typing import Annotated, Any

from vaultctl.cli import options as opt
from vaultctl.cli import placeholders
from vaultctl.cli.base import looked_up
from vaultctl.domain.times import parse_moment

_WHEN = "like 2026-11-23T09:00:00Z, 2026-11-23 or 2h (ago)."


def moment(what: str) -> Any:
    """A parser of points in time; ``what`` names it in the error."""

    def parse(text: str) -> datetime:
        return parse_moment(text, datetime.now(UTC), what=what)

    return parse


Agent = Annotated[
    str | None,
    opt.option(
        "--agent", metavar="NAME", help="The trail of this agent.", autocompletion=looked_up(placeholders.AGENTS)
    ),
]
Session = Annotated[
    str | None,
    opt.option(
        "--session", metavar="ID", help="The trail of this run.", autocompletion=looked_up(placeholders.SESSIONS)
    ),
]
Credential = Annotated[
    str | None,
    opt.option(
        "--credential",
        metavar="NAME",
        help="What concerns this credential.",
        autocompletion=looked_up(placeholders.CREDENTIALS),
    ),
]
Events = Annotated[
    list[str] | None,
    opt.option(
        "--event", metavar="EVENT", help="Like lease.denied. Repeatable.", autocompletion=opt.values_of("Event")
    ),
]
Lease = Annotated[
    str | None,
    opt.option(
        "--lease", metavar="ID", help="What concerns this lease.", autocompletion=looked_up(placeholders.LEASES)
    ),
]
Since = Annotated[Any, opt.option("--since", metavar="TIME", help=f"Not before, {_WHEN}", parser=moment("start"))]
Until = Annotated[Any, opt.option("--until", metavar="TIME", help="Before; likewise.", parser=moment("end"))]
Filter = Annotated[
    list[str] | None,
    opt.option(
        "--filter",
        metavar="FIELD=VALUE",
        help="A field of the entry itself: identity.type, identity.name, identity.userId, identity.email, "
        "identity.sessionId, credentialName, leaseId or event. Repeatable.",
    ),
]


def filters(
    agent: str | None,
    session: str | None,
    credential: str | None,
    event: list[str] | None,
    lease: str | None,
    since: datetime | None,
    until: datetime | None,
    filter: list[str] | None,
) -> dict[str, Any]:
    """The arguments of the methods of ``audit_log`` that mean the same entries."""
    return {
        "filter": opt.pairs(filter, "filter"),
        "agent": agent,
        "session": session,
        "credential": credential,
        "lease": lease,
        "events": event or (),
        "since": since,
        "until": until,
    }
