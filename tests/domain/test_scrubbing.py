"""Secrets leave no stream, in whatever form they are written and however the stream is cut; the rest stays."""

import base64
import json
import re
import time
from collections.abc import Callable, Iterable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vaultctl.domain.disclosure import discloses
from vaultctl.domain.scrubbing import Scrubber

SECRETS = st.text(st.characters(codec="utf-8"), min_size=6, max_size=30).filter(lambda text: text == text.strip())
AROUND = st.text(st.sampled_from("xyz 019+/=%\\-_\n"), max_size=8).map(str.encode)
KEY = 'sk_live_51Hx+/?&="\\ ü☃𝄞'


def _mixed_case(data: bytes) -> bytes:
    return bytes(unit ^ 32 if i % 3 == 0 and chr(unit).isalpha() else unit for i, unit in enumerate(data))


def _every_character_in_json(text: str) -> str:
    units = text.encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))


def _partly_in_url(text: str) -> str:
    return "".join(quote(c, safe="") if i % 2 else f"%{ord(c):02x}" if c.isascii() else c for i, c in enumerate(text))


FORMS: dict[str, Callable[[str], bytes]] = {
    "raw": str.encode,
    "base64": lambda text: base64.b64encode(text.encode()),
    "base64 unpadded": lambda text: base64.b64encode(text.encode()).rstrip(b"="),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()),
    "hex": lambda text: text.encode().hex().encode(),
    "HEX": lambda text: text.encode().hex().upper().encode(),
    "hEx": lambda text: _mixed_case(text.encode().hex().encode()),
    "url": lambda text: quote(text, safe="").encode(),
    "url, path": lambda text: quote(text).encode(),
    "url, lower case": lambda text: re.sub("%..", lambda m: m[0].lower(), quote(text, safe="")).encode(),
    "url, every other": lambda text: _partly_in_url(text).encode(),
    "form": lambda text: quote_plus(text).encode(),
    "json": lambda text: json.dumps(text, ensure_ascii=False)[1:-1].encode(),
    "json, ascii": lambda text: json.dumps(text)[1:-1].encode(),
    "json, upper case": lambda text: re.sub(
        r"u[0-9a-f]{4}", lambda m: "u" + m[0][1:].upper(), json.dumps(text)
    ).encode(),
    "json, slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/").encode(),
    "json, every character": lambda text: _every_character_in_json(text).encode(),
    "base64 in a url": lambda text: quote(base64.b64encode(text.encode()), safe="").encode(),
    "base64 in json": lambda text: base64.b64encode(text.encode()).replace(b"/", b"\\/"),
}


def _in_pieces(scrubber: Scrubber, pieces: Iterable[bytes]) -> bytes:
    return b"".join([scrubber.feed(piece) for piece in pieces]) + scrubber.flush()


def _cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@settings(max_examples=400)
@given(form=st.sampled_from(list(FORMS)), secret=SECRETS, before=AROUND, after=AROUND)
def test_each_form_of_a_secret_is_found_anywhere(form: str, secret: str, before: bytes, after: bytes) -> None:
    # What stands before must not make an escape with it.
    scrubbed = Scrubber([secret]).scrub(before + b"~" + FORMS[form](secret) + b"~" + after)
    assert b"****" in scrubbed
    assert FORMS[form](secret) not in scrubbed
    assert not discloses(scrubbed.decode("utf-8", "replace"), [secret])


@pytest.mark.parametrize("form", FORMS)
def test_nothing_remains_of_a_whole_value(form: str) -> None:
    around = b'"' if form == "json, upper case" else b""
    assert Scrubber([KEY]).scrub(b"key: " + FORMS[form](KEY) + b"\n") == b"key: " + around + b"****" + around + b"\n"


@given(secret=SECRETS, before=st.binary(max_size=7), after=st.binary(max_size=7), url=st.booleans())
def test_base64_of_anything_around_a_secret_is_found(secret: str, before: bytes, after: bytes, url: bool) -> None:
    encode = base64.urlsafe_b64encode if url else base64.b64encode
    scrubbed = Scrubber([secret]).scrub(b"Basic " + encode(before + secret.encode() + after)).decode()
    assert "****" in scrubbed
    assert not discloses(scrubbed, [secret])


@given(st.sampled_from([32, 60, 64, 76]), st.sampled_from(["\n", "\r\n", "\n    ", " "]), st.integers(0, 100))
def test_wrapped_base64_and_hex_are_found(width: int, line_end: str, lead: int) -> None:
    data = b"." * lead + KEY.encode() + b"." * 40
    for code in (base64.b64encode(data).decode(), data.hex()):
        wrapped = line_end.join(code[i : i + width] for i in range(0, len(code), width))
        scrubbed = Scrubber([KEY]).scrub_text(f"data:\n{wrapped}\n")
        assert scrubbed.count("****") == 1
        assert len(scrubbed.replace(line_end, "")) < len(code) + 20 - len(KEY)


@given(
    st.lists(SECRETS | st.text("ab", min_size=4, max_size=9), max_size=3),
    st.lists(st.sampled_from(["ab", "a", "b", "%", "%6", "1", "\\", "\\u00", "61", "=", " ", "\n", "x"]), max_size=40),
    st.data(),
)
def test_however_the_stream_is_cut_the_output_is_the_same(
    secrets: list[str], noise: list[str], data: st.DataObject
) -> None:
    written = [form(secret) for secret in secrets for form in FORMS.values()]
    parts = data.draw(st.lists(st.sampled_from([*written, *(text.encode() for text in noise)] or [b""]), max_size=12))
    stream = b"".join(parts)
    whole = Scrubber(secrets).scrub(stream)
    places = data.draw(st.lists(st.integers(0, 10_000), max_size=20))
    scrubber = Scrubber(secrets)
    assert _in_pieces(scrubber, _cut(stream, places)) == whole
    assert _in_pieces(scrubber, (stream[i : i + 1] for i in range(len(stream)))) == whole


@given(st.lists(st.text("abcdef", min_size=6, max_size=9), max_size=4), st.binary(max_size=300), st.data())
def test_what_holds_no_secret_passes_byte_for_byte(secrets: list[str], clean: bytes, data: st.DataObject) -> None:
    assume(not discloses(clean.decode("latin-1"), secrets))
    places = data.draw(st.lists(st.integers(0, 300), max_size=9))
    assert _in_pieces(Scrubber(secrets), _cut(clean, places)) == clean


@given(st.text("abcdefuvw", min_size=6, max_size=20))
def test_only_what_may_become_a_secret_is_held_back(secret: str) -> None:
    scrubber = Scrubber([secret])
    assert scrubber.feed(b"It says: ") == b"It says: "
    half = secret[: len(secret) // 2].encode()
    assert scrubber.feed(half) == b""
    assert scrubber.feed(b"\xff") == half + b"\xff"


@pytest.mark.parametrize("prompt", ["Continue? [y/N] ", "$ ", ">>> ", "Password: ", "50% [====>   ]\r", "done.\n"])
def test_a_prompt_is_not_held_back(prompt: str) -> None:
    assert Scrubber(["sk_live_4eC39HqLyjWDarjtT1zdp7dc"]).feed(prompt.encode()) == prompt.encode()


def test_overlapping_secrets_become_one_mark_and_adjacent_ones_two() -> None:
    assert Scrubber(["abcabc"]).scrub(b"-abcabcabc-") == b"-****-"
    assert Scrubber(["abcd", "cdef", "bcde"]).scrub(b"-abcdef-") == b"-****-"
    assert Scrubber(["secret"]).scrub(b"secretsecret") == b"********"


def test_one_secret_within_another_does_not_show_the_rest() -> None:
    assert Scrubber(["hunter22", "postgres://app:hunter22@db/x"]).scrub(b"<postgres://app:hunter22@db/x>") == b"<****>"
    assert Scrubber(["hunter22", "postgres://app:hunter22@db/x"]).scrub(b"<postgres://app:hunter22@db/y>") == (
        b"<postgres://app:****@db/y>"
    )


def test_lines_of_a_secret_end_as_the_terminal_ends_them() -> None:
    key = "-----BEGIN KEY-----\nAAAA\nBBBB\n-----END KEY-----\n"
    assert Scrubber([key]).scrub(key.replace("\n", "\r\n").encode()) == b"****\r\n"


def test_a_text_of_less_than_four_characters_is_left_alone() -> None:
    assert Scrubber(["", " ", "abc", "   abc  "]).scrub(b"abc   abc  ") == b"abc   abc  "
    assert Scrubber(["abcd"]).scrub(b"abcd YWJjZA== 61626364") == b"**** YWJjZA== 61626364"


def test_text_that_is_scrubbed_keeps_its_characters() -> None:
    assert Scrubber(["geheim☃"]).scrub_text("ü geheim☃ \ud800 \\ud83d\\ude00") == "ü **** \ud800 \\ud83d\\ude00"


def test_a_scrubber_does_not_show_its_secrets() -> None:
    scrubber = Scrubber(["hunter22"])
    scrubber.feed(b"hunt")
    assert "hunt" not in repr(scrubber)


@pytest.mark.parametrize("piece", [b"a", b"a" * 499 + b"b", b"%61", b"61", b"YWFh", b"%", b"\\u0061", b"a\n"])
def test_time_does_not_grow_with_how_much_of_a_secret_seems_to_come(piece: bytes) -> None:
    stream = piece * (6000 // len(piece))

    def seconds(length: int) -> float:
        scrubber = Scrubber(["a" * length, "b" + "a" * length + "b"])
        begun = time.process_time()
        _in_pieces(scrubber, (stream[i : i + 50] for i in range(0, len(stream), 50)))
        return time.process_time() - begun

    assert min(seconds(4000) for _ in range(3)) < 6 * min(seconds(100) for _ in range(3)) + 0.02


def test_no_more_is_held_back_than_a_secret_is_long() -> None:
    scrubber = Scrubber(["a" * 1000])
    most = b"\\u0061" * 999
    assert scrubber.feed(most) == b""
    assert scrubber.feed(b"b" + most) == most + b"b"
    assert scrubber.feed(most + most).startswith(b"****")
    assert len(scrubber.flush()) < len(most)
