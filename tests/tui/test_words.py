"""How things are put into words and bars."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from vaultctl.domain.times import SECOND
from vaultctl.tui import words
from vaultctl.tui.trail import FIELDS, TrailFilter
from vaultctl.tui.widgets.entries import ENTRY_COLUMNS
from vaultctl.tui.widgets.leases import LEASE_COLUMNS
from vaultctl.tui.widgets.line_list import laid_out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m00s"), (3_599, "59m59s"), (3_600, "1h00m"), (86_400 * 12, "12d0h")],
)
def test_a_span_has_two_units_at_most(seconds: int, text: str) -> None:
    assert words.span(seconds * SECOND) == text


@given(part=st.integers(-10, 2_000), whole=st.integers(1, 1_000), width=st.integers(0, 40))
def test_a_bar_is_as_wide_as_asked_and_grows_with_what_is_left(part: int, whole: int, width: int) -> None:
    bar = words.bar(part, whole, width)
    assert cell_len(bar) == width
    assert bar.count("█") <= words.bar(part + 1, whole, width).count("█")
    if part >= whole:
        assert bar == "█" * width


@pytest.mark.parametrize(
    ("left", "ttl", "glyph"), [(900, 900, " "), (226, 900, " "), (224, 900, "!"), (59, 900, "‼"), (59, 60, " ")]
)
def test_what_is_about_to_end_has_a_glyph_not_only_a_colour(left: int, ttl: int, glyph: str) -> None:
    assert words.urgency(left * SECOND, ttl * SECOND)[0] == glyph


@given(text=st.text(max_size=30), width=st.integers(0, 20))
def test_a_text_is_fitted_to_the_cell(text: str, width: int) -> None:
    from vaultctl.domain.text import safe

    assert cell_len(words.fit(safe(text), width)) == width


def test_a_cut_id_keeps_what_tells_it_apart() -> None:
    first, second = (words.fit_id(f"cortex_sess_{end:>022}", 13) for end in ("abc", "abd"))
    assert first != second
    assert len(first) == len(second) == 13
    assert first.startswith("cortex")


def test_a_sparkline_tells_none_from_not_known() -> None:
    assert words.sparkline([None, 0, 1, 7], 6) == "   ▁▂█"
    assert words.sparkline([0, 0], 2) == "▁▁"


@pytest.mark.parametrize("columns", [LEASE_COLUMNS, ENTRY_COLUMNS])
@given(width=st.integers(70, 300))
def test_columns_fill_the_width_and_never_more(columns: object, width: int) -> None:
    laid = laid_out(columns, width)  # type: ignore[arg-type]
    assert sum(cells for _, cells in laid) + len(laid) - 1 <= width
    assert all(cells >= column.width for column, cells in laid)


def test_a_filter_of_the_log_knows_all_its_fields() -> None:
    from datetime import UTC, datetime

    values = {"event": "lease.created", "since": "2h", "until": "1h"}
    for name in FIELDS:
        parsed = TrailFilter.parse(f"{name}={values.get(name, 'agent')}", datetime.now(UTC))
        assert parsed.conditions
