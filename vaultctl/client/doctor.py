"""What is wrong, or about to be, with the vault of this machine and with how it is used."""

import os
from collections.abc import Callable, Iterator

from vaultctl.client import file_modes
from vaultctl.client.database import Database, named_database, open_store
from vaultctl.client.embedded import open_engine
from vaultctl.client.file_modes import mode_findings
from vaultctl.client.findings import SOON, problem
from vaultctl.client.findings import Finding as Finding
from vaultctl.client.home import Home, Settings, load_settings, locate
from vaultctl.client.ownership import provider_context
from vaultctl.client.settings_findings import outweighed_database, shadowed, token_findings
from vaultctl.crypto.root_keys import describe_root_key
from vaultctl.crypto.tokens import PREFIX, token_hash
from vaultctl.domain import requests as ask
from vaultctl.domain.errors import VaultError
from vaultctl.domain.secrets import Secret
from vaultctl.domain.times import SECOND, from_micros, rfc3339
from vaultctl.engine.authentication import Bearer
from vaultctl.engine.engine import Engine
from vaultctl.store.interface import Store
from vaultctl.store.sqlite import system_clock

_SKEW_MICROS = 60 * SECOND
_MOST_NAMED = 5

_MOVE = "Where a keyring answers: vaultctl root-key move --to keyring. Else --to passphrase."

_KEPT = {
    "keyring": "The root key is in the OS keyring, which answers.",
    "file": "The root key is in a file, and in no keyring: your other processes can read it.",
    "passphrase": "The root key is in a file, sealed under a passphrase.",
}


def diagnose(
    *,
    home: str | os.PathLike[str] | None = None,
    database: str | None = None,
    ask_passphrase: Callable[[], Secret] | None = None,
) -> list[Finding]:
    """Look at everything that can be looked at from here. Reads only; :func:`mend` mends."""
    findings = list(token_findings())
    try:
        place = locate(home)
        settings = load_settings(place)
    except VaultError as error:
        return [*findings, problem("vault", error)]
    findings.append(Finding(check="vault", level="ok", message=f"Settings are in {place.settings_path}."))
    try:
        found_at = named_database(place, database, settings.database)
        noted = named_database(place, None, settings.database, {})
    except VaultError as error:
        return [*findings, problem("database", error)]
    findings += shadowed(place, settings.tenant)
    if database is None and str(found_at) != str(noted):
        findings.append(outweighed_database(str(noted)))
    modes = list(mode_findings(place, found_at.path))
    fine = Finding(check="file modes", level="ok", message="Only you can read and write the vault's files.")
    findings += modes or [fine]
    findings += _root_key(place, settings)
    findings += _database(place, settings, database, ask_passphrase, found_at)
    findings.append(
        Finding(
            check="separation",
            level="ok",
            message="An embedded vault keeps apart agents that are confined to MCP. A process of your own user can "
            "read what you can read; agents with a shell need a vault under another user.",
        )
    )
    return findings


def mend(*, home: str | os.PathLike[str] | None = None, database: str | None = None) -> list[Finding]:
    """Mend what can be mended without a risk: modes of files, and leftovers of a crash. What was done."""
    try:
        place = locate(home)
    except VaultError:
        return []  # diagnosis says so
    try:
        path = named_database(place, database, load_settings(place).database).path
    except VaultError:
        path = None
    return list(file_modes.mend(place, path))


def _root_key(place: Home, settings: Settings) -> Iterator[Finding]:
    provider = settings.root_key.provider
    if settings.other_root_key is not None:
        yield Finding(
            check="root key",
            level="warning",
            message="A rotation or a move of the root key was interrupted, or is going on.",
            hint="The next command that opens the vault finishes or undoes it: vaultctl status",
        )
    problems = describe_root_key(settings.root_key, provider_context(place, None))
    for text in problems:
        yield Finding(check="root key", level="problem", message=text)
    if not problems:
        yield Finding(check="root key", level="ok", message=_KEPT[provider], hint=_MOVE if provider == "file" else None)


def _database(
    place: Home,
    settings: Settings,
    database: str | None,
    ask_passphrase: Callable[[], Secret] | None,
    found_at: Database,
) -> Iterator[Finding]:
    try:
        store = open_store(found_at)
    except VaultError as error:
        yield problem("database", error)
        return
    try:
        broken = store.problems()
        if broken:
            yield Finding(
                check="database",
                level="problem",
                message=f"{found_at} is damaged: {broken[0]}.",
                hint="Restore it from a backup.",
            )
        else:
            message = f"{found_at} is sound, schema {store.schema_version}."
            yield Finding(check="database", level="ok", message=message)
        for warning in store.warnings():
            what, _, hint = warning.partition(". ")
            yield Finding(check="database", level="warning", message=f"{what}.", hint=hint)
        yield _clock(store)
    except VaultError as error:
        yield problem("database", error)
        return
    finally:
        store.close()
    try:
        _, engine = open_engine(place, settings, database, ask_passphrase, mends=False)
    except VaultError as error:
        yield problem("unlock", error)
        return
    try:
        yield Finding(check="unlock", level="ok", message=f"The root key opens vault {engine.vault_id}.")
        yield from _contents(engine)
        yield from _token(engine)
    except VaultError as error:
        yield problem("contents", error)
    finally:
        engine.close()


def _clock(store: Store) -> Finding:
    clock, last = store.clock_and_last_entry()
    if clock >= last - _SKEW_MICROS:
        return Finding(check="clock", level="ok", message="The system clock is not behind the audit log.")
    return Finding(
        check="clock",
        level="problem",
        message=f"The system clock says {rfc3339(from_micros(clock))}; the last audit entry was written at "
        f"{rfc3339(from_micros(last))}. Beyond 5 minutes the vault refuses to work.",
        hint="Set the clock, for example with timedatectl set-ntp true.",
    )


def _contents(engine: Engine) -> Iterator[Finding]:
    found = engine.inspect()
    yield from _rows(found.changed, "was changed by something other than the vault", "were changed")
    yield from _rows(
        found.superseded,
        "grants what was withdrawn since, by the audit log: it was put back as it had been",
        "were put back",
    )
    for tenant in found.incomplete:
        yield Finding(
            check="contents",
            level="problem",
            message=f"Entries of the audit log of tenant {tenant!r} are missing or were added.",
            hint="Restore the database from a backup, and find out who can write to it.",
        )
    if not any(found):
        yield Finding(
            check="contents", level="ok", message="All rows that grant authority are as the vault wrote them last."
        )


def _rows(rows: list[str], what: str, of_many: str) -> Iterator[Finding]:
    for row in rows[:_MOST_NAMED]:
        yield Finding(
            check="contents",
            level="problem",
            message=f"The row {row} {what}.",
            hint="Restore the database from a backup, and find out who can write to it.",
        )
    if len(rows) > _MOST_NAMED:
        message = f"{len(rows) - _MOST_NAMED} more rows {of_many}."
        yield Finding(check="contents", level="problem", message=message)


def _token(engine: Engine) -> Iterator[Finding]:
    text = os.environ.get("VAULT_TOKEN", "")
    if not text.startswith(PREFIX):
        return
    try:
        me = engine.perform(Bearer(token_hash(Secret(text))), ask.GetSelf())
    except VaultError as error:
        yield problem("token", error)
        return
    token = me.token
    if token is not None and token.expires_at - from_micros(system_clock()) < SOON:
        yield Finding(
            check="token",
            level="warning",
            message=f"VAULT_TOKEN of {me.identity.label} expires at {token.expires_at:%Y-%m-%d %H:%M}Z.",
            hint=f"An admin can renew it: vaultctl token rotate {token.id} --ttl 90d",
        )
    else:
        yield Finding(check="token", level="ok", message=f"VAULT_TOKEN is that of {me.identity.label}.")
