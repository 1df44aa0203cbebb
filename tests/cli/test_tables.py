"""Tables as text: what a terminal of any width, and a pipe, gets to see."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.cli.columns import Column
from vaultctl.cli.tables import Screen, Table, display_width, wrapped

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

COLUMNS = [
    Column("time", lambda r: r["time"]),
    Column("name", lambda r: r["name"], sgr=lambda r: "31" if r["name"] == "bad" else ""),
    Column("purpose", lambda r: r.get("purpose"), wrap=20, detail=1),
    Column("id", lambda r: r["id"], detail=1),
]

RECORDS = [
    {"time": NOW - timedelta(hours=3), "name": "good", "purpose": "Fetch the latest orders of the shop", "id": "x_123"},
    {"time": NOW, "name": "bad", "id": "x_4"},
]


def text(width: int | None, records: list[dict[str, Any]] = RECORDS, *, colour: bool = False) -> str:
    table = Table(COLUMNS, records, Screen(width, colour, NOW))
    return "\n".join([*table.header(), *table.rows(records)])


def test_a_wide_terminal_gets_a_line_for_each_row() -> None:
    assert text(80) == (
        "TIME       NAME  PURPOSE                              ID\n"
        "09:00:00Z  good  Fetch the latest orders of the shop  x_123\n"
        "12:00:00Z  bad                                        x_4"
    )


def test_a_narrower_one_wraps_free_text_between_words() -> None:
    assert text(48) == (
        "TIME       NAME  PURPOSE                   ID\n"
        "09:00:00Z  good  Fetch the latest orders   x_123\n"
        "                 of the shop\n"
        "12:00:00Z  bad                             x_4"
    )


def test_a_narrow_one_gets_details_below_their_row() -> None:
    assert text(40) == (
        "TIME       NAME\n"
        "09:00:00Z  good\n"
        "    purpose: Fetch the latest orders of\n"
        "    the shop  id: x_123\n"
        "12:00:00Z  bad\n"
        "    id: x_4"
    )


def test_a_very_narrow_one_gets_a_block_for_each_row() -> None:
    assert text(14, RECORDS[1:]) == "time  12:00:00Z\nname  bad\nid    x_4\n"


def test_off_a_terminal_nothing_is_cut_wrapped_or_shortened() -> None:
    assert text(None) == (
        "TIME                         NAME  PURPOSE                              ID\n"
        "2026-11-23T09:00:00.000000Z  good  Fetch the latest orders of the shop  x_123\n"
        "2026-11-23T12:00:00.000000Z  bad                                        x_4"
    )


@pytest.mark.parametrize(
    ("then", "shown"),
    [
        (NOW, "12:00:00Z"),
        (NOW - timedelta(days=2), "11-21 12:00:00Z"),
        (NOW - timedelta(days=400), "2025-10-19 12:00:00Z"),
    ],
)
def test_times_leave_out_what_they_share_with_the_present(then: datetime, shown: str) -> None:
    assert text(80, [{"time": then, "name": "x", "id": ""}]).splitlines()[1].startswith(f"{shown}  x")


def test_colour_is_only_added_where_it_is_shown() -> None:
    assert "\x1b[31mbad\x1b[0m" in text(80, colour=True)
    assert "\x1b" not in text(80)


def test_cells_can_not_steer_the_terminal() -> None:
    hostile = [{"time": NOW, "name": "\x1b[2Jgone\u202e", "purpose": "two\nlines\r[bold]x[/bold]", "id": "\x9b"}]
    for width in (None, 200, 40, 14):
        shown = text(width, hostile)
        assert "\\x1b[2Jgone\\u202e" in "".join(shown.split())
        assert "[bold]x[/bold]" in shown
        assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(shown)


def test_wide_characters_take_two_cells() -> None:
    records = [{"time": NOW, "name": "金庫", "id": "x"}, {"time": NOW, "name": "abcd", "id": "x"}]
    first, second = text(80, records).splitlines()[1:]
    assert display_width(first) == display_width(second)


def test_a_table_that_grows_keeps_its_columns() -> None:
    columns = [Column("event", lambda r: r, least=12), Column("outcome", lambda r: "ok")]
    table = Table(columns, [], Screen(80, False, NOW), growing=True)
    assert list(table.header()) == ["EVENT         OUTCOME"]
    assert list(table.rows(["first", "second"])) == ["first         ok", "second        ok"]


@given(st.text(alphabet="ab-é金 ", max_size=60), st.integers(min_value=2, max_value=30))
def test_wrapping_loses_nothing_and_never_exceeds_the_width(words: str, width: int) -> None:
    lines = wrapped(words, width)
    assert all(display_width(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == words.replace(" ", "")


def test_a_word_that_is_too_long_breaks_behind_a_hyphen() -> None:
    assert wrapped("denied: allowed-identities", 14) == ["denied:", "allowed-", "identities"]


@given(st.integers(min_value=10, max_value=120))
def test_no_width_leaves_anything_out(width: int) -> None:
    letters = "".join(text(width).split())
    for record in RECORDS:
        assert record["id"] in letters
        assert record["name"] in letters
        assert set(record.get("purpose", "").split()) <= set(text(width).split())
