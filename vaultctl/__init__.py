"""vaultctl: a vault for AI agents, run from the terminal.

The public names load on first use, so that ``import vaultctl`` costs nothing on the way to ``--version``
and shell completion::

    from vaultctl import Vault

    with Vault.connect(tenant="my-org", token=token) as vault:
        with vault.leases.create("shopify-api-key", ttl="15m", purpose="Fetch orders") as lease:
            call_shopify(lease.value.reveal())
"""

from typing import TYPE_CHECKING, Any

from vaultctl.version import __version__ as __version__

if TYPE_CHECKING:
    from vaultctl.client import AsyncVault as AsyncVault
    from vaultctl.client import Vault as Vault
    from vaultctl.cortex import CortexAgent as CortexAgent
    from vaultctl.domain.durations import Duration as Duration
    from vaultctl.domain.errors import VaultError as VaultError
    from vaultctl.domain.secrets import Secret as Secret

_HOMES = {
    "AsyncVault": "vaultctl.client",
    "CortexAgent": "vaultctl.cortex",
    "Vault": "vaultctl.client",
    "VaultError": "vaultctl.domain.errors",
    "Secret": "vaultctl.domain.secrets",
    "Duration": "vaultctl.domain.durations",
}

__all__ = ["AsyncVault", "CortexAgent", "Duration", "Secret", "Vault", "VaultError", "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
