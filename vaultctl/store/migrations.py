"""The schema, as ordered migrations. Each runs once, in one transaction with the note that it ran.

After the first they add tables and columns that are NULL at first, and change indexes. A backup of an earlier schema
is restored into the newest one on the strength of that.

``BLOB`` and ``BIGINT`` are the only types besides ``TEXT`` that the statements use, so that another database needs
no more than a renaming. ``WITHOUT ROWID`` is SQLite's: the table is its primary key's index.
"""

from typing import NamedTuple


class Migration(NamedTuple):
    """One step from a schema version to the next."""

    version: int
    statements: tuple[str, ...]


_LEASES = (
    "tenant, id, credential_id, credential_name, credential_version, token_id, session_id, identity_type, agent, email,"
    " user_id, purpose, ttl, issued_at, expires_at, max_expires_at, renewed_at, renewals, state, ended_at, end_reason,"
    " delivery, redeemed_at, mac"
)

MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        1,
        (
            """CREATE TABLE vault (
                id TEXT PRIMARY KEY NOT NULL,
                created_at BIGINT NOT NULL,
                root_key_id TEXT NOT NULL,
                root_key_check BLOB NOT NULL
            )""",
            """CREATE TABLE tenants (
                tenant TEXT PRIMARY KEY NOT NULL,
                default_lease_ttl BIGINT NOT NULL,
                max_lease_ttl BIGINT NOT NULL,
                created_at BIGINT NOT NULL,
                mac BLOB NOT NULL
            )""",
            """CREATE TABLE tenant_keys (
                tenant TEXT NOT NULL,
                purpose TEXT NOT NULL,
                version BIGINT NOT NULL,
                wrapped BLOB NOT NULL,
                created_at BIGINT NOT NULL,
                PRIMARY KEY (tenant, purpose, version)
            )""",
            """CREATE TABLE credentials (
                tenant TEXT NOT NULL,
                name TEXT NOT NULL,
                id TEXT NOT NULL,
                type TEXT NOT NULL,
                state TEXT NOT NULL,
                version BIGINT NOT NULL,
                metadata TEXT NOT NULL,
                attributes TEXT NOT NULL,
                default_lease_ttl BIGINT,
                max_lease_ttl BIGINT,
                allowed_identities TEXT NOT NULL,
                delivery TEXT NOT NULL,
                created_at BIGINT NOT NULL,
                created_by TEXT NOT NULL,
                updated_at BIGINT NOT NULL,
                mac BLOB NOT NULL,
                PRIMARY KEY (tenant, name),
                UNIQUE (tenant, id)
            )""",
            """CREATE TABLE credential_versions (
                tenant TEXT NOT NULL,
                credential_id TEXT NOT NULL,
                version BIGINT NOT NULL,
                wrapped_dek BLOB NOT NULL,
                sealed_value BLOB NOT NULL,
                attributes TEXT NOT NULL,
                created_at BIGINT NOT NULL,
                created_by TEXT NOT NULL,
                restored_from BIGINT,
                mac BLOB NOT NULL,
                PRIMARY KEY (tenant, credential_id, version)
            )""",
            """CREATE TABLE tokens (
                tenant TEXT NOT NULL,
                id TEXT NOT NULL,
                hash BLOB NOT NULL UNIQUE,
                kind TEXT NOT NULL,
                role TEXT NOT NULL,
                agent TEXT,
                email TEXT,
                user_id TEXT,
                credentials TEXT NOT NULL,
                max_lease_ttl BIGINT,
                expires_at BIGINT NOT NULL,
                parent TEXT,
                session_id TEXT,
                created_at BIGINT NOT NULL,
                created_by TEXT NOT NULL,
                rotated_at BIGINT,
                revoked_at BIGINT,
                mac BLOB NOT NULL,
                PRIMARY KEY (tenant, id)
            )""",
            "CREATE INDEX tokens_by_creation ON tokens (tenant, created_at, id)",
            "CREATE INDEX tokens_by_session ON tokens (tenant, session_id) WHERE session_id IS NOT NULL",
            """CREATE TABLE sessions (
                tenant TEXT NOT NULL,
                id TEXT NOT NULL,
                agent TEXT NOT NULL,
                token_id TEXT NOT NULL,
                state TEXT NOT NULL,
                started_at BIGINT NOT NULL,
                last_seen_at BIGINT NOT NULL,
                expires_at BIGINT NOT NULL,
                ended_at BIGINT,
                end_reason TEXT,
                mac BLOB NOT NULL,
                PRIMARY KEY (tenant, id)
            )""",
            "CREATE INDEX sessions_by_start ON sessions (tenant, started_at, id)",
            "CREATE INDEX sessions_by_agent ON sessions (tenant, agent, started_at, id)",
            "CREATE INDEX sessions_by_token ON sessions (tenant, token_id) WHERE state = 'active'",
            "CREATE INDEX sessions_silent ON sessions (last_seen_at) WHERE state = 'active'",
            "CREATE INDEX sessions_expiring ON sessions (expires_at) WHERE state = 'active'",
            """CREATE TABLE leases (
                tenant TEXT NOT NULL,
                id TEXT NOT NULL,
                credential_id TEXT NOT NULL,
                credential_name TEXT NOT NULL,
                credential_version BIGINT NOT NULL,
                token_id TEXT,
                session_id TEXT,
                identity_type TEXT NOT NULL,
                agent TEXT,
                email TEXT,
                user_id TEXT,
                purpose TEXT,
                ttl BIGINT NOT NULL,
                issued_at BIGINT NOT NULL,
                expires_at BIGINT NOT NULL,
                max_expires_at BIGINT NOT NULL,
                renewed_at BIGINT,
                renewals BIGINT NOT NULL,
                state TEXT NOT NULL,
                ended_at BIGINT,
                end_reason TEXT,
                mac BLOB NOT NULL,
                PRIMARY KEY (tenant, id)
            )""",
            "CREATE INDEX leases_by_issue ON leases (tenant, issued_at, id)",
            "CREATE INDEX leases_by_agent ON leases (tenant, agent, issued_at, id)",
            "CREATE INDEX leases_by_session ON leases (tenant, session_id, issued_at, id)",
            "CREATE INDEX leases_by_credential ON leases (tenant, credential_name, issued_at, id)",
            "CREATE INDEX leases_by_token ON leases (tenant, token_id, issued_at, id)",
            "CREATE INDEX leases_by_session_value ON leases (tenant, session_id, credential_id, credential_version)",
            "CREATE INDEX leases_by_token_value ON leases (tenant, token_id, state, credential_id, credential_version)",
            "CREATE INDEX leases_active ON leases (tenant, issued_at, id) WHERE state = 'active'",
            "CREATE INDEX leases_expiring ON leases (expires_at) WHERE state = 'active'",
            """CREATE TABLE logs (
                tenant TEXT PRIMARY KEY NOT NULL,
                size BIGINT NOT NULL,
                last_time BIGINT NOT NULL
            )""",
            "CREATE INDEX logs_by_time ON logs (last_time)",
            """CREATE TABLE entries (
                tenant TEXT NOT NULL,
                seq BIGINT NOT NULL,
                time BIGINT NOT NULL,
                event TEXT NOT NULL,
                agent TEXT,
                session_id TEXT,
                credential_name TEXT,
                lease_id TEXT,
                body BLOB NOT NULL,
                PRIMARY KEY (tenant, seq)
            )""",
            "CREATE INDEX entries_by_time ON entries (tenant, time, seq)",
            "CREATE INDEX entries_by_event ON entries (tenant, event, seq)",
            "CREATE INDEX entries_by_agent ON entries (tenant, agent, seq)",
            "CREATE INDEX entries_by_session ON entries (tenant, session_id, seq)",
            "CREATE INDEX entries_by_credential ON entries (tenant, credential_name, seq)",
            "CREATE INDEX entries_by_lease ON entries (tenant, lease_id, seq)",
        ),
    ),
    Migration(
        2,
        (
            "ALTER TABLE tokens ADD COLUMN requests_per_minute BIGINT",
            """CREATE TABLE idempotency_keys (
                tenant TEXT NOT NULL,
                caller TEXT NOT NULL,
                operation TEXT NOT NULL,
                idempotency_key TEXT NOT NULL,
                body_code BLOB NOT NULL,
                made TEXT NOT NULL,
                answer BLOB,
                created_at BIGINT NOT NULL,
                mac BLOB NOT NULL,
                PRIMARY KEY (tenant, caller, operation, idempotency_key)
            )""",
            "CREATE INDEX idempotency_keys_by_creation ON idempotency_keys (created_at)",
            "CREATE INDEX idempotency_keys_sealed ON idempotency_keys (created_at) WHERE answer IS NOT NULL",
            """CREATE TABLE batches (
                node TEXT PRIMARY KEY NOT NULL,
                id TEXT NOT NULL,
                committed_at BIGINT NOT NULL
            )""",
        ),
    ),
    Migration(
        3,
        (
            "ALTER TABLE leases ADD COLUMN delivery TEXT",
            "ALTER TABLE leases ADD COLUMN redeemed_at BIGINT",
        ),
    ),
    Migration(
        4,
        (
            # A wrapped key begins with the name and the version of the key that wraps it.
            "CREATE INDEX credential_versions_by_kek ON credential_versions (tenant, wrapped_dek)",
        ),
    ),
    Migration(
        5,
        (
            """CREATE TABLE members (
                tenant TEXT NOT NULL,
                email TEXT NOT NULL,
                role TEXT NOT NULL,
                created_at BIGINT NOT NULL,
                created_by TEXT NOT NULL,
                mac BLOB NOT NULL,
                PRIMARY KEY (tenant, email)
            )""",
            "CREATE INDEX tokens_by_email ON tokens (tenant, email) WHERE email IS NOT NULL",
        ),
    ),
    Migration(
        6,
        (
            # What is NULL in a log's head is made by whoever writes to the log next.
            "ALTER TABLE logs ADD COLUMN frontier BLOB",
            "ALTER TABLE logs ADD COLUMN checkpoints BIGINT",
            "ALTER TABLE logs ADD COLUMN unsigned_entries BIGINT",
            "ALTER TABLE logs ADD COLUMN checkpoint_time BIGINT",
            "ALTER TABLE logs ADD COLUMN mac BLOB",
            """CREATE TABLE tiles (
                tenant TEXT NOT NULL,
                level BIGINT NOT NULL,
                number BIGINT NOT NULL,
                hashes BLOB NOT NULL,
                PRIMARY KEY (tenant, level, number)
            )""",
            """CREATE TABLE checkpoints (
                tenant TEXT NOT NULL,
                number BIGINT NOT NULL,
                size BIGINT NOT NULL,
                note BLOB NOT NULL,
                PRIMARY KEY (tenant, number),
                UNIQUE (tenant, size)
            )""",
        ),
    ),
    Migration(
        7,
        (
            # Whoever asks which leases were active at a moment looks back as far as the longest of them.
            "CREATE INDEX leases_by_length ON leases (tenant, credential_name, (max_expires_at - issued_at))",
        ),
    ),
    Migration(
        8,
        (
            # An id of a lease begins with the time of its issue: where leases are in order of their ids, they are in
            # order of time. A lease costs an insertion into each of its indexes, and a commit a page of each.
            "ALTER TABLE leases RENAME TO leases_before",
            """CREATE TABLE leases (
                tenant TEXT NOT NULL,
                id TEXT NOT NULL,
                credential_id TEXT NOT NULL,
                credential_name TEXT NOT NULL,
                credential_version BIGINT NOT NULL,
                token_id TEXT,
                session_id TEXT,
                identity_type TEXT NOT NULL,
                agent TEXT,
                email TEXT,
                user_id TEXT,
                purpose TEXT,
                ttl BIGINT NOT NULL,
                issued_at BIGINT NOT NULL,
                expires_at BIGINT NOT NULL,
                max_expires_at BIGINT NOT NULL,
                renewed_at BIGINT,
                renewals BIGINT NOT NULL,
                state TEXT NOT NULL,
                ended_at BIGINT,
                end_reason TEXT,
                delivery TEXT,
                redeemed_at BIGINT,
                mac BLOB NOT NULL,
                PRIMARY KEY (tenant, id)
            ) WITHOUT ROWID""",
            f"INSERT INTO leases ({_LEASES}) SELECT {_LEASES} FROM leases_before",  # noqa: S608 — our own names
            "DROP TABLE leases_before",
            "CREATE INDEX leases_by_agent ON leases (tenant, agent, id) WHERE agent IS NOT NULL",
            "CREATE INDEX leases_by_session ON leases (tenant, session_id, id) WHERE session_id IS NOT NULL",
            "CREATE INDEX leases_by_credential ON leases (tenant, credential_name, id)",
            """CREATE INDEX leases_by_session_value ON leases (tenant, session_id, credential_id, credential_version)
                WHERE session_id IS NOT NULL""",
            """CREATE INDEX leases_by_token_value ON leases (tenant, token_id, credential_id, credential_version)
                WHERE state = 'active'""",
            "CREATE INDEX leases_active ON leases (tenant, id) WHERE state = 'active'",
            "CREATE INDEX leases_expiring ON leases (expires_at, tenant, id) WHERE state = 'active'",
            # Whoever asks which leases were active at a moment looks back a day, or as far as the longest of them.
            """CREATE INDEX leases_by_length ON leases (tenant, credential_name, (max_expires_at - issued_at))
                WHERE max_expires_at - issued_at > 86400000000""",
            # Times never decrease with seq: a time is found by halving.
            "DROP INDEX entries_by_time",
            "DROP INDEX entries_by_agent",
            "DROP INDEX entries_by_session",
            "DROP INDEX entries_by_credential",
            "DROP INDEX entries_by_lease",
            "CREATE INDEX entries_by_agent ON entries (tenant, agent, seq) WHERE agent IS NOT NULL",
            "CREATE INDEX entries_by_session ON entries (tenant, session_id, seq) WHERE session_id IS NOT NULL",
            """CREATE INDEX entries_by_credential ON entries (tenant, credential_name, seq)
                WHERE credential_name IS NOT NULL""",
            "CREATE INDEX entries_by_lease ON entries (tenant, lease_id, seq) WHERE lease_id IS NOT NULL",
            "ALTER TABLE logs ADD COLUMN authority BLOB",
        ),
    ),
    Migration(
        9,
        (
            """CREATE TABLE tallies (
                tenant TEXT NOT NULL,
                aspects BIGINT NOT NULL,
                hours BIGINT NOT NULL,
                period BIGINT NOT NULL,
                agent TEXT NOT NULL,
                credential_name TEXT NOT NULL,
                event TEXT NOT NULL,
                entries BIGINT NOT NULL,
                PRIMARY KEY (tenant, aspects, hours, period, agent, credential_name, event)
            ) WITHOUT ROWID""",
            "CREATE TABLE tally_marks (tenant TEXT PRIMARY KEY NOT NULL, seq BIGINT NOT NULL)",
        ),
    ),
)
