"""Base URLs of servers: which are acceptable, and the one way to write each.

A token is bound to the base URL that it was stored for, so the same server must not have two spellings; and it
travels in every request, so a base URL that would send it in the clear is refused here, before anything is sent.
"""

import re
from urllib.parse import SplitResult, urlsplit

from vaultctl.domain.errors import InvalidInput

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
_PREFIX = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_EXAMPLE = "For example https://vault.example.com"


def check_base_url(text: str) -> str:
    """``text`` in its one spelling: lower-case scheme and host, no default port, no slash at the end.

    Raises:
        InvalidInput: It is no ``https://host[:port][/prefix]``, nor an ``http://`` one on a loopback address. Nothing
            of it is quoted: there may be a password in it.
    """
    parts = _split(text)
    if parts is None or parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise InvalidInput("The base URL is not an https:// URL.", hint=_EXAMPLE)
    if "@" in parts.netloc:
        raise InvalidInput("The base URL names a user.", hint="Leave it out: the token says who you are.")
    if "?" in text or "#" in text:
        raise InvalidInput("The base URL has a query or a fragment.", hint=_EXAMPLE)
    host = _host(parts.hostname)
    prefix = parts.path.rstrip("/")
    if host is None or not _PREFIX.fullmatch(prefix):
        raise InvalidInput("The base URL's host or path is malformed.", hint=_EXAMPLE)
    if parts.scheme == "http" and not _is_loopback(host):
        raise InvalidInput(
            "The base URL is plain HTTP to another machine, which would show the token to the network.",
            hint="Use https://. Plain HTTP is for localhost, 127.0.0.1 and [::1] only.",
        )
    port = "" if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{prefix}"


def is_protected(url: str) -> bool:
    """Whether what is sent to ``url`` is not shown to the network: it is HTTPS, or HTTP on a loopback address."""
    parts = _split(url)
    host = None if parts is None or not parts.hostname else _host(parts.hostname)
    if parts is None or host is None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host))


def _split(text: str) -> SplitResult | None:
    if not _VISIBLE.fullmatch(text):  # `urlsplit` would drop some of what is not
        return None
    try:
        parts = urlsplit(text)
        return None if parts.port == 0 else parts
    except ValueError:
        return None


def _host(text: str) -> str | None:
    """A host name or address as it stands in a URL; None if it is malformed."""
    if ":" not in text:
        return text if _NAME.fullmatch(text) else None
    from ipaddress import IPv6Address

    try:
        address = IPv6Address(text)
    except ValueError:
        return None
    return None if address.scope_id else f"[{address.compressed}]"


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "[::1]"):
        return True
    from ipaddress import IPv4Address

    try:
        return IPv4Address(host).is_loopback
    except ValueError:
        return False
