"""The table of active leases."""

from vaultctl.domain.text import safe
from vaultctl.tui import words
from vaultctl.tui.model import LiveLease
from vaultctl.tui.ordering import MOST_FIRST, ORDERS, OrderedLeases
from vaultctl.tui.widgets.line_list import Column, LineList

_TIME_CELLS = 8


def _remaining(lease: LiveLease, now: int, width: int) -> tuple[str, str]:
    left = lease.expires_at - now
    glyph, style = words.urgency(left, lease.ttl)
    bar = words.bar(left, lease.ttl, width - _TIME_CELLS - 2)
    return f"{glyph}{bar} {words.span(left):>{_TIME_CELLS}}", style


LEASE_COLUMNS: tuple[Column[LiveLease], ...] = (
    Column("agent", lambda x: x.holder, 14, share=2, most=32, style="title"),
    Column("session", lambda x: safe(x.session or "-"), 13, is_id=True, rank=5, style="faint"),
    Column("credential", lambda x: x.credential, 16, share=2, most=32),
    Column("purpose", lambda x: x.purpose, 12, share=6, rank=2),
    Column("issued", lambda x: words.clock_time(x.issued_at), 8, rank=4, style="faint"),
    Column("remaining", lambda x: words.moment(x.expires_at), 21, share=1, most=30, live=_remaining),
    Column("renewals", lambda x: str(x.renewals), 8, rank=3, right=True),
    Column(
        "maximum",
        lambda x: words.moment(x.max_expires_at),
        7,
        rank=6,
        right=True,
        live=lambda x, now, _: (words.span(x.max_expires_at - now), "faint"),
    ),
)


class LeaseTable(LineList[LiveLease]):
    """Active leases, in an order and filtered."""

    def __init__(
        self,
        rows: OrderedLeases,
        *,
        id: str | None = None,
        nothing: str = "No active leases.",
        without: str = "",
    ) -> None:
        """A table of ``rows``, ``without`` the column that is the same in all of them."""
        columns = [column for column in LEASE_COLUMNS if column.title != without]
        super().__init__(columns, rows, key=lambda lease: lease.id, locate=rows.index, nothing=nothing, id=id)
        self.rows = rows
        self._mark()

    def order_next(self, now: int) -> str:
        """Order by the next column; answers its title."""
        titles = list(ORDERS)
        by = titles[(titles.index(self.rows.by) + 1) % len(titles)]
        self.order_by(by, now)
        return by

    def order_by(self, title: str, now: int) -> None:
        """Order by a column, if one can; by the same one as before, the other way round."""
        if title in ORDERS:
            self.rows.order(title, reverse=title == self.rows.by and not self.rows.reverse)
            self._mark()
            self.sync(now)

    def reverse(self, now: int) -> None:
        """Turn the order round."""
        self.order_by(self.rows.by, now)

    def _mark(self) -> None:
        grows = (self.rows.by in MOST_FIRST) == self.rows.reverse
        self.heading_marks = {self.rows.by: "▲" if grows else "▼"}
        if self.is_attached:
            self.retitle()
