"""Operations on the checkpoints of a tenant's audit log.

They say how long the log is and nothing of what is in it, so whoever may see the tenant's metadata may have them.
Agents may not: how fast the log grows tells of others.
"""

import base64

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import NotAllowed, NotFound
from vaultctl.domain.records import LogCheckpoint, Role
from vaultctl.domain.rules import Caller, Refusal
from vaultctl.engine.refusals import refuse_if
from vaultctl.engine.transaction import Transaction
from vaultctl.ledger.checkpoint import open_checkpoint
from vaultctl.store.interface import Where
from vaultctl.store.rows import CheckpointRow


def get_checkpoint(tx: Transaction, caller: Caller, request: ask.GetCheckpoint) -> LogCheckpoint:  # noqa: ARG001
    """The newest checkpoint that there is."""
    refuse_agents(caller)
    return newest_checkpoint(tx, caller.tenant)


def create_checkpoint(tx: Transaction, caller: Caller, request: ask.CreateCheckpoint) -> LogCheckpoint:  # noqa: ARG001
    """A checkpoint over all that was committed before."""
    refuse_agents(caller)
    tx.sign_log(caller.tenant)
    return newest_checkpoint(tx, caller.tenant)


def refuse_agents(caller: Caller) -> None:
    """Refuse an agent what is about the audit log as a whole."""
    if caller.is_agent:
        not_own = NotAllowed("An agent reads the audit trail of its own session only.", hint="Name your own session.")
        refuse_if(caller, Refusal("humans-only", not_own))


def require_admin(caller: Caller) -> None:
    """Refuse whoever may not read the entries of the whole log."""
    refuse_agents(caller)
    if caller.role is not Role.ADMIN:
        needs_admin = NotAllowed("Reading the audit log needs the role admin.", hint="Ask an admin of the tenant.")
        refuse_if(caller, Refusal("role", needs_admin))


def newest_checkpoint(tx: Transaction, tenant: str) -> LogCheckpoint:
    """The newest checkpoint of a tenant's log.

    Raises:
        NotFound: There is none yet.
    """
    rows = tx.find(CheckpointRow, Where("tenant", "=", tenant), order="number", descending=True, limit=1)
    if not rows:
        raise NotFound("The audit log has no checkpoint yet.", hint="Make one: vaultctl audit checkpoint")
    return shown_checkpoint(tx, tenant, rows[0])


def shown_checkpoint(tx: Transaction, tenant: str, row: CheckpointRow) -> LogCheckpoint:
    """A stored checkpoint as callers see it.

    Raises:
        VerificationFailed: The tenant's key did not sign it.
    """
    key = tx.verifier_key(tenant)
    found = open_checkpoint(row.note, key)
    return LogCheckpoint(
        origin=found.origin,
        size=found.size,
        root_hash=base64.b64encode(found.root).decode(),
        note=row.note.decode(),
        verifier_key=str(key),
    )
