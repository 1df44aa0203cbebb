"""Database URLs: ``scheme://[user[:password]@]host[:port][/database][?parameters]`` (RFC 3986).

Characters that mean something in a URL must be percent-encoded in a password. Those that would make a part of the
password look like a host, a port or a database name are refused, or they would be shown.
"""

import re
from urllib.parse import unquote

from vaultctl.domain.errors import InvalidInput
from vaultctl.engine.credential_types.shape import attribute, check_one_line

_SCHEMES = frozenset(
    (
        *("postgresql", "postgres", "cockroachdb", "mysql", "mariadb", "mssql", "sqlserver", "oracle"),
        *("mongodb", "mongodb+srv", "redis", "rediss", "clickhouse", "snowflake", "amqp", "amqps"),
    )
)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+._-]*)://([^/?]*)(/[^?]*)?(?:\?(.*))?", re.DOTALL)
_DRIVER = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})))(?::([0-9]{1,5}))?", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DATABASE = re.compile(r"[\w.$-](?:[\w .$-]{0,126}[\w.$-])?")
_SECRET_PARAMETER = re.compile(r"pass|pwd|secret|token|private|api_?key|credential", re.IGNORECASE)
_SHAPE = "A database URL is scheme://user:password@host:port/database."
_ENCODE = "In the password write '@' as %40, ':' as %3A, '/' as %2F, '?' as %3F, '#' as %23 and '%' as %25."


def read(value: str) -> dict[str, str]:
    """``driver``, ``host``, ``port`` and ``database``; a list of hosts keeps its ports. No user name.

    Raises:
        InvalidInput: It is no such URL.
    """
    check_one_line(value, "database URL")
    url = _URL.fullmatch(value)
    if url is None:
        raise InvalidInput("The value is not a database URL.", hint=_SHAPE)
    scheme, authority, path, query = url[1].lower(), url[2], url[3] or "", url[4] or ""
    base, plus, driver = scheme.partition("+")
    if scheme not in _SCHEMES and not (base in _SCHEMES and plus and _DRIVER.fullmatch(driver)):
        raise InvalidInput(
            "The scheme of the database URL is not one that is known here.",
            hint=f"Known are {', '.join(sorted(_SCHEMES))}. Store anything else as generic-secret.",
        )
    if _BAD_ESCAPE.search(value):
        raise InvalidInput("The database URL has a '%' that escapes nothing.", hint=_ENCODE)
    if "#" in value or "@" in path or "@" in query:
        raise InvalidInput("The database URL has a '#', or an '@' after its host.", hint=_ENCODE)
    return {"driver": scheme} | _host_and_port(authority.rpartition("@")[2]) | _database(path)


def passwords(value: str) -> list[str]:
    """What is secret in it, as written and decoded: the password, and parameters that are named like one."""
    url = _URL.fullmatch(value)
    if url is None:
        return []
    written = [url[2].rpartition("@")[0].partition(":")[2]]
    for parameter in re.split("[&;]", url[4] or ""):
        name, _, text = parameter.partition("=")
        if _SECRET_PARAMETER.search(unquote(name)):
            written.append(text)
    return [form for text in written for form in (text, unquote(text), unquote(text.replace("+", " ")))]


def _host_and_port(text: str) -> dict[str, str]:
    hosts = [_HOST.fullmatch(host) for host in text.split(",")]
    if not text:
        raise InvalidInput("The database URL names no host.", hint=_SHAPE)
    first = hosts[0]
    if first is None or not all(host is not None and _is_possible(host) for host in hosts):
        raise InvalidInput("The host or the port of the database URL is malformed.", hint=f"{_SHAPE} {_ENCODE}")
    if len(hosts) > 1:
        return {"host": attribute(text)}
    return {"host": first[1] or first[2]} | ({"port": first[3]} if first[3] else {})


def _is_possible(host: re.Match[str]) -> bool:
    if host[3] and not 1 <= int(host[3]) <= 65_535:
        return False
    if host[1]:
        from ipaddress import IPv6Address

        try:
            IPv6Address(host[1])
        except ValueError:
            return False
        return True
    return ".." not in host[2]


def _database(path: str) -> dict[str, str]:
    name = unquote(path.removeprefix("/").partition("/")[0])
    return {"database": name} if _DATABASE.fullmatch(name) and name.isprintable() else {}
