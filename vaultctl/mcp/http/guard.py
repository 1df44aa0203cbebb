"""Which names a server answers to, and which web pages may speak to it.

A page that a browser shows can make its own name point at this machine (DNS rebinding) and then send requests here;
what gives it away is the name in ``Host`` and the page's own ``Origin``. Agents are not pages: they send no Origin.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

_LOCAL = "localhost"


class Guard:
    """Judges the headers ``Host`` and ``Origin``."""

    def __init__(self, hosts: Sequence[str] = (), origins: Sequence[str] = (), *, is_loopback: bool = True) -> None:
        """Answer to ``hosts`` and let pages of ``origins`` in.

        Args:
            hosts: Names without a port, besides those of this machine's own loopback.
            origins: Origins as browsers send them: ``https://app.example.com``.
            is_loopback: Only this machine reaches the server. Then pages and names of its loopback are let in. Else
                any name is answered to unless ``hosts`` says which: a name that TLS vouches for can't be rebound, and
                what a proxy sends is for the proxy to judge.
        """
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.lower() for origin in origins)
        self._is_loopback = is_loopback

    def knows_host(self, host: str | None) -> bool:
        """Whether the server goes by the name in ``Host``."""
        name = _name("//" + host) if host else ""
        if name in self._hosts:
            return True
        return _is_local(name) if self._is_loopback else bool(name) and not self._hosts

    def admits_origin(self, origin: str | None) -> bool:
        """Whether a request of ``Origin`` is served; one that has none is."""
        if origin is None or origin.lower() in self._origins:
            return True
        return self._is_loopback and origin.startswith(("http://", "https://")) and _is_local(_name(origin))


def _name(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # which must be one
    except ValueError:
        return ""
    is_bare = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
    return (parts.hostname or "") if is_bare else ""


def _is_local(name: str) -> bool:
    try:
        return name == _LOCAL or ip_address(name).is_loopback
    except ValueError:
        return False
