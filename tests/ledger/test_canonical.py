"""Canonical JSON: one form for one entry, as RFC 8785 has it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.domain.errors import InternalError
from vaultctl.ledger.canonical import canonical_json

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def turned_round(value: Any) -> Any:
    """The same value with the members of its objects put in in the other order."""
    match value:
        case dict():
            return {key: turned_round(value[key]) for key in reversed(value)}
        case list():
            return [turned_round(item) for item in value]
    return value


@given(VALUES)
def test_what_is_written_reads_as_what_it_was(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(VALUES)
def test_the_order_in_which_members_were_put_in_does_not_matter(value: Any) -> None:
    assert canonical_json(value) == canonical_json(turned_round(value))


@given(VALUES)
def test_it_is_its_own_canonical_form(value: Any) -> None:
    once = canonical_json(value)
    assert canonical_json(json.loads(once)) == once


@given(st.dictionaries(TEXT, INTEGERS, min_size=2))
def test_members_are_in_the_order_of_their_utf_16_code_units(value: dict[str, int]) -> None:
    written = list(json.loads(canonical_json(value)))
    assert written == sorted(value, key=lambda key: key.encode("utf-16-be"))


def test_members_are_sorted_as_in_the_example_of_rfc_8785_section_3_2_3() -> None:
    example = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    assert list(json.loads(canonical_json(example)).values()) == [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ]


def test_text_is_escaped_as_rfc_8785_section_3_2_2_2_says() -> None:
    text = '€$\u000f\nA\'B"\\\\"/\b\f\r\t\u007f\u2028'
    escaped = '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\\b\\f\\r\\t\u007f\u2028"'
    assert canonical_json(text) == escaped.encode()


def test_there_is_no_space_between_anything() -> None:
    assert canonical_json({"b": [1, True, None], "a": {}}) == b'{"a":{},"b":[1,true,null]}'


@pytest.mark.parametrize("value", [1.0, float("nan"), 2**53, -(2**53), b"bytes", {1, 2}, object(), {5: 1}])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"key": v}])
def test_what_has_no_canonical_form_is_refused(value: Any, wrap: Any) -> None:
    with pytest.raises(InternalError):
        canonical_json(wrap(value))


@pytest.mark.parametrize("value", ["\ud800", ["a\udfff"], {"\ud800": 1}])
def test_a_lone_surrogate_is_refused_without_being_quoted(value: Any) -> None:
    with pytest.raises(InternalError, match="surrogate"):
        canonical_json(value)
