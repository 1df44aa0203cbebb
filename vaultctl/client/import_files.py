"""Files of secrets that other programs keep or export, as names and values.

What is read: dotenv files; a JSON object of texts, as ``doppler secrets download --format json`` makes one; HashiCorp
Vault's ``vault kv get -format=json`` of either version; a list of objects with ``key`` and ``value``, as ``infisical
export --format=json`` makes one; and 1Password's ``op item get --format json``, of which the concealed fields count.
Nothing that is said about a file quotes a value.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.names import is_name
from vaultctl.domain.records import CredentialType
from vaultctl.domain.secrets import Secret
from vaultctl.engine import credential_types

MOST_BYTES = 8_388_608
"""Of a file."""

_MOST = 10_000
_SAYABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.\- ]{0,63}", re.ASCII)
_DOTENV = re.compile(
    r"""[ \t]*(?:export[ \t]+)?(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*
    (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^\n'"#]?[^\n]*?))
    [ \t]*(?:(?<=[ \t'"=])\#[^\n]*)?\r?(?:\n|\Z)""".replace("\n    ", ""),
    re.ASCII | re.DOTALL,
)
_IGNORED = re.compile(r"[ \t]*(?:#[^\n]*)?\r?(?:\n|\Z)", re.ASCII)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_URL = re.compile(r"[a-z][a-z0-9+]*://", re.ASCII | re.IGNORECASE)
_KEY_NAME = re.compile(r"(?:^|[-_.])(?:key|token|apikey|pat)$")


class Found(NamedTuple):
    """A secret of a file, under the name that it gets here. It prints without its value."""

    key: str
    name: str
    type: CredentialType
    value: Secret


def read_secrets(data: bytes, *, prefix: str = "", type: CredentialType | None = None) -> tuple[list[Found], int]:
    """The secrets of a file, and how many of its entries are empty and were left out.

    Args:
        data: The file.
        prefix: Comes before each name.
        type: Of all of them; else what each looks like.

    Raises:
        InvalidInput: It can't be read, or a name can't be made of a key, or two keys make the same one.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("The file is not UTF-8 text.", hint="Convert it first.") from None
    pairs = list(_of_json(text) if text.lstrip()[:1] in ("{", "[") else _of_dotenv(text))
    if len(pairs) > _MOST:
        raise InvalidInput(f"The file has more than {_MOST} entries.", hint="Import a part of it at a time.")
    keys: dict[str, str] = {}
    found = []
    for key, value in pairs:
        name = _name(prefix, key)
        if name in keys:
            raise InvalidInput(
                f"{_said(keys[name])} and {_said(key)} would both be {name!r}.",
                hint="Rename one of them, or import them from two files with --prefix.",
            )
        keys[name] = key
        if value:
            found.append(Found(key, name, type or guess_type(name, value), Secret(value)))
    if not pairs:
        raise InvalidInput("There are no secrets in the file.", hint="See vaultctl credential import --help.")
    return found, len(pairs) - len(found)


def guess_type(name: str, value: str) -> CredentialType:
    """The type that a value is of by its looks, and if it has none by its name."""
    if "PRIVATE KEY-----" in value or "-----BEGIN CERTIFICATE-----" in value:
        looks = [CredentialType.SSH_KEY, CredentialType.TLS_CERTIFICATE]
    elif _URL.match(value):
        looks = [CredentialType.DATABASE_URL]
    elif value.lstrip().startswith("{") or value.count(".") == 2:
        looks = [CredentialType.OAUTH_TOKEN] if _is_oauth(value) else []
    else:
        looks = []
    if _KEY_NAME.search(name) and not value.lstrip().startswith("{"):
        looks.append(CredentialType.API_KEY)
    for type in looks:
        try:
            credential_types.validate(type, credential_types.clean(type, value))
        except InvalidInput:
            continue
        return type
    return CredentialType.GENERIC_SECRET


def _is_oauth(value: str) -> bool:
    """Whether a value says of itself that it is a token: without that, any word would do for one."""
    try:
        return value.lstrip().startswith("{") or bool(credential_types.validate(CredentialType.OAUTH_TOKEN, value))
    except InvalidInput:
        return False


def _name(prefix: str, key: str) -> str:
    """``SHOPIFY_API_KEY`` is ``shopify-api-key``."""
    name = prefix + re.sub(r"[_ ]+", "-", key.strip().lower()).strip("-")
    if not is_name(name):
        raise InvalidInput(
            f"No name can be made of {_said(key)}.",
            hint="Names are 1 to 128 of a-z, 0-9, '.', '_' and '-', and start with a letter or digit.",
        )
    return name


def _said(key: str) -> str:
    """A key as an error may show it: what looks like none could be a value in the wrong place."""
    return key if _SAYABLE.fullmatch(key) else "One of the keys"


def _of_dotenv(text: str) -> Iterator[tuple[str, str]]:
    """The assignments of a dotenv file. Nothing is expanded: a ``$`` is a ``$``."""
    at = 0
    seen: set[str] = set()
    while at < len(text):
        if blank := _IGNORED.match(text, at):
            at = blank.end()
            continue
        match = _DOTENV.match(text, at)
        line = text.count("\n", 0, at) + 1
        if match is None or (match["bare"] is not None and match["bare"][:1] in ("'", '"')):
            raise InvalidInput(f"Line {line} of the file is no KEY=VALUE.", hint="Quotes must be closed.")
        if match["key"] in seen:
            raise InvalidInput(f"Line {line} of the file gives a key a second time.", hint="Remove one of the two.")
        seen.add(match["key"])
        if match["double"] is not None:
            value = re.sub(r"\\(.)", lambda it: _ESCAPES.get(it[1], it[1]), match["double"], flags=re.DOTALL)
        else:
            value = match["single"] if match["single"] is not None else match["bare"]
        yield match["key"], value
        at = match.end()


def _of_json(text: str) -> Iterator[tuple[str, str]]:
    try:
        content: Any = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise InvalidInput("The file is not JSON.", hint="It begins as JSON does, and goes on otherwise.") from None
    if isinstance(content, list):
        for item in content:
            yield from _of_object(item)
    else:
        yield from _of_object(content)


def _of_object(content: Any) -> Iterator[tuple[str, str]]:
    match content:
        case {"request_id": str(), "data": {"data": dict() as data, "metadata": dict()}}:  # HashiCorp Vault, KV 2
            yield from _of_pairs(data)
        case {"request_id": str(), "data": dict() as data}:  # KV 1
            yield from _of_pairs(data)
        case {"title": str(title), "fields": list() as fields}:  # 1Password
            for field in fields:
                match field:
                    case {"type": "CONCEALED", "label": str(label), "value": str(value)}:
                        yield f"{title}-{label}", value
        case {"key": str(key), "value": str(value)}:  # Infisical
            yield key, value
        case dict():
            yield from _of_pairs(content)
        case _:
            raise _no_texts()


def _of_pairs(content: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    for key, value in content.items():
        if not isinstance(value, str):
            raise _no_texts()
        yield str(key), value


def _no_texts() -> InvalidInput:
    return InvalidInput(
        "The JSON is no object of texts, and no export that is known.",
        hint='Make it an object of names and values: {"SHOPIFY_API_KEY": "…"}',
    )
