"""Tells another program over HTTP what happened: one JSON object, sent once, without following where it is sent on."""

from typing import Any

import msgspec

from vaultctl.client.base_url import is_protected
from vaultctl.client.remote import transport
from vaultctl.domain.errors import InvalidInput
from vaultctl.version import __version__

_SECONDS = 10.0


def check_webhook(url: str) -> str:
    """``url`` itself, if it may be told something.

    Raises:
        InvalidInput: It is neither HTTPS nor on this machine. It is not quoted: such URLs are often secrets.
    """
    if not is_protected(url):
        raise InvalidInput(
            "The webhook is not an https:// URL.", hint="Plain HTTP is for localhost, 127.0.0.1 and [::1] only."
        )
    return url


def tell(url: str, message: dict[str, Any]) -> str:
    """POST ``message`` to ``url``; what went wrong, or nothing."""
    httpx = transport.load_httpx()
    timeout = dict.fromkeys(("connect", "read", "write", "pool"), _SECONDS)
    headers = {"Content-Type": "application/json", "User-Agent": f"vaultctl/{__version__}"}
    try:
        with httpx.HTTPTransport(**transport.transport_settings(url, None)) as sender:
            request = httpx.Request(
                "POST", url, headers=headers, content=msgspec.json.encode(message), extensions={"timeout": timeout}
            )
            response = sender.handle_request(request)
            response.close()
    except httpx.TransportError as error:
        return f"it {transport.lost_by(error).reason}"
    except httpx.InvalidURL:
        return "its URL is malformed"
    return "" if 200 <= response.status_code < 300 else f"it answered {response.status_code}"
