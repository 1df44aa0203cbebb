"""Which database holds the vault of this machine: a SQLite file, or one on a PostgreSQL server."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vaultctl.client.location import Home, usable_path
from vaultctl.domain.errors import InvalidInput, VaultUnavailable

if TYPE_CHECKING:
    from vaultctl.store.interface import Store

_DATABASE_FILE = "vault.db"
_POSTGRES = ("postgresql", "postgres")
_SECRETS = ("password", "sslpassword")
_KEYWORDS = re.compile(r"\s*(host|hostaddr|port|dbname|user|password|service)\s*=")
"""How a connection string begins that is no URL. It is no file either, and may hold a password."""
_HOST = r"(?:\[[^\]@/?#]*\]|[^\[\]:,@/?#]*)(?::[0-9]*)?"
_URL = rf"""(?P<scheme>postgres(?:ql)?)://
    (?:(?P<user>[^:@/]*)(?::[^@/]*)?(?P<at>@))?
    (?P<place>{_HOST}(?:,{_HOST})*(?:/[^?@#]*)?)
    (?:\?(?P<query>.*))?""".replace("\n    ", "")
"""It is compiled where there is a URL: that takes longer than to open a file."""


class Database(NamedTuple):
    """A place for a vault: either a ``path`` or a ``url``.

    Its ``str`` is what may be shown and noted: the URL comes without its password.
    """

    path: Path | None = None
    url: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.url is None else _without_password(self.url)

    def __repr__(self) -> str:
        return f"Database({self})"


def named_database(
    home: Home, database: str | None, noted: str | None, environ: Mapping[str, str] = os.environ
) -> Database:
    """The vault's database: as named, else ``VAULT_DATABASE_URL``, else as noted, else the usual file.

    Raises:
        InvalidInput: It names a kind of store that there is not.
    """
    text = database or environ.get("VAULT_DATABASE_URL") or noted
    if not text:
        return Database(home.data / _DATABASE_FILE)
    scheme, separator, rest = text.partition("://")
    if separator and scheme in _POSTGRES and re.fullmatch(_URL, text):
        return Database(url=text)
    if not separator and not re.match(r"(postgres(ql)?|sqlite):", text) and not _KEYWORDS.match(text):
        return Database(usable_path(text))
    if scheme == "sqlite" and rest.startswith("/"):
        return Database(usable_path(rest[1:] if rest.startswith("//") else rest))
    raise _neither()


def refuse_password(text: str) -> str:
    """``text`` itself, unless it is a URL with a password: what stands on a command line, others can read.

    Raises:
        InvalidInput: There is a password in it, or it can't be read.
    """
    if text.partition("://")[0] not in _POSTGRES:
        return text
    if not re.fullmatch(_URL, text):
        raise _neither()
    if _without_password(text) != text:
        raise InvalidInput(
            "The database's URL has a password in it, which others can read on the command line.",
            hint="Use PGPASSWORD, ~/.pgpass, or name the whole URL in VAULT_DATABASE_URL.",
        )
    return text


def open_store(database: Database) -> "Store":
    """The store of a database that holds a vault.

    Raises:
        VaultMissing: It holds none.
        VaultUnavailable: It can't be used, or what speaks to PostgreSQL is not installed.
    """
    if database.path is not None:
        from vaultctl.store.sqlite import SqliteStore

        return SqliteStore(database.path)
    require_postgres()
    from vaultctl.store.postgres import PostgresStore

    return PostgresStore(database.url or "")


def require_postgres() -> None:
    """Raise VaultUnavailable if what speaks to PostgreSQL is not installed."""
    from importlib.util import find_spec

    if find_spec("psycopg") is None:
        raise VaultUnavailable(
            "The vault's database is on PostgreSQL, and the package that speaks to it is not installed.",
            hint="pip install 'vaultctl[postgres]'",
        )


def _neither() -> InvalidInput:
    return InvalidInput(
        "The database is neither a file nor sqlite:///PATH nor postgresql://HOST/NAME.",
        hint="For example ~/vault.db, or postgresql://vault@db.example.com/vault.",
    )


def _without_password(url: str) -> str:
    """The URL as libpq reads it, in which ``?`` and ``#`` mean nothing before the ``@``."""
    from urllib.parse import unquote

    parts = re.fullmatch(_URL, url)
    if parts is None:
        return "postgresql://…"
    user, at, place, query = parts.group("user", "at", "place", "query")
    named = [part for part in (query or "").split("&") if unquote(part.partition("=")[0]) not in _SECRETS]
    kept = "?" + "&".join(named) if query is not None and any(named) else ""
    return f"{parts['scheme']}://{user or ''}{at or ''}{place}{kept}"
