"""The root command. A noun's module is imported when the noun is used, and not before."""

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command

from vaultctl.cli.base import COMMANDS, Group, global_options, typer_app


class Root(Group):
    """The group of all commands, listed without importing them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.params = [*self.params, *global_options()]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """All commands, in the order of a first day's use."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """The command, from its module: a noun is the whole of it, other commands are each one of several."""
        if cmd_name not in COMMANDS:
            return None
        app = import_module(COMMANDS[cmd_name][0]).app
        group: Any = get_command(app)
        return group if app.info.name == cmd_name else group.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """The commands and their lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


def _version(value: bool) -> None:
    if value:
        from vaultctl import __version__
        from vaultctl.cli import output

        output.write(f"vaultctl {__version__}\n")
        raise typer.Exit


def root() -> Any:
    """The command ``vaultctl``."""
    app = typer_app(
        "vaultctl",
        "A vault for AI agents: scoped tokens, leases that end, an audit log of every run.",
        (
            "vaultctl init",
            "vaultctl credential create shopify-api-key --type api-key",
            "vaultctl token create --agent deploy-agent --credential 'shopify-*'",
            "vaultctl audit --agent deploy-agent",
        ),
        Root,
    )

    @app.callback()
    def options(
        version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version, help="Print it.")] = False,
    ) -> None:
        """What stands before the command."""

    return get_command(app)
