"""Does a text disclose a secret, in whatever form a model or a tool would write it without malice?"""

import base64
import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vaultctl.domain.disclosure import discloses

SECRETS = st.text(st.characters(codec="utf-8"), min_size=6, max_size=40)
BYTES = st.binary(max_size=10)


@given(SECRETS, st.text(max_size=10), st.text(max_size=10))
def test_a_secret_is_found_anywhere_in_a_text(secret: str, before: str, after: str) -> None:
    assert discloses(before + secret + after, [secret])


@given(SECRETS, BYTES, BYTES)
def test_base64_of_anything_around_it_is_found(secret: str, before: bytes, after: bytes) -> None:
    data = before + secret.encode() + after
    for encoded in (base64.b64encode(data), base64.urlsafe_b64encode(data)):
        assert discloses(f"Authorization: Basic {encoded.decode()}", [secret])
        assert discloses(encoded.decode().rstrip("="), [secret])


@given(SECRETS, BYTES, BYTES)
def test_hex_of_anything_around_it_is_found(secret: str, before: bytes, after: bytes) -> None:
    encoded = (before + secret.encode() + after).hex()
    assert discloses(f"0x{encoded}", [secret])
    assert discloses(encoded.upper(), [secret])


@given(SECRETS)
@pytest.mark.parametrize("safe", ["", "/", "!'()*~", ":/?#[]@!$&'()*+,;="])
def test_url_encoding_is_found_whatever_is_left_as_it_is(safe: str, secret: str) -> None:
    assert discloses(f"https://host/?key={quote(secret, safe=safe)}&x=1", [secret])


@given(SECRETS)
def test_url_encoding_of_a_form_is_found(secret: str) -> None:
    assert discloses(f"key={quote_plus(secret)}&x=1", [secret])


@given(SECRETS)
def test_url_encoding_in_lower_case_is_found(secret: str) -> None:
    encoded = re.sub("%[0-9A-F]{2}", lambda match: match[0].lower(), quote(secret, safe=""))
    assert discloses(encoded, [secret])


@given(SECRETS)
@pytest.mark.parametrize("ascii", [True, False])
def test_json_is_found_with_and_without_escaped_letters(ascii: bool, secret: str) -> None:
    assert discloses(json.dumps({"key": secret}, ensure_ascii=ascii), [secret])


@given(st.text("abc", min_size=8, max_size=8), st.text("xyz ", max_size=60))
def test_a_text_of_other_letters_discloses_nothing(secret: str, text: str) -> None:
    assert not discloses(text, [secret])


@given(SECRETS, SECRETS)
def test_any_of_several_secrets_counts(one: str, other: str) -> None:
    assert discloses(f"x{other}y", [one, other])


def test_no_secret_is_disclosed_where_there_is_none() -> None:
    assert not discloses("Deploying v2.1.0 to production", [])
    assert not discloses("", ["something"])


@given(SECRETS)
def test_nothing_is_found_everywhere(secret: str) -> None:
    assume(len(secret.strip()) > 3)
    assert not discloses("Deploying v2.1.0 to production", [f"{secret}\u2603"])


@pytest.mark.parametrize("secret", ["ab", "abcde"])
def test_a_short_secret_is_looked_for_as_it_is(secret: str) -> None:
    assert discloses(f"x{secret}y", [secret])
    assert not discloses(f"x{secret[:-1]}y", [secret])
