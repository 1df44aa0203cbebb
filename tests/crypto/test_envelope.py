"""Envelope encryption: what was sealed opens unchanged, in its own place only, and nothing else opens at all."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.crypto import envelope
from vaultctl.crypto.envelope import KEY_BYTES, Binding, Key, seal, unseal
from vaultctl.domain.errors import VerificationFailed

KEY = Key("kek/my-org", 3, bytes(range(32)))
BINDING = Binding("data key", "my-org", "cred_1", 7)
SECRET = b"canary-0123456789"

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "aes_gcm_test.json"


def the_key(_id: str, _version: int) -> Key:
    return KEY


def sealed(plaintext: bytes = SECRET, binding: Binding = BINDING, key: Key = KEY) -> bytes:
    return seal(key, binding, plaintext, os.urandom)


@given(st.binary(max_size=300), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.integers(0, 2**63))
def test_what_was_sealed_opens_unchanged(plaintext: bytes, purpose: str, tenant: str, id: str, version: int) -> None:
    try:
        binding = Binding(purpose, tenant, id, version)
        "".join(binding[:3]).encode()
    except UnicodeEncodeError:
        return
    assert unseal(the_key, binding, seal(KEY, binding, plaintext, os.urandom)) == plaintext


def test_the_key_is_asked_for_by_the_name_and_version_in_the_blob() -> None:
    asked = []

    def lookup(id: str, version: int) -> Key:
        asked.append((id, version))
        return KEY

    unseal(lookup, BINDING, sealed())
    assert asked == [("kek/my-org", 3)]


@pytest.mark.parametrize(
    "other",
    [
        BINDING._replace(purpose="credential value"),
        BINDING._replace(tenant="other"),
        BINDING._replace(id="cred_2"),
        BINDING._replace(version=8),
        # The parts are delimited: what moves from one into the next is another binding.
        Binding("data keymy-org", "", "cred_1", 7),
        Binding("data key", "my-orgcred_1", "", 7),
        Binding("data key", "my-or", "gcred_1", 7),
    ],
)
def test_it_opens_for_what_it_was_sealed_for_and_for_nothing_else(other: Binding) -> None:
    with pytest.raises(VerificationFailed):
        unseal(the_key, other, sealed())


@given(st.integers(0), st.integers(1, 255))
def test_with_any_byte_changed_it_does_not_open(place: int, change: int) -> None:
    blob = bytearray(sealed())
    blob[place % len(blob)] ^= change
    with pytest.raises(VerificationFailed):
        unseal(the_key, BINDING, bytes(blob))


@given(st.integers(0))
def test_cut_short_it_does_not_open(length: int) -> None:
    blob = sealed()
    with pytest.raises(VerificationFailed):
        unseal(the_key, BINDING, blob[: length % len(blob)])


@given(st.binary(max_size=120))
def test_no_bytes_at_all_give_anything_but_a_failed_verification(blob: bytes) -> None:
    for candidate in (blob, b"\x01" + blob, b"\x01\x02ab" + blob, sealed() + blob + b"\0"):
        with pytest.raises(VerificationFailed):
            unseal(the_key, BINDING, candidate)


@pytest.mark.parametrize("blob", [5, 5.0, "text", "\x01", "", None, [1, 2]], ids=repr)
def test_what_is_no_bytes_fails_to_verify_like_all_that_the_vault_did_not_write(blob: Any) -> None:
    """SQLite keeps values of any type in any column; a writer to the database chooses it."""
    with pytest.raises(VerificationFailed):
        unseal(the_key, BINDING, blob)


def test_another_key_of_the_same_name_does_not_open_it() -> None:
    with pytest.raises(VerificationFailed):
        unseal(lambda name, version: Key(name, version, os.urandom(32)), BINDING, sealed())


def test_the_key_that_the_blob_names_can_not_be_exchanged_for_another_name_of_the_same_key() -> None:
    renamed = Key("kek/other", KEY.version, KEY.secret)
    blob = sealed(key=renamed)
    assert unseal(the_key, BINDING, blob) == SECRET
    header = b"\x01" + bytes([len(KEY.id)]) + KEY.id.encode() + (3).to_bytes(4, "big")
    with pytest.raises(VerificationFailed):
        unseal(the_key, BINDING, header + blob[2 + len(renamed.id) + 4 :])


def test_the_same_text_is_never_sealed_to_the_same_bytes() -> None:
    assert len({sealed() for _ in range(100)}) == 100


def test_the_ciphertext_holds_nothing_of_the_text() -> None:
    assert SECRET not in sealed()
    assert len(sealed(b"x" * 1000)) - len(sealed(b"")) == 1000


def test_the_error_says_what_and_whose_and_nothing_of_the_content() -> None:
    with pytest.raises(VerificationFailed) as failed:
        unseal(the_key, BINDING._replace(version=8), sealed())
    assert "data key" in failed.value.message
    assert "my-org" in failed.value.message
    assert "canary" not in repr(failed.value)
    assert failed.value.__suppress_context__


def test_a_key_prints_without_its_secret() -> None:
    for text in (repr(KEY), str(KEY), f"{KEY}", f"{[KEY]}"):
        assert "kek/my-org" in text
        assert "\\x00" not in text
        assert "****" in text


def wycheproof() -> list[Any]:
    if not VECTORS.exists():
        return [pytest.param({}, id="none", marks=pytest.mark.skip(reason=f"{VECTORS} is absent"))]
    groups = json.loads(VECTORS.read_text())["testGroups"]
    return [
        pytest.param(case, id=str(case["tcId"]))
        for group in groups
        if (group["keySize"], group["ivSize"], group["tagSize"]) == (KEY_BYTES * 8, 96, 128)
        for case in group["tests"]
    ]


@pytest.mark.parametrize("case", wycheproof())
def test_the_cipher_agrees_with_wycheproof(case: dict[str, Any]) -> None:
    key, nonce, associated, text, ciphertext, tag = (
        bytes.fromhex(case[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
    )
    cipher = envelope.AESGCM(key)
    if case["result"] == "valid":
        assert cipher.encrypt(nonce, text, associated) == ciphertext + tag
        assert cipher.decrypt(nonce, ciphertext + tag, associated) == text
    else:
        with pytest.raises(InvalidTag):
            cipher.decrypt(nonce, ciphertext + tag, associated)
