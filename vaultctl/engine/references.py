"""References: what an agent is given in place of a value, and how its handle is made and recognised.

A handle is an authentication code over the lease that it stands for, under a key of the lease's tenant: nobody can make
one, none is good for another lease, and nothing of the value goes into it. Whether it still counts, the lease says.
"""

from vaultctl.crypto.authenticity import same
from vaultctl.domain.ids import base62
from vaultctl.domain.records import CredentialReference, CredentialType
from vaultctl.engine import credential_types
from vaultctl.engine.transaction import Transaction
from vaultctl.store.rows import LeaseRow

PREFIX = "vault:lease:"
_PURPOSE = "lease reference"
_BYTES = 16
"""Of the code that a handle holds (RFC 2104, section 5: at least half of it). A model has to copy every character."""
_DIGITS = 22


def reference_to(
    tx: Transaction, row: LeaseRow, type: CredentialType, value: str, attributes: dict[str, str]
) -> CredentialReference:
    """The reference that stands for ``value``, which ``row`` leases. The same each time."""
    return CredentialReference(
        ref=_ref(tx, row),
        preview=credential_types.preview(type, value),
        metadata={"credentialName": row.credential_name, "type": type.value} | attributes,
    )


def is_reference_to(tx: Transaction, row: LeaseRow, ref: str) -> bool:
    """Whether ``ref`` is the reference of this lease."""
    return same(ref.encode(errors="surrogatepass"), _ref(tx, row).encode())


def _ref(tx: Transaction, row: LeaseRow) -> str:
    code = tx.code(row.tenant, _PURPOSE, f"{row.tenant}\n{row.id}".encode())
    return PREFIX + base62(code[:_BYTES], _DIGITS)
