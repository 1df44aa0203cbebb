"""Free text that is kept, and text that is made safe to show."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.text import check_claims, check_free_text, check_metadata, safe, safe_csv

C0_AND_C1 = [chr(point) for point in (*range(0x20), 0x7F, *range(0x80, 0xA0))]
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
ZERO_WIDTH = list("\u00ad\u180e\u200b\u200c\u200d\u2060\u2061\u2062\u2063\u2064\ufeff")
SEPARATORS = ["\u2028", "\u2029"]
UNSAFE = [*C0_AND_C1, *BIDI, *ZERO_WIDTH, *SEPARATORS, "\ud800", "\U000e0041"]
ORDINARY = "Déploiement → 生产 (100 %), “vite” 🚀 [red]<b>\\x1b a=1"


@pytest.mark.parametrize("character", UNSAFE, ids=lambda c: f"U+{ord(c):04X}")
def test_what_moves_hides_or_reorders_text_is_escaped(character: str) -> None:
    shown = safe(f"a{character}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    assert f"{ord(character):x}" in shown


def test_ordinary_text_of_any_script_is_shown_as_it_is() -> None:
    assert safe(ORDINARY) == ORDINARY


@given(st.text())
def test_nothing_that_is_shown_is_unsafe_and_safe_text_stays(text: str) -> None:
    shown = safe(text)
    assert not set(shown) & set(UNSAFE)
    assert all(unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in shown)
    assert safe(shown) == shown


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x")'])
def test_a_formula_is_quoted_in_csv(text: str) -> None:
    assert safe_csv(text) == f"'{text}"


@given(st.text())
def test_no_cell_of_csv_starts_like_a_formula(text: str) -> None:
    assert safe_csv(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")


def test_other_cells_of_csv_stay() -> None:
    assert safe_csv("a=1") == "a=1"
    assert safe_csv("") == ""


@given(st.text(max_size=500))
def test_free_text_is_itself_or_refused(text: str) -> None:
    unwanted = any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)
    if unwanted:
        with pytest.raises(InvalidInput):
            check_free_text(text, "purpose")
    else:
        assert check_free_text(text, "purpose") == text


def test_free_text_has_at_most_500_characters() -> None:
    assert check_free_text("é" * 500, "purpose")
    with pytest.raises(InvalidInput, match="purpose"):
        check_free_text("é" * 501, "purpose")


@pytest.mark.parametrize("check", [check_metadata, check_claims])
def test_keys_are_names_and_values_free_text(check: object) -> None:
    assert callable(check)
    good = {"team": "shop", "Owner.e-mail_2": "", "x" * 64: "é"}
    assert check(good) == good
    for bad in ({"": "x"}, {"1a": "x"}, {"a b": "x"}, {"x" * 65: "x"}, {"é": "x"}, {"a": "x\ny"}, {"a": "x" * 501}):
        with pytest.raises(InvalidInput) as raised:
            check(bad)
        assert all(len(value) < 3 or value not in str(raised.value) for value in bad.values())


def test_there_are_at_most_32_metadata_and_8_claims() -> None:
    assert check_metadata({f"k{i}": "x" for i in range(32)})
    assert check_claims({f"k{i}": "x" for i in range(8)})
    with pytest.raises(InvalidInput):
        check_metadata({f"k{i}": "x" for i in range(33)})
    with pytest.raises(InvalidInput):
        check_claims({f"k{i}": "x" for i in range(9)})


def test_what_is_checked_is_a_copy() -> None:
    given_by_caller = {"team": "shop"}
    checked = check_metadata(given_by_caller)
    given_by_caller["team"] = "other"
    assert checked == {"team": "shop"}
