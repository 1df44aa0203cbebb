"""Which names a server goes by over HTTP, and which web pages it listens to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vaultctl.mcp.http.guard import Guard

LOCAL = Guard()
OPEN = Guard(is_loopback=False)
NAMED = Guard(["Vault.example.com"], ["https://app.example.com"], is_loopback=False)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8200", "127.0.0.1:8200", "127.9.9.9", "[::1]:8200", "[::1]"])
def test_loopback_goes_by_its_own_names_with_any_port(host: str) -> None:
    assert LOCAL.knows_host(host)
    assert LOCAL.admits_origin(f"http://{host}")
    assert not NAMED.knows_host(host)
    assert not NAMED.admits_origin(f"http://{host}")


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "localhost@evil.example",
        "evil.example/localhost",
        "localhost/evil",
        "localhost?x",
        "localhost#x",
        "localhost:port",
        "localhost:99999",
        "[::1",
        "192.168.0.1",
        "0.0.0.0",
        "[::]",
        " ",
    ],
)
def test_loopback_goes_by_no_other_name(host: str | None) -> None:
    assert not LOCAL.knows_host(host)
    assert host is None or not LOCAL.admits_origin(f"http://{host}")


@pytest.mark.parametrize(
    "origin", ["null", "", "file://", "localhost", "chrome-extension://localhost", "http://", "://"]
)
def test_what_is_no_page_of_loopback_is_not_let_in(origin: str) -> None:
    assert not LOCAL.admits_origin(origin)
    assert not NAMED.admits_origin(origin)


def test_names_and_pages_that_are_allowed_are_let_in_and_their_likes_are_not() -> None:
    assert NAMED.knows_host("vault.example.com:8200")
    assert NAMED.admits_origin("https://app.example.com")
    assert not NAMED.admits_origin("http://app.example.com")
    assert not NAMED.admits_origin("https://app.example.com.evil.example")
    assert not NAMED.knows_host("other.example.com")


def test_beyond_loopback_any_name_is_gone_by_unless_some_are_named_and_no_page_is_let_in() -> None:
    assert OPEN.knows_host("vault.example.com")
    assert not OPEN.knows_host(None)
    assert not OPEN.admits_origin("https://vault.example.com")
    assert OPEN.admits_origin(None)


@given(st.text())
def test_any_header_is_judged(text: str) -> None:
    for guard in (LOCAL, OPEN, NAMED):
        assert guard.knows_host(text) in (True, False)
        assert guard.admits_origin(text) in (True, False)
