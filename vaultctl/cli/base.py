"""What all commands share: the global options and the form of ``--help``.

The global options stand before or after the subcommand, as people type them. They end up in an
:class:`Invocation`, which is the ``ctx.obj`` of every command.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from vaultctl.cli import output
from vaultctl.cli.invocation import Invocation
from vaultctl.cli.placeholders import CONTEXTS, TENANTS
from vaultctl.domain.errors import InvalidInput

Function = TypeVar("Function", bound=Callable[..., None])

FORMATS = ("table", "json", "jsonl", "csv")

COMMANDS = {
    "init": ("vaultctl.cli.vault_commands", "Create a vault on this machine."),
    "status": ("vaultctl.cli.vault_commands", "Where the vault is, and whether it works."),
    "doctor": ("vaultctl.cli.vault_commands", "Look for what is wrong, and say what to do."),
    "whoami": ("vaultctl.cli.vault_commands", "Who the vault takes you for, and what you reach."),
    "login": ("vaultctl.cli.login", "Keep a token for a server."),
    "logout": ("vaultctl.cli.login", "Forget the token for a server."),
    "context": ("vaultctl.cli.context", "Servers that have a name here."),
    "credential": ("vaultctl.cli.credential", "Named, typed, versioned secrets."),
    "token": ("vaultctl.cli.token", "What agents and people authenticate with."),
    "lease": ("vaultctl.cli.lease", "Time-limited access to a credential."),
    "session": ("vaultctl.cli.session", "Runs of agents."),
    "audit": ("vaultctl.cli.audit", "What happened: every access and every refusal."),
    "run": ("vaultctl.cli.run", "Run a command that has credentials in its environment."),
    "dashboard": ("vaultctl.cli.dashboard", "Live leases, renewals and refusals, in this terminal."),
    "tenant": ("vaultctl.cli.tenant", "Tenants and their settings."),
    "team": ("vaultctl.cli.team", "The people of a tenant, and what they may do."),
    "root-key": ("vaultctl.cli.root_key", "The key that all others are wrapped by, and where it is kept."),
    "backup": ("vaultctl.cli.backup", "The whole vault in one sealed file."),
    "restore": ("vaultctl.cli.backup", "A new vault from such a file."),
    "mcp": ("vaultctl.cli.mcp", "The MCP server that agents talk to."),
    "cortex": ("vaultctl.cli.cortex", "Agents, and their runs."),
    "server": ("vaultctl.cli.server", "The HTTP server of a team's vault."),
    "completion": ("vaultctl.cli.completion", "What the Tab key knows, for your shell."),
}
"""Each command, the module whose ``app`` has it, and its line in the help of the root."""


class GlobalOption(TyperOption):
    """An option that the root and every command take."""


def invocation(ctx: typer.Context) -> Invocation:
    """What the global options of this run said."""
    found = ctx.obj
    assert isinstance(found, Invocation)  # noqa: S101  # what `main` passed in
    return found


def _remember(ctx: typer.Context, param: typer.CallbackParam, value: str | bool | None) -> None:
    # An option that was not given must not undo one that was given before the subcommand.
    if not value:
        return
    if param.name == "output" and value not in FORMATS:
        raise InvalidInput("There is no such output format.", hint=f"One of: {', '.join(FORMATS)}.")
    if param.name == "database":
        from vaultctl.client.database import refuse_password

        refuse_password(str(value))
    setattr(invocation(ctx), str(param.name), value)


def looked_up(placeholder: str) -> Callable[[], list[str]]:
    """A completion of names that are looked up when they are asked for; see :mod:`vaultctl.cli.placeholders`."""
    return lambda: [placeholder]


def global_options() -> list[GlobalOption]:
    """The options that the root and every command take, made anew for each."""

    def option(
        *names: str, help: str, metavar: str | None = None, values: Callable[[], Sequence[str]] | None = None
    ) -> GlobalOption:
        return GlobalOption(
            param_decls=list(names),
            callback=_remember,
            expose_value=False,
            help=help,
            metavar=metavar,
            is_flag=metavar is None,
            default=False if metavar is None else None,
            autocompletion=(lambda *_: list(values())) if values else None,
        )

    return [
        option(
            "--tenant",
            metavar="NAME",
            help="Tenant to work in. Else VAULT_TENANT, else the one made by init.",
            values=looked_up(TENANTS),
        ),
        option(
            "--context",
            metavar="NAME",
            help="The server of that name, or embedded. Else the one in use.",
            values=looked_up(CONTEXTS),
        ),
        option("--base-url", metavar="URL", help="The server at this URL. Else VAULT_BASE_URL, else the context's."),
        option("--database", metavar="URL", help="The vault's store. Else VAULT_DATABASE_URL, else what init noted."),
        option("-o", "--output", metavar="FORMAT", help="table, json, jsonl or csv.", values=lambda: FORMATS),
        option("-q", "--quiet", help="Print only the id, name or token."),
    ]


class _Form:
    """The form of a help page: usage, text, own options, global options, examples."""

    epilog: str | None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            rest: list[str] = super().parse_args(ctx, args)  # type: ignore[misc]
        except typer.TyperException as error:
            if getattr(error, "ctx", None) is None:  # the parser does not always say where it was
                error.ctx = ctx  # type: ignore[attr-defined]
            raise
        return rest

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece.strip("{}") for piece in pieces]

    def sections(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        """Arguments and options as they are written, and what they mean."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], "Global options": []}
        for param in self.get_params(ctx):  # type: ignore[attr-defined]
            if record := param.get_help_record(ctx):
                if param.param_type_name == "argument":
                    title = "Arguments"
                else:
                    title = "Global options" if isinstance(param, GlobalOption) else "Options"
                sections[title].append(record)
        return sections

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for title, records in self.sections(ctx).items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        if self.epilog:
            with formatter.section("Examples" if "\n" in self.epilog else "Example"):
                for line in self.epilog.splitlines():
                    formatter.write(f"  {line}\n")


class Command(_Form, TyperCommand):
    """A command that takes the global options too, save where it has one of that name itself."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        super().__init__(name, **settings)
        own = {param.name for param in self.params}
        self.params = [*self.params, *(option for option in global_options() if option.name not in own)]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, and refuse arguments too many without quoting them: one could be a secret."""
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            raise InvalidInput(
                "There is an argument too many.",
                hint=f"See {ctx.command_path} --help. Secret values are never arguments.",
            )
        return rest


class Group(_Form, TyperGroup):
    """A noun. Called without a verb it prints its help."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; without arguments print the help page and be done."""
        if not args and not ctx.resilient_parsing:
            show_help(ctx)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The verbs, and the options."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb; one that is not there is not quoted, since it could be a secret in the wrong place."""
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing:
            raise InvalidInput("There is no such command.", hint=nearest(name, self.list_commands(ctx), ctx))
        return (name if command else None), command, args[1:]


def show_help(ctx: typer.Context) -> None:
    """Print the help page to stdout, and end well."""
    output.write(ctx.get_help() + "\n")
    raise typer.Exit


def nearest(name: str, known: Sequence[str], ctx: typer.Context) -> str:
    """The hint about a command that is not there."""
    from difflib import get_close_matches

    if found := get_close_matches(name, known):
        return "Did you mean " + " or ".join(f"{ctx.command_path} {match}" for match in found) + "?"
    return f"See {ctx.command_path} --help."


def noun(name: str, *examples: str) -> typer.Typer:
    """The Typer application of a noun, to hang verbs on with :func:`verb`."""
    return typer_app(name, COMMANDS[name][1], examples)


def plain_commands() -> typer.Typer:
    """The Typer application of commands that belong to no noun; see :func:`verb`."""
    return typer_app("", "", ())


def typer_app(name: str, help: str, examples: Sequence[str], group: type[Group] = Group) -> typer.Typer:
    """An application without Typer's own completion, markup and tracebacks."""
    app = typer.Typer(
        name=name,
        cls=group,
        help=help,
        epilog="\n".join(examples),
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        suggest_commands=False,
        subcommand_metavar="COMMAND",
    )
    app.callback()(lambda: None)  # else Typer makes an application of one command into that command
    return app


def verb(app: typer.Typer, name: str, *examples: str) -> Callable[[Function], Function]:
    """Make a function a verb of ``app``; ``examples`` are command lines that work as pasted."""
    return app.command(name, cls=Command, epilog="\n".join(examples))


def exactly_one(what: Iterable[str | bool | None], message: str, hint: str) -> None:
    """Refuse, unless exactly one of ``what`` was given.

    Raises:
        InvalidInput: None or several were.
    """
    if sum(bool(given) for given in what) != 1:
        raise InvalidInput(message, hint=hint)
