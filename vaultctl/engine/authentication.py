"""Who asks: from a token, or from holding the root key, to a :class:`~vaultctl.domain.rules.Caller`.

Authority is the intersection along token → session, established anew at each use.
"""

import json
from functools import lru_cache
from typing import NamedTuple

from vaultctl.crypto.tokens import answer_key, token_hash
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import NotAuthenticated
from vaultctl.domain.records import Identity, Role, SessionState
from vaultctl.domain.rules import SESSION_IDLE_LIMIT, TOUCH_INTERVAL, Caller, Refusal
from vaultctl.domain.secrets import Secret
from vaultctl.domain.times import from_micros, micros_of
from vaultctl.engine.refusals import Refused
from vaultctl.engine.transaction import Transaction
from vaultctl.store.rows import SessionRow, TokenRow

VAULT_TENANT = "_vault"
"""Where operators' tokens and the vault's own log live. No tenant can have this name."""

SESSION_KINDS = ("session", "redeem")
"""The kinds of token that live and die with a session."""

IDLE_LIMIT_MICROS = micros_of(SESSION_IDLE_LIMIT)
_TOUCH_INTERVAL_MICROS = micros_of(TOUCH_INTERVAL)


class Bearer(NamedTuple):
    """Whoever presents a token. The token itself does not get this far.

    Attributes:
        token_hash: By which the vault knows the token.
        tenant: The tenant that the caller expects the token to be of.
        answer_key: Seals answers that only the token's bearer can open again; empty: none are kept.
    """

    token_hash: bytes
    tenant: str | None = None
    answer_key: bytes = b""

    @classmethod
    def of(cls, token: Secret, tenant: str | None = None) -> "Bearer":
        """The bearer of ``token``.

        Raises:
            NotAuthenticated: The text is no token, or a mistyped one.
        """
        return cls(token_hash(token), tenant, answer_key(token))

    def __repr__(self) -> str:
        return "Bearer(****)"


class Owner(NamedTuple):
    """Whoever holds the root key of an embedded vault."""

    tenant: str
    email: str


Principal = Bearer | Owner


def authenticate(tx: Transaction, principal: Principal) -> Caller:
    """The caller that ``principal`` is now.

    Raises:
        NotAuthenticated: The token is unknown.
        Refused: The token is known and does not count any more, or is of another tenant.
        NotFound: The owner names a tenant that does not exist.
    """
    if isinstance(principal, Owner):
        tx.tenant(principal.tenant)
        identity = Identity(type="human", user_id="owner", email=principal.email)
        return Caller(principal.tenant, identity, Role.ADMIN, is_operator=True)
    token = tx.token(principal.token_hash)
    if token is None:
        raise _unknown()
    if principal.tenant not in (None, token.tenant) and token.kind != "operator":
        raise Refused(Refusal("tenant", _unknown()), token.tenant, identity_of(token))
    return caller_of(tx, token)


def caller_of(tx: Transaction, token: TokenRow) -> Caller:
    """The caller that a token makes.

    Raises:
        Refused: The token, its session or its parent does not count any more.
    """
    if token.kind not in SESSION_KINDS:
        _require_live(tx, token, token)
        return _caller(token, token)
    parent = tx.get(TokenRow, token.tenant, token.parent or "")
    if parent is not None:
        _require_live(tx, parent, token)
    session = tx.get(SessionRow, token.tenant, token.session_id or "")
    if (
        token.revoked_at is not None
        or parent is None
        or session is None
        or session.token_id != parent.id
        or not session_is_live(session, tx.now)
    ):
        ended = "The session has ended, or was opened again with another token."
        raise _refused(token, "session-ended", NotAuthenticated(ended, hint="Open a new session."))
    return _caller(token, parent, session)


@lru_cache(1024)  # a run asks many times, and its rows are the same ones while they are remembered
def _caller(token: TokenRow, authority: TokenRow, session: SessionRow | None = None) -> Caller:
    """Who presents ``token``, with what ``authority`` (itself, or its parent) has and no more than it has itself."""
    max_ttl = authority.max_lease_ttl
    return Caller(
        tenant=token.tenant,
        identity=identity_of(token),
        role=min(Role(token.role), Role(authority.role), key=lambda role: role.rank),
        scopes=(_globs(authority.credentials),),
        max_lease_ttl=None if max_ttl is None else Duration.of(max_ttl),
        token_id=authority.id,
        session_id=token.session_id,
        expires_at=from_micros(min(token.expires_at, authority.expires_at)),
        is_operator=token.kind == "operator",
        session_last_seen=None if session is None else from_micros(session.last_seen_at),
        requests_per_minute=authority.requests_per_minute,
        redeems=token.kind == "redeem",
    )


@lru_cache
def _globs(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def identity_of(token: TokenRow) -> Identity:
    """The identity that a token stands for."""
    if token.agent is not None:
        return Identity(type="agent", name=token.agent, session_id=token.session_id)
    return Identity(type="human", user_id=token.user_id, email=token.email)


def session_is_live(session: SessionRow, now: int) -> bool:
    """Whether a session is active, heard of in the last 15 minutes, and its token not expired."""
    return (
        session.state == SessionState.ACTIVE
        and now - session.last_seen_at < IDLE_LIMIT_MICROS
        and now < session.expires_at
    )


def needs_touch(caller: Caller, tx: Transaction) -> bool:
    """Whether a use of the caller's session is worth recording as a sign of life."""
    return caller.session_last_seen is not None and tx.moment - caller.session_last_seen >= TOUCH_INTERVAL


def touch(tx: Transaction, caller: Caller) -> None:
    """Record a sign of life of the caller's session, unless a recent one is there or it has ended meanwhile."""
    if caller.session_id is None:
        return
    session = tx.get(SessionRow, caller.tenant, caller.session_id)
    if session is None or session.state != SessionState.ACTIVE:
        return
    if tx.now - session.last_seen_at >= _TOUCH_INTERVAL_MICROS:
        tx.update(session, last_seen_at=tx.now)


def _require_live(tx: Transaction, token: TokenRow, presented: TokenRow) -> None:
    if token.revoked_at is not None:
        raise _refused(
            presented,
            "token-revoked",
            NotAuthenticated("The token was revoked.", hint="Ask an admin for a new one: vaultctl token create"),
        )
    if token.expires_at <= tx.now:
        expired_at = from_micros(token.expires_at).strftime("%Y-%m-%d %H:%M:%SZ")
        raise _refused(
            presented,
            "token-expired",
            NotAuthenticated(
                f"The token expired at {expired_at}.",
                hint=f"An admin can renew it: vaultctl token rotate {token.id} --ttl 90d",
            ),
        )


def _refused(token: TokenRow, rule: str, error: NotAuthenticated) -> Refused:
    return Refused(Refusal(rule, error), token.tenant, identity_of(token), details={"tokenId": token.id})


def _unknown() -> NotAuthenticated:
    return NotAuthenticated(
        "The token is not one of this vault and tenant.", hint="Look at VAULT_TOKEN, VAULT_TENANT and VAULTCTL_HOME."
    )
