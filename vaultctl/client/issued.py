"""What a lease handle knows without asking the vault; the two handles add what asks it."""

from datetime import datetime

from vaultctl.domain.errors import Conflict
from vaultctl.domain.records import CredentialReference, CredentialType, IssuedLease
from vaultctl.domain.secrets import Secret


class IssuedHandle:
    """A lease that was just issued, with its value or a reference to it.

    Attributes:
        issued: The answer that created it.
        lease: The lease as the vault last described it.
    """

    def __init__(self, issued: IssuedLease) -> None:
        self.issued = issued
        self.lease = issued.lease

    @property
    def id(self) -> str:
        """The lease's id."""
        return self.lease.id

    @property
    def value(self) -> Secret:
        """The credential's value; ``value.reveal()`` gives the text.

        Raises:
            Conflict: The lease was delivered by reference: see :attr:`credential_reference`.
        """
        if self.issued.value is None:
            raise Conflict(
                "The lease was delivered by reference, without the value.",
                hint="Whoever has the session's redeem token can redeem it: vault.leases.redeem(id, ref)",
            )
        return self.issued.value

    @property
    def credential_reference(self) -> CredentialReference | None:
        """What stands for the value, if the lease was delivered by reference."""
        return self.issued.credential_reference

    @property
    def type(self) -> CredentialType:
        """The credential's type."""
        return self.issued.type

    @property
    def expires_at(self) -> datetime:
        """When the lease ends unless it is renewed."""
        return self.lease.expires_at

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.lease!r}, value=****)"
