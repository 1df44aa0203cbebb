"""Tallies: how many entries of each kind a log has in each hour, day and month, so that counting need not read them.

An entry is about an agent, a credential and an event, and counts in the tallies of each of them, of each pair, of all
three and of none: :data:`ANY` stands for what a tally does not look at. All are kept for days and for months of 30
days, those that look at one thing or none for hours too. A log is tallied in steps, by the commits that make it long
enough, up to a mark; what is behind the mark is counted entry by entry, so that counts are exact at any time.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from vaultctl.domain.times import from_micros, micros_of
from vaultctl.store.interface import StoreTransaction, Where
from vaultctl.store.rows import EntryRow, TallyMarkRow, TallyRow

STEP = 4096
"""A log is tallied whenever its length passes a multiple of this."""

_MOST = 4 * STEP
"""Entries that are tallied at once, where a log from before there were tallies catches up."""

ANY = "*"
"""What no agent, credential or event is called. One that an entry does not have is empty."""

ASPECTS = ("agent", "credential_name", "event")

HOUR = micros_of(timedelta(hours=1))
DAY_HOURS, MONTH_HOURS = 24, 720

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
    return 1 if aspects.bit_count() <= 1 else DAY_HOURS


def parts_of(first: int, beyond: int, hours: int, longest: int) -> Iterator[Part]:
    """The periods of ``hours`` from ``first`` and before ``beyond``, as few and as long as there are."""
    longer = {1: DAY_HOURS, DAY_HOURS: MONTH_HOURS}.get(hours)
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
    month: Counter[_Key] = Counter()
    first = kept = 0
    while first < tallied:
        (entry,) = store.find(EntryRow, *_span(tenant, first, first + 1))
        day = int(entry.time) // (DAY_HOURS * HOUR)
        end = store.first_entry_from(tenant, (day + 1) * DAY_HOURS * HOUR)
        beyond = tallied if end is None else min(tallied, max(end, first + 1))
        expected = _tallies(_counted(store, tenant, first, beyond))
        months = {key: count for key, count in expected.items() if key[1] == MONTH_HOURS}
        if month and next(iter(month))[2] != next(iter(months))[2]:
            kept += len(month)
            yield from _compared(store, tenant, month)
            month.clear()
        month.update(months)
        days = {key: count for key, count in expected.items() if key[1] != MONTH_HOURS}
        kept += len(days)
        yield from _compared(store, tenant, days)
        first = beyond
    kept += len(month)
    yield from _compared(store, tenant, month)
    found = store.count(TallyRow, Where("tenant", "=", tenant))
    if found > kept:
        yield f"There are {found} tallies, and a log with these entries has {kept}."


def _compared(store: StoreTransaction, tenant: str, expected: Counter[_Key] | dict[_Key, int]) -> Iterator[str]:
    """What is stored of the periods of ``expected`` that is not as expected."""
    here = Where("tenant", "=", tenant)
    places = dict.fromkeys(key[:3] for key in expected)
    stored: dict[_Key, Any] = {}
    for aspects, hours, period in places:
        conditions = (Where("aspects", "=", aspects), Where("hours", "=", hours), Where("period", "=", period))
        for row in store.find(TallyRow, here, *conditions):
            key = (row.aspects, row.hours, row.period, row.agent, row.credential_name, row.event)
            stored[key] = row.entries
    wrong = {key for key in stored.keys() | expected.keys() if stored.get(key) != expected.get(key)}
    for hours, period in sorted({key[1:3] for key in wrong}):
        begin = from_micros(period * hours * HOUR)
        yield f"The tallies of the {hours} h from {begin:%Y-%m-%d %H:%MZ} are not those of the entries."


def _counted(store: StoreTransaction, tenant: str, first: int, beyond: int) -> list[tuple[Any, ...]]:
    """Hour, agent, credential, event, and how many entries have them."""
    return store.totals(EntryRow, (f"time / {HOUR}", *ASPECTS), *_span(tenant, first, beyond))


def _span(tenant: str, first: int, beyond: int) -> tuple[Where, Where, Where]:
    return Where("tenant", "=", tenant), Where("seq", ">=", first), Where("seq", "<", beyond)


def _tallies(groups: Iterable[Sequence[Any]]) -> Counter[_Key]:
    """All tallies of entries that were counted by hour and by what they are about."""
    found: Counter[_Key] = Counter()
    days: Counter[tuple[int, _About]] = Counter()
    for hour, agent, credential, event, entries in groups:
        about = (agent or "", credential or "", event)
        days[hour // DAY_HOURS, about] += entries
        for aspects in (0, 1, 2, 4):
            found[aspects, 1, hour, *_looked_at(aspects, about)] += entries
    months: Counter[tuple[int, _About]] = Counter()
    for (day, about), entries in days.items():
        months[day * DAY_HOURS // MONTH_HOURS, about] += entries
    for hours, counted in ((DAY_HOURS, days), (MONTH_HOURS, months)):
        for (period, about), entries in counted.items():
            for aspects in range(8):
                found[aspects, hours, period, *_looked_at(aspects, about)] += entries
    return found


def _looked_at(aspects: int, about: _About) -> _About:
    agent, credential, event = about
    return agent if aspects & 1 else ANY, credential if aspects & 2 else ANY, event if aspects & 4 else ANY
