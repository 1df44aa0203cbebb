"""Operations on tokens."""

import json
from typing import Any

from vaultctl.crypto.tokens import hash_of, new_token_secret
from vaultctl.domain import requests as ask
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import Conflict, InvalidInput, NotFound
from vaultctl.domain.ids import new_id
from vaultctl.domain.names import check_email, check_glob, check_name
from vaultctl.domain.records import Event, Identity, IssuedToken, Page, Revocation, Role, SessionState, Token, WhoAmI
from vaultctl.domain.rules import DEFAULT_TOKEN_TTL, Caller, require_operator, require_role
from vaultctl.domain.secrets import Secret
from vaultctl.domain.times import SECOND, from_micros, rfc3339
from vaultctl.engine import paging, views
from vaultctl.engine.authentication import SESSION_KINDS, VAULT_TENANT, caller_of, session_is_live
from vaultctl.engine.catalogue import reachable_names
from vaultctl.engine.free_text import refuse_disclosure
from vaultctl.engine.members import require_within_membership
from vaultctl.engine.refusals import refuse_if
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import SessionRow, TokenRow

_MOST_GLOBS = 100
_MOST_REQUESTS = 1_000_000


def create_token(tx: Transaction, caller: Caller, request: ask.CreateToken) -> IssuedToken:
    """Mint a token for an agent, a human or an operator."""
    subjects = [request.agent is not None, request.email is not None, request.operator]
    if sum(subjects) != 1:
        raise InvalidInput("A token is for one of an agent, a human and an operator.", hint="Name exactly one.")
    if request.operator:
        refuse_if(caller, require_operator(caller))
    else:
        refuse_if(caller, require_role(caller, Role.ADMIN))
    role = _role(request)
    rate = request.requests_per_minute
    if rate is not None and not 1 <= rate <= _MOST_REQUESTS:
        raise InvalidInput(f"The requests per minute must be between 1 and {_MOST_REQUESTS}.")
    if len(request.credentials) > _MOST_GLOBS:
        raise InvalidInput(f"More than {_MOST_GLOBS} credential globs.", hint="Use wider globs.")
    tenant = VAULT_TENANT if request.operator else caller.tenant
    if request.operator and (request.credentials or request.max_lease_ttl):
        raise InvalidInput("An operator's token leases nothing.", hint="Leave out the globs and the lease TTL.")
    if tenant == VAULT_TENANT and not request.operator:
        raise InvalidInput("Only operators' tokens belong to no tenant.", hint="Name a tenant with --tenant.")
    texts = (request.agent or "", request.email or "", *request.credentials)
    refuse_disclosure(tx, caller, texts, Event.ACCESS_DENIED)
    if request.email is not None:
        require_within_membership(tx, tenant, request.email, role)
    return mint(tx, caller, request)


def mint(tx: Transaction, caller: Caller, request: ask.CreateToken) -> IssuedToken:
    """Mint a token, once it is known that it may be."""
    token_id = new_id("tok", tx.random)
    secret = new_token_secret(tx.random)
    row = tx.insert(
        TokenRow(
            tenant=VAULT_TENANT if request.operator else caller.tenant,
            id=token_id,
            hash=hash_of(secret),
            kind="agent" if request.agent else "human" if request.email else "operator",
            role=_role(request).value,
            agent=None if request.agent is None else check_name(request.agent, "agent"),
            email=None if request.email is None else check_email(request.email),
            user_id=None if request.agent else token_id if request.operator else request.email,
            credentials=json.dumps([check_glob(glob, "credential") for glob in request.credentials]),
            max_lease_ttl=None if request.max_lease_ttl is None else request.max_lease_ttl.seconds_total,
            expires_at=tx.now + (request.ttl or DEFAULT_TOKEN_TTL).seconds_total * SECOND,
            parent=None,
            session_id=None,
            created_at=tx.now,
            created_by=caller.identity.label,
            rotated_at=None,
            revoked_at=None,
            requests_per_minute=request.requests_per_minute,
        )
    )
    _audit(tx, caller.identity, Event.TOKEN_CREATED, row, _authority(row))
    return _issued(tx, row, secret)


def list_tokens(tx: Transaction, caller: Caller, request: ask.ListTokens) -> Page[Token]:
    """Tokens of the tenant, newest first, without those of sessions."""
    refuse_if(caller, require_role(caller, Role.ADMIN))
    limit = paging.page_size(request.limit)
    conditions = [Where("tenant", "=", caller.tenant), *(Where("kind", "!=", kind) for kind in SESSION_KINDS)]
    if request.cursor:
        conditions.append(Where(("created_at", "id"), "<", paging.decode(request.cursor, int, str)))
    rows = tx.find(TokenRow, *conditions, order="created_at, id", descending=True, limit=limit + 1)
    return paging.page(rows, limit, lambda row: views.token(row, tx.now), lambda row: (row.created_at, row.id))


def get_token(tx: Transaction, caller: Caller, request: ask.GetToken) -> Token:
    """One token, without its secret."""
    refuse_if(caller, require_role(caller, Role.ADMIN))
    return views.token(_existing(tx, caller, request.id), tx.now)


def rotate_token(tx: Transaction, caller: Caller, request: ask.RotateToken) -> IssuedToken:
    """Replace a token's secret; id, sessions and leases stay."""
    refuse_if(caller, require_role(caller, Role.ADMIN))
    row = _existing(tx, caller, request.id)
    if row.kind in SESSION_KINDS:
        raise Conflict("A session's token is not rotated.", hint="Open the session again instead.")
    if row.revoked_at is not None:
        raise Conflict("The token was revoked.", hint="Mint a new one: vaultctl token create")
    expires_at = row.expires_at if request.ttl is None else tx.now + request.ttl.seconds_total * SECOND
    if expires_at <= tx.now:
        raise Conflict("The token has expired.", hint=f"Give it new time: vaultctl token rotate {row.id} --ttl 90d")
    secret = new_token_secret(tx.random)
    row = tx.update(row, hash=hash_of(secret), rotated_at=tx.now, expires_at=expires_at)
    if request.ttl is not None:
        from vaultctl.engine import sessions  # whoever creates a token need not load them, nor leases

        for session in _active_sessions(tx, row):
            if session_is_live(session, tx.now):
                sessions.move_expiry(tx, session, expires_at)
            else:  # new time for the token does not bring it back
                sessions.end(tx, session, sessions.identity_of(session), "token expired")
    _audit(tx, caller.identity, Event.TOKEN_ROTATED, row, {"expiresAt": rfc3339(from_micros(expires_at))})
    return _issued(tx, row, secret)


def reissue_token(tx: Transaction, caller: Caller, token_id: str, secrets: tuple[Secret, ...]) -> IssuedToken:
    """Answer again with a token that the same request made before; ``secrets`` without its: that is kept no longer."""
    refuse_if(caller, require_role(caller, Role.ADMIN))
    row = _existing(tx, caller, token_id)
    anew = f"Replace it: vaultctl token rotate {row.id}"
    if not secrets:
        raise Conflict("The token that this request made is shown no longer.", hint=anew)
    secret = secrets[0]
    if row.revoked_at is not None or row.expires_at <= tx.now or row.hash != hash_of(secret):
        raise Conflict("The token that this request made was replaced, or has ended.", hint=anew)
    _audit(tx, caller.identity, Event.TOKEN_REPLAYED, row, {})
    return _issued(tx, row, secret)


def revoke_token(tx: Transaction, caller: Caller, request: ask.RevokeToken) -> Revocation:
    """End a token, its sessions and their leases."""
    refuse_if(caller, require_role(caller, Role.ADMIN))
    return end_token(tx, caller.identity, _existing(tx, caller, request.id))


def end_token(tx: Transaction, identity: Identity, row: TokenRow) -> Revocation:
    """End a token as ``identity``, once it is known that it may be."""
    from vaultctl.engine import leases, sessions

    if row.revoked_at is not None:
        return Revocation(leases=0)
    # The row first: whoever opens a session or leases meanwhile has read it, and is found below.
    row = tx.update(row, revoked_at=tx.now)
    ended = 0
    if row.kind == "session":
        session = tx.get(SessionRow, row.tenant, row.session_id or "")
        running = [session] if session is not None and session.state == SessionState.ACTIVE else []
    else:
        running = _active_sessions(tx, row)
    for session in running:
        ended += sessions.end(tx, session, identity, "token revoked")
    by_token = (Where("tenant", "=", row.tenant), Where("token_id", "=", row.id))
    ended += leases.revoke_all(tx, identity, "token revoked", by_token)
    _audit(tx, identity, Event.TOKEN_REVOKED, row, {"sessions": len(running), "leases": ended})
    return Revocation(leases=ended, sessions=len(running))


def get_self(tx: Transaction, caller: Caller, request: ask.GetSelf) -> WhoAmI:  # noqa: ARG001
    """Who the caller is."""
    token = None if caller.token_id is None else tx.get(TokenRow, caller.tenant, caller.token_id)
    session = None if caller.session_id is None else tx.get(SessionRow, caller.tenant, caller.session_id)
    return WhoAmI(
        tenant=caller.tenant,
        identity=caller.identity,
        role=caller.role,
        reaches=reachable_names(tx, caller),
        token=None if token is None else views.token(token, tx.now),
        session=None if session is None else views.session(session, is_live=True),
    )


def _role(request: ask.CreateToken) -> Role:
    if request.operator:
        if request.role is not None:
            raise InvalidInput("An operator's token has no role in a tenant.", hint="Leave out the role.")
        return Role.ADMIN
    if request.agent is not None:
        role = request.role or Role.USER
        if role.rank > Role.USER.rank:
            raise InvalidInput("An agent's token carries at most the role user.", hint="Use --role user or viewer.")
        return role
    if request.role is None:
        raise InvalidInput("A human's token needs a role.", hint="One of viewer, user, manager, admin.")
    return request.role


def _existing(tx: Transaction, caller: Caller, token_id: str) -> TokenRow:
    row = tx.get(TokenRow, caller.tenant, token_id)
    if row is None and caller.is_operator:
        row = tx.get(TokenRow, VAULT_TENANT, token_id)
    if row is None:
        raise NotFound("There is no such token.", hint="List them: vaultctl token list")
    return row


def _active_sessions(tx: Transaction, row: TokenRow) -> list[SessionRow]:
    return tx.find_authentic(
        SessionRow,
        Where("tenant", "=", row.tenant),
        Where("token_id", "=", row.id),
        Where("state", "=", SessionState.ACTIVE.value),
    )


def _issued(tx: Transaction, row: TokenRow, secret: Secret) -> IssuedToken:
    reaches = () if row.kind == "operator" else reachable_names(tx, caller_of(tx, row))
    return IssuedToken(token=views.token(row, tx.now), secret=secret, reaches=reaches)


def _authority(row: TokenRow) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "role": row.role,
        "email": row.email,
        "credentials": json.loads(row.credentials),
        "maxLeaseTTL": None if row.max_lease_ttl is None else str(Duration.of(row.max_lease_ttl)),
        "requestsPerMinute": row.requests_per_minute,
        "expiresAt": rfc3339(from_micros(row.expires_at)),
    }


def _audit(tx: Transaction, identity: Identity, event: Event, row: TokenRow, details: dict[str, Any]) -> None:
    subject = {"tokenId": row.id, "agent": row.agent, "sessionId": row.session_id}
    tx.audit(row.tenant, event, identity, subject | details)
