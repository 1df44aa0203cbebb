"""A secret is in the answers that are meant to carry it, and nowhere else in any form (DESIGN section 3, rule 8)."""

import base64
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.security.canaries import (
    MAKERS,
    Canary,
    Heard,
    Ran,
    api_key_like_a_name,
    bare_environment,
    encodings_of,
    forms_of,
    found_in,
    found_in_files,
    patterns_of,
    run,
    watched,
)
from tests.vaults import new_vault
from vaultctl import Vault
from vaultctl.client.doctor import diagnose
from vaultctl.client.vault import LeaseHandle
from vaultctl.domain import requests as ask
from vaultctl.domain.records import IssuedLease
from vaultctl.domain.times import parse_moment
from vaultctl.domain.wire import from_json_object, to_json_object


@pytest.fixture
def home(fast_path: Path) -> Path:
    where = fast_path / "home"
    new_vault(where)
    return where


@pytest.mark.parametrize("text", ["a", "secret", "päss wörd/+", 'quo"te\\', "x" * 50])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_what_looks_for_secrets_would_find_one(text: str, before: str) -> None:
    surrounded = (before + text * 3 + "!").encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode, lambda data: data.hex().encode(), lambda data: data):
        assert found_in(encode(surrounded), forms_of(text * 3))


# The SDK


class Life:
    """All that can happen to a secret through the SDK, and what was said meanwhile."""

    def __init__(self, home: Path, first: Canary, second: Canary) -> None:
        self.home, self.first, self.second = home, first, second
        self.heard = Heard()
        self.delivered: list[str] = []
        self.in_files: list[tuple[str, bytes]] = []

    def live(self) -> None:
        with Vault.embedded(home=self.home) as owner:
            issued = owner.tokens.create(agent="ours", credentials=["canary*"])
            stranger = owner.tokens.create(agent="other", credentials=["nothing"])
            with (
                Vault.connect(home=self.home, token=issued.secret) as agent,
                Vault.connect(home=self.home, token=stranger.secret) as other,
            ):
                opened = agent.sessions.open("mcp_sess_canary")
                with Vault.connect(home=self.home, token=opened.token) as session:
                    self._store(owner)
                    self._lease(owner, agent, session, other)
                    self._mistake(owner, session)
                    self._change(owner, session)
                    self._end(owner, agent, session)

    def _try(self, act: Callable[[], Any]) -> Any:
        answer = self.heard.attempt(act)
        if isinstance(answer, LeaseHandle):
            self.delivered.append(answer.value.reveal())
        return answer

    def _store(self, owner: Vault) -> None:
        value, type = self.first.value, self.first.type
        self._try(lambda: owner.credentials.create("canary", type, value, metadata={"note": "harmless"}))
        self._try(lambda: owner.credentials.create("canary", type, value))
        self._try(lambda: owner.credentials.create("canary-2", type, value, metadata={"note": value[:500]}))
        for secret in self.first.secrets:
            self._try(lambda secret=secret: owner.credentials.create("canary-2", type, value, metadata={"n": secret}))
            self._try(lambda secret=secret: owner.credentials.create(secret, type, value))
        for dry_run in (True, False):
            for name in ("canary", "canary-4", *self.first.secrets):
                values = {"canary-5": (type, value), name: (type, value)}
                self._try(lambda v=values, d=dry_run: owner.credentials.import_values(v, dry_run=d))
        for other_type in MAKERS:
            if other_type != "generic-secret":
                self._try(lambda t=other_type: owner.credentials.create("canary-x", t, value + "\x01" + value))

    def _lease(self, owner: Vault, agent: Vault, session: Vault, other: Vault) -> None:
        for vault in (owner, agent, session, other):
            self._try(lambda vault=vault: vault.leases.create("canary", ttl="1h", purpose="because"))
            self._try(vault.whoami)
            self._try(vault.credentials.list)
            self._try(vault.leases.list)
            self._try(vault.sessions.list)
            for lease in vault.leases.list(state="active"):
                self._try(lambda vault=vault, lease=lease: vault.leases.renew(lease.id, "2h"))
        for text in (form for secret in self.first.secrets for form in encodings_of(secret)):
            for vault in (owner, session):
                leases = vault.leases
                self._try(lambda leases=leases, text=text: leases.create("canary", purpose=f"use {text} for it"))
                self._try(lambda leases=leases, text=text: leases.create("canary", claimed={"client": text}))
                self._try(lambda leases=leases, text=text: leases.create("canary", claimed={text: "x"}))
                self._try(lambda leases=leases, text=text: leases.create(text))
            self._try(lambda text=text: agent.sessions.open(f"mcp_sess_{text}"))
            self._try(lambda text=text: agent.sessions.open(claimed={"client": text}))
            self._try(lambda text=text: session.credentials.get(text))

    def _mistake(self, owner: Vault, session: Vault) -> None:
        """The secret in every place where something else belongs."""
        for secret in self.first.secrets:
            for vault in (owner, session):
                for act in places_for_anything_else(vault, secret):
                    self._try(act)

    def _change(self, owner: Vault, session: Vault) -> None:
        for secret in (self.first.value, *self.first.secrets):
            self._try(lambda secret=secret: owner.credentials.update("canary", metadata={"note": secret[:500]}))
        self._try(lambda: owner.credentials.rotate("canary", self.second.value))
        self._try(lambda: session.leases.create("canary", purpose="the new one"))
        for secret in self.second.secrets:
            self._try(lambda secret=secret: session.leases.create("canary", purpose=secret[:500]))
        self._try(lambda: owner.credentials.rollback("canary", 1))
        self._try(lambda: owner.credentials.rollback("canary", 9))
        self._try(lambda: session.leases.create("canary", purpose="the old one again"))
        self._try(lambda: owner.credentials.versions("canary"))
        self._try(lambda: owner.credentials.get("canary"))

    def _end(self, owner: Vault, agent: Vault, session: Vault) -> None:
        self._try(lambda: session.leases.revoke_where(credential="canary"))
        self._try(lambda: owner.leases.revoke_where(agent="ours"))
        self._try(lambda: owner.credentials.revoke("canary"))
        self._try(lambda: session.leases.create("canary"))
        self._try(lambda: owner.audit_log.query(limit=None))
        self._try(lambda: session.audit_log.query(session="mcp_sess_canary"))
        self._try(lambda: agent.sessions.end("mcp_sess_canary"))
        self._try(lambda: diagnose(home=self.home))


def places_for_anything_else(vault: Vault, secret: str) -> Iterator[Callable[[], Any]]:
    """Every parameter of the SDK that takes text, one after the other, with ``secret`` in it."""
    credentials, leases, tokens, sessions = vault.credentials, vault.leases, vault.tokens, vault.sessions
    yield lambda: credentials.create("canary-3", secret, "value-0123456789")
    yield lambda: credentials.create("canary-3", "api-key", "value-0123456789", default_ttl=secret)
    yield lambda: credentials.create("canary-3", "api-key", "value-0123456789", allow=[secret])
    yield lambda: credentials.create("canary-3", "api-key", "value-0123456789", allow=[f"agent:{secret}"])
    yield lambda: credentials.create("canary-3", "api-key", "value-0123456789", delivery=secret)
    yield lambda: credentials.get(secret)
    yield lambda: credentials.update(secret, metadata={})
    yield lambda: credentials.update("canary", max_ttl=secret)
    yield lambda: credentials.update("canary", metadata={secret: "x"})
    yield lambda: credentials.rotate(secret, "value-0123456789")
    yield lambda: credentials.versions(secret)
    yield lambda: credentials.rollback(secret, 1)
    yield lambda: credentials.revoke(secret)
    yield lambda: credentials.delete(secret)
    yield lambda: leases.create(secret)
    yield lambda: leases.create("canary", ttl=secret)
    yield lambda: leases.get(secret)
    yield lambda: leases.renew(secret)
    yield lambda: leases.revoke(secret)
    yield lambda: leases.revoke_where(agent=secret)
    yield lambda: leases.list(credential=secret)
    yield lambda: leases.list(state=secret)
    yield lambda: tokens.create(agent=secret)
    yield lambda: tokens.create(human=secret, role="user")
    yield lambda: tokens.create(human="a@example.com", role=secret)
    yield lambda: tokens.create(agent="third", credentials=[secret])
    yield lambda: tokens.create(agent="third", ttl=secret)
    yield lambda: tokens.get(secret)
    yield lambda: tokens.rotate(secret)
    yield lambda: tokens.revoke(secret)
    yield lambda: sessions.open(secret)
    yield lambda: sessions.get(secret)
    yield lambda: sessions.end(secret)
    yield lambda: sessions.list(state=secret)
    yield lambda: vault.audit_log.query({secret: "x"})
    yield lambda: vault.audit_log.query({"identity.name": secret})
    yield lambda: vault.audit_log.query(events=[secret])
    yield lambda: vault.tenants.create(secret)
    yield lambda: vault.tenants.get(secret)
    yield lambda: vault.tenants.update("my-org", max_lease_ttl=secret)
    yield lambda: Vault.connect(token=secret)
    yield lambda: Vault.embedded(tenant=secret)
    yield lambda: parse_moment(secret, datetime.now(UTC))
    yield lambda: from_json_object({"credentialName": "a", secret: 1}, ask.CreateLease)
    yield lambda: from_json_object({"state": secret}, ask.ListLeases)
    yield lambda: from_json_object({"credentialName": "a", "ttl": secret}, ask.CreateLease)
    yield lambda: from_json_object({"credentialName": {secret: secret}}, ask.CreateLease)
    yield lambda: vault._adapter.perform(ask.ListLeases(cursor=secret))


_LIVED: dict[str, tuple[Life, list[bytes], str]] = {}


@pytest.fixture(params=MAKERS)
def life(
    request: pytest.FixtureRequest, home: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> tuple[Life, list[bytes], str]:
    """A secret's whole life through the SDK, all that must be found nowhere, and what was printed and logged."""
    type: str = request.param
    if type not in _LIVED:
        first, second = MAKERS[type](), MAKERS[type]()
        lived = Life(home, first, second)
        with caplog.at_level(logging.DEBUG):
            lived.live()
        patterns = sorted(patterns_of((first, second)))
        lived.in_files = found_in_files(home, patterns)
        captured = capfd.readouterr()
        _LIVED[type] = lived, patterns, captured.out + captured.err + caplog.text
    return _LIVED[type]


def test_a_secret_lives_and_dies_without_a_trace(life: tuple[Life, list[bytes], str]) -> None:
    lived, patterns, printed = life
    delivered = set(lived.delivered)
    assert delivered == {lived.first.value, lived.second.value}, "it must have been delivered, or nothing were proved"
    assert lived.in_files == []
    assert found_in(printed, patterns) == []
    assert found_in("\n".join(lived.heard.answers), patterns) == []
    assert found_in("\n".join(lived.heard.errors), patterns) == []


def test_no_exception_behind_an_error_quotes_a_secret(life: tuple[Life, list[bytes], str]) -> None:
    lived, patterns, _ = life
    assert [text for text in lived.heard.chains if found_in(text, patterns)] == []


def test_after_deletion_and_rotation_the_file_still_holds_no_secret(home: Path) -> None:
    canaries = [MAKERS["api-key"]() for _ in range(5)]
    with Vault.embedded(home=home) as owner:
        owner.credentials.create("canary", "api-key", canaries[0].value)
        for canary in canaries[1:]:
            owner.credentials.rotate("canary", canary.value)
        owner.credentials.delete("canary")
        assert found_in_files(home, patterns_of(canaries)) == []
    assert found_in_files(home, patterns_of(canaries)) == []


def test_only_the_answers_that_are_meant_to_carry_a_secret_do(home: Path) -> None:
    canary = MAKERS["api-key"]()
    patterns = patterns_of([canary])
    with Vault.embedded(home=home) as owner:
        stored = owner.credentials.create("canary", "api-key", canary.value)
        handle = owner.leases.create("canary")
        carrying: IssuedLease = handle.issued
        token = owner.tokens.create(agent="ours")
        for answer in (stored, carrying, carrying.lease, handle, token, handle.revoke(), owner.leases.list()):
            assert found_in(repr(answer) + str(answer), patterns) == []
            assert token.secret.reveal() not in repr(answer) + str(answer)
        assert canary.value in json.dumps(to_json_object(carrying))
        assert found_in(json.dumps(to_json_object(carrying.lease)), patterns) == []
        assert token.secret.reveal() in json.dumps(to_json_object(token))
        assert token.secret.reveal() not in json.dumps(to_json_object(token.token))


# A secret where a name or a note belongs

CHANNELS: dict[str, Callable[[Vault, Vault, str], object]] = {
    "purpose": lambda owner, agent, it: owner.leases.create("canary", purpose=f"use {it}"),
    "claim": lambda owner, agent, it: owner.leases.create("canary", claimed={"client": it}),
    "name of a claim": lambda owner, agent, it: owner.leases.create("canary", claimed={it: "x"}),
    "metadata of a new credential": lambda owner, agent, it: owner.credentials.create(
        "another", "api-key", "value-0123456789", metadata={"note": f"also {it}"}
    ),
    "metadata of another credential": lambda owner, agent, it: owner.credentials.update("other", metadata={"note": it}),
    "name of metadata": lambda owner, agent, it: owner.credentials.update("other", metadata={it: "x"}),
    "name of a credential": lambda owner, agent, it: owner.credentials.create(it, "api-key", "value-0123456789"),
    "name of an agent": lambda owner, agent, it: owner.tokens.create(agent=it),
    "e-mail address": lambda owner, agent, it: owner.tokens.create(human=f"{it}@example.com", role="user"),
    "glob of a token": lambda owner, agent, it: owner.tokens.create(agent="third", credentials=[f"{it}*"]),
    "allowed identity": lambda owner, agent, it: owner.credentials.update("other", allow=[f"agent:{it}"]),
    "name of a tenant": lambda owner, agent, it: owner.tenants.create(it),
    "lease by an agent": lambda owner, agent, it: agent.leases.create(it),
    "show by an agent": lambda owner, agent, it: agent.credentials.get(it),
    "versions by an agent": lambda owner, agent, it: agent.credentials.versions(it),
    "rotation by an agent": lambda owner, agent, it: agent.credentials.rotate(it, "value-0123456789"),
    "rollback by an agent": lambda owner, agent, it: agent.credentials.rollback(it, 1),
    "update by an agent": lambda owner, agent, it: agent.credentials.update(it, metadata={}),
    "change of policy by an agent": lambda owner, agent, it: agent.credentials.update(it, allow=[]),
    "revocation by an agent": lambda owner, agent, it: agent.credentials.revoke(it),
    "deletion by an agent": lambda owner, agent, it: agent.credentials.delete(it),
    "creation by an agent": lambda owner, agent, it: agent.credentials.create(it, "api-key", "value-0123456789"),
    "lease id by an agent": lambda owner, agent, it: agent.leases.renew(it),
    "session id by an agent": lambda owner, agent, it: agent.sessions.end(f"mcp_sess_{it}"),
    "tenant by an agent": lambda owner, agent, it: agent.tenants.get(it),
    "filter by an agent": lambda owner, agent, it: agent.audit_log.query(credential=it),
    "token by an agent": lambda owner, agent, it: agent.tokens.create(agent=it),
}


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_value_that_one_has_leased_is_written_down_nowhere(home: Path, channel: str) -> None:
    canary = api_key_like_a_name()
    heard = Heard()
    with Vault.embedded(home=home) as owner:
        owner.credentials.create("canary", "api-key", canary.value)
        owner.credentials.create("other", "api-key", "value-0123456789")
        token = owner.tokens.create(agent="ours", credentials=["*"])
        agent = Vault.connect(home=home, token=token.secret)
        session = Vault.connect(home=home, token=agent.sessions.open("mcp_sess_canary").token)
        for vault in (owner, session):
            vault.leases.create("canary")
        heard.attempt(lambda: CHANNELS[channel](owner, session, canary.value))
        session.close()
        agent.close()
    assert found_in_files(home, patterns_of([canary])) == []


def test_an_earlier_value_is_not_written_into_the_metadata_of_its_credential(home: Path) -> None:
    """A rollback would make it the current value."""
    first, second = MAKERS["api-key"](), MAKERS["api-key"]()
    heard = Heard()
    with Vault.embedded(home=home) as owner:
        owner.credentials.create("canary", "api-key", first.value)
        owner.credentials.rotate("canary", second.value)
        heard.attempt(lambda: owner.credentials.update("canary", metadata={"note": f"was {first.value}"}))
        heard.attempt(lambda: owner.credentials.rollback("canary", 1))
    assert found_in_files(home, patterns_of([first, second])) == []


# The command line


class Terminal:
    """Runs commands, and remembers all that must hold no secret."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.commands: list[list[str]] = []
        self.said: dict[str, str] = {}
        self.delivered: list[str] = []

    def __call__(self, *arguments: str, stdin: str = "", carries: bool = False, **environment: str) -> Ran:
        ran = run(list(arguments), home=self.home, stdin=stdin, **environment)
        self.commands.append(list(arguments))
        where = " ".join(arguments)[:120]
        self.said[f"stderr of {where}"] = ran.err
        self.said[f"ps during {where}"] = "\n".join(ran.command_lines)
        assert "Traceback" not in ran.err
        if carries:
            self.delivered.append(ran.out)
        else:
            self.said[f"stdout of {where}"] = ran.out
        return ran

    def id(self, *arguments: str, **options: Any) -> str:
        """What a command prints under ``-q``."""
        ran = self(*arguments, "-q", **options)
        assert ran.status == 0, ran.err
        return ran.out.strip()


def test_no_command_shows_a_secret_but_the_one_that_leases_it(fast_path: Path) -> None:
    first, second = MAKERS["api-key"](), MAKERS["api-key"]()
    terminal = Terminal(fast_path / "home")
    file = fast_path / "value.txt"
    file.write_text(f"{first.value}\n")

    terminal("init", "--tenant", "my-org", "--root-key", "file")
    terminal("init", "--root-key", "file")
    terminal("credential", "create", "canary", "--type", "api-key", stdin=f"{first.value}\n")
    terminal("credential", "create", "canary", "--type", "api-key", stdin=first.value)
    terminal("credential", "create", "canary-2", "--type", "database-url", stdin=first.value)
    terminal("credential", "create", "canary-3", "--type", "tls-certificate", "--from-file", str(file))
    terminal("credential", "create", "canary-4", "--type", "generic-secret", "--from-env", "VALUE", VALUE=first.value)
    terminal(
        "credential", "create", "canary-5", "--type", "oauth-token", "--from-env", "VALUE", VALUE="{" + first.value
    )
    token = terminal("token", "create", "--agent", "ours", "--credential", "canary*", "-q").out.strip()
    other = terminal("token", "create", "--agent", "other", "-q").out.strip()
    assert token.startswith("vault_token_")
    lease = terminal("lease", "create", "canary", "--purpose", "because", "-o", "json", carries=True)
    terminal("lease", "create", "canary", carries=True, VAULT_TOKEN=token)
    denied = terminal("lease", "create", "canary", VAULT_TOKEN=other)
    assert denied.status != 0
    lease_id = json.loads(lease.out)["id"]
    terminal("lease", "renew", lease_id, "--ttl", "2h")
    terminal("lease", "show", lease_id, "-o", "json")
    terminal("lease", "list", "-o", "jsonl")
    terminal("lease", "revoke", lease_id, "--dry-run")
    terminal("lease", "revoke", lease_id, "--yes")
    assert terminal("run", "--credential", "KEY=canary", "--redact", "--", "env").status == 0
    terminal("run", "--credential", "KEY=canary", "--", "env", carries=True, VAULT_TOKEN=token)
    terminal("run", "--credential", f"KEY={first.value.upper()}", "--", "env")
    client = ("--client", "cursor", "--path", str(terminal.home / "mcp.json"))
    assert terminal("mcp", "install", *client, "--agent", "ours", "--credential", "canary*").status == 0
    assert terminal("mcp", "list").status == 0
    assert terminal("mcp", "uninstall", *client).status == 0
    terminal("credential", "list")
    terminal("credential", "show", "canary")
    terminal("credential", "update", "canary", "--metadata", "owner=me", "--max-ttl", "4h")
    terminal("credential", "rotate", "canary", stdin=second.value)
    terminal("credential", "rollback", "canary", "--to", "1")
    terminal("credential", "versions", "canary", "-o", "json")
    terminal("whoami", VAULT_TOKEN=token)
    terminal("status")
    terminal("doctor")
    token_id = terminal.id("token", "list").split()[0]
    terminal("token", "show", token_id, "-o", "json")
    terminal("token", "rotate", token_id)
    terminal("session", "list")
    with Vault.connect(home=terminal.home, token=token) as agent:
        agent.sessions.open("mcp_sess_canary")
    terminal("session", "show", "mcp_sess_canary")
    terminal("session", "end", "mcp_sess_canary", "--yes")
    terminal("tenant", "create", "second")
    terminal("tenant", "list")
    terminal("tenant", "show", "second", "-o", "json")
    terminal("tenant", "set", "second", "--max-lease-ttl", "8h")
    for form in ("table", "json"):
        terminal("audit", "--limit", "0", "-o", form)
    (fast_path / ".env").write_text(f"CANARY={second.value}\nCANARY_6='{first.value}'\n")
    terminal("credential", "import", str(fast_path / ".env"), "--dry-run")
    terminal("credential", "import", str(fast_path / ".env"), "--yes", "-o", "json")
    terminal("credential", "import", str(file), "--yes")
    terminal("team", "invite", "alice@example.com", "--role", "user")
    terminal("team", "list")
    terminal("team", "role", "alice@example.com", "manager")
    terminal("team", "remove", "alice@example.com", "--yes")
    terminal("tenant", "rotate-kek")
    terminal("root-key", "show")
    terminal("root-key", "rotate", "--yes")
    terminal("root-key", "move", "--to", "file", "--yes")
    terminal("audit", "checkpoint")
    terminal("audit", "verify")
    terminal("audit", "export", "-o", "jsonl")
    terminal("audit", "stats", "--by", "credential")
    terminal("completion", "show", "bash")
    terminal("completion", "install", "--shell", "bash", "--dry-run")
    terminal("cortex", "run", str(file), "--task", "look")
    sealed = str(fast_path / "sealed")
    terminal("backup", sealed, VAULT_BACKUP_PASSPHRASE=first.value)
    terminal("restore", sealed, VAULT_BACKUP_PASSPHRASE=second.value)
    terminal("restore", sealed, VAULT_BACKUP_PASSPHRASE=first.value)
    nowhere = ("--base-url", "http://127.0.0.1:1")
    terminal("context", "add", "nowhere", *nowhere)
    terminal("context", "list", "-o", "json")
    terminal("audit", "watch", "--state", str(fast_path / "witness"), "--once", *nowhere)
    terminal("context", "use", "embedded")
    terminal("login", "--token-stdin", *nowhere, stdin=f"{first.value}\n")
    terminal("logout", *nowhere)
    terminal("context", "remove", "nowhere", "--yes")
    terminal("server", "start", "--tls-cert", str(file), "--tls-key", str(file))
    terminal("dashboard")
    terminal("token", "revoke", token_id, "--yes")
    terminal("credential", "revoke", "canary-4", "--yes")
    terminal("credential", "delete", "canary", "--yes")

    assert all(first.value in out for out in terminal.delivered)
    assert every_command() <= {path for argv in terminal.commands for path in (argv[0], " ".join(argv[:2]))}
    patterns = patterns_of((first, second))
    assert {where: found for where, text in terminal.said.items() if (found := found_in(text, patterns))} == {}
    assert found_in_files(terminal.home, patterns) == []


def every_command() -> set[str]:
    """``credential create`` and so on, so that a new command can't be forgotten. ``mcp`` has a test of its own."""
    import typer
    from typer.core import TyperGroup

    from vaultctl.cli.app import root
    from vaultctl.cli.base import Invocation

    found = set()
    with root().make_context("vaultctl", [], obj=Invocation(), resilient_parsing=True) as ctx:
        group = ctx.command
        assert isinstance(group, TyperGroup)
        for noun in group.list_commands(ctx):
            command = group.get_command(ctx, noun)
            if isinstance(command, TyperGroup):
                inner = typer.Context(command, parent=ctx)
                found |= {f"{noun} {verb}" for verb in command.list_commands(inner)}
            else:
                found.add(noun)
    return {path for path in found if not path.startswith("mcp ")}


def test_a_secret_in_the_wrong_place_of_a_command_is_not_repeated(home: Path) -> None:
    """What a person typed is in the argument list, and that is theirs; nothing of ours says it again."""
    canary = MAKERS["api-key"]()
    it, patterns = canary.value, patterns_of([canary])
    environment = {"VAULT_LOG_LEVEL": "debug"}
    for arguments in (
        ["credential", "create", "x", "--type", it],
        ["credential", "create", "x", "--type", "api-key", "--metadata", it],
        ["credential", "create", "x", "--type", "api-key", "--max-ttl", it],
        ["credential", "update", "x", "--allow", it],
        ["lease", "create", it],
        ["lease", "list", "--state", it],
        ["audit", "--since", it],
        ["audit", "--filter", f"{it}=x"],
        ["token", "create", "--human", it, "--role", "user"],
        ["--tenant", it, "whoami"],
    ):
        ran = run(arguments, home=home, stdin="value-0123456789", **environment)
        assert ran.status != 0
        assert found_in(ran.out + ran.err, patterns) == [], arguments[:-1]
    for variable in ("VAULT_TOKEN", "VAULT_TENANT", "VAULT_LOG_LEVEL"):
        ran = run(["whoami"], home=home, **environment | {variable: it})
        assert found_in(ran.out + ran.err, patterns) == [], variable
    assert found_in_files(home, patterns) == []


# The MCP server


def test_the_mcp_server_shows_a_secret_to_the_model_that_asked_for_it_and_to_nobody_else(home: Path) -> None:
    canary, kept = MAKERS["api-key"](), MAKERS["generic-secret"]()
    it, patterns = canary.value, sorted(patterns_of([canary, kept]))
    with Vault.embedded(home=home) as owner:
        owner.credentials.create("canary", "api-key", it)
        owner.credentials.create("canary-kept", "generic-secret", kept.value, delivery="reference")
        token = owner.tokens.create(agent="ours", credentials=["canary*"]).secret.reveal()
    errors = home.parent / "stderr"
    with open(errors, "wb") as stderr:
        server = subprocess.Popen(
            [sys.executable, "-m", "vaultctl", "mcp", "serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=bare_environment(home) | {"VAULT_TOKEN": token, "VAULT_LOG_LEVEL": "debug"},
            cwd=home.parent,
            text=True,
        )
    assert server.stdin is not None
    assert server.stdout is not None
    ids = iter(range(1000))

    def request(method: str, **params: Any) -> str:
        assert server.stdin is not None
        assert server.stdout is not None
        message = {"jsonrpc": "2.0", "id": next(ids), "method": method, "params": params}
        server.stdin.write(json.dumps(message) + "\n")
        server.stdin.flush()
        return server.stdout.readline()

    def call(tool: str, **arguments: Any) -> str:
        return request("tools/call", name=tool, arguments=arguments)

    with watched(server.pid) as command_lines:
        request(
            "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "canary", "version": "1"}
        )
        server.stdin.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        carried = call("vault_get_credential", name="canary", purpose="because")
        lease = json.loads(carried)["result"]["structuredContent"]["leaseId"]
        said = [
            call("vault_get_credential", name="canary", purpose=f"because of {it}"),
            call("vault_get_credential", name=it, purpose="because"),
            call("vault_get_credential", name="canary", purpose="because", ttl=it),
            call("vault_get_credential", name="canary", purpose="because", responseFormat=it),
            call("vault_get_credential", name="canary", purpose={"text": it}),
            call("vault_get_credential", **{"name": "canary", "purpose": "because", it: it}),
            call("vault_get_credential", name="canary-kept", purpose="because"),
            call("vault_get_credential", name="canary-kept", purpose="because", responseFormat="value"),
            call("vault_get_credential", name="canary-kept", purpose=f"because of {kept.secrets[1]}"),
            call("vault_get_credential", name="canary", purpose="because", responseFormat="reference"),
            call("vault_list_credentials"),
            call("vault_list_credentials", filter=it),
            call("vault_renew_lease", leaseId=lease),
            call("vault_renew_lease", leaseId=it),
            call("vault_revoke_lease", leaseId=it),
            call("vault_revoke_lease", leaseId=lease),
            call(it),
            request(it),
            request("tools/list"),
        ]
        server.stdin.close()
        server.wait(15)
    server.stdout.close()
    assert it in json.loads(carried)["result"]["structuredContent"]["value"]
    assert [text for text in said if found_in(text, patterns)] == []
    assert found_in(errors.read_bytes(), patterns) == []
    assert found_in("\n".join(command_lines), [*patterns, token.encode()]) == []
    assert found_in_files(home, patterns) == []
    assert found_in_files(home, [token.encode()]) == []
