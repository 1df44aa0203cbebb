"""Authentication codes over rows: any change changes them, and no two rows are the same to them."""

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.crypto.authenticity import row_mac, same

KEY = bytes(range(32))
VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=("Cs",))) | st.binary()
ROWS = st.lists(VALUES, max_size=6)


@given(ROWS, ROWS)
def test_different_rows_have_different_codes(one: list[Any], other: list[Any]) -> None:
    assert same(row_mac(KEY, "t", one), row_mac(KEY, "t", other)) == (one == other)


@given(ROWS, ROWS)
def test_the_table_counts(one: list[Any], other: list[Any]) -> None:
    assert not same(row_mac(KEY, "tokens", one), row_mac(KEY, "sessions", other))


@given(ROWS)
def test_the_key_counts(row: list[Any]) -> None:
    assert not same(row_mac(KEY, "t", row), row_mac(os.urandom(32), "t", row))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        (["", "a"], ["a", ""]),
        ([None], [""]),
        ([0], [None]),
        ([1], ["1"]),
        (["a"], [b"a"]),
        ([""], [b""]),
        ([], [None]),
        (["a", None], ["a"]),
    ],
)
def test_what_could_be_taken_for_each_other_is_not(one: list[Any], other: list[Any]) -> None:
    assert row_mac(KEY, "t", one) != row_mac(KEY, "t", other)


@given(ROWS, st.integers(0, 31), st.integers(1, 255))
def test_a_code_with_any_byte_changed_is_another(row: list[Any], place: int, change: int) -> None:
    code = row_mac(KEY, "t", row)
    changed = bytearray(code)
    changed[place] ^= change
    assert not same(bytes(changed), code)


@pytest.mark.parametrize("code", [b"", b"\0", "text", "ü", 5, 5.5, None], ids=repr)
def test_what_is_no_code_is_not_the_same_as_one(code: Any) -> None:
    """SQLite keeps values of any type in any column; a writer to the database chooses it."""
    assert not same(code, row_mac(KEY, "t", []))
