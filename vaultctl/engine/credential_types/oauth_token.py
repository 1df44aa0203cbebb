"""OAuth tokens: an access token alone, or the JSON object that a token endpoint answers (RFC 6749, section 5.1)."""

import base64
import binascii
import re
from datetime import UTC, datetime
from typing import Any, TypeGuard

import msgspec

from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.times import SECOND, from_micros, rfc3339
from vaultctl.engine.credential_types.shape import attribute, check_visible_ascii

_LONGEST = 65_536
_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z
_JWT = re.compile(r"([\w-]+)\.([\w-]+)\.[\w-]+", re.ASCII)
_SECRET_KEY = re.compile(r"token|secret|password|assertion|(?:^|_)key", re.IGNORECASE)
_PUBLIC_KEYS = frozenset({"token_type", "token_uri", "expires_at", "expires_in", "scope"})
_SCOPE = re.compile(r"[ -~]+", re.ASCII)
_TOKEN_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,31}", re.ASCII)
# A name, an e-mail address or a URL without credentials, query and fragment.
_ISSUER = re.compile(r"(?:https?://[A-Za-z0-9.:\[\]-]+(?:/[A-Za-z0-9._~/-]*)?|[A-Za-z0-9][A-Za-z0-9._@-]*)", re.ASCII)
_LOOKS_SECRET = re.compile(r"[A-Za-z0-9_]{24}", re.ASCII)


def read(value: str) -> dict[str, str]:
    """What the token says of itself: ``tokenType``, ``scope``, ``expiresAt``, ``issuer``.

    ``expires_in`` counts from a moment that is not in the value, so it gives no ``expiresAt``.

    Raises:
        InvalidInput: It is neither one word nor a JSON object with an ``access_token``.
    """
    if not _is_json(value):
        check_visible_ascii(value, "token", 4, _LONGEST)
        return _claims(value)
    grant = _decode(value)
    if not isinstance(grant, dict):
        raise InvalidInput("The token is not a JSON object.", hint=_HINT)
    token = grant.get("access_token")
    if not isinstance(token, str) or not token:
        raise InvalidInput("The JSON object has no 'access_token'.", hint=_HINT)
    check_visible_ascii(token, "access_token", 4, _LONGEST)
    refresh = grant.get("refresh_token")
    if refresh is not None and not isinstance(refresh, str):
        raise InvalidInput("The 'refresh_token' of the JSON object is not text.", hint=_HINT)
    attributes = _claims(token)
    token_type, scope = grant.get("token_type"), grant.get("scope")
    if _matches(token_type, _TOKEN_TYPE):
        attributes["tokenType"] = token_type
    if _matches(scope, _SCOPE) and not _LOOKS_SECRET.search(scope):
        attributes["scope"] = attribute(scope)
    expires_at = _moment(grant.get("expires_at"))
    if expires_at is not None:
        attributes["expiresAt"] = expires_at
    return attributes


def tokens(value: str) -> list[str]:
    """The tokens in a JSON object, and whatever else in it is named like a secret."""
    grant = _decode(value) if _is_json(value) else None
    if not isinstance(grant, dict):
        return []
    return [
        text
        for key, text in grant.items()
        if isinstance(text, str) and key not in _PUBLIC_KEYS and _SECRET_KEY.search(key)
    ]


_HINT = 'Give the access token alone, or an object like {"access_token": "…", "expires_at": "…"}.'


def _is_json(value: str) -> bool:
    return value.lstrip().startswith("{")


def _decode(text: str | bytes) -> Any:
    # None also stands for what is no JSON, or nested too deeply.
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None


def _claims(token: str) -> dict[str, str]:
    """``exp`` and ``iss`` of a JSON Web Token (RFC 7519, section 4.1); nothing of any other token."""
    parts = _JWT.fullmatch(token)
    header, claims = (_decode(_unpadded(part)) for part in parts.groups()) if parts else (None, None)
    if not (isinstance(header, dict) and "alg" in header and isinstance(claims, dict)):
        return {}
    attributes = {}
    expires_at = _moment(claims.get("exp"))
    if expires_at is not None:
        attributes["expiresAt"] = expires_at
    issuer = claims.get("iss")
    if _matches(issuer, _ISSUER) and len(issuer) <= 200 and not _LOOKS_SECRET.search(issuer):
        attributes["issuer"] = issuer
    return attributes


def _unpadded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""


def _moment(value: Any) -> str | None:
    """Seconds since 1970, or RFC 3339, as RFC 3339 in UTC; None if it is neither."""
    match value:
        case bool():
            return None
        case int() | float() if 0 <= value <= _LAST_SECOND:
            return rfc3339(from_micros(int(value) * SECOND))
        case str():
            try:
                moment = datetime.fromisoformat(value)
                moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
            except (ValueError, OverflowError):
                return None
            return rfc3339(moment) if moment.year >= 1970 else None
    return None


def _matches(value: Any, pattern: re.Pattern[str]) -> TypeGuard[str]:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
