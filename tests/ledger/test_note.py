"""Signed notes and checkpoints, against the example of Go's ``sumdb/note`` and the specifications' own words."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.domain.errors import InvalidInput, VerificationFailed
from vaultctl.ledger.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from vaultctl.ledger.merkle import EMPTY_ROOT, leaf_hash
from vaultctl.ledger.note import SigningKey, open_note, parse_note, parse_verifier_key, sign_note

EXAMPLE = json.loads((Path(__file__).parent / "vectors" / "signed-note.json").read_text())
NOTE: bytes = EXAMPLE["note"].encode()
PETER, ENOCH = (parse_verifier_key(key) for key in EXAMPLE["verifierKeys"])

OURS = SigningKey("vaultctl/vault_1/my-org", bytes(range(32)))
OTHER = SigningKey("vaultctl/vault_1/other", bytes(range(1, 33)))


@pytest.mark.parametrize("keys", [[PETER], [ENOCH], [PETER, ENOCH]], ids=["one", "the other", "both"])
def test_the_example_verifies_with_either_key(keys: list[object]) -> None:
    assert open_note(NOTE, keys) == EXAMPLE["text"]  # type: ignore[arg-type]


def test_a_key_is_written_as_it_was_read() -> None:
    assert [str(PETER), str(ENOCH)] == EXAMPLE["verifierKeys"]


def test_a_note_is_written_as_it_was_read() -> None:
    assert parse_note(NOTE).encode() == NOTE
    assert [signature.key_id for signature in parse_note(NOTE).signatures] == [PETER.id, ENOCH.id]


def test_a_note_that_only_unknown_keys_signed_does_not_count() -> None:
    with pytest.raises(VerificationFailed, match="No key"):
        open_note(NOTE, [OURS.verifier])
    with pytest.raises(VerificationFailed, match="No key"):
        open_note(NOTE, [])


def test_a_wrong_signature_of_a_known_key_spoils_the_note_even_beside_a_right_one() -> None:
    note = NOTE.replace(b"x08go/ZJ", b"x08go/ZK")
    with pytest.raises(VerificationFailed, match="PeterNeumann"):
        open_note(note, [PETER, ENOCH])
    assert open_note(note, [ENOCH]) == EXAMPLE["text"]


def test_of_a_repeated_signature_the_first_counts() -> None:
    note = parse_note(NOTE)
    wrong = note.signatures[0]._replace(signature=bytes(64))
    assert open_note(note._replace(signatures=(*note.signatures, wrong)).encode(), [PETER]) == note.text


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_no_byte_of_a_signed_text_can_be_changed(at: int, difference: int) -> None:
    changed = NOTE[:at] + bytes([NOTE[at] ^ difference]) + NOTE[at + 1 :]
    try:
        text = open_note(changed, [ENOCH])
    except VerificationFailed:
        return
    assert text == EXAMPLE["text"]  # what was changed is a signature that is not looked at


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\n\n",
        "text\n— a AAAAAAA=\n".encode(),
        "text\n\n— a AAAAAAA=".encode(),
        "text\n\n— a AAAAAA==\n".encode(),  # four bytes, no signature
        "text\n\n— a AAAAAAB=\n".encode(),  # another spelling of the same bytes
        "text\n\n— a  AAAAAAA=\n".encode(),
        "text\n\n— a+b AAAAAAA=\n".encode(),
        b"text\n\n- a AAAAAAA=\n",
        "text\n\n— a AAAAAAA=\nmore\n".encode(),
        "te\txt\n\n— a AAAAAAA=\n".encode(),
        "te\rxt\n\n— a AAAAAAA=\n".encode(),
        b"te\xffxt\n\n\xe2\x80\x94 a AAAAAAA=\n",
        ("text\n\n" + "— a AAAAAAA=\n" * 101).encode(),
        b"x" * 1_000_000 + NOTE,
    ],
)
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(VerificationFailed):
        parse_note(note)


def test_a_text_may_hold_empty_lines_and_what_looks_like_a_signature() -> None:
    text = "a\n\n— b AAAAAAA=\n\nc\n"
    assert open_note(sign_note(text, OURS, OTHER), [OTHER.verifier]) == text


@pytest.mark.parametrize("text", ["", "a", "a\0\n", "a\r\n"])
def test_what_no_note_can_hold_is_not_signed(text: str) -> None:
    with pytest.raises(ValueError):
        sign_note(text, OURS)


def test_a_key_does_not_print_its_secret() -> None:
    assert repr(OURS) == "SigningKey(name='vaultctl/vault_1/my-org', seed=****)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeuman+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq",
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_verifier_key(text)


CHECKPOINT = Checkpoint(OURS.name, 20_852_163, leaf_hash(b"root"))


def test_a_checkpoint_is_a_note_of_origin_size_and_root() -> None:
    note = sign_checkpoint(CHECKPOINT, OURS)
    assert note.decode().split("\n")[:2] == ["vaultctl/vault_1/my-org", "20852163"]
    assert open_checkpoint(note, OURS.verifier) == CHECKPOINT


def test_the_specifications_example_is_a_checkpoint() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    found = parse_checkpoint(text)
    assert (found.origin, found.size, found.extensions) == ("example.com/behind-the-sofa", 20_852_163, ())
    assert parse_checkpoint(text + "more\n").extensions == ("more",)


def test_an_empty_log_has_a_checkpoint() -> None:
    empty = Checkpoint(OURS.name, 0, EMPTY_ROOT)
    assert open_checkpoint(sign_checkpoint(empty, OURS), OURS.verifier) == empty


def test_another_logs_checkpoint_is_none_of_this_one_whoever_signed_it() -> None:
    with pytest.raises(VerificationFailed, match="other"):
        open_checkpoint(sign_checkpoint(CHECKPOINT._replace(origin=OTHER.name), OURS), OURS.verifier)
    with pytest.raises(VerificationFailed, match="No key"):
        open_checkpoint(sign_checkpoint(CHECKPOINT, OTHER), OURS.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        "a\n1\n" + "A" * 43 + "=",
        "a\n01\n" + "A" * 43 + "=\n",
        "a\n-1\n" + "A" * 43 + "=\n",
        "a\n1\n" + "A" * 43 + "\n",
        "a\n1\n" + "A" * 42 + "B=\n",
        "a\n1\nAAAA\n",
        "\n1\n" + "A" * 43 + "=\n",
        "a\n1\n" + "A" * 43 + "=\n\n",
        "a\n99999999999999999999\n" + "A" * 43 + "=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(VerificationFailed):
        parse_checkpoint(text)
