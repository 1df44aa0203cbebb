"""How the dashboard puts things: times, bars, glyphs, the story of an entry. Text in, text out.

Nothing is told by colour alone: every kind has a glyph too. All texts that come from a vault pass ``safe``.
"""

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from vaultctl.domain.records import AuditEntry, Event
from vaultctl.domain.text import safe
from vaultctl.domain.times import SECOND, from_micros, to_micros

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_SPARKS = "▁▂▃▄▅▆▇█"

SOON_SECONDS = 60
_VERY_SOON_SECONDS = 10


class Kind(NamedTuple):
    """How a kind of event looks: a glyph, a word, and the name of its style."""

    glyph: str
    word: str
    style: str


_OTHER = Kind("·", "", "plain")
_KINDS = {
    Event.LEASE_CREATED: Kind("+", "issued", "good"),
    Event.LEASE_RENEWED: Kind("↻", "renewed", "calm"),
    Event.LEASE_EXPIRED: Kind("○", "expired", "faint"),
    Event.LEASE_REVOKED: Kind("⊘", "revoked", "warn"),
    Event.LEASE_REDEEMED: Kind("◆", "redeemed", "good"),
    Event.LEASE_DENIED: Kind("✖", "DENIED", "alarm"),
    Event.ACCESS_DENIED: Kind("✖", "DENIED", "alarm"),
    Event.SESSION_STARTED: Kind("▸", "session", "plain"),
    Event.SESSION_ENDED: Kind("▪", "ended", "plain"),
    Event.TOKEN_REVOKED: Kind("⊘", "revoked", "warn"),
    Event.CREDENTIAL_REVOKED: Kind("⊘", "revoked", "warn"),
    Event.CREDENTIAL_DELETED: Kind("⊘", "deleted", "warn"),
}


def kind_of(entry: AuditEntry) -> Kind:
    """How an entry looks."""
    return _KINDS.get(entry.event, _OTHER)


def story(entry: AuditEntry) -> str:
    """What an entry tells, in one line without its time: who, what, which, why."""
    details = entry.details
    parts = [entry.identity.label]
    if entry.event in _KINDS and entry.credential_name:
        parts.append(entry.credential_name)
    elif entry.credential_name:
        parts.append(f"{entry.event.value} {entry.credential_name}")
    else:
        parts.append(entry.event.value)
    if subject := details.get("agent") or details.get("email"):
        parts.append(f"of {subject}")
    match entry.event:
        case Event.LEASE_DENIED | Event.ACCESS_DENIED:
            parts.append(f"[{details.get('rule', 'refused')}]")
        case Event.LEASE_CREATED | Event.LEASE_RENEWED:
            parts.append(str(details.get("ttl", "")))
        case Event.LEASE_REVOKED | Event.SESSION_ENDED:
            reason = details.get("reason")
            parts.append("" if reason in (None, "revoked", "ended") else f"({reason})")
        case Event.TOKEN_REVOKED:
            parts.append(f"with {count(details.get('leases') or 0, 'lease')}")
    if entry.identity.purpose:
        parts.append(f"- {entry.identity.purpose}")
    return safe(" ".join(part for part in parts if part))


def clock_time(micros: int) -> str:
    """``12:03:44`` in UTC."""
    return from_micros(micros).strftime("%H:%M:%S")


def moment(micros: int) -> str:
    """``2026-11-24 12:03:44`` in UTC."""
    return from_micros(micros).strftime("%Y-%m-%d %H:%M:%S")


def entry_time(entry: AuditEntry) -> str:
    """The time of an entry."""
    return clock_time(to_micros(entry.timestamp))


def span(micros: int) -> str:
    """A span of time in at most two units, at most seven cells: ``59m59s``, ``23h59m``, ``12d3h``."""
    seconds = max(0, micros) // SECOND
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3_600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86_400:
        return f"{seconds // 3_600}h{seconds % 3_600 // 60:02}m"
    return f"{seconds // 86_400}d{seconds % 86_400 // 3_600}h"


def is_ending(remaining: int, ttl: int) -> bool:
    """Whether a lease with so much left of what was granted is about to end.

    Less than a minute and a quarter of what was granted; of short ones, which never have much, the last 10 seconds.
    """
    return remaining < _VERY_SOON_SECONDS * SECOND or (remaining < SOON_SECONDS * SECOND and remaining * 4 < ttl)


def urgency(remaining: int, ttl: int) -> tuple[str, str]:
    """The glyph and the style of a lease with so much left of what was granted."""
    if is_ending(remaining, ttl):
        return "‼", "alarm"
    if remaining * 4 < ttl:
        return "!", "warn"
    return " ", "good"


def bar(part: int, whole: int, width: int) -> str:
    """A bar of ``width`` cells, filled to the eighth of a cell."""
    eighths = min(width * 8, max(0, part) * width * 8 // max(1, whole))
    full, rest = divmod(eighths, 8)
    text = "█" * full + (_EIGHTHS[rest] if rest else "")
    return text + "·" * (width - len(text))


def sparkline(values: Sequence[int | None], width: int) -> str:
    """The newest ``width`` values as a line of blocks; blank where nothing is known, ``▁`` for none at all."""
    shown = values[-width:]
    highest = max((value for value in shown if value), default=1)
    return "".join(
        " " if value is None else _SPARKS[-(-value * (len(_SPARKS) - 1) // highest)] for value in shown
    ).rjust(width)


def fit(text: str, width: int) -> str:
    """``text`` in exactly ``width`` cells, with an ellipsis where it is cut."""
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def fit_id(text: str, width: int) -> str:
    """An id in ``width`` cells: what is random tells ids apart, so the end is kept."""
    if len(text) <= width or width < 6:
        return fit(text, width)
    prefix, separator, _ = text.rpartition("_")
    head = min(len(prefix + separator), max(0, width - 7))
    return f"{text[:head]}…{text[-(width - head - 1) :]}"


def count(number: int, noun: str) -> str:
    """``1 lease``, ``2 leases``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def outcome(entry: AuditEntry) -> str:
    """What came of it, in a few words."""
    details = entry.details
    match entry.event:
        case Event.LEASE_DENIED | Event.ACCESS_DENIED:
            return safe(str(details.get("rule", "refused")))
        case Event.LEASE_CREATED | Event.LEASE_RENEWED:
            return safe(f"for {details.get('ttl', '?')}")
    reason = details.get("reason")
    ended = details.get("leases")
    parts = [str(reason)] if reason else []
    if isinstance(ended, int) and ended:
        parts.append(f"with {count(ended, 'lease')}")
    return safe(", ".join(parts))
