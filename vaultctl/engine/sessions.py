"""Operations on sessions."""

from typing import Any

from vaultctl.crypto.tokens import hash_of, new_token_secret
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import Conflict, NotAllowed, NotFound, VaultError
from vaultctl.domain.ids import new_id
from vaultctl.domain.names import check_session_id
from vaultctl.domain.records import (
    Event,
    Identity,
    LeaseState,
    OpenedSession,
    Page,
    Revocation,
    Role,
    Session,
    SessionState,
)
from vaultctl.domain.rules import Caller, Refusal
from vaultctl.domain.secrets import Secret
from vaultctl.domain.text import check_claims
from vaultctl.domain.times import to_micros
from vaultctl.engine import leases, paging, views
from vaultctl.engine.authentication import SESSION_KINDS, session_is_live
from vaultctl.engine.free_text import refuse_disclosure
from vaultctl.engine.refusals import Refused, refuse_if
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import LeaseRow, SessionRow, TokenRow


def open_session(tx: Transaction, caller: Caller, request: ask.OpenSession) -> OpenedSession:
    """Exchange an agent's token for a session token and a redeem token, bound to the session's id."""
    claimed = check_claims(request.claimed)
    if request.id is not None:
        check_session_id(request.id)
    refuse_disclosure(tx, caller, (request.id or "", *claimed, *claimed.values()), Event.ACCESS_DENIED)
    refuse_if(caller, _may_open(caller))
    session_id = request.id or new_id("mcp_sess", tx.random)
    identity = Identity(type="agent", name=caller.identity.name, session_id=session_id)
    session = tx.get(SessionRow, caller.tenant, session_id)
    reopened = session is not None
    if session is None:
        session = tx.insert(
            SessionRow(
                tenant=caller.tenant,
                id=session_id,
                agent=caller.identity.name or "",
                token_id=caller.token_id or "",
                state=SessionState.ACTIVE.value,
                started_at=tx.now,
                last_seen_at=tx.now,
                expires_at=_expiry(caller),
                ended_at=None,
                end_reason=None,
            )
        )
        details = {"tokenId": caller.token_id, "claimed": claimed or None}
        tx.audit(caller.tenant, Event.SESSION_STARTED, identity, details)
    else:
        # One answer for an id that ended and for one that is another agent's.
        taken = Conflict("That session id can't be used.", hint="Use a new one for every run.")
        entry: dict[str, Any] = {"details": {"claimed": {"sessionId": session_id}}}
        if session.agent != caller.identity.name:
            raise Refused(Refusal("session-owner", taken), caller.tenant, caller.identity, **entry)
        if not session_is_live(session, tx.now):
            raise Refused(Refusal("session-ended", taken), caller.tenant, caller.identity, **entry)
        _revoke_tokens(tx, session)
        session = tx.update(session, token_id=caller.token_id or "", last_seen_at=tx.now, expires_at=_expiry(caller))
    token, secret = _mint(tx, caller, session_id, "session")
    redeem_token, redeem_secret = _mint(tx, caller, session_id, "redeem")
    exchange = {
        "tokenId": caller.token_id,
        "sessionTokenId": token.id,
        "redeemTokenId": redeem_token.id,
        "reopened": reopened or None,
    }
    tx.audit(caller.tenant, Event.TOKEN_EXCHANGED, identity, exchange)
    return OpenedSession(session=views.session(session, is_live=True), token=secret, redeem_token=redeem_secret)


def reissue_session(tx: Transaction, caller: Caller, session_id: str, secrets: tuple[Secret, ...]) -> OpenedSession:
    """Answer again with a session that the same request opened; ``secrets`` without its tokens': kept no longer."""
    refuse_if(caller, _may_open(caller))
    row = _reachable(tx, caller, session_id)
    if not session_is_live(row, tx.now):
        raise Conflict("The session that this request opened has ended.", hint="Open a new one.")
    again = f"Open it again, with a new idempotency key: {row.id}"
    if len(secrets) != len(SESSION_KINDS):
        raise Conflict("The tokens of the session that this request opened are shown no longer.", hint=again)
    secret, redeem_secret = secrets
    token = tx.token(hash_of(secret))
    if token is None or token.revoked_at is not None:
        raise Conflict("The session that this request opened was opened again since.", hint=again)
    identity = Identity(type="agent", name=caller.identity.name, session_id=row.id)
    tx.audit(row.tenant, Event.TOKEN_REPLAYED, identity, {"tokenId": caller.token_id, "sessionTokenId": token.id})
    return OpenedSession(session=views.session(row, is_live=True), token=secret, redeem_token=redeem_secret)


def list_sessions(tx: Transaction, caller: Caller, request: ask.ListSessions) -> Page[Session]:
    """Sessions within the caller's reach, newest first."""
    limit = paging.page_size(request.limit)
    conditions = [Where("tenant", "=", caller.tenant)]
    if caller.is_agent:
        conditions.append(Where("agent", "=", caller.identity.name))
        if caller.session_id is not None:
            conditions.append(Where("id", "=", caller.session_id))
    elif caller.role.rank < Role.MANAGER.rank:
        return Page(items=())  # sessions are agents' own; a human below manager owns none
    if request.agent is not None:
        conditions.append(Where("agent", "=", request.agent))
    if request.state is SessionState.ACTIVE:
        conditions.append(Where("state", "=", SessionState.ACTIVE.value))

    def keep(row: SessionRow) -> bool:
        return request.state is None or session_is_live(row, tx.now) is (request.state is SessionState.ACTIVE)

    def fetch(before: tuple[str | int, ...] | None, count: int) -> list[SessionRow]:
        older = [] if before is None else [Where(("started_at", "id"), "<", before)]
        return tx.find(SessionRow, *conditions, *older, order="started_at, id", descending=True, limit=count)

    start = paging.decode(request.cursor, int, str) if request.cursor else None
    return paging.scan(fetch, keep, start, limit, lambda row: _view(tx, row), lambda row: (row.started_at, row.id))


def get_session(tx: Transaction, caller: Caller, request: ask.GetSession) -> Session:
    """One session."""
    return _view(tx, _reachable(tx, caller, request.id))


def end_session(tx: Transaction, caller: Caller, request: ask.EndSession) -> Revocation:
    """End a session and its leases; one that has ended stays as it is."""
    row = _reachable(tx, caller, request.id)
    if row.state != SessionState.ACTIVE:
        return Revocation(leases=0)
    return Revocation(leases=end(tx, row, caller.identity, "ended"), sessions=1)


def touch_session(tx: Transaction, caller: Caller, request: ask.TouchSession) -> Session:  # noqa: ARG001
    """A sign of life of the caller's own session."""
    refused = Refusal("no-session", NotAllowed("Only a session's own token can do this.", hint="Open a session."))
    refuse_if(caller, refused if caller.session_id is None else None)
    row = _reachable(tx, caller, caller.session_id or "")
    return views.session(tx.update(row, last_seen_at=tx.now), is_live=True)


def end(tx: Transaction, row: SessionRow, identity: Identity, reason: str) -> int:
    """End an active session, its tokens and its leases; answers how many leases."""
    # The row first: a lease that is issued meanwhile has read it, and is found below.
    ended = tx.update(row, state=SessionState.ENDED.value, ended_at=tx.now, end_reason=reason)
    _revoke_tokens(tx, ended)
    count = leases.revoke_all(
        tx, identity, f"session {reason}", (Where("tenant", "=", row.tenant), Where("session_id", "=", row.id))
    )
    details: dict[str, Any] = {"reason": reason, "leases": count}
    if identity.session_id != row.id:
        details |= {"agent": row.agent, "sessionId": row.id}
    tx.audit(row.tenant, Event.SESSION_ENDED, identity, details)
    return count


def identity_of(row: SessionRow) -> Identity:
    """The agent of a session, for what happens to it by itself."""
    return Identity(type="agent", name=row.agent, session_id=row.id)


def move_expiry(tx: Transaction, row: SessionRow, expires_at: int) -> None:
    """Let an active session and its tokens end with a parent whose expiry has moved."""
    tx.update(row, expires_at=expires_at)
    for token in _live_tokens(tx, row):
        tx.update(token, expires_at=expires_at)


def _may_open(caller: Caller) -> Refusal | None:
    if not caller.is_agent:
        return Refusal(
            "agents-only", NotAllowed("Only an agent's token opens a session.", hint="Use an agent's token.")
        )
    if caller.session_id is not None:
        return Refusal(
            "session-token",
            NotAllowed("A session's token opens no other session.", hint="Use the agent's own token."),
        )
    return None


def _mint(tx: Transaction, caller: Caller, session_id: str, kind: str) -> tuple[TokenRow, Secret]:
    """A new token of a session, never wider than the caller's own, which is its parent."""
    secret = new_token_secret(tx.random)
    row = tx.insert(
        TokenRow(
            tenant=caller.tenant,
            id=new_id("tok", tx.random),
            hash=hash_of(secret),
            kind=kind,
            role=caller.role.value,
            agent=caller.identity.name,
            email=None,
            user_id=None,
            credentials="[]",
            max_lease_ttl=None,
            expires_at=_expiry(caller),
            parent=caller.token_id,
            session_id=session_id,
            created_at=tx.now,
            created_by=caller.identity.label,
            rotated_at=None,
            revoked_at=None,
        )
    )
    return row, secret


def _expiry(caller: Caller) -> int:
    return 0 if caller.expires_at is None else to_micros(caller.expires_at)


def _revoke_tokens(tx: Transaction, session: SessionRow) -> None:
    for token in _live_tokens(tx, session):
        tx.update(token, revoked_at=tx.now)


def _live_tokens(tx: Transaction, session: SessionRow) -> list[TokenRow]:
    return tx.find_authentic(
        TokenRow,
        Where("tenant", "=", session.tenant),
        Where("session_id", "=", session.id),
        Where("revoked_at", "is", None),
    )


def _reachable(tx: Transaction, caller: Caller, session_id: str) -> SessionRow:
    row = tx.get(SessionRow, caller.tenant, session_id)
    if row is not None:
        if caller.is_agent:
            mine = row.agent == caller.identity.name and caller.session_id in (None, row.id)
        else:
            mine = caller.role.rank >= Role.MANAGER.rank
        if mine:
            return row
    error: VaultError = NotFound("There is no such session.", hint="List them: vaultctl session list")
    if caller.is_agent or caller.role.rank < Role.MANAGER.rank:
        rule = "no-such-session" if row is None else "session-owner"
        raise Refused(Refusal(rule, error), caller.tenant, caller.identity)
    raise error


def _view(tx: Transaction, row: SessionRow) -> Session:
    is_live = session_is_live(row, tx.now)
    active = 0
    if is_live:  # with the session its leases have ended
        active = tx.count(
            LeaseRow,
            Where("tenant", "=", row.tenant),
            Where("session_id", "=", row.id),
            Where("state", "=", LeaseState.ACTIVE.value),
            Where("expires_at", ">", tx.now),
        )
    return views.session(row, is_live=is_live, active_leases=active)
