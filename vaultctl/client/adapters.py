"""What stands behind ``Vault`` and ``AsyncVault``: the one door that everything goes through."""

from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Protocol, TypeVar

from vaultctl.domain import requests as ask
from vaultctl.domain.records import AuditEntry

T = TypeVar("T")

OnState = Callable[[bool], None]
"""Is told whether the vault is reached (True) or out of reach (False), each time that changes."""


class Adapter(Protocol):
    """What carries requests: the embedded engine, or a server."""

    def perform(self, request: ask.Request[T]) -> T:
        """The answer to ``request``."""
        ...

    def follow(self, request: ask.QueryAudit, *, poll_seconds: float, on_state: OnState) -> Iterator[AuditEntry]:
        """The entries that match, and each that comes, until the adapter is closed.

        Args:
            request: Which entries. It says after which ``seq`` and has no cursor.
            poll_seconds: How often to look for new entries, where nobody tells of them.
            on_state: Is told when the vault is out of reach, and when it is back.
        """
        ...

    def close(self) -> None:
        """Give back what the adapter holds. Safe from another thread than the one that follows."""
        ...


class AsyncAdapter(Protocol):
    """:class:`Adapter` for an event loop."""

    async def perform(self, request: ask.Request[T]) -> T:
        """The answer to ``request``."""
        ...

    def follow(
        self, request: ask.QueryAudit, *, poll_seconds: float, on_state: OnState
    ) -> AsyncGenerator[AuditEntry, None]:
        """The entries that match, and each that comes, until the adapter is closed. See :meth:`Adapter.follow`."""
        ...

    async def close(self) -> None:
        """Give back what the adapter holds."""
        ...
