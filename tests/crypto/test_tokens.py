"""The secrets of tokens: recognisable, checkable without the vault, never printed."""

import hashlib
import os
import re
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.crypto.tokens import PREFIX, hash_of, new_token_secret, token_hash
from vaultctl.domain.errors import NotAuthenticated
from vaultctl.domain.secrets import Secret

DIGITS = string.digits + string.ascii_letters
RANDOM_32 = st.binary(min_size=32, max_size=32)


def made_of(data: bytes) -> Secret:
    return new_token_secret(lambda count: data[:count])


def refusal_of(text: str) -> NotAuthenticated:
    with pytest.raises(NotAuthenticated) as refused:
        token_hash(Secret(text))
    return refused.value


@given(RANDOM_32)
def test_a_token_has_the_shape_that_secret_scanners_look_for(data: bytes) -> None:
    assert re.fullmatch(r"vault_token_[0-9A-Za-z]{43}[0-9A-Za-z]{6}", made_of(data).reveal())


@pytest.mark.parametrize("data", [b"\0" * 32, b"\xff" * 32])
def test_the_smallest_and_the_largest_number_have_the_same_length(data: bytes) -> None:
    assert len(made_of(data).reveal()) == 61
    assert token_hash(made_of(data))


@given(RANDOM_32, RANDOM_32)
def test_different_random_bytes_make_different_tokens(one: bytes, other: bytes) -> None:
    assert (made_of(one) == made_of(other)) == (one == other)


def test_all_random_bits_are_used() -> None:
    asked: list[int] = []

    def random(count: int) -> bytes:
        asked.append(count)
        return os.urandom(count)

    new_token_secret(random)
    assert asked == [32]


@given(RANDOM_32)
def test_the_vault_knows_a_token_by_its_sha_256(data: bytes) -> None:
    secret = made_of(data)
    assert token_hash(secret) == hash_of(secret) == hashlib.sha256(secret.reveal().encode()).digest()


@given(RANDOM_32, st.integers(0, 48), st.sampled_from(DIGITS))
def test_any_single_character_that_is_mistyped_is_noticed(data: bytes, place: int, typed: str) -> None:
    right = made_of(data).reveal()
    place += len(PREFIX)
    wrong = right[:place] + typed + right[place + 1 :]
    if wrong == right:
        return
    refusal = refusal_of(wrong)
    assert "mistyped" in refusal.message
    assert wrong not in refusal.message + refusal.hint


@given(RANDOM_32, st.integers(len(PREFIX), 59))
def test_two_neighbours_that_changed_places_are_noticed(data: bytes, place: int) -> None:
    right = made_of(data).reveal()
    wrong = right[:place] + right[place + 1] + right[place] + right[place + 2 :]
    if wrong != right:
        assert "mistyped" in refusal_of(wrong).message


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: "",
        lambda t: t[:-1],
        lambda t: t + "0",
        lambda t: t + "\n",
        lambda t: " " + t,
        lambda t: t.upper(),
        lambda t: t.removeprefix("vault_"),
        lambda t: t.replace("vault_token_", "vault_tokex_"),
        lambda t: t[:20] + "\u0660" + t[21:],  # a digit, but not an ASCII one
        lambda t: t[:20] + "\0" + t[21:],
        lambda t: t[:20] + "\ud800" + t[21:],
        lambda t: t * 10_000,
    ],
)
def test_what_is_no_token_is_refused_without_being_quoted(spoil: Callable[[str], str]) -> None:
    text = spoil(made_of(os.urandom(32)).reveal())
    refusal = refusal_of(text)
    assert text[12:40] == "" or text[12:40] not in refusal.message + refusal.hint
    assert refusal.hint


def test_a_token_is_never_printed() -> None:
    secret = new_token_secret(os.urandom)
    body = secret.reveal()[len(PREFIX) :]
    for text in (repr(secret), str(secret), f"{secret}", f"{secret:>20}", repr([secret]), "%s" % secret):  # noqa: UP031
        assert body not in text
        assert "****" in text
