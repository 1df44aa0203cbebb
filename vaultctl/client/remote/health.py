"""Whether a server answers, and whether it can serve. Nobody has to be anybody to ask this."""

import time
from typing import Any, NamedTuple

from vaultctl import __version__
from vaultctl.client.base_url import check_base_url
from vaultctl.client.remote import transport
from vaultctl.client.remote.exchange import Answer, Lost, error_of_answer, error_of_lost
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.routes import PREFIX
from vaultctl.domain.wire import decode_json

TIMEOUT = 10.0
"""Seconds that a server may take to say how it is."""

_LARGEST_ANSWER = 65_536


class Health(NamedTuple):
    """What a server says of itself.

    Attributes:
        ready: It reaches its store.
        version: Its version.
        ahead: Seconds by which its clock is ahead of the one here, to a second or two; None if it tells no time.
    """

    ready: bool
    version: str | None
    ahead: float | None = None


def ask_health(base_url: str) -> Health:
    """How the server at ``base_url`` is. No token is sent.

    Raises:
        VaultUnavailable: It can't be reached, or is no vaultctl server.
        InvalidInput: The base URL is none.
    """
    url = check_base_url(base_url)
    asked = time.time()
    result = _get(f"{url}/{PREFIX}/health", transport.transport_settings(url, None))
    here = (asked + time.time()) / 2
    if isinstance(result, Lost):
        raise error_of_lost(url, result, reads=True)
    if result.status in (200, 503) and result.media_type == "application/json":
        try:
            content = decode_json(result.body, dict[str, Any])
            version = content.get("version")
            if isinstance(content.get("ready"), bool):
                return Health(
                    content["ready"], version if isinstance(version, str) else None, _ahead(result.date, here)
                )
        except InvalidInput:
            pass
        result = result._replace(content_type="")  # JSON, but not of ours
    raise error_of_answer(url, result)


def _ahead(date: str, here: float) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(date).timestamp() - here
    except (ValueError, OverflowError):
        return None


def _get(url: str, settings: dict[str, Any]) -> Answer | Lost:
    httpx = transport.load_httpx()
    deadline = time.monotonic() + TIMEOUT
    timeout = {"connect": transport.CONNECT_TIMEOUT, "read": TIMEOUT, "write": TIMEOUT, "pool": TIMEOUT}
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": f"vaultctl/{__version__}"}
    connections = httpx.HTTPTransport(**settings)
    try:
        response = connections.handle_request(
            httpx.Request("GET", url, headers=headers, extensions={"timeout": timeout})
        )
        body = b""
        try:
            for chunk in response.stream:
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    return transport.TOO_LARGE
                if time.monotonic() > deadline:
                    return transport.TIMED_OUT
        finally:
            response.stream.close()
        return transport.answer_of(response, body)
    except httpx.TransportError as error:
        return transport.lost_by(error)
    finally:
        connections.close()
