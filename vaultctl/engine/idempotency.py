"""A request that is sent again with the same ``Idempotency-Key`` is carried out once.

The record of the first one commits with what it did, and says what it made, never a secret: a replay is authorised anew
and answered from what is there now. A token's secret can't be had again from the vault; it is kept for a few minutes,
sealed under a key that only the caller's own bearer token yields.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from vaultctl.crypto.authenticity import same
from vaultctl.crypto.envelope import Binding, Key, seal, unseal
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import Conflict, InvalidInput, VerificationFailed
from vaultctl.domain.records import (
    ImportResult,
    IssuedLease,
    IssuedToken,
    LogCheckpoint,
    OpenedSession,
    RedeemedLease,
    Revocation,
    Role,
)
from vaultctl.domain.rules import ANSWER_KEPT, IDEMPOTENCY_KEPT, Caller, require_role
from vaultctl.domain.secrets import Secret
from vaultctl.domain.times import micros_of
from vaultctl.domain.wire import decode_json, to_json
from vaultctl.engine import checkpoints, credentials, exporting, leases, redemption, sessions, tenants, tokens
from vaultctl.engine.authentication import Bearer, Principal
from vaultctl.engine.refusals import refuse_if
from vaultctl.engine.transaction import Transaction
from vaultctl.store.rows import IdempotencyRow

_LONGEST_KEY = 255
_KEY = re.compile(r"[!-~]+", re.ASCII)


class Idempotency(NamedTuple):
    """What makes a repeated request the same one.

    Attributes:
        key: What the caller chose.
        body: All that makes up the request; with another one the key is refused. It may hold a secret.
    """

    key: str
    body: bytes

    @property
    def is_valid(self) -> bool:
        """Whether the key is one: visible ASCII characters, not too many."""
        return len(self.key) <= _LONGEST_KEY and _KEY.fullmatch(self.key) is not None

    def __repr__(self) -> str:
        return "Idempotency(****)"


class _Made(NamedTuple):
    """What the first request made, as its record has it."""

    id: str = ""
    leases: int = 0
    sessions: int = 0
    secrets: tuple[Secret, ...] = ()


def perform_once(
    tx: Transaction,
    principal: Principal,
    caller: Caller,
    request: ask.Request[Any],
    idempotency: Idempotency,
    perform: Callable[[Transaction, Caller, Any], Any],
) -> Any:
    """The answer to ``request``, which ``perform`` carries out unless the same caller's same request has been.

    Raises:
        Conflict: The key was used for another request, or what it made can't be answered with again.
    """
    if not idempotency.is_valid:
        raise InvalidInput(f"An idempotency key is 1 to {_LONGEST_KEY} visible ASCII characters.")
    key = (caller.tenant, whose(caller.token_id, caller.session_id), type(request).__name__, idempotency.key)
    code = tx.code(caller.tenant, "idempotent request", idempotency.body)
    sealing = _Sealing(key, principal.answer_key if isinstance(principal, Bearer) else b"")
    row = tx.get(IdempotencyRow, *key)
    if row is not None and row.created_at > tx.now - micros_of(IDEMPOTENCY_KEPT):
        if not same(row.body_code, code):
            raise Conflict("The idempotency key was used for another request.", hint="Use a new key for each request.")
        return _again(tx, caller, request, _made(row, sealing, tx.now))
    answer = perform(tx, caller, request)
    made, secrets = _kept(answer)
    sealed = sealing.seal(tx, secrets) if secrets else None
    if row is None:
        tx.insert(IdempotencyRow(*key, code, made, sealed, tx.now))
    else:  # of a request that is forgotten
        tx.update(row, body_code=code, made=made, answer=sealed, created_at=tx.now)
    return answer


class _Sealing(NamedTuple):
    """How the secrets in an answer are kept: for this request of this bearer only."""

    key: tuple[str, str, str, str]
    secret: bytes

    def __repr__(self) -> str:
        return "_Sealing(****)"

    def seal(self, tx: Transaction, secrets: tuple[Secret, ...]) -> bytes | None:
        """Tokens' ``secrets`` for nobody but the bearer; None if it has nothing to seal them with."""
        if not self.secret:
            return None
        text = "\n".join(secret.reveal() for secret in secrets)
        return seal(self._key, self._binding, text.encode(), tx.random)

    def open(self, sealed: bytes) -> tuple[Secret, ...]:
        """The secrets; none if they were sealed for another bearer, such as the token before it was rotated."""
        if not self.secret:
            return ()
        try:
            text = unseal(lambda _id, _version: self._key, self._binding, sealed).decode()
        except VerificationFailed:
            return ()
        return tuple(map(Secret, text.split("\n")))

    @property
    def _key(self) -> Key:
        return Key("bearer", 1, self.secret)

    @property
    def _binding(self) -> Binding:
        tenant, *rest = self.key
        return Binding("kept answer", tenant, json.dumps(rest), 1)


def whose(token_id: str | None, session_id: str | None) -> str:
    """Whose keys they are: each token (a session's parent) has its own, and each session."""
    return f"{token_id or 'owner'}/{session_id or ''}"


def _kept(answer: Any) -> tuple[str, tuple[Secret, ...]]:
    """What a record keeps of an answer, and the tokens' secrets in it."""
    secrets: tuple[Secret, ...] = ()
    match answer:
        case IssuedLease() | RedeemedLease():
            made: dict[str, Any] = {"id": answer.lease.id}
        case IssuedToken():
            made, secrets = {"id": answer.token.id}, (answer.secret,)
        case OpenedSession():
            made, secrets = {"id": answer.session.id}, (answer.token, answer.redeem_token)
        case ImportResult():
            made = {"id": to_json(answer).decode()}
        case Revocation():
            made = {"leases": answer.leases, "sessions": answer.sessions}
        case LogCheckpoint():
            made = {"id": str(answer.size)}
        case _:
            made = {"id": answer.id}
    return json.dumps(made), secrets


def _made(row: IdempotencyRow, sealing: _Sealing, now: int) -> _Made:
    is_kept = row.answer is not None and row.created_at > now - micros_of(ANSWER_KEPT)
    return _Made(**json.loads(row.made), secrets=sealing.open(row.answer) if row.answer and is_kept else ())


def _again(tx: Transaction, caller: Caller, request: ask.Request[Any], made: _Made) -> Any:
    """The answer to a request that was carried out before: authorised anew, from what is there now."""
    match request:
        case ask.CreateLease():
            return leases.reissue_lease(tx, caller, made.id)
        case ask.RedeemLease():
            return redemption.redeem_again(tx, caller, request)
        case ask.RenewLease() | ask.RevokeLease():
            return leases.get_lease(tx, caller, ask.GetLease(id=made.id))
        case ask.CreateToken() | ask.RotateToken() | ask.InviteMember():
            return tokens.reissue_token(tx, caller, made.id, made.secrets)
        case ask.OpenSession():
            return sessions.reissue_session(tx, caller, made.id, made.secrets)
        case ask.TouchSession():
            return sessions.touch_session(tx, caller, request)
        case ask.CreateCheckpoint():
            return checkpoints.create_checkpoint(tx, caller, request)
        case ask.BeginExport():
            return exporting.checkpoint_of_export(tx, caller, int(made.id))
        case ask.CreateTenant() | ask.UpdateTenant():
            return tenants.get_tenant(tx, caller, ask.GetTenant(id=made.id))
        case ask.ImportCredentials():
            refuse_if(caller, require_role(caller, Role.MANAGER))
            return decode_json(made.id.encode(), ImportResult)
        case ask.RotateKek():
            return tenants.kek_rotation(tx, caller, made.id)
        case ask.CreateCredential() | ask.UpdateCredential() | ask.RotateCredential() | ask.RollbackCredential():
            refuse_if(caller, require_role(caller, Role.MANAGER), credential_name=request.name)
            credential = credentials.get_credential(tx, caller, ask.GetCredential(name=request.name))
            if credential.id != made.id:
                deleted = "The credential that this request made or changed was deleted since."
                raise Conflict(deleted, hint="Look at what is there now.")
            return credential
        case ask.RevokeCredential() | ask.DeleteCredential():
            refuse_if(caller, require_role(caller, Role.MANAGER), credential_name=request.name)
        case ask.RevokeToken():
            refuse_if(caller, require_role(caller, Role.ADMIN))
    return Revocation(leases=made.leases, sessions=made.sessions)
