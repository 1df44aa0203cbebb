"""What commands about servers print: records that are not a vault's own. Imported on use, since msgspec is not free."""

from datetime import datetime

from vaultctl.domain.records import Record, Role


class ListedContext(Record):
    """A context: a server that has a name here, or the vault of this machine."""

    name: str
    in_use: bool
    base_url: str | None = None
    tenant: str | None = None
    login: str | None = None
    """Where its token is kept: keyring or file; damaged where that can't be read."""


class LoggedIn(Record):
    """A login that was just made."""

    base_url: str
    tenant: str
    identity: str
    role: Role
    kept_in: str
    context: str | None = None
    token_id: str | None = None
    expires_at: datetime | None = None
