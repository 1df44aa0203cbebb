"""The SDK: one interface, :class:`Vault`, whatever stands behind it, and :class:`AsyncVault` for event loops.

An adapter carries a request to the operation that answers it: embedded (calls the engine in this process) or remote
(HTTP). What is not an operation on a vault's contents, such as creating one, is in modules of its own:
:mod:`vaultctl.client.setup`, :mod:`vaultctl.client.doctor`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vaultctl.client.async_vault import AsyncLeaseHandle, AsyncVault
    from vaultctl.client.vault import LeaseHandle, Vault

__all__ = ["AsyncLeaseHandle", "AsyncVault", "LeaseHandle", "Vault"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # on first use, since neither completion nor most commands need all of it
        from importlib import import_module

        return getattr(import_module(f"vaultctl.client.{'async_vault' if 'Async' in name else 'vault'}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
