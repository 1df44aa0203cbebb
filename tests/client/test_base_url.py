"""Base URLs: which are acceptable, and their one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.client.base_url import check_base_url
from vaultctl.domain.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("https://vault.example.com", "https://vault.example.com"),
        ("HTTPS://Vault.Example.COM:443/", "https://vault.example.com"),
        ("https://vault.example.com:8200//", "https://vault.example.com:8200"),
        ("https://vault.example.com/Team/vault/", "https://vault.example.com/Team/vault"),
        ("https://[2001:DB8:0:0::1]:8200", "https://[2001:db8::1]:8200"),
        ("http://localhost:80", "http://localhost"),
        ("http://127.0.0.1:8200", "http://127.0.0.1:8200"),
        ("http://127.8.9.10:8200", "http://127.8.9.10:8200"),
        ("http://[::1]:8200", "http://[::1]:8200"),
    ],
)
def test_a_server_has_one_spelling(text: str, spelling: str) -> None:
    assert check_base_url(text) == spelling
    assert check_base_url(spelling) == spelling


@pytest.mark.parametrize(
    "text",
    [
        "http://vault.example.com",
        "http://10.0.0.1:8200",
        "http://localhost.example.com",
        "http://127.1",
        "http://2130706433",
        "http://0x7f.0.0.1",
        "http://[::ffff:127.0.0.1]",
        "http://[::2]",
        "http://127.0.0.1.example.com",
    ],
)
def test_plain_http_goes_to_loopback_only(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"plain HTTP|malformed"):
        check_base_url(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "vault.example.com",
        "//vault.example.com",
        "https://",
        "https:///v1",
        "ftp://vault.example.com",
        "file:///etc/passwd",
        "https://vault.example.com:0",
        "https://vault.example.com:65536",
        "https://vault.example.com:port",
        "https://vault.example.com?x=1",
        "https://vault.example.com/?",
        "https://vault.example.com/#",
        "https://vault.example.com/a/../b",
        "https://vault.example.com/./a",
        "https://vault.example.com/a//b",
        "https://vault.example.com/%2e%2e",
        "https://vault.example.com/a b",
        "https://vault.example.com\n",
        "https://vault.\texample.com",
        "https://vault_example",
        "https://-vault.example",
        "https://vault..example",
        "https://[fe80::1%eth0]",
        "https://[::1",
        "https://väult.example.com",
        "https://vault.example.com\\@evil.example",
    ],
)
def test_what_is_no_base_url_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        check_base_url(text)


@pytest.mark.parametrize("text", ["https://ann:s3cr3t@vault.example.com", "https://s3cr3t@vault.example.com:x"])
def test_a_password_in_it_is_not_quoted(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_base_url(text)
    error = refused.value
    assert "s3cr3t" not in f"{error} {error.hint} {error.__cause__!r} {error.__context__!r}"


@given(st.text(alphabet="htps:/@.?#[]%0179ab\\ \n", max_size=30).map(lambda rest: f"https://{rest}"))
def test_whatever_is_accepted_is_in_its_one_spelling(text: str) -> None:
    try:
        spelling = check_base_url(text)
    except InvalidInput:
        return
    assert check_base_url(spelling) == spelling
