"""``vaultctl init``, ``status``, ``doctor`` and ``whoami``: the vault as a whole."""

import os
from typing import Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, plain_commands, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.invocation import passphrase_prompt
from vaultctl.domain.errors import ExitStatus

app = plain_commands()

ROOT_KEY_PLACES = ("auto", "keyring", "file", "passphrase")

_INITIALISED = [
    Column("vault", lambda i: i.vault_id),
    Column("home", lambda i: i.home),
    Column("database", lambda i: i.database),
    Column("tenant", lambda i: i.tenant),
    Column("root key", lambda i: i.root_key),
    Column("why", lambda i: i.root_key_note),
    Column("log key", lambda i: i.verifier_key),
]

_STATUS = [
    Column("state", lambda s: s.state, style=lambda s: "green" if s.state == "ready" else "red"),
    Column("vault", lambda s: s.vault_id),
    Column("home", lambda s: s.home),
    Column("database", lambda s: s.database),
    Column("schema", lambda s: s.schema_version),
    Column("root key", lambda s: s.root_key),
    Column("default tenant", lambda s: s.default_tenant),
    Column("tenants", lambda s: s.tenants),
    Column("active sessions", lambda s: s.active_sessions),
    Column("active leases", lambda s: s.active_leases),
]

_SERVER_STATUS = [
    Column("state", lambda s: s.state, style=lambda s: "green" if s.state == "ready" else "red"),
    Column("base url", lambda s: s.base_url),
    Column("context", lambda s: s.context),
    Column("version", lambda s: s.version),
    Column("reachable", lambda s: s.reachable),
    Column("ready", lambda s: s.ready),
    Column("tenant", lambda s: s.tenant),
    Column("you", lambda s: s.identity),
    Column("role", lambda s: s.role and s.role.value),
    Column("token", lambda s: s.token),
]

_LEVELS = {"ok": "green", "fixed": "green", "warning": "yellow", "problem": "red"}

_FINDINGS = [
    Column("level", lambda f: f.level, style=lambda f: _LEVELS[f.level]),
    Column("check", lambda f: f.check),
    Column("finding", lambda f: f.message, wrap=30),
    Column("hint", lambda f: f.hint, wrap=30, detail=1),
]

_WHOAMI = [
    Column("tenant", lambda w: w.tenant),
    Column("you", lambda w: w.identity.label),
    Column("type", lambda w: w.identity.type),
    Column("role", lambda w: w.role.value),
    Column("session", lambda w: w.identity.session_id),
    Column("token", lambda w: w.token and w.token.id),
    Column("expires", lambda w: w.token and w.token.expires_at),
    Column("reaches", lambda w: w.reaches or "nothing"),
]


@verb(app, "init", "vaultctl init", "vaultctl init --tenant my-org --root-key passphrase")
def init(
    ctx: typer.Context,
    root_key: Annotated[
        str,
        opt.option(
            "--root-key",
            metavar="WHERE",
            help="Where the root key is kept: keyring, file or passphrase; auto picks the keyring if one answers.",
            autocompletion=lambda: list(ROOT_KEY_PLACES),
        ),
    ] = "auto",
) -> None:
    """Create a vault on this machine, with one tenant: --tenant, else VAULT_TENANT, else 'default'."""
    run = invocation(ctx)
    run.require_here("init creates a vault on this machine")
    from vaultctl.client.setup import initialise

    made = initialise(
        tenant=run.tenant_asked_for or "default",
        root_key=root_key,
        database=run.database,
        ask_passphrase=passphrase_prompt(confirm=True),
    )
    output.one(run, made, _INITIALISED, lambda i: i.vault_id)
    if "VAULT_TOKEN" in os.environ:
        from vaultctl.cli.console import warn

        warn(
            "VAULT_TOKEN is set, and the commands will use it, not the rights of the vault's owner.",
            "Unset VAULT_TOKEN to act as the owner.",
        )
    run.tell("Next:")
    run.tell("  vaultctl credential create shopify-api-key --type api-key")
    run.tell("  vaultctl token create --agent deploy-agent --credential 'shopify-*'")


@verb(app, "status", "vaultctl status")
def status(ctx: typer.Context) -> None:
    """Show where the vault is, and whether it works."""
    run = invocation(ctx)
    from vaultctl.cli.console import report
    from vaultctl.domain.errors import VaultUnavailable

    found: Any
    if (server := run.server()) is not None:
        from vaultctl.client.server_status import server_status

        columns = _SERVER_STATUS
        found = server_status(server, run.tenant_asked_for or server.tenant)
    else:
        from vaultctl.client.status import vault_status

        columns = _STATUS
        found = vault_status(database=run.database, ask_passphrase=passphrase_prompt())
    output.one(run, found, columns, lambda s: s.state)
    if found.state != "ready" or found.problem:
        report(VaultUnavailable(found.problem or f"The vault is {found.state}.", hint=found.hint or ""))
        # What is wrong with a vault that is ready is the token.
        raise typer.Exit(ExitStatus.UNAVAILABLE if found.state != "ready" else ExitStatus.NOT_AUTHENTICATED)


@verb(app, "doctor", "vaultctl doctor", "vaultctl doctor --fix")
def doctor(
    ctx: typer.Context,
    fix: Annotated[
        bool, opt.option("--fix", help="Mend what is safe to mend: modes of files, and what a crash left.")
    ] = False,
) -> None:
    """Look for what is wrong, or will be, and say what to do. Changes nothing without --fix.

    Exit status 6 says that there is a problem.
    """
    run = invocation(ctx)
    from vaultctl.client.findings import Finding

    mended: list[Finding] = []
    if fix:  # first: a file that others can write to is not even read
        from vaultctl.client.doctor import mend

        mended = mend(database=run.database)
    if (server := run.server()) is not None:
        from vaultctl.client.server_status import diagnose_server

        findings = list(diagnose_server(server, run.tenant_asked_for or server.tenant))
    else:
        from vaultctl.client.doctor import diagnose

        findings = diagnose(database=run.database, ask_passphrase=passphrase_prompt())
    findings = [*mended, *findings]
    output.many(run, findings, Finding, _FINDINGS, lambda f: f"{f.level} {f.check}")
    problems = sum(finding.level == "problem" for finding in findings)
    run.tell(f"{opt.count(problems, 'problem')}." if problems else "No problems.")
    if problems:
        raise typer.Exit(ExitStatus.CONFLICT)


@verb(app, "whoami", "vaultctl whoami")
def whoami(ctx: typer.Context) -> None:
    """Show who the vault takes you for, and which credentials you reach."""
    run = invocation(ctx)
    with run.vault() as vault:
        me: Any = vault.whoami()
    output.one(run, me, _WHOAMI, lambda w: w.identity.label)
