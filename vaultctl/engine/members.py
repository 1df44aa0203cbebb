"""The people of a tenant's team, as other operations look them up. One identity has one address in one spelling."""

from vaultctl.domain.errors import Conflict
from vaultctl.domain.records import Role
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import MemberRow


def members_of(tx: Transaction, tenant: str) -> list[MemberRow]:
    """All of a tenant's team."""
    return tx.find(MemberRow, Where("tenant", "=", tenant))


def require_one_spelling(tx: Transaction, tenant: str, email: str) -> None:
    """Raise Conflict if the address is a member's in other letters: it would look like the same person and not be."""
    for member in members_of(tx, tenant):
        if member.email != email and member.email.casefold() == email.casefold():
            raise Conflict(f"The team knows this address as {member.email!r}.", hint="Write it the same way.")


def require_within_membership(tx: Transaction, tenant: str, email: str, role: Role) -> None:
    """Raise Conflict if a token of the role would give a member more than the team does."""
    require_one_spelling(tx, tenant, email)
    member = tx.get(MemberRow, tenant, email)
    if member is not None and role.rank > Role(member.role).rank:
        raise Conflict(
            f"{email} has the role {member.role} in the team, and a token can't carry more.",
            hint=f"Change the role first: vaultctl team role {email} {role.value}",
        )
