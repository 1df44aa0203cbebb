"""What a lease handle knows without asking the vault; the two handles add what asks it."""

from datetime import datetime

from vaultctl.domain.records import CredentialType, IssuedLease
from vaultctl.domain.secrets import Secret


class IssuedHandle:
    """A lease that was just issued, with its value.

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
        """The credential's value; ``value.reveal()`` gives the text."""
        return self.issued.value

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
