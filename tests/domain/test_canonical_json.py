"""Canonical JSON (RFC 8785, without floats): one form for each value."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.domain.errors import InternalError
from vaultctl.ledger.canonical import canonical_json
from vaultctl.ledger.entry import MAX_ENTRY_BYTES, columns_of, entry_bytes

SAFE = st.integers(-(2**53) + 1, 2**53 - 1)
TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | SAFE | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def test_the_sorting_example_of_rfc_8785() -> None:
    # Section 3.2.3: by UTF-16 code units, so that the emoji comes before the Hebrew presentation form.
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


def test_the_strings_and_literals_of_rfc_8785() -> None:
    # Section 3.2.2, without its floats: the shortest escapes, lower-case hex, and nothing else escaped.
    example = {"string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f", "literals": [None, True, False]}
    expected = '{"literals":[null,true,false],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    assert canonical_json(example) == expected.encode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, b"{}"),
        ([], b"[]"),
        ((), b"[]"),
        ({"b": 1, "a": [1, -1, 0]}, b'{"a":[1,-1,0],"b":1}'),
        ({"a": {"z": None, "b": {}}}, b'{"a":{"b":{},"z":null}}'),
        (2**53 - 1, b"9007199254740991"),
        (-(2**53) + 1, b"-9007199254740991"),
        ("\u2028\x7f\u0080", '"\u2028\x7f\u0080"'.encode()),
        ("\b\f\n\r\t\x00\x1f", b'"\\b\\f\\n\\r\\t\\u0000\\u001f"'),
        (True, b"true"),
    ],
)
def test_a_value_has_this_one_form(value: Any, expected: bytes) -> None:
    assert canonical_json(value) == expected


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), 2**53, -(2**53), {"a": [0.5]}, {1, 2}, b"x", "\ud800", {"\ud800": 1}, {1: "a"}, object()],
)
def test_what_has_no_canonical_form_is_a_defect_of_ours(value: Any) -> None:
    with pytest.raises(InternalError):
        canonical_json(value)


@given(VALUES)
def test_it_reads_back_and_writing_again_changes_nothing(value: Any) -> None:
    data = canonical_json(value)
    assert json.loads(data) == value
    assert canonical_json(json.loads(data)) == data


@given(st.dictionaries(TEXT, SAFE, min_size=2), st.randoms(use_true_random=False))
def test_the_order_in_which_a_dictionary_was_made_does_not_matter(value: dict[str, int], random: Any) -> None:
    items = list(value.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(value)


def test_an_entry_of_65535_bytes_is_the_largest() -> None:
    frame = len(canonical_json({"a": ""}))
    assert len(entry_bytes({"a": "x" * (MAX_ENTRY_BYTES - frame)})) == 65_535
    with pytest.raises(InternalError):
        entry_bytes({"a": "x" * (MAX_ENTRY_BYTES - frame + 1)})


@pytest.mark.parametrize(
    ("identity", "details", "agent", "session"),
    [
        ({"type": "agent", "name": "ours", "sessionId": "s1"}, {}, "ours", "s1"),
        ({"type": "human", "userId": "u"}, {"agent": "ours", "sessionId": "s1"}, "ours", "s1"),
        ({"type": "agent", "name": "ours"}, {"sessionId": "s1"}, "ours", "s1"),
        ({"type": "human", "userId": "u"}, {}, None, None),
        ({"type": "human", "userId": "u"}, {"claimed": {"agent": "ours", "sessionId": "s1"}}, None, None),
    ],
)
def test_an_entry_belongs_to_the_trail_of_who_acted_or_was_acted_upon(
    identity: dict[str, str], details: dict[str, Any], agent: str | None, session: str | None
) -> None:
    columns = columns_of({"event": "lease.revoked", "identity": identity, "details": details, "leaseId": "l1"})
    assert (columns.agent, columns.session_id) == (agent, session)
    assert (columns.event, columns.lease_id, columns.credential_name) == ("lease.revoked", "l1", None)
