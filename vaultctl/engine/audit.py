"""Queries of the audit log."""

import msgspec

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import NotAllowed
from vaultctl.domain.records import AuditEntry, Page, Role
from vaultctl.domain.rules import Caller, Refusal
from vaultctl.domain.times import to_micros
from vaultctl.engine import paging, views
from vaultctl.engine.refusals import refuse_if
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import EntryRow, SessionRow

_SCAN = 20_000
"""Rows that one query looks at before it answers with what it found and a cursor."""


def query_audit(tx: Transaction, caller: Caller, request: ask.QueryAudit) -> Page[AuditEntry]:
    """Entries that match, oldest first: the first after ``after_seq``, else the newest before the cursor."""
    limit = paging.page_size(request.limit)
    session_id = _own_session(tx, caller, request.session_id or request.identity_session_id)
    # The columns hold the actor's agent and session, or those acted upon: a superset of what the
    # strict identity filters ask for, which then look into the entry itself.
    conditions = [Where("tenant", "=", caller.tenant)]
    for column, value in (
        ("agent", request.agent or request.identity_name),
        ("session_id", session_id),
        ("credential_name", request.credential_name),
        ("lease_id", request.lease_id),
    ):
        if value is not None:
            conditions.append(Where(column, "=", value))
    events = sorted({event.value for event in request.events})
    lowest, beyond = _bounds(tx, caller.tenant, request)
    strict = _strict_identity(request)

    one_by_one = events if len(events) > 1 and len(conditions) == 1 and not strict else []
    if events and not one_by_one:
        conditions.append(Where("event", "in", events))

    forward = request.after_seq is not None
    found: list[EntryRow] = []
    scanned = 0
    exhausted = False
    while len(found) <= limit and scanned < _SCAN and not exhausted:
        chunk = limit + 1 if not strict else max(500, limit + 1)
        span = [Where("seq", ">=", lowest)]
        if beyond is not None:
            span.append(Where("seq", "<", beyond))
        rows = _in_order(tx, [*conditions, *span], one_by_one, descending=not forward, limit=chunk)
        exhausted = len(rows) < chunk
        scanned += len(rows)
        if rows:
            lowest, beyond = (rows[-1].seq + 1, beyond) if forward else (lowest, rows[-1].seq)
        found += [row for row in rows if not strict or _matches(views.entry(row), strict)]
    shown = found[:limit]
    more = len(found) > limit or not exhausted
    cursor = None
    if more and forward:
        cursor = paging.encode((shown[-1].seq if len(found) > limit else lowest - 1,))
    elif more:
        oldest = shown[-1].seq if len(found) >= limit and shown else beyond or 0
        cursor = paging.encode((oldest,))
    if not forward:
        shown.reverse()
    return Page(items=tuple(_for(caller, views.entry(row)) for row in shown), next_cursor=cursor)


def _in_order(
    tx: Transaction, conditions: list[Where], events: list[str], *, descending: bool, limit: int
) -> list[EntryRow]:
    """The first entries that meet the conditions, of ``events`` if there are any.

    Each event is asked for alone: for several at once a database may look for rare ones through the whole log, which
    is in order already.
    """
    of_events = [[Where("event", "=", event)] for event in events] or [[]]
    found = [
        row
        for of_event in of_events
        for row in tx.find(EntryRow, *conditions, *of_event, order="seq", descending=descending, limit=limit)
    ]
    if len(of_events) > 1:
        found.sort(key=lambda row: row.seq, reverse=descending)
    return found[:limit]


def _own_session(tx: Transaction, caller: Caller, session_id: str | None) -> str | None:
    """The session whose trail the caller may read; None for an admin who named none.

    Raises:
        Refused: The caller is no admin, and this is not its own session's trail.
    """
    if not caller.is_agent:
        needs_admin = NotAllowed("Reading the audit log needs the role admin.", hint="Ask an admin of the tenant.")
        refuse_if(caller, Refusal("role", needs_admin) if caller.role is not Role.ADMIN else None)
        return session_id
    own = session_id or caller.session_id
    if own is not None:
        session = tx.get(SessionRow, caller.tenant, own)
        if session is not None and session.token_id == caller.token_id and caller.session_id in (None, own):
            return own
    refuse_if(
        caller,
        Refusal(
            "own-session",
            NotAllowed("An agent reads the audit trail of its own session only.", hint="Name your own session."),
        ),
    )
    return None


def _bounds(tx: Transaction, tenant: str, request: ask.QueryAudit) -> tuple[int, int | None]:
    """The span of ``seq`` from and before which entries count. Timestamps never decrease with ``seq``."""
    position = None if request.cursor is None else int(paging.decode(request.cursor, int)[0])
    if request.after_seq is None:
        lowest, beyond = 0, position
    else:
        lowest, beyond = (request.after_seq if position is None else position) + 1, None
    if request.since is not None:
        lowest = max(lowest, tx.first_entry_from(tenant, to_micros(request.since)))
    if request.until is not None:
        end = tx.first_entry_from(tenant, to_micros(request.until))
        beyond = end if beyond is None else min(beyond, end)
    return lowest, beyond


def _strict_identity(request: ask.QueryAudit) -> dict[str, str]:
    wanted = {
        "type": request.identity_type,
        "name": request.identity_name,
        "user_id": request.identity_user_id,
        "email": request.identity_email,
        "session_id": request.identity_session_id,
    }
    return {field: value for field, value in wanted.items() if value is not None}


def _matches(entry: AuditEntry, strict: dict[str, str]) -> bool:
    return all(getattr(entry.identity, field) == value for field, value in strict.items())


def _for(caller: Caller, entry: AuditEntry) -> AuditEntry:
    """The entry as the caller may see it: which rule refused is not for agents (rule 2)."""
    if not caller.is_agent or "rule" not in entry.details:
        return entry
    details = {key: value for key, value in entry.details.items() if key != "rule"}
    return msgspec.structs.replace(entry, details=details)
