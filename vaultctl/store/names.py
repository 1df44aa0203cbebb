"""The names in a SQLite store, for the completion of a command line: at once or not at all.

Neither the engine nor a key is needed for them, and nothing is verified, since nothing is granted. What stands in the
database may have been written by others, and what is offered here ends up in a shell: text that is not plainly a name
is left out.
"""

import re
import sqlite3
import time
from pathlib import Path

_PATIENCE = 0.25
"""Seconds, after which a question has no answer."""

_MOST = 100
"""Names offered at once."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._%+@-]{0,254}", re.ASCII)
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9._%+@, -]{0,255}", re.ASCII)

_QUERIES = {
    "tenants": "SELECT tenant, '' FROM tenants WHERE tenant >= :beginning ORDER BY tenant",
    "credentials": "SELECT name, type FROM credentials WHERE tenant = :tenant AND name >= :beginning ORDER BY name",
    "people": "SELECT email, role FROM members WHERE tenant = :tenant AND email >= :beginning ORDER BY email",
    # Agents that ran, from one name in the index to the next; and those that a token was minted for lately.
    "agents": """
        WITH RECURSIVE ran(agent) AS (
            SELECT min(agent) FROM sessions WHERE tenant = :tenant AND agent >= :beginning
            UNION ALL
            SELECT (SELECT min(agent) FROM sessions WHERE tenant = :tenant AND agent > ran.agent)
            FROM ran WHERE ran.agent IS NOT NULL LIMIT 100
        )
        SELECT agent, '' FROM ran UNION
        SELECT agent, '' FROM (SELECT * FROM tokens WHERE tenant = :tenant ORDER BY created_at DESC, id DESC LIMIT 2000)
        WHERE kind = 'agent' AND agent >= :beginning
        ORDER BY agent""",
    "tokens": """
        SELECT id, coalesce(agent, email, kind)
        FROM (SELECT * FROM tokens WHERE tenant = :tenant ORDER BY created_at DESC, id DESC LIMIT 2000)
        WHERE kind IN ('agent', 'human') AND revoked_at IS NULL AND substr(id, 1, length(:beginning)) = :beginning""",
    "sessions": """
        SELECT id, agent || CASE state WHEN 'active' THEN '' ELSE ', ended' END
        FROM (SELECT * FROM sessions WHERE tenant = :tenant ORDER BY started_at DESC, id DESC LIMIT 2000)
        WHERE substr(id, 1, length(:beginning)) = :beginning""",
    "leases": """
        SELECT id, credential_name
        FROM (SELECT * FROM leases WHERE tenant = :tenant AND state = 'active'
              ORDER BY issued_at DESC, id DESC LIMIT 2000)
        WHERE substr(id, 1, length(:beginning)) = :beginning""",
}


def names(path: Path, kind: str, tenant: str, beginning: str) -> list[tuple[str, str]]:
    """Names that begin with ``beginning``, each with a word about it; none where they can't be had at once.

    Args:
        path: The database.
        kind: tenants, credentials, people, agents, tokens, sessions (newest first), or leases (the active ones).
        tenant: The tenant whose names they are.
        beginning: How they begin.
    """
    try:
        if not path.is_file():  # a pipe in its place would keep us
            return []
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_PATIENCE)
        try:
            end = time.monotonic() + _PATIENCE
            connection.set_progress_handler(lambda: time.monotonic() > end, 1000)
            connection.execute("PRAGMA trusted_schema = OFF")
            rows = connection.execute(
                f"{_QUERIES[kind]} LIMIT {_MOST}",  # both are ours
                {"tenant": tenant, "beginning": beginning},
            ).fetchall()
        finally:
            connection.close()
    except (sqlite3.Error, OSError, ValueError):
        return []
    return [
        (name, about if isinstance(about, str) and _PLAIN_TEXT.fullmatch(about) else "")
        for name, about in rows
        if isinstance(name, str) and name.startswith(beginning) and _PLAIN.fullmatch(name)
    ]
