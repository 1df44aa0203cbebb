"""The names that the completion of a command line offers, as far as they are known on this machine at once.

They come from the vault of this machine alone, and for its owner: nothing is unlocked, no server is asked. With a token
there are none, since they would not be what that token sees.
"""

import json
import os
from collections.abc import Mapping

from vaultctl.client import contexts, private_files
from vaultctl.client.database import named_database
from vaultctl.client.location import Home, locate
from vaultctl.domain.errors import VaultError
from vaultctl.domain.names import is_name

_LONGEST_FILE = 1_048_576


def known_names(
    kind: str,
    beginning: str,
    *,
    tenant: str | None = None,
    context: str | None = None,
    base_url: str | None = None,
    database: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> list[tuple[str, str]]:
    """Names that begin with ``beginning``, each with a word about it. Whatever goes wrong, there are none.

    Args:
        kind: contexts, profiles, or one that :func:`vaultctl.store.names.names` knows.
        beginning: How they begin.
        tenant: What ``--tenant`` says; likewise the others.
        context: The context.
        base_url: The server.
        database: The store of the vault of this machine.
        environ: The environment.
    """
    try:
        home = locate(environ=environ)
        if kind == "contexts":
            found = [contexts.EMBEDDED, *sorted(contexts.load(home).servers)]
        elif kind == "profiles":
            found = sorted(path.stem for path in home.profiles_path.glob("*.json") if is_name(path.stem))
        elif "VAULT_TOKEN" in environ or contexts.chosen_server(
            base_url=base_url, context=context, database=database, environ=environ
        ):
            return []
        else:
            noted = _settings(home)
            path = named_database(home, database, noted.get("database"), environ).path
            tenant = tenant or environ.get("VAULT_TENANT") or noted.get("tenant")
            if path is None or tenant is None:
                return []
            from vaultctl.store.names import names

            return names(path, kind, tenant, beginning)
        return [(name, "") for name in found if name.startswith(beginning)]
    except (VaultError, OSError, ValueError):
        return []


def _settings(home: Home) -> dict[str, str]:
    """What ``init`` noted, read without what decodes and judges it in earnest; empty where it can't be read."""
    try:
        with open(home.settings_path, "rb", opener=private_files.without_waiting) as file:
            noted = json.loads(file.read(_LONGEST_FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(noted, dict):
        return {}
    return {name: value for name, value in noted.items() if isinstance(value, str)}
