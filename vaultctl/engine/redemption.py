"""The operation that gives a value for the reference of a lease: once, to the runtime that keeps it from the model."""

from typing import Any

from vaultctl.domain import requests as ask
from vaultctl.domain.errors import Conflict, NotFound
from vaultctl.domain.records import CredentialType, Delivery, Event, RedeemedLease
from vaultctl.domain.rules import Caller, Refusal
from vaultctl.domain.secrets import Secret
from vaultctl.engine import leases, views
from vaultctl.engine.references import is_reference_to
from vaultctl.engine.refusals import refuse_if
from vaultctl.engine.transaction import Transaction


def redeem_lease(tx: Transaction, caller: Caller, request: ask.RedeemLease) -> RedeemedLease:
    """Exchange the reference of a lease for the value of the version that was leased. Rule 2 is judged anew."""
    return _redeem(tx, caller, request, again=False)


def redeem_again(tx: Transaction, caller: Caller, request: ask.RedeemLease) -> RedeemedLease:
    """Answer again with the value that the same request was given, while the lease is active and all else holds.

    That is no second redemption: whoever repeats it has the redeem token, the reference and the idempotency key.
    """
    return _redeem(tx, caller, request, again=True)


def _redeem(tx: Transaction, caller: Caller, request: ask.RedeemLease, *, again: bool) -> RedeemedLease:
    row = leases.reachable(tx, caller, request.id)
    entry: dict[str, Any] = {"event": Event.LEASE_DENIED, "credential_name": row.credential_name, "lease_id": row.id}
    if row.delivery != Delivery.REFERENCE or not is_reference_to(tx, row, request.ref):
        unknown = NotFound("The lease has no such reference.", hint="Send the ref that the lease was issued with.")
        refuse_if(caller, Refusal("no-such-reference", unknown), **entry)
    leases.refuse_ended(tx, caller, row, entry)
    if row.redeemed_at is not None and not again:
        used = Conflict("The reference was redeemed already.", hint="Request a new lease, and redeem its reference.")
        refuse_if(caller, Refusal("redeemed", used), **entry)
    _, credential = leases.judge_anew(tx, caller, row, entry)
    version = leases.leased_version(tx, row)
    value = tx.unseal_value(version)
    details = {"credentialVersion": row.credential_version, "tokenId": caller.token_id}
    if again:  # what is replayed besides is the lease's creation, which gives the reference alone
        leases.audit(tx, Event.LEASE_REPLAYED, row, caller.identity, details | {"replayed": Event.LEASE_REDEEMED.value})
    else:
        row = tx.update(row, redeemed_at=tx.now)
        leases.audit(tx, Event.LEASE_REDEEMED, row, caller.identity, details)
    return RedeemedLease(
        lease=views.lease(row, tx.now),
        type=CredentialType(credential.type),
        value=Secret(value),
        attributes=views.attributes_of(version),
    )
