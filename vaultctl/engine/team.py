"""Operations on a tenant's team: who its people are, and with which role.

The address is the identity: it is the ``userId`` of all tokens of that person, whoever minted them, and stays so. What
is decided about a member counts for all of them: a token that carries the member's role follows it, a narrower one
stays narrower, and none ever carries more.
"""

from collections.abc import Sequence

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import AlreadyExists, Conflict, NotFound
from vaultctl.domain.names import check_email
from vaultctl.domain.records import Event, IssuedToken, Member, Page, Revocation, Role
from vaultctl.domain.rules import Caller, require_role
from vaultctl.engine import paging, tokens
from vaultctl.engine.free_text import refuse_disclosure
from vaultctl.engine.members import members_of, require_one_spelling
from vaultctl.engine.refusals import refuse_if
from vaultctl.engine.transaction import Transaction
from vaultctl.engine.views import member as view
from vaultctl.store.interface import Where
from vaultctl.store.rows import MemberRow, TokenRow


def invite_member(tx: Transaction, caller: Caller, request: ask.InviteMember) -> IssuedToken:
    """Take a person into the team, and mint their first token. Tokens that they have already get no stronger."""
    _require_admin(tx, caller, request.email)
    tenant, email = caller.tenant, check_email(request.email)
    if tx.get(MemberRow, tenant, email) is not None:
        raise AlreadyExists(
            f"{email} is in the team already.",
            hint=f"For another token: vaultctl token create --human {email} --role {request.role.value}",
        )
    require_one_spelling(tx, tenant, email)
    tx.insert(MemberRow(tenant, email, request.role.value, tx.now, caller.identity.label))
    held = _fit_tokens(tx, _tokens_of(tx, tenant, email), request.role, request.role)
    issued = tokens.mint(tx, caller, ask.CreateToken(email=email, role=request.role, ttl=request.ttl))
    details = {"email": email, "role": request.role.value, "tokenId": issued.token.id, "tokens": held}
    tx.audit(tenant, Event.TEAM_INVITED, caller.identity, details)
    return issued


def list_members(tx: Transaction, caller: Caller, request: ask.ListMembers) -> Page[Member]:
    """The team by address."""
    refuse_if(caller, require_role(caller, Role.ADMIN))
    limit = paging.page_size(request.limit)
    after = paging.decode(request.cursor, str)[0] if request.cursor else ""
    conditions = (Where("tenant", "=", caller.tenant), Where("email", ">", after))
    rows = tx.find(MemberRow, *conditions, order="email", limit=limit + 1)
    return paging.page(rows, limit, lambda row: _view(tx, row), lambda row: (row.email,))


def get_member(tx: Transaction, caller: Caller, request: ask.GetMember) -> Member:
    """One person of the team."""
    _require_admin(tx, caller, request.email)
    return _view(tx, _existing(tx, caller, request.email))


def change_role(tx: Transaction, caller: Caller, request: ask.ChangeMemberRole) -> Member:
    """Give a person another role. Their tokens carry it from this transaction on."""
    _require_admin(tx, caller, request.email)
    row = _existing(tx, caller, request.email)
    old, new = Role(row.role), request.role
    if old is new:
        return _view(tx, row)
    if old is Role.ADMIN:
        _require_another_admin(tx, caller, row)
    row = tx.update(row, role=new.value)
    changed = _fit_tokens(tx, _tokens_of(tx, row.tenant, row.email), old, new)
    details = {"email": row.email, "from": old.value, "to": new.value, "tokens": changed}
    tx.audit(row.tenant, Event.TEAM_ROLE_CHANGED, caller.identity, details)
    return _view(tx, row)


def remove_member(tx: Transaction, caller: Caller, request: ask.RemoveMember) -> Revocation:
    """Take a person out of the team. All their tokens end, and with them their leases."""
    _require_admin(tx, caller, request.email)
    row = _existing(tx, caller, request.email)
    if Role(row.role) is Role.ADMIN:
        _require_another_admin(tx, caller, row)
    tx.delete(MemberRow, row.tenant, Where("email", "=", row.email))
    held = _tokens_of(tx, row.tenant, row.email)
    ended = [tokens.end_token(tx, caller.identity, token) for token in held]
    revocation = Revocation(leases=sum(it.leases for it in ended), sessions=sum(it.sessions for it in ended))
    details = {"email": row.email, "role": row.role, "tokens": len(held), "leases": revocation.leases}
    tx.audit(row.tenant, Event.TEAM_REMOVED, caller.identity, details)
    return revocation


def _require_admin(tx: Transaction, caller: Caller, email: str) -> None:
    refuse_if(caller, require_role(caller, Role.ADMIN))
    refuse_disclosure(tx, caller, (email,), Event.ACCESS_DENIED)


def _existing(tx: Transaction, caller: Caller, email: str) -> MemberRow:
    row = tx.get(MemberRow, caller.tenant, email)
    if row is None:
        raise NotFound("There is nobody of that address in the team.", hint="List them: vaultctl team list")
    return row


def _require_another_admin(tx: Transaction, caller: Caller, row: MemberRow) -> None:
    """The team keeps an admin, unless whoever runs the vault decides otherwise: they can always make one."""
    if caller.is_operator:
        return
    if not any(it.role == Role.ADMIN and it.email != row.email for it in members_of(tx, row.tenant)):
        raise Conflict(
            f"{row.email} is the only admin of the team.", hint="Make somebody else an admin first: vaultctl team role"
        )


def _tokens_of(tx: Transaction, tenant: str, email: str) -> list[TokenRow]:
    """A person's tokens that were not revoked."""
    by_person = (Where("tenant", "=", tenant), Where("email", "=", email), Where("kind", "=", "human"))
    return tx.find_authentic(TokenRow, *by_person, Where("revoked_at", "is", None))


def _fit_tokens(tx: Transaction, held: Sequence[TokenRow], old: Role, new: Role) -> int:
    """Let tokens follow a member's role; answers how many were changed."""
    changed = [row for row in held if Role(row.role) is old or Role(row.role).rank > new.rank]
    changed = [row for row in changed if row.role != new.value]
    for row in changed:
        tx.update(row, role=new.value)
    return len(changed)


def _view(tx: Transaction, row: MemberRow) -> Member:
    conditions = (Where("tenant", "=", row.tenant), Where("email", "=", row.email), Where("kind", "=", "human"))
    live = (Where("revoked_at", "is", None), Where("expires_at", ">", tx.now))
    return view(row, tx.count(TokenRow, *conditions, *live))
