"""What is wrong, or about to be, with the vault of this machine and with how it is used."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from vaultctl.client.database import Database, named_database, open_store
from vaultctl.client.embedded import open_engine
from vaultctl.client.findings import SOON, problem
from vaultctl.client.findings import Finding as Finding
from vaultctl.client.home import Home, Settings, load_settings, locate
from vaultctl.client.ownership import provider_context
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


def diagnose(
    *,
    home: str | os.PathLike[str] | None = None,
    database: str | None = None,
    ask_passphrase: Callable[[], Secret] | None = None,
) -> list[Finding]:
    """Look at everything that can be looked at from here. Reads only."""
    findings = list(_environment())
    try:
        place = locate(home)
        settings = load_settings(place)
    except VaultError as error:
        return [*findings, problem("vault", error)]
    findings.append(Finding(check="vault", level="ok", message=f"Settings are in {place.settings_path}."))
    try:
        found_at = named_database(place, database, settings.database)
    except VaultError as error:
        return [*findings, problem("database", error)]
    findings += _modes(place, found_at.path)
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


def _environment() -> Iterator[Finding]:
    token = os.environ.get("VAULT_TOKEN")
    if token is None:
        return
    if not token.startswith(PREFIX):
        yield Finding(
            check="token",
            level="problem",
            message="VAULT_TOKEN is empty." if not token else "VAULT_TOKEN is a token of another product.",
            hint="Unset it to act as the owner, or set a vaultctl token.",
        )


def _modes(place: Home, database: Path | None) -> Iterator[Finding]:
    files, directories = [place.settings_path], {place.data, place.config}
    if database is not None:
        files += [Path(f"{database}{end}") for end in ("", "-wal", "-shm", "-gate", "-lock")]
        directories.add(database.parent)
    wrong = [path for path in files if _mode(path) & 0o077]
    for path in wrong:
        yield Finding(
            check="file modes",
            level="problem",
            message=f"{path} is accessible to others (mode {_mode(path):04o}).",
            hint=f"chmod 600 {path}",
        )
    for directory in sorted(directories):
        if _mode(directory) & 0o022:
            wrong.append(directory)
            yield Finding(
                check="file modes",
                level="problem",
                message=f"Others can write to {directory}, and so replace what is in it.",
                hint=f"chmod go-w {directory}",
            )
    if not wrong:
        yield Finding(check="file modes", level="ok", message="Only you can read and write the vault's files.")


def _mode(path: Path) -> int:
    """The permissions of a file; 0 where there is none, or none that can be seen."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except (OSError, ValueError):
        return 0


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
        yield Finding(check="root key", level="ok", message=f"The root key is kept by: {provider}.")


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
    changed, incomplete = engine.inspect()
    for row in changed[:_MOST_NAMED]:
        yield Finding(
            check="contents",
            level="problem",
            message=f"The row {row} was changed by something other than the vault.",
            hint="Restore the database from a backup, and find out who can write to it.",
        )
    if len(changed) > _MOST_NAMED:
        message = f"{len(changed) - _MOST_NAMED} more rows were changed."
        yield Finding(check="contents", level="problem", message=message)
    for tenant in incomplete:
        yield Finding(
            check="contents",
            level="problem",
            message=f"Entries of the audit log of tenant {tenant!r} are missing or were added.",
            hint="Restore the database from a backup, and find out who can write to it.",
        )
    if not changed and not incomplete:
        yield Finding(
            check="contents", level="ok", message="All rows that grant authority are as the vault wrote them."
        )


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
