"""The SDK: one interface, :class:`Vault`, whatever stands behind it.

An adapter carries a request to the operation that answers it: embedded (calls the engine in this process) or,
later, remote (HTTP). What is not an operation on a vault's contents, such as creating one, is in modules of its own:
:mod:`vaultctl.client.setup`, :mod:`vaultctl.client.doctor`.
"""

from vaultctl.client.vault import LeaseHandle, Vault

__all__ = ["LeaseHandle", "Vault"]
