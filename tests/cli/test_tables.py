"""Tables as text: what a terminal of any width, and a pipe, gets to see."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from vaultctl.cli.columns import Column
from vaultctl.cli.tables import PlainTable, plain_block
from vaultctl.cli.terminal import Screen, TerminalTable, terminal_block

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

COLUMNS = [
    Column("time", lambda r: r["time"]),
    Column("name", lambda r: r["name"], style=lambda r: "red" if r["name"] == "bad" else ""),
    Column("purpose", lambda r: r.get("purpose"), wrap=20, detail=1),
    Column("id", lambda r: r["id"], detail=1),
]

RECORDS = [
    {"time": NOW - timedelta(hours=3), "name": "good", "purpose": "Fetch the latest orders of the shop", "id": "x_123"},
    {"time": NOW, "name": "bad", "id": "x_4"},
]


def screen(width: int, *, colour: bool = False, unicode: bool = True) -> Screen:
    return Screen(width, colour, unicode, NOW)


def drawn(width: int, records: list[dict[str, Any]] = RECORDS, **settings: bool) -> str:
    return TerminalTable(COLUMNS, screen(width, **settings)).draw(records)


def plain(records: list[dict[str, Any]] = RECORDS) -> str:
    return PlainTable(COLUMNS).draw(records)


def test_off_a_terminal_nothing_is_cut_wrapped_or_shortened() -> None:
    assert plain() == (
        "TIME                         NAME  PURPOSE                              ID\n"
        "2026-11-23T09:00:00.000000Z  good  Fetch the latest orders of the shop  x_123\n"
        "2026-11-23T12:00:00.000000Z  bad                                        x_4\n"
    )
    assert plain_block(COLUMNS, RECORDS[1]) == "time  2026-11-23T12:00:00.000000Z\nname  bad\nid    x_4\n"


class TestOnATerminal:
    def test_a_wide_one_gets_a_line_for_each_row(self) -> None:
        assert drawn(80) == (
            "TIME       NAME  PURPOSE                              ID\n"
            "───────────────────────────────────────────────────────────\n"
            "09:00:00Z  good  Fetch the latest orders of the shop  x_123\n"
            "12:00:00Z  bad                                        x_4\n"
        )

    def test_a_narrower_one_folds_free_text_between_words(self) -> None:
        assert drawn(48) == (
            "TIME       NAME  PURPOSE                   ID\n"
            "────────────────────────────────────────────────\n"
            "09:00:00Z  good  Fetch the latest orders   x_123\n"
            "                 of the shop\n"
            "12:00:00Z  bad                             x_4\n"
        )

    def test_a_narrow_one_gets_details_below_their_row(self) -> None:
        assert drawn(40) == (
            "TIME       NAME\n"
            "───────────────\n"
            "09:00:00Z  good\n"
            "    purpose: Fetch the latest orders of\n"
            "    the shop\n"
            "    id: x_123\n"
            "12:00:00Z  bad\n"
            "    id: x_4\n"
        )

    def test_a_very_narrow_one_gets_a_block_for_each_row(self) -> None:
        assert drawn(14) == (
            "time\n  09:00:00Z\n"
            "name     good\n"
            "purpose\n  Fetch the\n  latest\n  orders of\n  the shop\n"
            "id       x_123\n"
            "\n"
            "time\n  12:00:00Z\n"
            "name  bad\n"
            "id    x_4\n"
            "\n"
        )

    def test_one_that_has_no_line_characters_gets_none(self) -> None:
        assert drawn(80, unicode=False) == "".join(
            line for line in drawn(80).splitlines(keepends=True) if not line.startswith("─")
        )

    @pytest.mark.parametrize(
        ("then", "shown"),
        [
            (NOW, "12:00:00Z"),
            (NOW - timedelta(days=2), "11-21 12:00:00Z"),
            (NOW - timedelta(days=400), "2025-10-19 12:00:00Z"),
        ],
    )
    def test_times_leave_out_what_they_share_with_the_present(self, then: datetime, shown: str) -> None:
        table = drawn(80, [{"time": then, "name": "x", "id": ""}])
        assert table.splitlines()[2].startswith(f"{shown}  x")

    def test_colour_is_only_added_where_it_is_wanted(self) -> None:
        coloured = drawn(80, colour=True)
        assert re.search(r"\x1b\[31mbad *\x1b\[0m", coloured)
        assert "\x1b[1mTIME" in coloured
        assert "\x1b[2mid: x_4\x1b[0m" in drawn(40, colour=True)
        assert re.sub(r"\x1b\[\d+m", "", coloured).split() == drawn(80).split()
        assert "\x1b" not in drawn(80) + drawn(40) + drawn(14)

    def test_names_and_ids_are_never_broken_unless_one_alone_is_wider_than_the_line(self) -> None:
        id = "cortex_sess_0123456789012345678"
        for width in range(len(id), 100):
            assert id in drawn(width, [{"time": NOW, "name": "x", "id": id}])
        assert "".join(drawn(len(id) - 1, [{"time": NOW, "name": "x", "id": id}]).split()).endswith(f"id:{id}")

    def test_words_in_free_text_are_not_broken_where_there_is_another_way(self) -> None:
        purpose = "See https://example.com/a-page-with-a-rather-long-name for more"
        for width in range(60, 100):
            assert purpose.split()[1] in drawn(width, [{"time": NOW, "name": "x", "purpose": purpose, "id": "y"}])

    def test_a_growing_table_keeps_its_columns(self) -> None:
        columns = [Column("event", lambda r: r, least=12), Column("outcome", lambda r: "ok")]
        table = TerminalTable(columns, screen(80), growing=True)
        assert table.draw([]) == "EVENT         OUTCOME\n─────────────────────\n"
        assert table.draw(["first", "second"]) == "first         ok\nsecond        ok\n"
        assert PlainTable(columns, growing=True).draw(["first"]) == "EVENT         OUTCOME\nfirst         ok\n"

    def test_a_growing_table_that_needs_more_room_repeats_its_headings(self) -> None:
        columns = [Column("event", lambda r: r), Column("outcome", lambda r: "ok")]
        table = TerminalTable(columns, screen(80), growing=True)
        table.draw(["first"])
        assert table.draw(["a-longer-one"]) == ("EVENT         OUTCOME\n─────────────────────\na-longer-one  ok\n")
        assert table.draw(["third"]) == "third         ok\n"


class TestBlocks:
    def test_a_record_alone_is_a_line_for_each_value_with_whole_times(self) -> None:
        assert terminal_block(COLUMNS, RECORDS[0], screen(40)) == (
            "time     2026-11-23 09:00:00Z\n"
            "name     good\n"
            "purpose  Fetch the latest orders of the\n"
            "         shop\n"
            "id       x_123\n"
        )

    def test_what_is_to_be_copied_stays_in_one_piece(self) -> None:
        columns = [Column("token", lambda r: r, whole=True, style="bold"), Column("id", len)]
        token = "vault_token_" + "x" * 60
        assert terminal_block(columns, token, screen(40)) == f"token  {token}\nid     72\n"


def test_cells_can_not_steer_the_terminal_and_are_no_markup() -> None:
    purpose = "two\nlines\r[bold]x[/bold] :smile: \\[y]"
    hostile = [{"time": NOW, "name": "\x1b[2Jgone\u202e", "purpose": purpose, "id": "\x9b"}]
    for shown in (plain(hostile), *(drawn(width, hostile) for width in (200, 60, 40, 20))):
        assert "\\x1b[2Jgone\\u202e" in shown
        assert "two\\x0alines\\x0d[bold]x[/bold]:smile:\\[y]" in "".join(shown.split())
        assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(shown)


def test_wide_characters_take_two_cells() -> None:
    records = [{"time": NOW, "name": "金庫", "id": "x"}, {"time": NOW, "name": "abcd", "id": "x"}]
    for table in (plain(records), drawn(80, records)):
        first, second = table.splitlines()[-2:]
        assert cell_len(first) == cell_len(second)


@given(st.text(alphabet="ab-é金 ", max_size=60), st.integers(min_value=10, max_value=120))
def test_no_width_leaves_anything_out_or_is_exceeded(purpose: str, width: int) -> None:
    records = [*RECORDS, {"time": NOW, "name": "other", "purpose": purpose, "id": "x_5"}]
    table = drawn(width, records)
    assert all(cell_len(line) <= width for line in table.splitlines())
    letters = "".join(table.split())
    for record in records:
        assert record["id"] in letters
        assert record["name"] in letters
    assert all(word in letters for record in records for word in record.get("purpose", "").split())
