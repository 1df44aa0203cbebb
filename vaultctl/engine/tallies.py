"""Tallies: how many entries of each kind a log has in each period, so that counting need not read them.

An entry is about an agent, a credential and an event, and counts in the tallies of each of them, of each pair, of all
three and of none: :data:`ANY` stands for what a tally does not look at. All are kept for days and for months of 30
days, those that look at one thing or none for quarters of a day too. A log is tallied in steps, by the commits that
make it long enough, up to a mark; what is behind the mark is counted entry by entry, so that counts are exact at any
time.
"""

from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from vaultctl.domain.times import from_micros, micros_of
from vaultctl.store.interface import StoreTransaction, Where
from vaultctl.store.rows import EntryRow, TallyMarkRow, TallyRow

STEP = 1024
"""A log is tallied whenever its length passes a multiple of this."""

_MOST = 16 * STEP
"""Entries that are tallied at once, where a log from before there were tallies catches up."""

ANY = "*"
"""What no agent, credential or event is called. One that an entry does not have is empty."""

ASPECTS = ("agent", "credential_name", "event")

HOUR = micros_of(timedelta(hours=1))
QUARTER_HOURS, DAY_HOURS, MONTH_HOURS = 6, 24, 720

_About = tuple[str, str, str]
"""An agent, a credential, and an event."""

_Key = tuple[int, int, int, str, str, str]
"""Aspects, hours, period, agent, credential, event."""


class Part(NamedTuple):
    """Periods of so many hours, from one number and before another."""

    hours: int
    first: int
    beyond: int


def aspects_of(columns: Collection[str]) -> int:
    """The number of the tallies that look at these of :data:`ASPECTS`."""
    return sum(1 << bit for bit, aspect in enumerate(ASPECTS) if aspect in columns)


def finest_hours(aspects: int) -> int:
    """The shortest periods that these tallies are kept for."""
    return QUARTER_HOURS if aspects.bit_count() <= 1 else DAY_HOURS


def parts_of(first: int, beyond: int, hours: int, longest: int) -> Iterator[Part]:
    """The periods of ``hours`` from ``first`` and before ``beyond``, as few and as long as there are."""
    longer = {QUARTER_HOURS: DAY_HOURS, DAY_HOURS: MONTH_HOURS}.get(hours)
    if longer is None or longer > longest:
        inner = Part(hours, first, beyond)
    else:
        ratio = longer // hours
        begin, end = -(-first // ratio), beyond // ratio
        if begin < end:
            yield from parts_of(begin, end, longer, longest)
            yield Part(hours, first, begin * ratio)
            inner = Part(hours, end * ratio, beyond)
        else:
            inner = Part(hours, first, beyond)
    if inner.first < inner.beyond:
        yield inner


def bring_up_to_date(store: StoreTransaction, tenant: str, size: int) -> int:
    """Tally more of a log of ``size`` entries, which is held; answers how many entries are behind the mark then."""
    mark = store.get(TallyMarkRow, tenant)
    first = 0 if mark is None else mark.seq
    beyond = min(size, first + _MOST)
    if first < beyond:
        for key, entries in _tallies(_counted(store, tenant, first, beyond)).items():
            store.insert(TallyRow(tenant, *key, entries))
        if mark is None:
            store.insert(TallyMarkRow(tenant, beyond))
        else:
            store.update(TallyMarkRow(tenant, beyond))
    return size - beyond


def disagreements(store: StoreTransaction, tenant: str, size: int) -> Iterator[str]:
    """What the tallies of a log of ``size`` entries have other than the entries, in the memory of a month's tallies."""
    mark = store.get(TallyMarkRow, tenant)
    tallied = 0 if mark is None else mark.seq
    if type(tallied) is not int or not 0 <= tallied <= size:
        yield f"The log is tallied up to {tallied!r}, and has {size} entries."
        return
    first = kept = 0
    days: Counter[tuple[int, _About]] = Counter()
    while first < tallied:
        (entry,) = store.find(EntryRow, *_span(tenant, first, first + 1))
        day = int(entry.time) // (DAY_HOURS * HOUR)
        month = day * DAY_HOURS // MONTH_HOURS
        if days and next(iter(days))[0] * DAY_HOURS // MONTH_HOURS != month:
            kept += yield from _compared(store, tenant, _of_days(days))
            days.clear()
        end = store.first_entry_from(tenant, (day + 1) * DAY_HOURS * HOUR)
        beyond = tallied if end is None else min(tallied, max(end, first + 1))
        groups = _counted(store, tenant, first, beyond)
        kept += yield from _compared(store, tenant, _of_quarters(groups))
        for _, agent, credential, event, entries in groups:
            days[day, (agent or "", credential or "", event)] += entries
        first = beyond
    kept += yield from _compared(store, tenant, _of_days(days))
    found = store.count(TallyRow, Where("tenant", "=", tenant))
    if found > kept:
        yield f"There are {found} tallies, and a log with these entries has {kept}."


def _compared(store: StoreTransaction, tenant: str, expected: dict[_Key, int]) -> Generator[str, None, int]:
    """What is stored of the periods of ``expected`` that is not as expected; answers how many tallies these are."""
    stored: dict[_Key, Any] = {}
    periods: dict[tuple[int, int], list[int]] = {}
    for aspects, hours, period, *_ in expected:
        periods.setdefault((aspects, hours), []).append(period)
    for (aspects, hours), numbers in periods.items():
        kind = (Where("tenant", "=", tenant), Where("aspects", "=", aspects), Where("hours", "=", hours))
        bounds = (Where("period", ">=", min(numbers)), Where("period", "<=", max(numbers)))
        for row in store.find(TallyRow, *kind, *bounds):
            stored[row.aspects, row.hours, row.period, row.agent, row.credential_name, row.event] = row.entries
    if stored != expected:
        wrong = {key for key in stored.keys() | expected.keys() if stored.get(key) != expected.get(key)}
        for hours, period in sorted({(hours, period) for _, hours, period, *_ in wrong}):
            begin = from_micros(period * hours * HOUR)
            yield f"The tallies of the {hours} h from {begin:%Y-%m-%d %H:%MZ} are not those of the entries."
    return len(expected)


def _counted(store: StoreTransaction, tenant: str, first: int, beyond: int) -> list[tuple[Any, ...]]:
    """Quarter of a day, agent, credential, event, and how many entries have them."""
    return store.totals(EntryRow, (f"time / {QUARTER_HOURS * HOUR}", *ASPECTS), *_span(tenant, first, beyond))


def _span(tenant: str, first: int, beyond: int) -> tuple[Where, Where, Where]:
    return Where("tenant", "=", tenant), Where("seq", ">=", first), Where("seq", "<", beyond)


def _tallies(groups: Sequence[Sequence[Any]]) -> dict[_Key, int]:
    """All tallies of entries that were counted by quarters of days and by what they are about."""
    days: Counter[tuple[int, _About]] = Counter()
    for quarter, agent, credential, event, entries in groups:
        days[quarter * QUARTER_HOURS // DAY_HOURS, (agent or "", credential or "", event)] += entries
    return _of_quarters(groups) | _of_days(days)


def _of_quarters(groups: Iterable[Sequence[Any]]) -> dict[_Key, int]:
    """The tallies of quarters of days."""
    found: Counter[_Key] = Counter()
    for quarter, agent, credential, event, entries in groups:
        found[0, QUARTER_HOURS, quarter, ANY, ANY, ANY] += entries
        found[1, QUARTER_HOURS, quarter, agent or "", ANY, ANY] += entries
        found[2, QUARTER_HOURS, quarter, ANY, credential or "", ANY] += entries
        found[4, QUARTER_HOURS, quarter, ANY, ANY, event] += entries
    return dict(found)


def _of_days(days: Counter[tuple[int, _About]]) -> dict[_Key, int]:
    """The tallies of days and of months, by what there is of each day."""
    months: Counter[tuple[int, _About]] = Counter()
    for (day, about), entries in days.items():
        months[day * DAY_HOURS // MONTH_HOURS, about] += entries
    found: Counter[_Key] = Counter()
    for hours, counted in ((DAY_HOURS, days), (MONTH_HOURS, months)):
        for (period, (agent, credential, event)), entries in counted.items():
            found[7, hours, period, agent, credential, event] += entries
            found[6, hours, period, ANY, credential, event] += entries
            found[5, hours, period, agent, ANY, event] += entries
            found[4, hours, period, ANY, ANY, event] += entries
            found[3, hours, period, agent, credential, ANY] += entries
            found[2, hours, period, ANY, credential, ANY] += entries
            found[1, hours, period, agent, ANY, ANY] += entries
            found[0, hours, period, ANY, ANY, ANY] += entries
    return dict(found)
