"""The root command. A noun's module is imported when the noun is used, and not before."""

from typing import Annotated, Any

import typer
from typer.main import get_command

from vaultctl.cli.base import Group, _global_options

COMMANDS = {
    "init": ("vaultctl.cli.vault_commands", "Create a vault on this machine."),
    "status": ("vaultctl.cli.vault_commands", "Where the vault is, and whether it works."),
    "doctor": ("vaultctl.cli.vault_commands", "Look for what is wrong, and say what to do."),
    "whoami": ("vaultctl.cli.vault_commands", "Who the vault takes you for, and what you reach."),
    "credential": ("vaultctl.cli.credential", "Named, typed, versioned secrets."),
    "token": ("vaultctl.cli.token", "What agents and people authenticate with."),
    "lease": ("vaultctl.cli.lease", "Time-limited access to a credential."),
    "session": ("vaultctl.cli.session", "Runs of agents."),
    "audit": ("vaultctl.cli.audit", "What happened: every access and every refusal."),
    "tenant": ("vaultctl.cli.tenant", "Tenants and their settings."),
    "mcp": ("vaultctl.cli.mcp", "The MCP server that agents talk to."),
}
"""Each command, the module whose ``app`` has it, and its line in the help of the root."""


class Root(Group):
    """The group of all commands, listed without importing them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.params = [*self.params, *_global_options()]

    def list_commands(self, ctx: Any) -> list[str]:
        """All commands, in the order of a first day's use."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, from its module."""
        if cmd_name not in COMMANDS:
            return None
        from importlib import import_module

        built: Any = get_command(import_module(COMMANDS[cmd_name][0]).app)
        return built.commands.get(cmd_name, built) if isinstance(built, Group) else built

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands and their lines."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])
