"""MCP clients that ``mcp install`` knows: where each has its configuration, and in which form.

As their makers document it: Claude Code (``.mcp.json`` of a project, ``~/.claude.json``), Claude Desktop
(``claude_desktop_config.json``), Cursor (``.cursor/mcp.json``, of a project or in the home directory), VS Code
(``.vscode/mcp.json``, or ``mcp.json`` of the user; its servers are under ``servers``).
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vaultctl.domain.errors import InvalidInput

SCOPES = ("project", "user")


class Client(NamedTuple):
    """One MCP client.

    Attributes:
        name: What it is called here.
        title: What its makers call it.
        container: The member of its file that has the servers.
        says_type: Whether an entry says how the server is spoken to.
        in_project: Its file in a project's directory; None if projects have none.
        in_home: Its file in the home directory on Linux, where ``~/.config`` gives way to ``XDG_CONFIG_HOME``.
        in_home_on_macos: Its file in the home directory on macOS.
        then: What to do so that it sees a change.
    """

    name: str
    title: str
    container: str
    says_type: bool
    in_project: str | None
    in_home: str
    in_home_on_macos: str
    then: str

    def path(self, scope: str | None) -> Path:
        """Its file: of the project in the working directory, or of the user.

        Raises:
            InvalidInput: It has none of that scope.
        """
        scope = scope or ("project" if self.in_project else "user")
        if scope not in SCOPES:
            raise InvalidInput("There is no such scope.", hint=f"One of: {', '.join(SCOPES)}.")
        if scope == "user":
            return self._in_home()
        if self.in_project is None:
            raise InvalidInput(f"{self.title} has no configuration of a project.", hint="Leave --scope out.")
        return Path.cwd() / self.in_project

    def entry(self, command: list[str], env: Mapping[str, str]) -> dict[str, Any]:
        """A server's entry in its file."""
        entry: dict[str, Any] = {"type": "stdio"} if self.says_type else {}
        entry |= {"command": command[0], "args": command[1:]}
        return entry | ({"env": dict(env)} if env else {})

    def _in_home(self) -> Path:
        home = Path.home()
        if sys.platform == "darwin":
            return home / self.in_home_on_macos
        configured = os.environ.get("XDG_CONFIG_HOME")
        inside = self.in_home.removeprefix(".config/")
        return Path(configured) / inside if configured and inside != self.in_home else home / self.in_home


CLIENTS = {
    client.name: client
    for client in (
        Client(
            "claude-code",
            "Claude Code",
            "mcpServers",
            True,
            ".mcp.json",
            ".claude.json",
            ".claude.json",
            "Start Claude Code anew in this project, and approve the server when it asks.",
        ),
        Client(
            "claude-desktop",
            "Claude Desktop",
            "mcpServers",
            False,
            None,
            ".config/Claude/claude_desktop_config.json",
            "Library/Application Support/Claude/claude_desktop_config.json",
            "Quit Claude Desktop and start it anew.",
        ),
        Client(
            "cursor",
            "Cursor",
            "mcpServers",
            True,
            ".cursor/mcp.json",
            ".cursor/mcp.json",
            ".cursor/mcp.json",
            "Switch the server on in Cursor's settings, under MCP.",
        ),
        Client(
            "vscode",
            "VS Code",
            "servers",
            True,
            ".vscode/mcp.json",
            ".config/Code/User/mcp.json",
            "Library/Application Support/Code/User/mcp.json",
            "Start the server in VS Code: MCP: List Servers.",
        ),
    )
}


def client_named(name: str) -> Client:
    """The client ``name``.

    Raises:
        InvalidInput: There is none.
    """
    if name not in CLIENTS:
        raise InvalidInput("There is no such MCP client.", hint=f"One of: {', '.join(CLIENTS)}.")
    return CLIENTS[name]
