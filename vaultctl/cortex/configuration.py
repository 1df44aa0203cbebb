"""What an agent is: its configuration, checked, from Python or from the guide's JSON.

The JSON is camelCase and may name environment variables as ``${VAR}``. It is strict: a key that is not known is a
mistake, and more likely one about security than about taste. Errors name keys and variables, never what they hold.
"""

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput
from vaultctl.domain.names import check_name

DEFAULT_TOOL_TIMEOUT = Duration(minutes=5)
DEFAULT_MAX_REQUESTS = 200

VAULT = "vault"
"""The name that the guide gives to the vault's server."""

_LONGEST_FILE = 1_048_576
_SERVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", re.ASCII)
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)

_KEYS = {
    "name": "name",
    "systemPrompt": "system_prompt",
    "model": "model",
    "mcpServers": "mcp_servers",
    "referenceTools": "reference_tools",
    "toolTimeout": "tool_timeout",
    "maxRequests": "max_requests",
}
"""The keys of the JSON, and the parameters of :class:`~vaultctl.cortex.agent.CortexAgent`."""

_SERVER_KEYS = ("command", "args", "env", "cwd")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How an MCP server is started.

    Attributes:
        name: Its name among the agent's servers.
        command: The program.
        args: Its arguments.
        env: Variables that it gets beside the few that every program needs.
        cwd: Its working directory; None: this process's.
    """

    name: str
    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = ()  # type: ignore[assignment]
    cwd: str | None = None

    def __repr__(self) -> str:
        return f"ServerConfig({self.name!r})"  # arguments and variables may be secrets


def read_file(path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """The parameters of :class:`~vaultctl.cortex.agent.CortexAgent` that the JSON in ``path`` stands for.

    Raises:
        InvalidInput: There is no such file, it is no JSON object, has an unknown key, or names a variable that is not
            set.
    """
    name = Path(path).name
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidInput(f"{name} is not a file.", hint=_EXAMPLE)
            text = file.read(_LONGEST_FILE + 1)
    except FileNotFoundError:
        raise InvalidInput(f"There is no file {name}.", hint=_EXAMPLE) from None
    except OSError as error:
        raise InvalidInput(f"{name} can't be read: {error.strerror}.", hint="Check its mode and owner.") from None
    try:
        content = json.loads(text) if len(text) <= _LONGEST_FILE else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise InvalidInput(f"{name} is not a JSON object.", hint=_EXAMPLE)
    _refuse_unknown(content, tuple(_KEYS), name)
    return {_KEYS[key]: _expanded(value, key, environ) for key, value in content.items()}


def check_servers(servers: Any) -> dict[str, ServerConfig]:
    """The servers by name.

    Raises:
        InvalidInput: A name, or what starts a server, is malformed.
    """
    if not isinstance(servers, Mapping):
        _refuse("mcpServers is not an object.", 'For example {"vault": {"command": "vaultctl", "args": [...]}}.')
    return {name: _server(name, settings) for name, settings in servers.items()}


def vault_server(servers: Mapping[str, ServerConfig]) -> ServerConfig:
    """The server that is the vault's: ``vault``, else the one that is ``vaultctl mcp serve``.

    Raises:
        InvalidInput: There is none, or there are two.
    """
    ours = [server for name, server in servers.items() if name == VAULT or runs_vaultctl(server)]
    if not ours:
        _refuse(
            "No MCP server of the agent is the vault's.",
            'Add it: mcp_servers={"vault": {"command": "vaultctl", "args": ["mcp", "serve"]}}',
        )
    if len(ours) > 1:
        _refuse(
            "More than one MCP server of the agent is a vault's.", "A run has one session in one vault: leave one out."
        )
    return ours[0]


def runs_vaultctl(server: ServerConfig) -> bool:
    """Whether ``server`` is this program's own MCP server."""
    return Path(server.command).name == "vaultctl" and server.args[:2] == ("mcp", "serve")


def check_reference_tools(tools: Any, servers: Mapping[str, ServerConfig], vault: str) -> dict[str, frozenset[str]]:
    """Credential names, each with the tools that its value may be put into.

    Raises:
        InvalidInput: A tool is not ``server.tool`` of one of ``servers`` other than the vault's.
    """
    if not isinstance(tools, Mapping):
        _refuse("referenceTools is not an object.", 'For example {"shopify-api-key": ["shop.http_get"]}.')
    checked = {}
    for credential, listed in tools.items():
        check_name(check_text(credential, "referenceTools"), "credential")
        if isinstance(listed, str) or not _all_texts(listed):
            _refuse(f"referenceTools of {credential} is not a list of texts.", 'For example ["shop.http_get"].')
        for tool in listed:
            server, dot, rest = tool.partition(".")
            if not (dot and rest) or server not in servers:
                _refuse(
                    f"referenceTools of {credential} lists what is no tool of the agent's servers.",
                    "A tool is written server.tool, like shop.http_get.",
                )
            if server == vault:
                _refuse(
                    f"referenceTools of {credential} lists a tool of the vault itself.",
                    "A value goes to the tools that use it; what is sent to the vault is recorded.",
                )
        checked[credential] = frozenset(listed)
    return checked


def check_text(value: Any, key: str) -> str:
    """``value`` itself, if it is a text with something in it.

    Raises:
        InvalidInput: It is not.
    """
    if not isinstance(value, str) or not value.strip():
        _refuse(f"{key} is not a text.", f'Write it in quotes: "{key}": "…".')
    return value


def check_timeout(value: Any) -> Duration:
    """How long a tool may take.

    Raises:
        InvalidInput: It is no duration.
    """
    return (
        value if isinstance(value, Duration) else Duration.parse(check_text(value, "toolTimeout"), what="toolTimeout")
    )


def check_count(value: Any) -> int:
    """How many answers the model may give.

    Raises:
        InvalidInput: It is no whole number from 1 on.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        _refuse("maxRequests is not a whole number from 1 on.", "For example 200.")
    return value


def _server(name: Any, settings: Any) -> ServerConfig:
    if not isinstance(name, str) or not _SERVER_NAME.fullmatch(name):
        _refuse("The name of an MCP server is malformed.", "It is up to 32 letters, digits, '_' or '-'.")
    where = f"mcpServers.{name}"
    if not isinstance(settings, Mapping):
        _refuse(f"{where} is not an object.", 'For example {"command": "vaultctl", "args": ["mcp", "serve"]}.')
    _refuse_unknown(settings, _SERVER_KEYS, where)
    args, env, cwd = settings.get("args", ()), settings.get("env", {}), settings.get("cwd")
    if isinstance(args, str) or not _all_texts(args):
        _refuse(f"{where}.args is not a list of texts.", 'For example ["mcp", "serve"].')
    if not isinstance(env, Mapping) or not _all_texts([*env, *env.values()]):
        _refuse(f"{where}.env is not an object of texts.", 'For example {"VAULT_TENANT": "my-org"}.')
    if any("\0" in text for text in (*args, *env, *env.values())) or any("=" in key for key in env):
        _refuse(f"{where} holds what no program can be given.", "Leave null characters out, and '=' in names.")
    return ServerConfig(
        name=name,
        command=check_text(settings.get("command"), f"{where}.command"),
        args=tuple(args),
        env=dict(env),
        cwd=None if cwd is None else check_text(os.fspath(cwd), f"{where}.cwd"),
    )


def _all_texts(values: Any) -> bool:
    try:
        return all(isinstance(value, str) for value in values)
    except TypeError:
        return False


def _expanded(value: Any, where: str, environ: Mapping[str, str]) -> Any:
    """``value`` with environment variables put in. ``$${`` stands for ``${``."""
    if isinstance(value, str):
        return "${".join(
            _VARIABLE.sub(lambda match: _variable(match[1], where, environ), part) for part in value.split("$${")
        )
    if isinstance(value, list):
        return [_expanded(item, f"{where}[{number}]", environ) for number, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _expanded(item, f"{where}.{key}", environ) for key, item in value.items()}
    return value


def _variable(name: str, where: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name)
    if not value:
        state = "not set" if value is None else "empty"
        raise InvalidInput(
            f"The environment variable {name} of {where} is {state}.", hint=f"Export {name}, and try again."
        )
    return value


def _refuse_unknown(content: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    unknown = [key for key in content if key not in known]
    if unknown:
        # The key itself may be a secret in the wrong place; only one that looks like a name is shown.
        looks = (key for key in unknown if isinstance(key, str) and key.isascii() and key.isalpha() and len(key) <= 32)
        raise InvalidInput(
            f"{where} has an unknown key: {next(looks, 'of another name')}.", hint=f"Known are {', '.join(known)}."
        )


def _refuse(message: str, hint: str) -> NoReturn:
    raise InvalidInput(message, hint=hint)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe in place of the file would keep us for ever


_EXAMPLE = (
    'For example {"name": "deploy-agent", "model": "openai:gpt-5", "mcpServers": {"vault": '
    '{"command": "vaultctl", "args": ["mcp", "serve"], "env": {"VAULT_TOKEN": "${VAULT_TOKEN}"}}}}'
)
