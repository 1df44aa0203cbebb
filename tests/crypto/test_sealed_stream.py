"""A sealed file opens as it was written or not at all: not cut, lengthened, reordered, changed, nor mixed."""

import hashlib
import io
import os

import pytest

from vaultctl.crypto import passphrases
from vaultctl.crypto.sealed_stream import SealedReader, SealedWriter
from vaultctl.domain.errors import VerificationFailed
from vaultctl.domain.secrets import Secret

PASSPHRASE = Secret("correct horse battery")
CHUNK = 65_536
SEALED_CHUNK = CHUNK + 16


@pytest.fixture
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not about the key: one that costs nothing."""

    def derive(secret: Secret, salt: bytes, **_: int) -> bytes:
        return hashlib.sha256(salt + secret.reveal().encode()).digest()

    monkeypatch.setattr(passphrases, "derive", derive)


def sealed(content: bytes, *, pieces: int = 1_000_003, passphrase: Secret = PASSPHRASE) -> bytes:
    file = io.BytesIO()
    writer = SealedWriter(file, passphrase, os.urandom)
    for start in range(0, len(content), pieces):
        writer.write(content[start : start + pieces])
    writer.finish()
    return file.getvalue()


def opened(data: bytes, passphrase: Secret = PASSPHRASE) -> bytes:
    return b"".join(SealedReader(io.BytesIO(data), passphrase).chunks())


def parts_of(data: bytes, content: bytes) -> tuple[bytes, list[bytes]]:
    """The beginning, and the sealed chunks."""
    chunks = max(1, -(-len(content) // CHUNK))
    start = len(data) - len(content) - 16 * chunks
    body = data[start:]
    return data[:start], [body[i : i + SEALED_CHUNK] for i in range(0, len(body), SEALED_CHUNK)]


def test_the_real_derivation_opens_what_it_sealed_and_nothing_else_does() -> None:
    data = sealed(b"content")
    assert opened(data) == b"content"
    assert b"content" not in data
    assert sealed(b"content") != data
    with pytest.raises(VerificationFailed, match="passphrase of the backup is wrong"):
        opened(data, Secret("correct horse batterz"))


@pytest.mark.usefixtures("_cheap")
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17])
@pytest.mark.parametrize("pieces", [1_000_003, 9_973])
def test_what_was_written_comes_back_whatever_its_length_and_pieces(size: int, pieces: int) -> None:
    content = os.urandom(size)
    reader = SealedReader(io.BytesIO(sealed(content, pieces=pieces)), PASSPHRASE)
    assert b"".join(reader.chunks()) == content
    assert b"".join(reader.chunks()) == content  # and once more


@pytest.mark.usefixtures("_cheap")
@pytest.mark.parametrize("size", [2 * CHUNK, 2 * CHUNK + 100])
def test_a_file_that_was_cut_anywhere_does_not_open(size: int) -> None:
    content = os.urandom(size)
    data = sealed(content)
    beginning, chunks = parts_of(data, content)
    ends = [len(beginning) + SEALED_CHUNK * n + less for n in range(len(chunks)) for less in (0, 1, 16, 1_000)]
    for end in [*range(0, len(beginning), 7), *(end for end in ends if end < len(data)), len(data) - 1]:
        with pytest.raises(VerificationFailed):
            opened(data[:end])


@pytest.mark.usefixtures("_cheap")
def test_chunks_that_were_moved_repeated_dropped_or_added_do_not_open() -> None:
    content = os.urandom(3 * CHUNK)
    beginning, (first, second, third) = parts_of(sealed(content), content)
    _, others = parts_of(sealed(content), content)
    for chunks in (
        (second, first, third),
        (first, first, second, third),
        (first, third),
        (first, second),
        (first, second, third, third),
        (first, second, third, b"x"),
        (first, others[1], third),
        (),
    ):
        with pytest.raises(VerificationFailed):
            opened(beginning + b"".join(chunks))
    assert opened(beginning + first + second + third) == content


@pytest.mark.usefixtures("_cheap")
def test_a_file_with_any_byte_changed_does_not_open() -> None:
    content = b"some content that is short"
    data = sealed(content)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(VerificationFailed):
            opened(bytes(changed))


@pytest.mark.parametrize("data", [b"", b"x", b"vaultctl-backup-1\n", b"vaultctl-backup-1\n" + b"\xff" * 99])
def test_what_is_no_sealed_file_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(VerificationFailed, match="not a backup"):
        opened(data)


def test_a_header_whose_parameters_are_out_of_bounds_is_refused_before_anything_is_derived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = sealed(b"")
    monkeypatch.setattr(passphrases, "derive", lambda *_, **__: pytest.fail("derived"))
    with pytest.raises(VerificationFailed, match="damaged"):
        opened(data.replace(b'"passes":3', b'"passes":0'))
