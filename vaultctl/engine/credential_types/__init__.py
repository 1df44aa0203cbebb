"""What the types of credential mean: which values they take, what they show of one, what of it must not leak.

A refusal never quotes the value nor a part of it, and nothing that is shown (an *attribute*) holds its secret.
The types are modules, imported when a value of theirs comes along: most commands meet none.
"""

from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.records import CredentialType

LONGEST_VALUE = 65_536
"""Bytes in UTF-8 that a value has at most."""
_SHORTEST_FRAGMENT = 4
_SHORTEST_PREVIEWED = 20
_PREVIEWED = 4
_SHORTEST_LINE = 16


def clean(type: CredentialType, value: str) -> str:
    """``value`` as it is stored: without the line end that an editor or ``echo`` put after it.

    Keys and certificates end in exactly one; a generic secret is left as it is.
    """
    match type:
        case CredentialType.GENERIC_SECRET:
            return value
        case CredentialType.SSH_KEY | CredentialType.TLS_CERTIFICATE:
            return value.rstrip("\r\n") + "\n" if value.strip("\r\n") else ""
    return value.rstrip("\r\n")


def validate(type: CredentialType, value: str) -> dict[str, str]:
    """Check a cleaned ``value`` and read its attributes.

    Returns:
        What may be shown: each at most 500 characters, without control characters and without the secret.

    Raises:
        InvalidInput: It is no value of that type. Message and hint quote nothing of it.
    """
    if not value:
        raise InvalidInput("The value is empty.", hint="Give it on standard input, or with --from-file or --from-env.")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        size = None
    if size is None or "\0" in value:
        raise InvalidInput(
            "The value holds something that is not text.", hint="Encode binary values, with base64 for example."
        )
    if size > LONGEST_VALUE:
        raise InvalidInput(f"The value is longer than {LONGEST_VALUE} bytes.", hint="Keep files elsewhere, encrypted.")
    attributes = _attributes(type, value)
    secrets = _secrets(type, value)
    return {name: text for name, text in attributes.items() if text and not any(_shows(text, it) for it in secrets)}


def fragments(type: CredentialType, value: str) -> tuple[str, ...]:
    """The texts whose appearance in free text would give ``value`` away, or what is secret in it."""
    return tuple(it for it in _secrets(type, value) if len(it) >= _SHORTEST_FRAGMENT)


def preview(type: CredentialType, value: str) -> str | None:
    """``****`` and the last four characters of ``value``; None where they are too much of it, or say nothing."""
    text = value.strip()
    shown = text[-_PREVIEWED:]
    if len(text) < _SHORTEST_PREVIEWED or "\n" in text or not (shown.isascii() and shown.isprintable()):
        return None
    # What is secret in a longer text, a password at the end of a URL for example, may be short itself.
    short = (part for part in _secrets(type, value) if len(part) < _SHORTEST_PREVIEWED)
    return None if any(shown in part or part in shown for part in short) else f"****{shown}"


def _attributes(type: CredentialType, value: str) -> dict[str, str]:
    match type:
        case CredentialType.API_KEY:
            from vaultctl.engine.credential_types import api_key

            return api_key.read(value)
        case CredentialType.OAUTH_TOKEN:
            from vaultctl.engine.credential_types import oauth_token

            return oauth_token.read(value)
        case CredentialType.SSH_KEY:
            from vaultctl.engine.credential_types import ssh_key

            return ssh_key.read(value)
        case CredentialType.TLS_CERTIFICATE:
            from vaultctl.engine.credential_types import tls_certificate

            return tls_certificate.read(value)
        case CredentialType.DATABASE_URL:
            from vaultctl.engine.credential_types import database_url

            return database_url.read(value)
        case CredentialType.GENERIC_SECRET:
            return {}


def _secrets(type: CredentialType, value: str) -> list[str]:
    # As it is pasted into one line, too: without what surrounds it.
    parts = [value, value.strip()]
    match type:
        case CredentialType.OAUTH_TOKEN:
            from vaultctl.engine.credential_types import oauth_token

            parts += oauth_token.tokens(value)
        case CredentialType.DATABASE_URL:
            from vaultctl.engine.credential_types import database_url

            parts += database_url.passwords(value)
        case CredentialType.SSH_KEY | CredentialType.TLS_CERTIFICATE:
            from vaultctl.engine.credential_types import pem

            parts += (line for line in pem.private_lines(value) if len(line) >= _SHORTEST_LINE)
        case CredentialType.GENERIC_SECRET:
            # No line of free text can hold a value of several lines; any of its lines can be pasted.
            parts += (line for line in map(str.strip, value.split("\n")) if len(line) >= _SHORTEST_LINE)
    return [part for part in dict.fromkeys(parts) if part]


def _shows(text: str, secret: str) -> bool:
    # One to three characters are in nearly everything; they are shown only where they are all there is.
    return secret in text if len(secret) >= _SHORTEST_FRAGMENT else secret == text
