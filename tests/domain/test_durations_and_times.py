"""Durations as people write them, and points in time."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.times import from_micros, parse_moment, rfc3339, to_micros

CENTURY = 100 * 365 * 86_400
SIZES = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("1s", 1), ("15m", 900), ("1h30m", 5_400), ("4h", 14_400), ("30d", 2_592_000), ("1d2h3m4s", 93_784)),
        *(("90m", 5_400), ("007s", 7), ("36500d", CENTURY)),
    ],
)
def test_a_duration_reads_as_so_many_seconds(text: str, seconds: int) -> None:
    assert Duration.parse(text).seconds_total == seconds


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "5",
            "5x",
            "m",
            "-5m",
            "+5m",
            "5 m",
            "5m ",
            " 5m",
            "5m\n",
            "5M",
            "1.5h",
            "1m1h",
            "1h1h",
            "0s",
            "0d0h",
        ),
        *("36501d", "9999999d", "999999999s", "\u0665m", "\uff15m", "1e3s", "PT5M", "5min", "1h30"),
    ],
)
def test_anything_else_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        Duration.parse(text, what="TTL")
    assert "TTL" in str(raised.value)
    assert not text.strip() or text not in str(raised.value)


@given(st.integers(1, CENTURY))
def test_what_prints_reads_back(seconds: int) -> None:
    assert Duration.parse(str(Duration.of(seconds))) == Duration.of(seconds)


@given(st.integers(1, CENTURY))
def test_it_prints_each_unit_once_in_descending_order_and_none_in_vain(seconds: int) -> None:
    parts = re.findall(r"(\d+)([dhms])", str(Duration.of(seconds)))
    assert [unit for _, unit in parts] == sorted((unit for _, unit in parts), key="dhms".index)
    assert sum(int(count) * SIZES[unit] for count, unit in parts) == seconds
    assert all(int(count) > 0 for count, _ in parts)
    assert all(int(count) < {"d": 36_501, "h": 24, "m": 60, "s": 60}[unit] for count, unit in parts)


@given(st.integers(1, CENTURY))
def test_a_timedelta_of_whole_seconds_is_taken_as_it_is(seconds: int) -> None:
    assert Duration.parse(timedelta(seconds=seconds)).seconds_total == seconds


@pytest.mark.parametrize("span", [timedelta(0), timedelta(seconds=-1), timedelta(days=36_501), timedelta.max])
def test_a_timedelta_that_is_not_positive_or_too_long_is_refused(span: timedelta) -> None:
    with pytest.raises(InvalidInput):
        Duration.parse(span)


@pytest.mark.parametrize("span", [timedelta(milliseconds=500), timedelta(seconds=1.5), timedelta(microseconds=1)])
def test_a_timedelta_of_broken_seconds_is_refused_rather_than_cut(span: timedelta) -> None:
    with pytest.raises(InvalidInput):
        Duration.parse(span)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1), timezones=st.just(UTC)))
def test_microseconds_since_1970_and_back(moment: datetime) -> None:
    assert from_micros(to_micros(moment)) == moment


@given(*[st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))] * 2)
def test_rfc_3339_text_has_one_width_and_sorts_like_time(one: datetime, other: datetime) -> None:
    assert len(rfc3339(one)) == len("2026-11-23T12:00:00.000000Z")
    assert (rfc3339(one) < rfc3339(other)) == (one < other)
    assert datetime.fromisoformat(rfc3339(one)) == one


def test_rfc_3339_is_in_utc_whatever_the_zone() -> None:
    assert rfc3339(NOW.astimezone(timezone(timedelta(hours=-8)))) == "2026-11-23T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23T09:00:00Z", datetime(2026, 11, 23, 9, tzinfo=UTC)),
        ("2026-11-23T09:00:00+02:00", datetime(2026, 11, 23, 7, tzinfo=UTC)),
        ("2026-11-23T09:00:00.25Z", datetime(2026, 11, 23, 9, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC)),
        ("2026-11-23 09:00", datetime(2026, 11, 23, 9, tzinfo=UTC)),
        ("2h", NOW - timedelta(hours=2)),
        ("1d12h", NOW - timedelta(hours=36)),
    ],
)
def test_a_moment_is_a_time_a_date_or_a_duration_ago(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "24:00", "5x", "1m1h", "99999d", "2026-11-23T25:00Z"])
def test_anything_else_is_no_moment(text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_moment(text, NOW, what="beginning")
    assert "beginning" in str(raised.value)


@pytest.mark.parametrize("text", ["36500d", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_at_the_edge_of_the_calendar_is_taken_or_refused_and_no_crash(text: str) -> None:
    with suppress(InvalidInput):
        assert parse_moment(text, NOW).tzinfo is UTC
