"""Server-sent events, however the bytes come in."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.client.remote.event_stream import LONGEST, Event, EventStream, TooLong


def read(*chunks: bytes) -> tuple[list[Event], EventStream]:
    stream = EventStream()
    return [event for chunk in chunks for event in stream.feed(chunk)], stream


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_end_of_line_counts(end: bytes) -> None:
    events, stream = read(end.join([b"id: 7", b"event: entry", b"data: one", b"data: two", b"", b""]))
    assert events == [Event("entry", "one\ntwo")]
    assert stream.last_id == "7"


def test_comments_and_unknown_fields_are_skipped() -> None:
    events, _ = read(b": hello\nwhatever: x\ndata\ndata:  two\n\n")
    assert events == [Event("message", "\n two")]


def test_an_id_without_data_is_kept_and_makes_no_event() -> None:
    events, stream = read(b"id: 41\n\nevent: entry\n\n")
    assert events == []
    assert stream.last_id == "41"


def test_an_id_counts_from_the_end_of_its_event_on() -> None:
    _, stream = read(b"id: 1\ndata: x\n\nid: 2\ndata: y\n")
    assert stream.last_id == "1"


def test_an_id_with_a_nul_and_a_retry_that_is_no_number_are_ignored() -> None:
    _, stream = read("id: 1\n\nid: 2\0\nretry: soon\nretry: ²\n\n".encode())
    assert (stream.last_id, stream.retry_ms) == ("1", None)
    list(stream.feed(b"retry: 1500\n\n"))
    assert stream.retry_ms == 1500


def test_an_event_without_its_end_is_no_event() -> None:
    assert read(b"data: x\n")[0] == []


def test_a_byte_order_mark_is_skipped_once() -> None:
    assert read(b"\xef", b"\xbb", b"\xbfdata: x\n\n")[0] == [Event("message", "x")]
    assert read(b"\n\xef\xbb\xbfdata: x\n\n")[0] == []


def test_what_is_not_utf_8_does_not_stop_it() -> None:
    assert read(b"data: \xff\n\n")[0] == [Event("message", "\ufffd")]


def test_an_event_without_end_is_given_up() -> None:
    with pytest.raises(TooLong):
        read(*[b"x" * 65_536] * (LONGEST // 65_536 + 1))
    with pytest.raises(TooLong):
        read(*[b"data: x\n" * 8_192] * (LONGEST // 57_344 + 1))


LINE = st.text(alphabet="ab:\u00e4 ", max_size=6)
FIELDS = st.lists(
    st.one_of(
        st.tuples(st.just("data"), LINE),
        st.tuples(st.just("event"), LINE),
        st.tuples(st.just("id"), LINE),
        st.tuples(st.just(""), LINE),
    ),
    max_size=5,
)


@given(
    st.lists(FIELDS, max_size=5),
    st.lists(st.sampled_from(["\n", "\r", "\r\n"]), min_size=1),
    st.lists(st.integers(0, 500)),
    st.booleans(),
)
def test_chunks_do_not_matter(
    blocks: list[list[tuple[str, str]]], ends: list[str], cuts: list[int], mark: bool
) -> None:
    lines = [f"{name}: {value}" for fields in blocks for name, value in [*fields, ("", "end of block")]]
    lines = ["" if line == ": end of block" else line for line in lines]
    data = "".join(line + ends[index % len(ends)] for index, line in enumerate(lines)).encode()
    # A CR before an empty line that ends in LF would be one end of line instead of two.
    whole = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    events, stream = read(*in_pieces((b"\xef\xbb\xbf" if mark else b"") + data, cuts))
    expected, reference = read(whole)
    assert events == expected
    assert stream.last_id == reference.last_id


@given(st.lists(st.tuples(st.text(alphabet="abc", min_size=1), st.text(max_size=20))), st.lists(st.integers(0, 500)))
def test_what_was_written_is_read(written: list[tuple[str, str]], cuts: list[int]) -> None:
    sent = [Event(type, data.replace("\r", "")) for type, data in written]
    data = "".join(
        f"event: {event.type}\n" + "".join(f"data: {line}\n" for line in event.data.split("\n")) + "\n"
        for event in sent
    ).encode("utf-8", "replace")
    expected = [Event(e.type, e.data.encode("utf-8", "replace").decode()) for e in sent]
    assert read(*in_pieces(data, cuts))[0] == expected
