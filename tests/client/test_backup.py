"""A backup holds all of one moment; what is restored from it is a vault that nobody holds anything of."""

import hashlib
import io
import os
import sqlite3
import stat
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.serving import serving
from tests.vaults import new_vault
from vaultctl import Vault
from vaultctl.client.backup import VARIABLE, back_up, restore
from vaultctl.client.doctor import diagnose
from vaultctl.client.root_key import rotate_root_key, show_root_key
from vaultctl.crypto import passphrases
from vaultctl.crypto.authenticity import row_mac
from vaultctl.crypto.sealed_stream import SealedReader, SealedWriter
from vaultctl.domain.errors import (
    AlreadyExists,
    InvalidInput,
    NotAuthenticated,
    VaultLocked,
    VaultUnavailable,
    VerificationFailed,
)
from vaultctl.domain.records import LogCheckpoint
from vaultctl.domain.secrets import Secret
from vaultctl.engine import archive
from vaultctl.engine.authentication import VAULT_TENANT
from vaultctl.engine.keys import Keys
from vaultctl.ledger.checkpoint import open_checkpoint
from vaultctl.ledger.note import parse_verifier_key
from vaultctl.store.migrations import MIGRATIONS
from vaultctl.store.rows import EntryRow, KeyRow, LeaseRow, SessionRow, TokenRow
from vaultctl.store.sqlite import SqliteStore, create_database

PASSPHRASE = "a passphrase of its own"
TENANTS = ("my-org", "other-org")


@pytest.fixture(autouse=True)
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, PASSPHRASE)

    def derive(secret: Secret, salt: bytes, **_: int) -> bytes:  # sealing has tests of its own
        return hashlib.sha256(salt + secret.reveal().encode()).digest()

    monkeypatch.setattr(passphrases, "derive", derive)


def fill(home: Path) -> dict[str, Secret]:
    """Two tenants with some of everything; answers tokens that work."""
    tokens = {}
    with Vault.embedded(home=home) as owner:
        owner.tenants.create("other-org", max_lease_ttl="2h")
        tokens["operator"] = owner.tokens.create(operator=True).secret
    for tenant in TENANTS:
        with Vault.embedded(home=home, tenant=tenant) as owner:
            for n in range(30):
                owner.credentials.create(f"c-{n:02}", "generic-secret", f"value-{n}-of-{tenant}")
            owner.credentials.rotate("c-00", f"second-value-of-{tenant}")
            owner.tenants.rotate_kek(tenant)
            tokens[f"human {tenant}"] = owner.team.invite("alice@example.com", "admin").secret
            tokens[f"agent {tenant}"] = owner.tokens.create(agent="deploy", credentials=["*"]).secret
        with Vault.connect(home=home, token=tokens[f"agent {tenant}"]) as agent:
            opened = agent.sessions.open("cortex_sess_1")
            tokens[f"session {tenant}"] = opened.token
            agent.leases.create("c-01")
        with Vault.connect(home=home, token=opened.token) as run:
            run.leases.create("c-02", purpose="to be restored")
    return tokens


@pytest.fixture
def home(fast_path: Path) -> Path:
    home = fast_path / "home"
    new_vault(home)
    return home


def contents_of(home: Path, tenant: str) -> dict[str, Any]:
    """What a vault delivers and tells, but for what is handed out."""
    with Vault.embedded(home=home, tenant=tenant) as owner:
        credentials = owner.credentials.list()
        return {
            "tenant": owner.tenants.get(tenant),
            "credentials": credentials,
            "versions": [owner.credentials.versions(credential.name) for credential in credentials],
            "values": [owner.leases.create(credential.name).value.reveal() for credential in credentials],
            "team": [(member.id, member.role) for member in owner.team.list()],
        }


def entries_of(home: Path) -> dict[str, list[bytes]]:
    store = SqliteStore(home / "vault.db")
    with store.read() as tx:
        rows = tx.find(EntryRow, order="tenant, seq")
    store.close()
    return {tenant: [row.body for row in rows if row.tenant == tenant] for tenant in (VAULT_TENANT, *TENANTS)}


def checkpoint_of(home: Path, tenant: str) -> LogCheckpoint:
    with Vault.embedded(home=home, tenant=tenant) as owner:
        return owner.audit_log.checkpoint()


def test_a_checkpoint_that_was_kept_elsewhere_still_verifies_what_it_covers(home: Path, fast_path: Path) -> None:
    fill(home)
    kept = checkpoint_of(home, "my-org")
    back_up(fast_path / "backup", home=home)
    with Vault.embedded(home=home) as owner:
        owner.credentials.create("after", "generic-secret", "value-0123456789")
    beyond = checkpoint_of(home, "my-org")
    new, newest = fast_path / "new", fast_path / "newest"
    restore(fast_path / "backup", home=new, root_key="file")
    back_up(fast_path / "again", home=new)
    restore(fast_path / "again", home=newest, root_key="file")
    for restored in (new, newest):
        after = checkpoint_of(restored, "my-org")
        assert after.origin != kept.origin
        assert after.size > kept.size
        with Vault.embedded(home=restored) as owner:
            found = owner.audit_log.verify(against=[kept.note, after.note], key=kept.verifier_key)
            assert (found.verified, found.problems) == (True, ())
            assert owner._adapter._engine.inspect() == ([], [], [])  # type: ignore[attr-defined]
            with pytest.raises(VerificationFailed, match="restored with"):
                owner.audit_log.verify(against=[beyond.note])
            token = owner.tokens.create(human="auditor@example.com", role="admin").secret
    with (
        serving(cwd=fast_path, VAULTCTL_HOME=str(newest)) as server,
        Vault.connect(base_url=server.base_url, token=token) as auditor,
    ):
        found = auditor.audit_log.verify(against=[kept.note], key=kept.verifier_key)
        assert (found.verified, found.problems) == (True, ())
        with pytest.raises(VerificationFailed, match="restored with"):
            auditor.audit_log.verify(against=[beyond.note])


def test_everything_comes_back_but_what_was_handed_out(home: Path, fast_path: Path) -> None:
    tokens = fill(home)
    entries = entries_of(home)
    keys = {tenant: parse_verifier_key(checkpoint_of(home, tenant).verifier_key) for tenant in TENANTS}
    made = back_up(fast_path / "backup", home=home)
    assert stat.S_IMODE((fast_path / "backup").stat().st_mode) == 0o600
    assert (made.tenants, made.credentials) == (2, 60)
    before = {tenant: contents_of(home, tenant) for tenant in TENANTS}

    new = fast_path / "new"
    restored = restore(fast_path / "backup", home=new, root_key="file")
    assert restored.from_vault == made.vault_id != restored.vault_id
    assert show_root_key(home=new).key_id != show_root_key(home=home).key_id

    after = entries_of(new)
    for tenant, bodies in entries.items():
        kept, (new_entry,) = after[tenant][: len(bodies)], after[tenant][len(bodies) + (tenant == VAULT_TENANT) :]
        assert kept == bodies, "old entries are as they were, byte by byte"
        assert b'"vault.restored"' in new_entry
    for tenant in TENANTS:
        with Vault.embedded(home=new, tenant=tenant) as owner:
            (entry,) = owner.audit_log.query(events=["vault.restored"])
            assert entry.identity.user_id == "owner"
            assert entry.seq == len(entries[tenant])
            kept = open_checkpoint(entry.details.pop("checkpoint").encode(), keys[tenant])
            assert (kept.origin, kept.size) == (entry.details["origin"], entry.details["size"])
            assert entry.details == {
                "backup": made.id,
                "backedUpAt": entry.details["backedUpAt"],
                "origin": f"vaultctl/{made.vault_id}/{tenant}",
                "size": len(entries[tenant]),
                "lastEntryHash": hashlib.sha256(b"\0" + entries[tenant][-1]).hexdigest(),
                "tokens": 4,
                "sessions": 1,
                "leases": 2,
            }
            assert len(owner.audit_log.query(session="cortex_sess_1")) > 2
    assert {tenant: contents_of(new, tenant) for tenant in TENANTS} == before

    for holder, token in tokens.items():
        with pytest.raises(NotAuthenticated), Vault.connect(home=new, token=token) as vault:
            vault.whoami()
        with Vault.connect(home=home, token=token) as vault:
            assert vault.whoami(), holder  # the vault that was backed up goes on
    store = SqliteStore(new / "vault.db")
    with store.read() as tx:
        assert not [row for row in tx.find(TokenRow) if row.revoked_at is None]
        assert {row.state for row in tx.find(SessionRow)} == {"ended"}
        old = [row for row in tx.find(LeaseRow) if row.end_reason == "vault restored"]
        assert {row.state for row in old} == {"revoked"}
        assert len(old) == 4
    store.close()
    assert [finding for finding in diagnose(home=new) if finding.level != "ok"] == []


def test_a_backup_knows_of_itself_and_the_log_knows_of_it(home: Path, fast_path: Path) -> None:
    made = back_up(fast_path / "backup", home=home)
    with Vault.embedded(home=home, tenant=VAULT_TENANT) as owner:
        (entry,) = owner.audit_log.query(events=["vault.backed_up"])
    assert entry.details == {"backup": made.id}
    assert made.entries == 3


def test_a_backup_of_a_vault_in_use_is_of_one_moment(home: Path, fast_path: Path) -> None:
    fill(home)
    stop = threading.Event()

    def use() -> None:
        with Vault.embedded(home=home) as owner:
            while not stop.is_set():
                owner.leases.revoke(owner.leases.create("c-03").id)
                owner.tenants.rotate_kek("my-org", limit=5)

    user = threading.Thread(target=use)
    user.start()
    try:
        for number in range(4):
            back_up(fast_path / str(number), home=home)
    finally:
        stop.set()
        user.join()
    new = fast_path / "new"
    restore(fast_path / "3", home=new, root_key="file")
    assert [finding for finding in diagnose(home=new) if finding.level != "ok"] == []
    assert contents_of(new, "my-org")["values"] == contents_of(home, "my-org")["values"]


def test_nothing_is_overwritten(home: Path, fast_path: Path) -> None:
    back_up(fast_path / "backup", home=home)
    content = (fast_path / "backup").read_bytes()
    with pytest.raises(AlreadyExists):
        back_up(fast_path / "backup", home=home)
    (fast_path / "link").symlink_to(fast_path / "nowhere")
    with pytest.raises(AlreadyExists):
        back_up(fast_path / "link", home=home)
    assert (fast_path / "backup").read_bytes() == content
    before = (home / "config.json").read_bytes(), (home / "root.key").read_bytes()
    with pytest.raises(AlreadyExists):
        restore(fast_path / "backup", home=home, root_key="file")
    assert ((home / "config.json").read_bytes(), (home / "root.key").read_bytes()) == before
    assert not [path for path in fast_path.iterdir() if path.name.startswith(".")]


def damages(content: bytes) -> dict[str, bytes]:
    middle = len(content) // 2
    return {
        "cut": content[:-1],
        "cut at a chunk": content[: -(len(content) % 65_552) or None][: len(content) - 65_552],
        "changed": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "lengthened": content + b"\0",
        "no backup": b"something else",
        "empty": b"",
    }


def test_what_is_damaged_or_has_another_passphrase_makes_no_vault(
    home: Path, fast_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(home)
    back_up(fast_path / "backup", home=home)
    new = fast_path / "new"
    for what, content in damages((fast_path / "backup").read_bytes()).items():
        (fast_path / "damaged").write_bytes(content)
        with pytest.raises(VerificationFailed):
            restore(fast_path / "damaged", home=new, root_key="file")
        assert not new.exists(), what
    monkeypatch.setenv(VARIABLE, "another passphrase")
    with pytest.raises(VerificationFailed, match="passphrase"):
        restore(fast_path / "backup", home=new, root_key="file")
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(VaultLocked, match="nobody to ask"):
        restore(fast_path / "backup", home=new, root_key="file")
    os.mkfifo(fast_path / "pipe")
    for name in ("not-there", "pipe", "home"):
        with pytest.raises(InvalidInput, match="can't be read"):
            restore(fast_path / name, home=new, root_key="file", ask_backup_passphrase=lambda: Secret(PASSPHRASE))
    assert not new.exists()
    restore(fast_path / "backup", home=new, root_key="file", ask_backup_passphrase=lambda: Secret(PASSPHRASE))


def test_a_short_passphrase_seals_no_backup(home: Path, fast_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(InvalidInput):
        back_up(fast_path / "backup", home=home)
    assert not (fast_path / "backup").exists()


def rewritten(file: Path, change: Callable[[archive._Record], archive._Record | None]) -> None:
    """The same backup with other records, as somebody with its passphrase could make it."""
    reader = SealedReader(io.BytesIO(file.read_bytes()), Secret(PASSPHRASE))
    records = [changed for record in archive._records(reader.chunks()) if (changed := change(record)) is not None]
    with file.open("wb") as stream:
        writer = SealedWriter(stream, Secret(PASSPHRASE), os.urandom)
        for record in records:
            writer.write(archive._framed(record))
        writer.finish()


@pytest.mark.parametrize("version", [step.version for step in MIGRATIONS])
def test_a_backup_of_every_earlier_schema_is_restored(home: Path, fast_path: Path, version: int) -> None:
    tokens = fill(home)
    back_up(fast_path / "backup", home=home)
    create_database(fast_path / "old.db", MIGRATIONS[:version])
    connection = sqlite3.connect(fast_path / "old.db")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    known = {table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] for table in tables}
    connection.close()
    columns = archive.columns_now()
    codes: dict[str, bytes] = {}
    counted: Counter[str] = Counter()
    keys: list[Keys] = []

    def row_of_then(table: str, row: list[Any]) -> list[Any]:
        """As a vaultctl of then would have written it, which did not know the columns that came later."""
        names = [name for name in columns[table] if name in known[table]]
        values = [row[columns[table].index(name)] for name in names]
        if table == "tenant_keys" and values[1] == "mac":
            codes[values[0]] = keys[0].unwrap(KeyRow(*values))
        if names[-1] == "mac" and len(names) < len(row):
            values[-1] = row_mac(codes[values[0]], table, dict(zip(names[:-1], values, strict=False)))
        return values

    def as_of_then(record: archive._Record) -> archive._Record | None:
        match record:
            case archive._Beginning(manifest):
                keys.append(Keys(manifest.root, os.urandom))
                kept = {t: tuple(c for c in names if c in known[t]) for t, names in columns.items() if t in known}
                values = {name: getattr(manifest, name) for name in manifest.__struct_fields__}
                return archive._Beginning(archive.Manifest(**values | {"schema_version": version, "columns": kept}))
            case archive._Rows(table, rows) if table in known:
                rows = [row for row in rows if "checkpoints" in known or row[1] != "signing"]
                counted[table] += len(rows)
                return archive._Rows(table, [row_of_then(table, row) for row in rows])
            case archive._End():
                return archive._End(dict(counted))
        return None

    rewritten(fast_path / "backup", as_of_then)
    new = fast_path / "new"
    restore(fast_path / "backup", home=new, root_key="file")
    assert contents_of(new, "other-org")["values"] == contents_of(home, "other-org")["values"]
    with pytest.raises(NotAuthenticated), Vault.connect(home=new, token=tokens["agent my-org"]) as vault:
        vault.whoami()
    assert [finding for finding in diagnose(home=new) if finding.level != "ok"] == []


def test_a_backup_of_a_newer_vaultctl_says_so(home: Path, fast_path: Path) -> None:
    back_up(fast_path / "backup", home=home)

    def newer(record: archive._Record) -> archive._Record:
        if isinstance(record, archive._Beginning):
            values = {name: getattr(record.manifest, name) for name in record.manifest.__struct_fields__}
            return archive._Beginning(archive.Manifest(**values | {"schema_version": 999}))
        return record

    rewritten(fast_path / "backup", newer)
    with pytest.raises(VaultUnavailable, match="newer"):
        restore(fast_path / "backup", home=fast_path / "new", root_key="file")
    assert not (fast_path / "new").exists()


def test_a_backup_without_some_of_its_records_is_not_whole(home: Path, fast_path: Path) -> None:
    fill(home)
    back_up(fast_path / "whole", home=home)
    for left_out in ("rows", "end", "manifest"):
        (fast_path / "backup").write_bytes((fast_path / "whole").read_bytes())
        seen: list[str] = []

        def drop(record: archive._Record, left_out: str = left_out, seen: list[str] = seen) -> archive._Record | None:
            tag = str(record.__struct_config__.tag)
            seen.append(tag)
            return None if tag == left_out and seen.count(tag) == 1 else record

        rewritten(fast_path / "backup", drop)
        with pytest.raises(VerificationFailed):
            restore(fast_path / "backup", home=fast_path / "new", root_key="file")
        assert not (fast_path / "new").exists(), left_out


def test_a_backup_opens_though_the_root_key_was_rotated_since(home: Path, fast_path: Path) -> None:
    fill(home)
    back_up(fast_path / "backup", home=home)
    rotate_root_key(home=home)
    new = fast_path / "new"
    restore(fast_path / "backup", home=new, root_key="file")
    assert contents_of(new, "my-org")["values"] == contents_of(home, "my-org")["values"]


def test_a_row_that_somebody_spoiled_is_restored_as_it_was_and_grants_nothing(home: Path, fast_path: Path) -> None:
    tokens = fill(home)
    connection = sqlite3.connect(home / "vault.db")
    connection.execute("UPDATE tokens SET role = 'admin' WHERE kind = 'agent' AND tenant = 'my-org'")
    connection.commit()
    connection.close()
    back_up(fast_path / "backup", home=home)
    new = fast_path / "new"
    restore(fast_path / "backup", home=new, root_key="file")
    with pytest.raises(VerificationFailed), Vault.connect(home=new, token=tokens["agent my-org"]) as vault:
        vault.whoami()


def test_neither_a_value_nor_the_root_key_is_in_the_file_in_the_clear(home: Path, fast_path: Path) -> None:
    fill(home)
    back_up(fast_path / "backup", home=home)
    content = (fast_path / "backup").read_bytes()
    key = (home / "root.key").read_text().split()[2]
    for secret in ("value-1-of-my-org", "deploy", "c-01", key, PASSPHRASE):
        assert secret.encode() not in content


def test_a_vault_moves_from_a_file_to_postgresql_and_back(home: Path, fast_path: Path, postgres_url: str) -> None:
    fill(home)
    back_up(fast_path / "from-sqlite", home=home)
    server, again = fast_path / "server", fast_path / "again"
    restore(fast_path / "from-sqlite", home=server, database=postgres_url, root_key="file")
    with pytest.raises(AlreadyExists):
        restore(fast_path / "from-sqlite", home=fast_path / "other", database=postgres_url, root_key="file")
    assert contents_of(server, "my-org")["values"] == contents_of(home, "my-org")["values"]
    back_up(fast_path / "from-postgres", home=server)
    restore(fast_path / "from-postgres", home=again, root_key="file")
    assert contents_of(again, "other-org")["values"] == contents_of(home, "other-org")["values"]
    assert [finding for finding in diagnose(home=again) if finding.level != "ok"] == []
    with Vault.embedded(home=again) as owner:
        assert len(owner.audit_log.query(events=["vault.restored"])) == 2
