"""Which values the types of credential take, what they show of them, and that they never give a secret away."""

import base64
import functools
import inspect
import json
import shutil
import subprocess
import sys
import time
import warnings
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.domain import text
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import CredentialType
from vaultctl.engine import credential_types
from vaultctl.engine.credential_types import clean, fragments, validate

API_KEY = CredentialType.API_KEY
OAUTH = CredentialType.OAUTH_TOKEN
SSH = CredentialType.SSH_KEY
TLS = CredentialType.TLS_CERTIFICATE
DATABASE = CredentialType.DATABASE_URL
GENERIC = CredentialType.GENERIC_SECRET


def refusal_of(type, value):
    with pytest.raises(InvalidInput) as refusal:
        validate(type, value)
    assert refusal.value.hint
    return refusal.value.message


class TestEveryType:
    @pytest.mark.parametrize("type", CredentialType)
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("", "empty"),
            ("nul\0inside", "not text"),
            ("surrogate\ud800inside", "not text"),
            ("x" * 65_537, "longer than 65536 bytes"),
            ("é" * 40_000, "longer than 65536 bytes"),
        ],
    )
    def test_values_that_are_empty_too_long_or_not_text_are_refused(self, type, value, message):
        assert message in refusal_of(type, value)

    @pytest.mark.parametrize("type", [API_KEY, OAUTH, DATABASE])
    def test_the_line_end_after_a_single_line_is_dropped(self, type):
        assert clean(type, "one-line\r\n\n") == "one-line"

    @pytest.mark.parametrize("type", [SSH, TLS])
    @pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n\n"])
    def test_keys_and_certificates_end_in_one_line_end(self, type, end):
        assert clean(type, "-----END-----" + end) == "-----END-----\n"

    @pytest.mark.parametrize("type", [SSH, TLS])
    def test_nothing_stays_nothing(self, type):
        assert clean(type, "\r\n\n") == ""

    def test_a_generic_secret_is_left_as_it_is(self):
        assert clean(GENERIC, " any\r\n\n") == " any\r\n\n"

    @given(type=st.sampled_from(CredentialType), value=st.text())
    def test_cleaning_twice_changes_nothing_more(self, type, value):
        assert clean(type, clean(type, value)) == clean(type, value)


class TestApiKey:
    @pytest.mark.parametrize(
        ("value", "prefix"),
        [
            ("shpat_0123456789abcdef0123456789abcdef", "shpat_"),
            ("sk_live_51HabcdefghijkLMNOP", "sk_live_"),
            ("ghp_0123456789abcdefghij0123456789abcdef", "ghp_"),
            ("github_pat_11AAAAAAA0_bbbbbbbbbbbbbbbbbbb", "github_pat_"),
            ("xoxb-123456789012-123456789012-abcdefABCDEF", "xoxb-"),
            ("sk-ant-api03-AAAAAAAAAAAAAAAAAAAAAA", "sk-ant-"),
            ("AKIAIOSFODNN7EXAMPLE", "AKIA"),
            ("acme_prod_0123456789abcdefGHIJ", "acme_prod_"),
        ],
    )
    def test_a_public_prefix_is_shown(self, value, prefix):
        assert validate(API_KEY, value) == {"prefix": prefix}

    @pytest.mark.parametrize(
        "value",
        [
            "abcd",
            "shpat_short",
            "correct-horse-battery-staple-and-more",
            "correct_horse_battery_staple_and_more",
            "abcdef-XyZ0123456789012345678901234567",
            "deadbeef-cafe-4bad-8bad-0123456789ab",
            "x" * 4_096,
        ],
    )
    def test_what_could_be_the_start_of_the_secret_is_not(self, value):
        assert validate(API_KEY, value) == {}

    @pytest.mark.parametrize("value", ["abc", "x" * 4_097, "two words", "line\nend", "key\n", "tab\t1234", "clé-1234"])
    def test_other_values_are_refused(self, value):
        refusal_of(API_KEY, value)

    @given(st.binary(min_size=32, max_size=32))
    def test_of_a_random_base64url_text_next_to_nothing_is_shown(self, data):
        shown = validate(API_KEY, base64.urlsafe_b64encode(data).decode().rstrip("=")).get("prefix", "")
        assert len(shown) <= 22
        assert shown == shown.lower() or shown in ("AKIA", "ASIA")


def jwt(claims, header=None):
    def part(data):
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    return f"{part(header or {'alg': 'RS256'})}.{part(claims)}.c2lnbmF0dXJl"


class TestOauthToken:
    def test_a_bare_token_shows_nothing(self):
        assert validate(OAUTH, "ya29.a0AfH6SMBx-opaque") == {}

    def test_a_web_token_shows_issuer_and_expiry(self):
        value = jwt({"iss": "https://login.example.com/tenant/v2.0", "exp": 1_800_000_000, "sub": "alice"})
        assert validate(OAUTH, value) == {
            "issuer": "https://login.example.com/tenant/v2.0",
            "expiresAt": "2027-01-15T08:00:00.000000Z",
        }

    @pytest.mark.parametrize(
        "issuer",
        [
            "https://user:hunter2hunter2@example.com",
            "https://example.com/?key=hunter2",
            "sk_live_0123456789abcdefghijklmnop",
            "line\nend",
            "x" * 201,
            7,
            ["https://example.com"],
        ],
    )
    def test_an_issuer_that_could_hide_a_secret_is_not_shown(self, issuer):
        assert validate(OAUTH, jwt({"iss": issuer})) == {}

    @pytest.mark.parametrize("expiry", [-1, 1e300, 10**30, True, "soon", None, [], {"$date": 1}])
    def test_an_expiry_that_is_none_is_not_shown(self, expiry):
        assert validate(OAUTH, jwt({"exp": expiry})) == {}
        assert validate(OAUTH, json.dumps({"access_token": "abcdef", "expires_at": expiry})) == {}

    @pytest.mark.parametrize("value", ["a.b.c", "e30.e30.e30", "bnVsbA.bnVsbA.bnVsbA", "AAAA.AAAA.AAAA", "x.y.z.w"])
    def test_what_only_looks_like_a_web_token_is_a_bare_token(self, value):
        assert validate(OAUTH, value) == {}

    def test_the_answer_of_a_token_endpoint_shows_what_is_public(self):
        value = {
            "access_token": "abcdefgh",
            "refresh_token": "ijklmnop",
            "token_type": "Bearer",
            "scope": "read_products write_orders",
            "expires_at": "2027-01-15T09:00:00+01:00",
            "expires_in": 3_600,
            "anything": {"else": [1, 2]},
        }
        assert validate(OAUTH, json.dumps(value, indent=2)) == {
            "tokenType": "Bearer",
            "scope": "read_products write_orders",
            "expiresAt": "2027-01-15T08:00:00.000000Z",
        }

    def test_seconds_since_1970_are_an_expiry_too(self):
        value = json.dumps({"access_token": "abcdefgh", "expires_at": 1_800_000_000.5})
        assert validate(OAUTH, value) == {"expiresAt": "2027-01-15T08:00:00.000000Z"}

    def test_a_lifetime_without_a_beginning_is_no_expiry(self):
        assert validate(OAUTH, '{"access_token": "abcdefgh", "expires_in": 3600}') == {}

    def test_the_web_token_inside_says_when_it_expires(self):
        value = json.dumps({"access_token": jwt({"exp": 1_800_000_000})})
        assert validate(OAUTH, value) == {"expiresAt": "2027-01-15T08:00:00.000000Z"}

    @pytest.mark.parametrize(
        "grant",
        [
            {"access_token": "hunter2hunter2", "token_type": "hunter2hunter2"},
            {"access_token": "hunter2hunter2", "scope": "read hunter2hunter2"},
            {"access_token": "abcdefgh", "refresh_token": "hunter2hunter2", "scope": "read hunter2hunter2"},
            {"access_token": "abcdefgh", "client_secret": "hunter2hunter2", "scope": "hunter2hunter2"},
            {"access_token": "abcdefgh", "scope": "0123456789abcdefghijklmnop"},
            {"access_token": "abcdefgh", "scope": ["read"], "token_type": 7},
        ],
    )
    def test_what_repeats_a_secret_or_is_no_text_is_not_shown(self, grant):
        assert validate(OAUTH, json.dumps(grant)) == {}

    @pytest.mark.parametrize(
        "value",
        [
            "Bearer abcdef",
            "abc",
            "{",
            '{"access_token": 7}',
            '{"access_token": ""}',
            '{"access_token": "two words"}',
            '{"token": "abcdef"}',
            '{"access_token": "abcdef", "refresh_token": 7}',
            '{"access_token": "abcdef"} more',
            '{"access_token":' * 5_000,
            '{"access_token": "abcdef", "deep": ' + "[" * 30_000 + "]" * 30_000 + "}",
        ],
    )
    def test_other_values_are_refused(self, value):
        refusal_of(OAUTH, value)

    def test_a_web_token_that_is_nested_deeply_is_a_bare_token(self):
        claims = base64.urlsafe_b64encode(b"[" * 30_000).decode().rstrip("=")
        assert validate(OAUTH, f"eyJhbGciOiJub25lIn0.{claims}.c2ln") == {}


@functools.cache
def rsa_key(bits=2_048):
    return rsa.generate_private_key(65_537, bits)


@functools.cache
def key_of(kind):
    match kind:
        case "ssh-ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "ssh-rsa":
            return rsa_key()
        case "ecdsa-sha2-nistp256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ecdsa-sha2-nistp384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ecdsa-sha2-nistp521":
            return ec.generate_private_key(ec.SECP521R1())


def encode(key, format=PrivateFormat.PKCS8, password=None):
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return key.private_bytes(Encoding.PEM, format, encryption).decode()


def fingerprint_by_openssh(key, tmp_path):
    path = tmp_path / "key.pub"
    path.write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    answer = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], capture_output=True, text=True, check=True).stdout
    return answer.split(" ")[1]


KINDS = ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"]
needs_ssh_keygen = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")


class TestSshKey:
    @needs_ssh_keygen
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("format", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
    def test_it_shows_what_ssh_keygen_shows(self, kind, format, tmp_path):
        if kind == "ssh-ed25519" and format is PrivateFormat.TraditionalOpenSSL:
            pytest.skip("there is no such form")
        key = key_of(kind)
        attributes = validate(SSH, encode(key, format))
        assert attributes.pop("bits", None) == ("2048" if kind == "ssh-rsa" else None)
        assert attributes == {"algorithm": kind, "fingerprint": fingerprint_by_openssh(key, tmp_path)}

    @needs_ssh_keygen
    @pytest.mark.parametrize("passphrase", ["", "a passphrase"])
    @pytest.mark.parametrize("options", [["-t", "ed25519"], ["-t", "ecdsa"], ["-t", "rsa", "-b", "2048"]])
    def test_a_key_of_ssh_keygen_shows_its_fingerprint_encrypted_or_not(self, passphrase, options, tmp_path):
        path = tmp_path / "id"
        subprocess.run(["ssh-keygen", "-q", *options, "-N", passphrase, "-f", str(path)], check=True)
        shown = subprocess.run(["ssh-keygen", "-lf", str(path)], capture_output=True, text=True, check=True).stdout
        attributes = validate(SSH, path.read_text())
        assert attributes["fingerprint"] == shown.split(" ")[1]
        assert attributes.get("encrypted") == ("true" if passphrase else None)

    def test_an_encrypted_pem_key_shows_only_that(self):
        assert validate(SSH, encode(key_of("ssh-ed25519"), password=b"passphrase")) == {"encrypted": "true"}
        traditional = encode(rsa_key(), PrivateFormat.TraditionalOpenSSL, b"passphrase")
        assert "Proc-Type: 4,ENCRYPTED" in traditional
        assert validate(SSH, traditional) == {"encrypted": "true"}

    def test_elliptic_curve_parameters_before_the_key_do_not_matter(self):
        parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        key = encode(key_of("ecdsa-sha2-nistp256"), PrivateFormat.TraditionalOpenSSL)
        assert validate(SSH, parameters + key) == validate(SSH, key)

    def test_line_ends_of_windows_do_not_matter(self):
        key = encode(key_of("ssh-ed25519"), PrivateFormat.OpenSSH)
        assert validate(SSH, key.replace("\n", "\r\n")) == validate(SSH, key)

    def test_a_public_key_alone_is_refused_as_such(self):
        public = key_of("ssh-ed25519").public_key()
        for encoding, format in (
            (Encoding.OpenSSH, PublicFormat.OpenSSH),
            (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ):
            assert refusal_of(SSH, public.public_bytes(encoding, format).decode()) == "That is a public key alone."
        ssh2 = "---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----\n"
        assert refusal_of(SSH, ssh2) == "That is a public key alone."

    def test_a_key_of_putty_is_refused_as_such(self):
        assert "PuTTY" in refusal_of(SSH, "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n")

    def test_dsa_is_refused_in_every_form(self):
        key = dsa.generate_private_key(1_024)
        for form in (PrivateFormat.OpenSSH, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
            assert "DSA" in refusal_of(SSH, encode(key, form))
        assert "DSA" in refusal_of(SSH, encode(key, PrivateFormat.TraditionalOpenSSL, b"passphrase"))

    def test_small_rsa_keys_are_refused_in_every_form(self):
        for form in (PrivateFormat.OpenSSH, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
            assert "2048 bits" in refusal_of(SSH, encode(rsa_key(1_024), form))

    @needs_ssh_keygen
    def test_small_rsa_keys_are_refused_when_encrypted_too(self, tmp_path):
        path = tmp_path / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "1024", "-N", "a passphrase", "-f", path], check=True)
        assert "2048 bits" in refusal_of(SSH, path.read_text())

    def test_keys_that_ssh_does_not_use_are_refused(self):
        assert "another kind" in refusal_of(SSH, encode(ed448.Ed448PrivateKey.generate()))
        assert "another kind" in refusal_of(SSH, encode(ec.generate_private_key(ec.SECP256K1())))

    @pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
    def test_a_key_that_was_cut_short_or_changed_is_refused(self, form):
        lines = encode(rsa_key(), form).splitlines()
        refusal_of(SSH, "\n".join(lines[:-1]))
        refusal_of(SSH, "\n".join([*lines[:5], *lines[6:]]))
        refusal_of(SSH, "\n".join([lines[0], "A" * 64, *lines[2:]]))
        refusal_of(SSH, "\n".join([*lines[:-6], "A" * len(lines[-6]), *lines[-5:]]))

    def test_an_rsa_key_whose_numbers_do_not_belong_together_is_refused(self):
        def length(size):
            octets = size.to_bytes(size.bit_length() // 8 + 1, "big").lstrip(b"\0")
            return octets if size < 128 else bytes([0x80 + len(octets)]) + octets

        def integer(number):
            body = number.to_bytes(number.bit_length() // 8 + 1, "big")
            return b"\x02" + length(len(body)) + body

        def pkcs1(*numbers):
            body = b"\x02\x01\x00" + b"".join(map(integer, numbers))
            der = base64.encodebytes(b"\x30" + length(len(body)) + body).decode()
            return f"-----BEGIN RSA PRIVATE KEY-----\n{der}-----END RSA PRIVATE KEY-----\n"

        key = rsa_key().private_numbers()
        right = (key.public_numbers.n, key.public_numbers.e, key.d, key.p, key.q, key.dmp1, key.dmq1, key.iqmp)
        assert validate(SSH, pkcs1(*right))["bits"] == "2048"
        for position in (0, 2, 3, 4, 5, 6, 7):
            wrong = list(right)
            wrong[position] += 2
            assert "damaged" in refusal_of(SSH, pkcs1(*wrong))

    def test_a_large_rsa_key_is_checked_without_testing_its_primes(self):
        key = encode(rsa_key(4_096))
        validate(SSH, key)
        moments = [time.process_time()]
        assert validate(SSH, key)["bits"] == "4096"
        moments.append(time.process_time())
        load_pem_private_key(key.encode(), None)
        moments.append(time.process_time())
        assert moments[1] - moments[0] < (moments[2] - moments[1]) / 2

    def test_two_keys_or_other_text_are_refused(self):
        key = encode(key_of("ssh-ed25519"))
        assert "more than a private key" in refusal_of(SSH, key + key)
        assert "more than a private key" in refusal_of(SSH, "my key:\n" + key)

    @pytest.mark.parametrize(
        "body",
        [
            "",
            "AAAA",
            base64.b64encode(b"openssh-key-v1\0").decode(),
            base64.b64encode(b"openssh-key-v1\0" + b"\xff" * 40).decode(),
            base64.b64encode(b"openssh-key-v1\0" + b"\0" * 40).decode(),
            "A" * 60_000,
        ],
    )
    @pytest.mark.parametrize("label", ["OPENSSH", "RSA", "EC", "DSA", "ENCRYPTED"])
    def test_hollow_blocks_are_refused(self, label, body):
        refusal_of(SSH, f"-----BEGIN {label} PRIVATE KEY-----\n{body}\n-----END {label} PRIVATE KEY-----\n")

    def test_thousands_of_beginnings_take_no_time(self):
        started = time.process_time()
        refusal_of(SSH, "-----BEGIN RSA PRIVATE KEY-----\n" * 2_000)
        assert time.process_time() - started < 0.5


def certificate(
    key, *, subject="leaf.example.com", issuer=None, sans=(), days=(-1, 90), signed_by=None, subject_attributes=()
):
    def name(text):
        return x509.Name([*subject_attributes, x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer or subject))
        .public_key(key.public_key())
        .serial_number(0xABCDEF)
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(sans)), critical=False)
    return builder.sign(signed_by or key, hashes.SHA256())


def pem(*certificates):
    return "".join(it.public_bytes(Encoding.PEM).decode() for it in certificates)


class TestTlsCertificate:
    def test_it_shows_what_the_first_certificate_says(self):
        key, authority = key_of("ecdsa-sha2-nistp256"), key_of("ecdsa-sha2-nistp384")
        leaf = certificate(
            key,
            issuer="Test CA",
            signed_by=authority,
            sans=[x509.DNSName("leaf.example.com"), x509.IPAddress(ip_address("::1"))],
        )
        root = certificate(authority, subject="Test CA")
        assert validate(TLS, pem(leaf, root) + encode(key)) == {
            "subject": "CN=leaf.example.com",
            "issuer": "CN=Test CA",
            "serial": "abcdef",
            "notBefore": "2025-12-31T00:00:00.000000Z",
            "expiresAt": "2026-04-01T00:00:00.000000Z",
            "sans": "leaf.example.com,::1",
            "fingerprint": leaf.fingerprint(hashes.SHA256()).hex(),
            "hasPrivateKey": "true",
        }

    def test_the_private_key_may_come_first_or_not_at_all(self):
        key = key_of("ecdsa-sha2-nistp256")
        leaf = certificate(key)
        assert validate(TLS, encode(key, PrivateFormat.TraditionalOpenSSL) + pem(leaf))["hasPrivateKey"] == "true"
        assert validate(TLS, pem(leaf))["hasPrivateKey"] == "false"

    @pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp521"])
    def test_keys_of_other_kinds_match_too(self, kind):
        key = key_of(kind)
        assert validate(TLS, pem(certificate(key)) + encode(key))["hasPrivateKey"] == "true"

    def test_an_expired_certificate_is_taken(self):
        expired = certificate(key_of("ecdsa-sha2-nistp256"), days=(-4_000, -3_000))
        assert validate(TLS, pem(expired))["expiresAt"] < "2018"

    def test_a_private_key_of_another_certificate_is_refused(self):
        leaf = certificate(key_of("ecdsa-sha2-nistp256"))
        assert "does not belong" in refusal_of(TLS, pem(leaf) + encode(key_of("ecdsa-sha2-nistp384")))

    def test_a_private_key_of_a_later_certificate_is_refused(self):
        key, other = key_of("ecdsa-sha2-nistp256"), key_of("ecdsa-sha2-nistp384")
        assert "does not belong" in refusal_of(TLS, pem(certificate(key), certificate(other)) + encode(other))

    def test_an_encrypted_private_key_is_refused(self):
        key = key_of("ecdsa-sha2-nistp256")
        assert "encrypted" in refusal_of(TLS, pem(certificate(key)) + encode(key, password=b"passphrase"))

    def test_two_private_keys_or_anything_else_are_refused(self):
        key = key_of("ecdsa-sha2-nistp256")
        assert "more than one" in refusal_of(TLS, pem(certificate(key)) + encode(key) * 2)
        request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
        assert "besides" in refusal_of(TLS, pem(certificate(key)) + request)

    def test_explanations_between_the_blocks_are_taken(self):
        leaf = certificate(key_of("ecdsa-sha2-nistp256"))
        assert validate(TLS, "Bag Attributes\n  friendlyName: leaf\n" + pem(leaf)) == validate(TLS, pem(leaf))

    @pytest.mark.parametrize(
        "value",
        [
            "not a certificate",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
        ],
    )
    def test_what_holds_no_certificate_is_refused(self, value):
        refusal_of(TLS, value)

    def test_a_damaged_certificate_anywhere_in_the_chain_is_refused(self):
        leaf = pem(certificate(key_of("ecdsa-sha2-nistp256")))
        lines = leaf.splitlines()
        assert "damaged" in refusal_of(TLS, leaf + "\n".join([*lines[:2], *lines[3:]]))
        assert "damaged" in refusal_of(TLS, "\n".join([*lines[:2], *lines[3:]]))
        assert "damaged" in refusal_of(TLS, leaf + "\n".join(lines[:-1]))

    def test_long_names_are_cut_and_control_characters_escaped(self):
        many = [x509.DNSName(f"host-{number:04}.example.com") for number in range(200)]
        units = [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"\x1b[31m{'o' * 50}") for _ in range(12)]
        value = pem(certificate(key_of("ecdsa-sha2-nistp256"), sans=many, subject_attributes=units))
        attributes = validate(TLS, value)
        assert len(attributes["sans"]) <= 500
        assert attributes["sans"].split(",") == [f"host-{number:04}.example.com" for number in range(22)]
        assert len(attributes["subject"]) == 500
        assert "\x1b" not in "".join(attributes.values())

    def test_a_certificate_that_repeats_its_private_key_does_not_show_it(self):
        key = key_of("ecdsa-sha2-nistp256")
        line = encode(key).splitlines()[1]
        leaf = certificate(key, subject=line[:64], sans=[x509.DNSName(line)])
        attributes = validate(TLS, pem(leaf) + encode(key))
        assert not any(line in shown for shown in attributes.values())

    @pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
    def test_serial_numbers_of_old_that_nobody_may_use_raise_no_warning(self, tmp_path):
        path = tmp_path / "key.pem"
        subject = ["-subj", "/CN=old", "-days", "1", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command = ["openssl", "req", "-x509", "-set_serial", "0", *subject, "-keyout", str(path), "-out", "-"]
        value = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert validate(TLS, value)["serial"] == "0"


class TestDatabaseUrl:
    @pytest.mark.parametrize(
        ("value", "attributes"),
        [
            ("postgresql://app:hunter22@db.example.com:5432/shop", ("postgresql", "db.example.com", "5432", "shop")),
            ("postgres://db.example.com", ("postgres", "db.example.com", None, None)),
            ("postgresql+psycopg://u:hunter22@db/shop", ("postgresql+psycopg", "db", None, "shop")),
            ("MySQL://u@db:3306/a?charset=utf8mb4", ("mysql", "db", "3306", "a")),
            ("mongodb+srv://u:hunter22@cluster0.abc.mongodb.net/", ("mongodb+srv", "cluster0.abc.mongodb.net")),
            ("mongodb://u:hunter22@a:27017,b:27018/admin", ("mongodb", "a:27017,b:27018", None, "admin")),
            ("redis://:hunter22@cache:6379/0", ("redis", "cache", "6379", "0")),
            ("rediss://[2001:db8::1]:6380/1", ("rediss", "2001:db8::1", "6380", "1")),
            ("mongodb://[::1]:27017,[::2]/x", ("mongodb", "[::1]:27017,[::2]", None, "x")),
            ("oracle://u:hunter22@db:1521/ORCL", ("oracle", "db", "1521", "ORCL")),
            (
                "snowflake://u:hunter22@xy12345.eu-1/SALES/PUBLIC?warehouse=w",
                ("snowflake", "xy12345.eu-1", None, "SALES"),
            ),
            ("amqps://u:hunter22@mq/%2Fvhost", ("amqps", "mq")),
            ("postgresql://u:hunter22@db/my%20shop", ("postgresql", "db", None, "my shop")),
            ("postgresql://u:p%40ss%2Fword%3A@db/shop", ("postgresql", "db", None, "shop")),
            ("postgresql://u:p@ss:word@db/shop", ("postgresql", "db", None, "shop")),
            ("postgresql://u:pässwörd@my_db/shop", ("postgresql", "my_db", None, "shop")),
        ],
    )
    def test_it_shows_driver_host_port_and_database(self, value, attributes):
        names = ("driver", "host", "port", "database")
        expected = {name: shown for name, shown in zip(names, attributes, strict=False) if shown}
        assert validate(DATABASE, value) == expected

    @pytest.mark.parametrize(
        "value",
        [
            "db.example.com:5432",
            "jdbc:postgresql://db/shop",
            "https://example.com",
            "sqlite:///file.db",
            "postgresql:db",
            "postgresql+://db",
            "postgresql+PSY COPG://db",
            "redis+srv+more://db",
            "postgresql://",
            "postgresql:///shop",
            "postgresql://user:secret@/shop",
            "postgresql://user:secret@:5432/shop",
            "postgresql://db:0/shop",
            "postgresql://db:65536/shop",
            "postgresql://db:/shop",
            "postgresql://db:abc/shop",
            "postgresql://db:٣/shop",
            "postgresql://[::1/shop",
            "postgresql://[::g]/shop",
            "postgresql://[1:2]/shop",
            "postgresql://a,,b/shop",
            "postgresql://a..b/shop",
            "postgresql://-a/shop",
            "postgresql://%2Fvar%2Frun/shop",
            "postgresql://u:100%@db/shop",
            "postgresql://u:p%zz@db/shop",
            "postgresql://u:p w@db/shop",
            "postgresql://u:pw@db/shop\n",
            "postgresql://u:p\u200bw@db/shop",
            "postgresql://u:p\u00a0w@db/shop",
            "sqlserver://db:1433;user=sa;password=hunter22",
            "postgresql://user:hunter22",
        ],
    )
    def test_other_values_are_refused(self, value):
        refusal_of(DATABASE, value)

    @pytest.mark.parametrize("password", ["1234/hunter22", "1234?hunter22", "1234#hunter22", "1/2@hunter22"])
    def test_a_password_that_would_pass_for_port_and_database_is_refused_with_advice(self, password):
        with pytest.raises(InvalidInput) as refusal:
            validate(DATABASE, f"postgresql://user:{password}@db/shop")
        assert "%2F" in refusal.value.hint

    @pytest.mark.parametrize(
        ("value", "hidden"),
        [
            ("postgresql://u:hunter22@db/hunter22", "database"),
            ("postgresql://u:hunter22@hunter22.example.com/shop", "host"),
            ("postgresql://u:5432@db:5432/shop", "port"),
            ("postgresql://u:a@db/a", "database"),
            ("postgresql://db/hunter22?password=hunter22", "database"),
            ("postgresql://db/hunter22?sslmode=x&SSLPassword=hunter22", "database"),
            ("postgresql://u:hunter%32%32@db/hunter22", "database"),
            ("postgresql://u@db/x;password=hunter22", "database"),
            ("postgresql://u@db/" + "x" * 129, "database"),
        ],
    )
    def test_what_repeats_or_hides_the_password_is_not_shown(self, value, hidden):
        attributes = validate(DATABASE, value)
        assert hidden not in attributes
        assert attributes["driver"] == "postgresql"

    @given(
        user=st.text(st.characters(codec="utf-8"), max_size=20),
        password=st.text(st.characters(codec="utf-8"), max_size=40),
        host=st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}(\.[a-z0-9]{1,10}){0,3}", fullmatch=True),
        port=st.integers(1, 65_535),
        database=st.from_regex(r"[A-Za-z0-9_]{1,30}", fullmatch=True),
    )
    def test_any_password_that_is_encoded_is_taken_and_kept(self, user, password, host, port, database):
        from urllib.parse import quote

        value = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/{database}"
        attributes = validate(DATABASE, value)
        everything = {"driver": "postgresql", "host": host, "port": str(port), "database": database}
        assert attributes.items() <= everything.items()
        if len(password) >= 4:
            assert not any(password in shown for shown in attributes.values())
            assert password in fragments(DATABASE, value)


class TestGenericSecret:
    @pytest.mark.parametrize("value", ["x", " ", "many\nlines\r\n", "tab\t", "\u202eevil", "é" * 30_000])
    def test_any_text_is_taken_and_nothing_shown(self, value):
        assert validate(GENERIC, value) == {}


class TestFragments:
    def test_the_value_is_one_and_short_ones_are_not(self):
        assert fragments(API_KEY, "abcd") == ("abcd",)
        assert fragments(GENERIC, "abc") == ()

    def test_a_line_end_after_the_value_does_not_hide_it(self):
        assert "hunter22" in fragments(GENERIC, "hunter22\n")

    def test_long_lines_of_a_secret_of_many_are_some(self):
        assert "PASSWORD=0123456789" in fragments(GENERIC, "# settings\nPASSWORD=0123456789\n")

    def test_the_password_of_a_database_url_is_one_as_written_and_decoded(self):
        value = "postgresql://user:p%40ssw+rd@db/shop?sslpassword=0ther%20one&application_name=orders"
        assert set(fragments(DATABASE, value)) == {
            value,
            "p%40ssw+rd",
            "p@ssw+rd",
            "p@ssw rd",
            "0ther%20one",
            "0ther one",
        }

    def test_the_tokens_of_a_json_object_are_some(self):
        value = '{"access_token": "abcdefgh", "refresh_token": "ijklmnop", "token_type": "Bearer", "scope": "read_all"}'
        assert fragments(OAUTH, value) == (value, "abcdefgh", "ijklmnop")

    @pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8])
    def test_the_lines_of_a_private_key_are_some(self, form):
        value = encode(rsa_key(), form)
        lines = [line for line in value.splitlines()[1:-1] if len(line) >= 16]
        assert set(lines) < set(fragments(SSH, value))
        assert not any("-----" in it and "\n" not in it for it in fragments(SSH, value))

    def test_the_lines_of_a_certificate_are_none(self):
        key = key_of("ecdsa-sha2-nistp256")
        leaf, secret = pem(certificate(key)), encode(key)
        found = fragments(TLS, leaf + secret)
        assert leaf.splitlines()[1] not in found
        assert secret.splitlines()[1] in found


# What a value could look like, with a mark in it that no message of ours contains.
MARKS = st.from_regex(r"[qxzjkvw7395]{10,16}", fullmatch=True)
SECRET_PLACES = [
    (API_KEY, "{}"),
    (API_KEY, "sk_live_{}0123456789abcdef"),
    (OAUTH, "{}"),
    (OAUTH, '{{"access_token": "{}"}}'),
    (OAUTH, '{{"access_token": "abcdef", "refresh_token": "{0}", "scope": "{0}", "token_type": "{0}"}}'),
    (OAUTH, '{{"access_token": "abcdef", "client_secret": "{0}", "scope": "read {0}"}}'),
    (DATABASE, "postgresql://user:{}@db:5432/shop"),
    (DATABASE, "postgresql://{0}:{0}@{0}:5432/{0}"),
    (DATABASE, "postgresql://db/{0}?password={0}"),
    (DATABASE, "mongodb://user:{0}@a,{0}.example.com/{0}"),
    (DATABASE, "postgresql://user:1234/{}@db/shop"),
    (GENERIC, "{}"),
]
REFUSED_PLACES = [
    (API_KEY, "{} {}"),
    (OAUTH, "Bearer {}"),
    (OAUTH, '{{"access_token": {}}}'),
    (OAUTH, '{{"{}": "{}"}}'),
    (DATABASE, "{}"),
    (DATABASE, "{}://host"),
    (DATABASE, "postgresql+{}!://host"),
    (DATABASE, "postgresql://user:{}@/shop"),
    (DATABASE, "postgresql://user:{}"),
    (DATABASE, "postgresql://host:5432%{}"),
    (SSH, "{}"),
    (SSH, "ssh-ed25519 {}"),
    (SSH, "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n"),
    (SSH, "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n"),
    (
        SSH,
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: {}\n\n{}\n-----END RSA PRIVATE KEY-----\n",
    ),
    (TLS, "{}"),
    (TLS, "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"),
]
PIECES = st.sampled_from(
    [
        "-----BEGIN ", "-----END ", "OPENSSH PRIVATE KEY", "PRIVATE KEY", "CERTIFICATE", "-----\n", "\n", "://", "@",
        ":", "/", "?", "#", "%", ",", "[", "]", "postgresql", "mongodb+srv", '{"access_token": "', '"}',
        "eyJhbGciOiJub25lIn0.",
        "b3BlbnNzaC1rZXktdjEAAAAA", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", "sk_live_", "=", "\0", "\ud800", "é", "٣",
    ]
)  # fmt: skip
ANY_VALUE = st.text() | st.lists(PIECES | st.text(max_size=8), max_size=30).map("".join)


@functools.cache
def own_words():
    """Every run of six characters in the sources of the messages."""
    folder = Path(inspect.getfile(credential_types)).parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    return runs(source) | runs(
        "bytes. longer than 65536 bytes. fewer than 4 or more than 65536 characters. 4096 2048 bits"
    )


def runs(text, length=6):
    return {text[start : start + length] for start in range(len(text) - length + 1)}


class TestNothingLeaks:
    @given(type=st.sampled_from(CredentialType), value=ANY_VALUE)
    def test_any_text_gives_attributes_or_a_refusal_that_quotes_nothing(self, type, value):
        value = clean(type, value)
        attributes, refusal = {}, ""
        try:
            attributes = validate(type, value)
        except InvalidInput as error:
            refusal = error.message + error.hint
        assert not (runs(refusal) & runs(value)) - own_words()
        for shown in attributes.values():
            assert 0 < len(shown) <= 500
            assert text.safe(shown) == shown

    @given(place=st.sampled_from(SECRET_PLACES), mark=MARKS)
    def test_a_secret_is_in_no_attribute_and_no_refusal(self, place, mark):
        type, template = place
        try:
            said = "".join(validate(type, template.format(mark)).values())
        except InvalidInput as error:
            said = error.message + error.hint
        assert not runs(said) & runs(mark)

    @given(place=st.sampled_from(REFUSED_PLACES), mark=MARKS)
    def test_no_refusal_quotes_what_it_refuses(self, place, mark):
        type, template = place
        with pytest.raises(InvalidInput) as refusal:
            validate(type, template.format(mark, mark))
        assert not runs(refusal.value.message + refusal.value.hint) & runs(mark)
        assert refusal.value.__cause__ is None
        assert refusal.value.__context__ is None or refusal.value.__suppress_context__

    @given(type=st.sampled_from(CredentialType), value=ANY_VALUE)
    def test_every_fragment_is_long_enough_to_mean_something(self, type, value):
        assert all(len(it) >= 4 for it in fragments(type, value))


def test_nothing_heavy_is_imported_to_store_an_api_key():
    code = """
import sys
from vaultctl.domain.records import CredentialType
from vaultctl.engine.credential_types import validate, fragments
validate(CredentialType.API_KEY, "abcdef"); fragments(CredentialType.API_KEY, "abcdef")
print(sorted(sys.modules.keys() & {"cryptography", "hashlib", "ipaddress", "urllib.parse", "warnings"} - {"warnings"}))
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"
