"""Leases in the order of a column, filtered, kept so as they change: a change costs a bisection, not a sort."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vaultctl.tui.model import LiveLease

Key = Callable[[LiveLease], Any]

ORDERS: dict[str, Key] = {
    "remaining": lambda lease: lease.expires_at,
    "agent": lambda lease: lease.holder,
    "credential": lambda lease: lease.credential,
    "issued": lambda lease: -lease.issued_at,
    "renewals": lambda lease: -lease.renewals,
    "maximum": lambda lease: lease.max_expires_at,
    "session": lambda lease: lease.session or "\uffff",
}
"""What the table can be ordered by: the most interesting first."""

MOST_FIRST = frozenset({"issued", "renewals"})
"""Of these, the highest come first."""


class OrderedLeases:
    """The leases of a model that match a filter, in an order, as they were when it was last told of a change."""

    def __init__(self, leases: Mapping[str, LiveLease]) -> None:
        self._leases = leases
        self._rows: dict[str, LiveLease] = {}
        self._keys: dict[str, tuple[Any, str]] = {}
        self._order: list[tuple[Any, str]] = []
        self.by = "remaining"
        self.reverse = False
        self._words: tuple[str, ...] = ()
        self._only: Callable[[LiveLease], bool] | None = None
        self._rebuild()

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> LiveLease:
        return self._rows[self._order[-1 - index if self.reverse else index][1]]

    def index(self, id: str) -> int | None:
        """The row of a lease, or None if it is not among them."""
        key = self._keys.get(id)
        if key is None:
            return None
        position = bisect_left(self._order, key)
        return len(self._order) - 1 - position if self.reverse else position

    def watch(self, leases: Mapping[str, LiveLease]) -> None:
        """Show these leases from now on."""
        self._leases = leases
        self._rebuild()

    def order(self, by: str, *, reverse: bool = False) -> None:
        """Order by a column of :data:`ORDERS`."""
        self.by, self.reverse = by, reverse
        self._rebuild()

    def filter(self, text: str) -> None:
        """Show only leases in which each word of ``text`` occurs somewhere."""
        self._words = tuple(text.lower().split())
        self._rebuild()

    def restrict(self, only: Callable[[LiveLease], bool] | None) -> None:
        """Show only leases for which ``only`` holds, before any filter."""
        self._only = only
        self._rebuild()

    def update(self, changed: Iterable[str]) -> None:
        """Take note that these leases came, changed or went."""
        key_of = ORDERS[self.by]
        for id in changed:
            old = self._keys.pop(id, None)
            if old is not None:
                del self._order[bisect_left(self._order, old)]
                del self._rows[id]
            lease = self._leases.get(id)
            if lease is not None and self._matches(lease):
                key = (key_of(lease), id)
                self._keys[id] = key
                self._rows[id] = lease
                insort(self._order, key)

    def _rebuild(self) -> None:
        key_of = ORDERS[self.by]
        self._rows = {lease.id: lease for lease in self._leases.values() if self._matches(lease)}
        self._keys = {id: (key_of(lease), id) for id, lease in self._rows.items()}
        self._order = sorted(self._keys.values())

    def _matches(self, lease: LiveLease) -> bool:
        if self._only is not None and not self._only(lease):
            return False
        if not self._words:
            return True
        haystack = lease.haystack
        return all(word in haystack for word in self._words)
