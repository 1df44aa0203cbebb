"""What commands about servers and clients print: no records of a vault. Imported on use, since msgspec is not free."""

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


class InstalledClient(Record):
    """The vault in the configuration of an MCP client, as it was just put in."""

    client: str
    file: str
    server: str
    profile: str
    agent: str
    tenant: str
    token_id: str
    expires_at: datetime
    reaches: tuple[str, ...]
    kept_in: str


class ListedClient(Record):
    """The vault in the configuration of an MCP client."""

    client: str
    file: str
    server: str
    profile: str
    agent: str
    tenant: str
    token_id: str
    vault: str
    kept_in: str
    state: str
    """``installed``, or ``entry missing`` if the client's file does not have it."""


class UninstalledClient(Record):
    """The vault that was taken out of the configuration of an MCP client."""

    client: str
    file: str
    server: str
    profile: str
    token_id: str
    revoked: bool


class InstalledCompletion(Record):
    """The completions of a shell, as they are installed now."""

    shell: str
    script: str
    changed: bool
    startup_file: str | None = None
    """The file of the shell that names the script; None where it finds it by itself."""
