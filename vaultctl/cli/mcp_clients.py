"""``vaultctl mcp install``, ``uninstall`` and ``list``: the vault in the configuration of MCP clients."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output, placeholders
from vaultctl.cli.base import invocation, looked_up, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.invocation import Invocation
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.names import check_glob, check_name

if TYPE_CHECKING:
    from vaultctl.mcp.client_files import Change
    from vaultctl.mcp.profiles import Place

_CLIENTS = ("claude-code", "claude-desktop", "cursor", "vscode")
_SCOPES = ("project", "user")

_INSTALLED = [
    Column("client", lambda i: i.client),
    Column("file", lambda i: i.file),
    Column("server", lambda i: i.server),
    Column("profile", lambda i: i.profile),
    Column("agent", lambda i: i.agent),
    Column("tenant", lambda i: i.tenant),
    Column("token", lambda i: i.token_id),
    Column("expires", lambda i: i.expires_at),
    Column("reaches", lambda i: i.reaches or "nothing"),
    Column("kept in", lambda i: i.kept_in),
]

_LIST = [
    Column("client", lambda i: i.client),
    Column("server", lambda i: i.server),
    Column("agent", lambda i: i.agent),
    Column("state", lambda i: i.state, style=lambda i: "green" if i.state == "installed" else "red"),
    Column("profile", lambda i: i.profile, detail=1),
    Column("file", lambda i: i.file, wrap=24, detail=1),
    Column("vault", lambda i: i.vault, detail=2),
    Column("token", lambda i: i.token_id, detail=2),
]

Client = Annotated[
    str,
    opt.option(
        "--client",
        metavar="CLIENT",
        help="claude-code, claude-desktop, cursor or vscode.",
        autocompletion=lambda: list(_CLIENTS),
    ),
]
Scope = Annotated[
    str | None,
    opt.option(
        "--scope",
        metavar="SCOPE",
        help="project: the file in this directory; user: the one for all projects. Else project, where there is one.",
        autocompletion=lambda: list(_SCOPES),
    ),
]
File = Annotated[Path | None, opt.option("--path", metavar="FILE", help="The client's file, if it is another one.")]
Server = Annotated[str, opt.option("--server", metavar="NAME", help="What the server is called there; else vault.")]


def add_client_verbs(app: typer.Typer) -> None:
    """Hang the verbs on the noun ``mcp``."""
    verb(
        app,
        "install",
        "vaultctl mcp install --client claude-code --agent deploy-agent --credential 'shopify-*' --dry-run",
        "vaultctl mcp install --client claude-code --agent deploy-agent --credential 'shopify-*'",
    )(install)
    verb(app, "list", "vaultctl mcp list")(list_installed)
    verb(app, "uninstall", "vaultctl mcp uninstall --client claude-code")(uninstall)


def install(
    ctx: typer.Context,
    client: Client,
    agent: Annotated[
        str,
        opt.option(
            "--agent",
            metavar="NAME",
            help="The agent that the client is.",
            autocompletion=looked_up(placeholders.AGENTS),
        ),
    ],
    credential: Annotated[
        list[str] | None,
        opt.option(
            "--credential",
            metavar="GLOB",
            help="Credentials that it reaches. Can be repeated.",
            autocompletion=looked_up(placeholders.CREDENTIALS),
        ),
    ] = None,
    ttl: Annotated[
        Any,
        opt.option("--ttl", metavar="DURATION", help="How long its token lives; else 90d.", parser=opt.duration("TTL")),
    ] = None,
    scope: Scope = None,
    path: File = None,
    server: Server = "vault",
    profile: Annotated[
        str | None, opt.option("--profile", metavar="NAME", help="The name to keep it under; else CLIENT-AGENT.")
    ] = None,
    dry_run: Annotated[
        bool, opt.option("--dry-run", help="Show the change of the client's file, and do nothing.")
    ] = False,
) -> None:
    """Give an MCP client the vault: write its configuration, and mint a token for the agent that it is.

    The configuration holds no token. The token is kept in the OS keyring if the server can read it there when the
    client starts it, else in a file of mode 0600. Everything else in the client's file stays as it is. To install
    again rotates the token.
    """
    run = invocation(ctx)
    from vaultctl.client.location import locate
    from vaultctl.mcp import installing
    from vaultctl.mcp.clients import client_named

    known = client_named(client)
    check_name(agent, "agent")
    wanted = installing.Wanted(
        client=known,
        path=_file(client, scope, path),
        server=check_name(server, "server"),
        profile=check_name(profile or f"{client}-{agent}", "profile"),
        agent=agent,
        tenant=run.tenant_asked_for,
        credentials=None if credential is None else tuple(check_glob(glob, "credential") for glob in credential),
        ttl=ttl,
    )
    home, place = locate(), _place(run)
    if dry_run:
        _show(run, installing.plan(home, place, wanted))
        return
    made = installing.install(home, place, wanted, lambda tenant: run.open_vault(tenant=tenant))
    from vaultctl.cli.listings import InstalledClient

    token = made.token.token
    shown = InstalledClient(
        client=client,
        file=str(wanted.path),
        server=server,
        profile=wanted.profile,
        agent=agent,
        tenant=made.profile.tenant,
        token_id=token.id,
        expires_at=token.expires_at,
        reaches=made.token.reaches,
        kept_in=made.profile.kept_in,
    )
    output.one(run, shown, _INSTALLED, lambda i: i.token_id)
    run.tell(made.sentence)
    if not made.token.reaches:
        from vaultctl.cli.console import warn

        warn("The agent reaches no credential.", f"Install again with --credential GLOB, or allow agent:{agent}.")
    if place.base_url is None and _is_under_a_passphrase():
        from vaultctl.cli.console import warn

        warn(
            "The vault is under a passphrase, and a server that a client starts can't ask for it.",
            "Put it into a file of mode 0600, name that in VAULT_PASSPHRASE_FILE, and install again.",
        )
    run.tell(f"Next: {known.then}")


def list_installed(ctx: typer.Context) -> None:
    """List where the vault was installed."""
    run = invocation(ctx)
    from vaultctl.cli.listings import ListedClient
    from vaultctl.client.location import locate
    from vaultctl.mcp import profiles
    from vaultctl.mcp.client_files import has_entry
    from vaultctl.mcp.clients import client_named

    found = [
        ListedClient(
            client=installation.client,
            file=installation.path,
            server=installation.server,
            profile=profile.name,
            agent=profile.agent,
            tenant=profile.tenant,
            token_id=profile.token_id,
            vault=str(profile.place),
            kept_in=profile.kept_in,
            state="installed"
            if has_entry(client_named(installation.client), installation, profile.name)
            else "entry missing",
        )
        for profile in profiles.every(locate())
        for installation in profile.installations
    ]
    output.many(run, found, ListedClient, _LIST, lambda i: i.profile)


def uninstall(
    ctx: typer.Context,
    client: Client,
    scope: Scope = None,
    path: File = None,
    server: Server = "vault",
    dry_run: Annotated[
        bool, opt.option("--dry-run", help="Show the change of the client's file, and do nothing.")
    ] = False,
) -> None:
    """Undo an installation: take the server out of the client's file, and revoke its token.

    A file that is as install left it becomes what it was before, byte for byte; one that was edited since loses the
    server alone. The token goes with the last file that uses it, and its sessions and leases with the token.
    """
    run = invocation(ctx)
    from vaultctl.cli.listings import UninstalledClient
    from vaultctl.client.location import locate
    from vaultctl.mcp import installing
    from vaultctl.mcp.client_files import plan_uninstall
    from vaultctl.mcp.clients import client_named

    home, file = locate(), _file(client, scope, path)
    if dry_run:
        profile, installation = installing.installed(home, file, server)
        _show(run, plan_uninstall(client_named(client), installation, profile.name))
        return
    profile, change, revoked = installing.uninstall(
        home, _place(run), file, server, lambda tenant: run.open_vault(tenant=tenant)
    )
    if not change.changes:
        run.tell(f"There was no server {server!r} of ours in {file} any more.")
    elif change.after is None:
        run.tell(f"Removed {file}, which install had made.")
    else:
        run.tell(f"Took the server {server!r} out of {file}.")
    if revoked:
        run.tell(f"Revoked the token {profile.token_id} of {profile.agent}. {opt.DELIVERED}")
    else:
        run.tell(f"The token {profile.token_id} goes on: other files use the profile {profile.name}.")
    gone = UninstalledClient(
        client=client, file=str(file), server=server, profile=profile.name, token_id=profile.token_id, revoked=revoked
    )
    output.done(run, gone, profile.token_id)


def _file(client: str, scope: str | None, path: Path | None) -> Path:
    from vaultctl.mcp.clients import client_named

    if path is not None and scope is not None:
        raise InvalidInput("--path and --scope exclude each other.", hint="Name the file in one way.")
    return client_named(client).path(scope) if path is None else path.expanduser().absolute()


def _place(run: Invocation) -> "Place":
    """The vault that is meant, as a server that another program starts has to be told."""
    from vaultctl.client.database import refuse_password
    from vaultctl.client.location import locate, usable_path
    from vaultctl.mcp.profiles import Place

    server = run.server()
    if server is not None:
        return Place(base_url=server.base_url)
    database = run.database or os.environ.get("VAULT_DATABASE_URL") or None
    if database is not None:
        database = refuse_password(database) if "://" in database else str(usable_path(database))
    return Place(home=str(locate().data) if os.environ.get("VAULTCTL_HOME") else None, database=database)


def _is_under_a_passphrase() -> bool:
    """Whether the vault of this machine is, and no file says which."""
    from vaultctl.client.home import load_settings
    from vaultctl.client.location import locate

    return not os.environ.get("VAULT_PASSPHRASE_FILE") and load_settings(locate()).root_key.provider == "passphrase"


def _show(run: Invocation, change: "Change") -> None:
    if change.changes:
        output.text_block(change.diff())
    else:
        run.tell(f"{change.path} stays as it is.")
