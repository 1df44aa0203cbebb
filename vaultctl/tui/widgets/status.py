"""The head of every screen: which vault, whether the picture is live, the counters, the minutes of the last hour."""

from typing import NamedTuple

from vaultctl.domain.times import SECOND
from vaultctl.tui import words
from vaultctl.tui.model import Model
from vaultctl.tui.widgets.lines import Line, Lines, Piece

_CLOCK_CELLS = 14


class Connection(NamedTuple):
    """Whether what is shown is how things are."""

    lost_at: int | None = None
    reason: str = ""
    catching_up: bool = False
    is_polled: bool = False

    @property
    def is_live(self) -> bool:
        """Whether all that is known to have happened is shown."""
        return self.lost_at is None and not self.catching_up


class Counts(NamedTuple):
    """What is counted over all leases, once a second."""

    leases: int
    agents: int
    sessions: int
    ending: int


def counts_of(model: Model, now: int) -> Counts:
    """The counts of a model."""
    leases = model.leases.values()
    soon = now + words.SOON_SECONDS * SECOND
    ending = sum(words.is_ending(x.expires_at - now, x.ttl) for x in leases if x.expires_at < soon)
    return Counts(len(leases), len({x.holder for x in leases}), len(model.sessions), ending)


class StatusLines(Lines):
    """Two lines that never scroll away."""

    DEFAULT_CSS = """
    StatusLines { height: 2; background: $panel; padding: 0 1; }
    """

    def tell(self, place: str, connection: Connection, counts: Counts, model: Model, now: int, *, acts: bool) -> None:
        """Show how things are."""
        self.show([self._first(place, connection, now, acts=acts), self._second(counts, model, now)])

    def _first(self, place: str, connection: Connection, now: int, *, acts: bool) -> Line:
        pieces: list[Piece] = [("vaultctl ", "title"), (place, "plain"), ("  ", "plain")]
        if connection.lost_at is not None:
            since = words.span(now - connection.lost_at)
            text = f" ⚠ STALE for {since}: {connection.reason} "
            if self.size.width < sum(len(shown) for shown, _ in pieces) + len(text) + _CLOCK_CELLS:
                del pieces[1:]  # which vault it is matters less now
            room = self.size.width - sum(len(shown) for shown, _ in pieces) - _CLOCK_CELLS
            pieces.append((text if len(text) <= room else words.fit(text, max(20, room)), "shout"))
        elif connection.catching_up:
            pieces.append(("… catching up", "warn"))
        else:
            pieces.append(("● live", "good"))
            if connection.is_polled:
                pieces.append((", by polling", "faint"))
        if not acts:
            pieces.append(("  read-only", "faint"))
        return [*pieces, ("", "plain"), (f" {words.clock_time(now)} UTC", "faint")]

    def _second(self, counts: Counts, model: Model, now: int) -> Line:
        denied = model.denied.total(now)
        wide = self.size.width >= 100
        pieces: list[Piece] = _counted(counts.leases, "lease")
        pieces += _counted(counts.agents, "agent")
        pieces += _counted(counts.sessions, "session")
        pieces.append((f"‼ {counts.ending:,} ending  ", "warn" if counts.ending else "faint"))
        pieces.append((f"✖ {denied:,} denied/h ", "alarm" if denied else "faint"))
        if wide:
            pieces.append((f" ↻ {model.renewed.last(now, 1)[0] or 0:,} renewed/min", "calm"))
        issued = model.issued.last(now)
        used = sum(len(text) for text, _ in pieces)
        label = f" {issued[-1] or 0:,}/min"
        width = min(60, self.size.width - used - len(label) - 1)
        if width >= 5:
            pieces += [("", "plain"), (words.sparkline(issued, width), "calm"), (label, "plain")]
        return pieces


def _counted(number: int, noun: str) -> list[Piece]:
    return [(f"{number:,}", "title"), (f" {noun}{'' if number == 1 else 's'}  ", "plain")]


class DenialLine(Lines):
    """Stands under the head as long as there are refusals that nobody has looked at."""

    DEFAULT_CSS = """
    DenialLine { display: none; height: 1; background: $error; }
    """

    _told: tuple[int, int, int] = (0, 0, 0)

    def tell(self, model: Model) -> None:
        """Show how many there are, and the last one."""
        number, last = model.unseen_denials, model.last_denial
        width = max(1, self.size.width or self.app.size.width)
        told = (number, last.seq, width) if number and last else (0, 0, 0)
        if told == self._told:
            return
        self._told = told
        self.display = number > 0
        if not number or last is None:
            return
        counted = "1 denial" if number == 1 else f"{number:,} denials"
        text = f" ✖ {counted}, press d to look. Last {words.entry_time(last)}: {words.story(last)}"
        self.show([[(words.fit(text, width), "shout")]])
