"""What state the vault of this machine is in, without acting on it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from vaultctl.client.database import Database, named_database
from vaultctl.client.embedded import open_engine
from vaultctl.client.home import Home, load_settings, locate
from vaultctl.client.ownership import require_no_server
from vaultctl.domain.errors import VaultError
from vaultctl.domain.records import LeaseState, Record, SessionState
from vaultctl.domain.secrets import Secret
from vaultctl.engine.authentication import VAULT_TENANT
from vaultctl.store.interface import Where
from vaultctl.store.rows import LeaseRow, SessionRow, TenantRow


class VaultStatus(Record):
    """The state of an embedded vault. What can't be known while it is not ready is left out."""

    state: Literal["ready", "missing", "locked", "unavailable"]
    home: str
    database: str
    problem: str | None = None
    hint: str | None = None
    vault_id: str | None = None
    schema_version: int | None = None
    root_key: str | None = None
    default_tenant: str | None = None
    tenants: int | None = None
    active_leases: int | None = None
    active_sessions: int | None = None


def vault_status(
    *,
    home: str | os.PathLike[str] | None = None,
    database: str | None = None,
    ask_passphrase: Callable[[], Secret] | None = None,
) -> VaultStatus:
    """The state of the vault in ``home``; a vault that is missing or locked is a state, not an error."""
    require_no_server()
    settings = None
    place, found_at = Home(Path(home or ""), Path(home or "")), Database(Path("vault.db"))
    try:
        place = locate(home)
        found_at = Database(place.data / "vault.db")
        settings = load_settings(place)
        found_at = named_database(place, database, settings.database)
        store, engine = open_engine(place, settings, database, ask_passphrase)
    except VaultError as error:
        state = {"vault_missing": "missing", "vault_locked": "locked"}.get(error.code, "unavailable")
        return VaultStatus(
            state=state,  # type: ignore[arg-type]
            home=str(place.data),
            database=str(found_at),
            problem=error.message,
            hint=error.hint or None,
            root_key=None if settings is None else settings.root_key.provider,
            default_tenant=None if settings is None else settings.tenant,
        )
    try:
        with store.read() as tx:
            return VaultStatus(
                state="ready",
                home=str(place.data),
                database=str(found_at),
                vault_id=engine.vault_id,
                schema_version=store.schema_version,
                root_key=settings.root_key.provider,
                default_tenant=settings.tenant,
                tenants=tx.count(TenantRow, Where("tenant", "!=", VAULT_TENANT)),
                active_leases=tx.count(
                    LeaseRow, Where("state", "=", LeaseState.ACTIVE.value), Where("expires_at", ">", tx.now)
                ),
                active_sessions=tx.count(SessionRow, Where("state", "=", SessionState.ACTIVE.value)),
            )
    finally:
        engine.close()
