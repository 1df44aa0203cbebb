"""How an operation refuses: it raises :class:`Refused` before it has written anything.

The engine turns that into an audit entry, commits it, and gives the error to the caller.
"""

from typing import Any

from vaultctl.domain.records import Event, Identity
from vaultctl.domain.rules import Caller, Refusal


class Refused(Exception):
    """A known caller was refused.

    Attributes:
        refusal: The rule that refused, and what the caller is told.
        tenant: In whose log it goes.
        identity: Who was refused.
        event: ``lease.denied`` or ``access.denied``.
        details: Details of the entry besides rule and operation.
        credential_name: The name that was asked for, if it may be kept.
        lease_id: The lease that was asked for.
    """

    def __init__(
        self,
        refusal: Refusal,
        tenant: str,
        identity: Identity,
        *,
        event: Event = Event.ACCESS_DENIED,
        details: dict[str, Any] | None = None,
        credential_name: str | None = None,
        lease_id: str | None = None,
    ) -> None:
        super().__init__(refusal.rule)
        self.refusal = refusal
        self.tenant = tenant
        self.identity = identity
        self.event = event
        self.details = details or {}
        self.credential_name = credential_name
        self.lease_id = lease_id


def refuse_if(caller: Caller, refusal: Refusal | None, **entry: Any) -> None:
    """Raise :class:`Refused` if a rule refused. ``entry`` as for :class:`Refused`.

    Raises:
        Refused: ``refusal`` is not None.
    """
    if refusal is not None:
        raise Refused(refusal, caller.tenant, entry.pop("identity", caller.identity), **entry)
