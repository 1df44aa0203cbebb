"""From a request to the operation that answers it, and what surrounds every operation.

Authentication, the operation and its audit entries happen in one transaction. :func:`apply` is that transaction's
content without its commit, so that one operation or sixty-four can share a commit.
"""

import importlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import InternalError, NotAllowed
from vaultctl.domain.rules import Caller, Refusal, require_redeem_token
from vaultctl.engine.authentication import VAULT_TENANT, Principal, authenticate, touch
from vaultctl.engine.refusals import Refused, refuse_if
from vaultctl.engine.transaction import Transaction

if TYPE_CHECKING:
    from vaultctl.engine.idempotency import Idempotency

_Function = Callable[[Transaction, Caller, Any], Any]


class Operation(NamedTuple):
    """Where an operation is, and what it needs.

    Attributes:
        name: Its name in the audit log.
        module: The module of this room that has it, loaded on first use.
        function: Its name there.
        writes: Whether it needs a write transaction even if it refuses nothing.
        of_vault: Whether it also works outside a tenant, for operators' tokens.
        redeems: Whether it is what redeem tokens are for, and they alone.
        by_clock: Whether the clock's word is taken for the time, whatever the stored logs say of theirs.
    """

    name: str
    module: str
    function: str
    writes: bool
    of_vault: bool = False
    redeems: bool = False
    by_clock: bool = False

    def load(self) -> _Function:
        """The function itself."""
        return _load(self.module, self.function)


@cache
def _load(module: str, function: str) -> _Function:
    found: _Function = getattr(importlib.import_module(f"vaultctl.engine.{module}"), function)
    return found


OPERATIONS: dict[type[ask.Request[Any]], Operation] = {
    ask.CreateCredential: Operation("credential.create", "credentials", "create_credential", writes=True),
    ask.ImportCredentials: Operation("credential.import", "importing", "import_credentials", writes=True),
    ask.ListCredentials: Operation("credential.list", "credentials", "list_credentials", writes=False),
    ask.GetCredential: Operation("credential.get", "credentials", "get_credential", writes=False),
    ask.UpdateCredential: Operation("credential.update", "credentials", "update_credential", writes=True),
    ask.RotateCredential: Operation("credential.rotate", "credentials", "rotate_credential", writes=True),
    ask.ListVersions: Operation("credential.versions", "credentials", "list_versions", writes=False),
    ask.RollbackCredential: Operation("credential.rollback", "credentials", "rollback_credential", writes=True),
    ask.RevokeCredential: Operation("credential.revoke", "credentials", "revoke_credential", writes=True),
    ask.DeleteCredential: Operation("credential.delete", "credentials", "delete_credential", writes=True),
    ask.CreateLease: Operation("lease.create", "leases", "create_lease", writes=True),
    ask.ListLeases: Operation("lease.list", "leases", "list_leases", writes=False),
    ask.GetLease: Operation("lease.get", "leases", "get_lease", writes=False),
    ask.RenewLease: Operation("lease.renew", "leases", "renew_lease", writes=True),
    ask.RedeemLease: Operation("lease.redeem", "redemption", "redeem_lease", writes=True, redeems=True),
    ask.RevokeLease: Operation("lease.revoke", "leases", "revoke_lease", writes=True),
    ask.RevokeLeases: Operation("lease.revoke", "leases", "revoke_leases", writes=True),
    ask.CreateToken: Operation("token.create", "tokens", "create_token", writes=True, of_vault=True),
    ask.ListTokens: Operation("token.list", "tokens", "list_tokens", writes=False, of_vault=True),
    ask.GetToken: Operation("token.get", "tokens", "get_token", writes=False, of_vault=True),
    ask.RotateToken: Operation("token.rotate", "tokens", "rotate_token", writes=True, of_vault=True),
    ask.RevokeToken: Operation("token.revoke", "tokens", "revoke_token", writes=True, of_vault=True),
    ask.GetSelf: Operation("whoami", "tokens", "get_self", writes=False, of_vault=True),
    ask.OpenSession: Operation("session.open", "sessions", "open_session", writes=True),
    ask.ListSessions: Operation("session.list", "sessions", "list_sessions", writes=False),
    ask.GetSession: Operation("session.get", "sessions", "get_session", writes=False),
    ask.EndSession: Operation("session.end", "sessions", "end_session", writes=True),
    ask.TouchSession: Operation("session.touch", "sessions", "touch_session", writes=True),
    ask.QueryAudit: Operation("audit.query", "audit", "query_audit", writes=False, of_vault=True),
    ask.CountAudit: Operation("audit.stats", "counting", "count_audit", writes=False, of_vault=True),
    ask.GetCheckpoint: Operation("audit.checkpoint", "checkpoints", "get_checkpoint", writes=False, of_vault=True),
    ask.CreateCheckpoint: Operation("audit.checkpoint", "checkpoints", "create_checkpoint", writes=True, of_vault=True),
    ask.VerifyLog: Operation("audit.verify", "verification", "verify_log", writes=False, of_vault=True, by_clock=True),
    ask.BeginExport: Operation("audit.export", "exporting", "begin_export", writes=True, of_vault=True),
    ask.GetTile: Operation("audit.tile", "exporting", "get_tile", writes=False, of_vault=True),
    ask.CreateTenant: Operation("tenant.create", "tenants", "create_tenant", writes=True, of_vault=True),
    ask.ListTenants: Operation("tenant.list", "tenants", "list_tenants", writes=False, of_vault=True),
    ask.GetTenant: Operation("tenant.get", "tenants", "get_tenant", writes=False, of_vault=True),
    ask.UpdateTenant: Operation("tenant.update", "tenants", "update_tenant", writes=True, of_vault=True),
    ask.InviteMember: Operation("team.invite", "team", "invite_member", writes=True),
    ask.ListMembers: Operation("team.list", "team", "list_members", writes=False),
    ask.GetMember: Operation("team.show", "team", "get_member", writes=False),
    ask.ChangeMemberRole: Operation("team.role", "team", "change_role", writes=True),
    ask.RemoveMember: Operation("team.remove", "team", "remove_member", writes=True),
    ask.RotateKek: Operation("tenant.rotate_kek", "tenants", "rotate_kek", writes=True, of_vault=True),
}


class Call(NamedTuple):
    """What one caller asks for.

    Attributes:
        principal: Who asks.
        request: What for.
        idempotency: Makes a repeated call the same one.
    """

    principal: Principal
    request: ask.Request[Any]
    idempotency: "Idempotency | None" = None

    @property
    def writes(self) -> bool:
        """Whether it needs a write transaction even if nothing is refused."""
        return OPERATIONS[type(self.request)].writes

    @property
    def by_clock(self) -> bool:
        """Whether the clock's word is taken for the time."""
        return OPERATIONS[type(self.request)].by_clock


class Outcome(NamedTuple):
    """What an operation came to: its answer, or the refusal whose entry is in the transaction."""

    answer: Any = None
    refused: Refused | None = None
    caller: Caller | None = None
    """Who it was; None if a refusal came before that was established."""


def apply(tx: Transaction, call: Call) -> Outcome:
    """Authenticate, run the operation, and buffer its audit entries; the caller commits.

    In a transaction that writes, the caller has held the logs of the tenants that the call may write to
    (:func:`~vaultctl.engine.holding.tenants_of`).

    Raises:
        VaultError: The request failed without being refused. If it had written, the transaction must roll back.
        Conflicted: The transaction must roll back and run again.
    """
    principal, request, idempotency = call
    operation = OPERATIONS[type(request)]
    writes_before = tx.writes
    caller = None
    try:
        caller = authenticate(tx, principal)
        if caller.tenant == VAULT_TENANT and not operation.of_vault:
            refuse_if(caller, _outside_tenant())
        if caller.redeems is not operation.redeems:
            refuse_if(caller, require_redeem_token(caller, redeems=operation.redeems))
        if idempotency is None or not operation.writes:
            answer = operation.load()(tx, caller, request)
        else:
            from vaultctl.engine.idempotency import perform_once

            answer = perform_once(tx, principal, caller, request, idempotency, operation.load())
    except Refused as refused:
        if tx.writes != writes_before:
            raise InternalError(f"{operation.name} refused after it had written.") from None
        details = {"operation": operation.name, "rule": refused.refusal.rule}
        tx.audit(
            refused.tenant,
            refused.event,
            refused.identity,
            refused.details | details,
            credential_name=refused.credential_name,
            lease_id=refused.lease_id,
        )
        return Outcome(refused=refused, caller=caller)
    if caller.session_id is not None and tx.writable:
        touch(tx, caller)
    return Outcome(answer=answer, caller=caller)


def _outside_tenant() -> Refusal:
    return Refusal(
        "operator-token",
        NotAllowed("An operator's token belongs to no tenant.", hint="Use a token of the tenant for this."),
    )
