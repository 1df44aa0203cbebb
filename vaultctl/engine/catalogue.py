"""Which credentials there are, and which of them a caller reaches."""

from difflib import get_close_matches

from vaultctl.domain.records import CredentialState, Role
from vaultctl.domain.rules import Caller, within_scope
from vaultctl.engine import views
from vaultctl.engine.transaction import Transaction
from vaultctl.store.interface import Where
from vaultctl.store.rows import CredentialRow

_MANY = 5_000


def find_credential(tx: Transaction, caller: Caller, name: str) -> CredentialRow | None:
    """A credential by name. For an agent a missing one takes as long as one that is there and out of its reach."""
    if not caller.is_agent:
        return tx.get(CredentialRow, caller.tenant, name)

    def decoy() -> CredentialRow:
        return CredentialRow(
            caller.tenant, name, "", "", "", 1, "{}", "{}", None, None, "[]", "value", tx.now, "", tx.now
        )

    row = tx.get(CredentialRow, caller.tenant, name, decoy=decoy)
    if row is None:
        within_scope(caller, name, views.policy_of(decoy()))
    return row


def is_reachable(caller: Caller, row: CredentialRow) -> bool:
    """Whether policy and scopes let the caller lease an active credential."""
    return row.state == CredentialState.ACTIVE and within_scope(caller, row.name, views.policy_of(row)) is None


def reachable_names(tx: Transaction, caller: Caller) -> tuple[str, ...]:
    """Names of the credentials that the caller can lease now."""
    if caller.role.rank < Role.USER.rank:
        return ()
    rows = tx.find(CredentialRow, Where("tenant", "=", caller.tenant), order="name", limit=_MANY)
    return tuple(row.name for row in rows if is_reachable(caller, row))


def near_names(tx: Transaction, caller: Caller, name: str) -> str:
    """A hint that names what was probably meant; only for humans, who see all names anyway."""
    rows = tx.find(CredentialRow, Where("tenant", "=", caller.tenant), order="name", limit=_MANY)
    near = get_close_matches(name, [row.name for row in rows], n=3)
    return f"Did you mean {' or '.join(near)}?" if near else "List what there is: vaultctl credential list"
