"""``vaultctl context``: servers that have a name here."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from vaultctl.cli import options as opt
from vaultctl.cli import output
from vaultctl.cli.base import invocation, noun, verb
from vaultctl.cli.columns import Column
from vaultctl.cli.confirm import confirm
from vaultctl.domain.errors import InvalidInput, VaultError

if TYPE_CHECKING:
    from vaultctl.cli.listings import ListedContext
    from vaultctl.client.contexts import Contexts

app = noun("context", "vaultctl context list")

_COLUMNS = [
    Column("name", lambda c: c.name),
    Column("in use", lambda c: "yes" if c.in_use else ""),
    Column("base url", lambda c: c.base_url),
    Column("tenant", lambda c: c.tenant, detail=1),
    Column("login", lambda c: c.login, detail=1),
]


@verb(
    app,
    "add",
    "vaultctl context add staging --base-url https://vault.example.com --tenant my-org",
    "vaultctl context add local --base-url http://127.0.0.1:8200 --use",
)
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.", show_default=False)],
    base_url: Annotated[
        str | None,
        opt.option("--base-url", metavar="URL", help="Where the server is; plain HTTP on this machine only."),
    ] = None,
    tenant: Annotated[str | None, opt.option("--tenant", metavar="NAME", help="Tenant to work in.")] = None,
    use: Annotated[bool, opt.option("--use", help="Use it from now on.")] = False,
) -> None:
    """Give a server a name."""
    run = invocation(ctx)
    url = base_url or run.base_url
    if not url:
        raise InvalidInput(
            "A context needs the base URL of its server.", hint="For example --base-url https://vault.example.com"
        )
    from vaultctl.client import contexts
    from vaultctl.client.location import locate

    added = contexts.add(locate(), name, url, tenant or run.tenant, use=use)
    if use:
        _warn_of_environment()
    output.one(run, _listed(contexts.load(locate()), added.name), _COLUMNS, lambda c: c.name)
    run.tell(f"Next: vaultctl login --context {added.name}")


@verb(app, "list", "vaultctl context list")
def list_contexts(ctx: typer.Context) -> None:
    """List the contexts. embedded is the vault of this machine."""
    run = invocation(ctx)
    from vaultctl.cli.listings import ListedContext
    from vaultctl.client import contexts
    from vaultctl.client.location import locate

    known = contexts.load(locate())
    found = [_listed(known, name) for name in (contexts.EMBEDDED, *sorted(known.servers))]
    output.many(run, found, ListedContext, _COLUMNS, lambda c: c.name)


@verb(app, "use", "vaultctl context use prod", "vaultctl context use embedded")
def use(ctx: typer.Context, name: opt.Context) -> None:
    """Use a context from now on; embedded goes back to the vault of this machine."""
    run = invocation(ctx)
    from vaultctl.client import contexts
    from vaultctl.client.location import locate

    contexts.use(locate(), name)
    _warn_of_environment()
    run.tell(f"The context {name} is in use.")
    output.done(run, _listed(contexts.load(locate()), name), name)


@verb(app, "remove", "vaultctl context remove --dry-run prod")
def remove(ctx: typer.Context, name: opt.Context, yes: opt.Yes = False, dry_run: opt.DryRun = False) -> None:
    """Forget a server, and the login that was kept for it.

    Its token goes on to authenticate until it is revoked at the server.
    """
    run = invocation(ctx)
    from vaultctl.client import contexts, logins
    from vaultctl.client.location import locate

    if name == contexts.EMBEDDED:
        raise InvalidInput(
            "The context embedded is the vault of this machine, and always there.", hint="Name another one."
        )
    known = contexts.load(locate())
    context = known.get(name)
    listed = _listed(known, name)
    shared = any(other[1:] == context[1:] for other in known.servers.values() if other is not context)
    has_login = not shared and logins.has_login(context.base_url, context.tenant)
    what = f"the context {name} of {context.base_url}{' and its login' if has_login else ''}"
    if dry_run:
        run.tell(f"Would forget {what}.")
        return
    confirm(f"Forget {what}?", yes=yes)
    contexts.remove(locate(), name)
    if has_login:
        logins.forget(context.base_url, context.tenant)
    run.tell(f"Forgot {what}.")
    if listed.in_use:
        run.tell("The vault of this machine is in use.")
    output.done(run, listed, name)


def _listed(known: "Contexts", name: str) -> "ListedContext":
    from vaultctl.cli.listings import ListedContext
    from vaultctl.client import logins
    from vaultctl.client.contexts import EMBEDDED

    if name == EMBEDDED:
        return ListedContext(name=name, in_use=known.current == name)
    context = known.get(name)
    kept_in: str | None
    try:
        login = logins.find(context.base_url, context.tenant)
        kept_in = login.kept_in if login else None
    except VaultError:
        kept_in = "damaged"
    return ListedContext(
        name=name, in_use=known.current == name, base_url=context.base_url, tenant=context.tenant, login=kept_in
    )


def _warn_of_environment() -> None:
    if os.environ.get("VAULT_BASE_URL"):
        from vaultctl.cli.console import warn

        warn("VAULT_BASE_URL is set, and outweighs the context in use.", "Unset VAULT_BASE_URL.")
