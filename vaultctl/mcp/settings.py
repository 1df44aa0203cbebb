"""What ``mcp serve`` is told: ``.vault-mcp.json``, overridden by the environment, overridden by flags.

Where a setting came from matters as much as what it says: a file that lies in the working directory may have
come with somebody else's repository, so it may not decide where a token of the environment is sent.
"""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from vaultctl.client import private_files
from vaultctl.client.base_url import check_base_url
from vaultctl.client.contexts import Server, chosen_server
from vaultctl.client.location import locate
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import InvalidInput, NotAuthenticated
from vaultctl.domain.names import check_name, check_session_id
from vaultctl.domain.records import ResponseFormat
from vaultctl.domain.renewals import RENEW_BEFORE_EXPIRY
from vaultctl.domain.secrets import Secret
from vaultctl.mcp import profiles

FILE_NAME = ".vault-mcp.json"
LOG_LEVELS = ("debug", "info", "warning", "error")

_LONGEST_FILE = 65_536


class Source(Enum):
    """Who said it, the least trusted first."""

    WORKING_DIRECTORY = "a file in the working directory"
    CONFIG_FILE = "the file of --config"
    ENVIRONMENT = "the environment"
    FLAG = "a flag"
    CLIENTS = "the clients"


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The configuration, checked.

    Attributes:
        token: An agent's or a session's token.
        tenant: Must be the token's, if given.
        base_url: The server; None: the vault of this machine.
        home: Where the vault of this machine, contexts and logins are.
        database: The embedded vault's store, if it is not what ``init`` noted.
        session_id: The session that whoever started this server named.
        agent_name: Must be the token's, if given.
        default_ttl: TTL of a lease that asks for none; None: the credential's own.
        max_ttl: Longest that a lease of this server lives, renewals included; None: what the vault allows.
        auto_renew: Whether leases are renewed without being asked.
        renew_before_expiry: How long before its end a lease is renewed.
        log_level: One of :data:`LOG_LEVELS`.
        response_format: How credentials are delivered; ``reference`` can't be overruled by a model, ``value`` can.
    """

    token: Secret
    tenant: str | None = None
    base_url: str | None = None
    home: str | None = None
    database: str | None = None
    session_id: str | None = None
    agent_name: str | None = None
    default_ttl: Duration | None = None
    max_ttl: Duration | None = None
    auto_renew: bool = False
    renew_before_expiry: Duration = RENEW_BEFORE_EXPIRY
    log_level: str = "info"
    response_format: ResponseFormat = ResponseFormat.VALUE


class _Setting(NamedTuple):
    value: Any
    source: Source


_VARIABLES = {
    "tenant": "VAULT_TENANT",
    "token": "VAULT_TOKEN",
    "defaultTTL": "VAULT_DEFAULT_TTL",
    "maxTTL": "VAULT_MAX_TTL",
    "agentName": "VAULT_AGENT_NAME",
    "autoRenew": "VAULT_AUTO_RENEW",
    "renewBeforeExpiry": "VAULT_RENEW_BEFORE_EXPIRY",
    "logLevel": "VAULT_LOG_LEVEL",
    "baseUrl": "VAULT_BASE_URL",
    "home": "VAULTCTL_HOME",
    "responseFormat": "VAULT_RESPONSE_FORMAT",
}
VARIABLE_NAMES = tuple(_VARIABLES.values())
"""The environment variables that are settings."""

_KEYS = tuple(_VARIABLES)
_SWITCHES = {"true": True, "1": True, "false": False, "0": False}


def load(
    *,
    config: Path | None = None,
    tenant: str | None = None,
    context: str | None = None,
    base_url: str | None = None,
    database: str | None = None,
    profile: str | None = None,
    for_many: bool = False,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """The settings of this process.

    Args:
        config: A file that was named; else ``.vault-mcp.json`` in ``directory``, if there is one.
        tenant: The flag ``--tenant``.
        context: The flag ``--context``.
        base_url: The flag ``--base-url``.
        database: The flag ``--database``.
        profile: The flag ``--profile``: whose token, and for which vault. Nothing else is asked for either, and what
            lies in the working directory is not read.
        for_many: Each client brings a token of its own, so that there is none in the settings.
        environment: Stands in for ``os.environ``.
        directory: Stands in for the working directory.

    Raises:
        InvalidInput: A key is unknown, a value malformed, or a file not to be trusted with what it says.
        NotFound: There is no such context.
        NotAuthenticated: There is no token.
        VaultUnavailable: The contexts, or the token of a login, can't be had.
    """
    variables = os.environ if environment is None else environment
    found: dict[str, _Setting] = {}
    bound = None
    if profile is not None:
        if tenant or context or base_url or database:
            raise InvalidInput(
                "A profile names its vault and tenant itself.", hint="Leave out --profile, or what names another vault."
            )
        bound = profiles.get(locate(environ=variables), profile)
    if bound is None or config is not None:
        path = config or (directory or Path.cwd()) / FILE_NAME
        source = Source.CONFIG_FILE if config else Source.WORKING_DIRECTORY
        for key, value in _read_file(path, required=config is not None).items():
            found[key] = _Setting(value, source)
    for key, variable in _VARIABLES.items():
        # An empty variable is as good as none, save the token's: whoever empties it wants no other to be used.
        if text := variables.get(variable, ""):
            value = _switch(text, variable) if key == "autoRenew" else text
            found[key] = _Setting(value, Source.ENVIRONMENT)
        elif key == "token" and variable in variables:
            found.pop(key, None)
    if tenant is not None:
        found["tenant"] = _Setting(tenant, Source.FLAG)
    if context or base_url or database or variables.get("VAULT_DATABASE_URL"):
        found.pop("baseUrl", None)  # outweighed, whoever said it; what the environment says is looked up again
    if bound is not None:
        database = bound.place.database
        _bind(found, bound)
    if for_many:
        found["token"] = _Setting("", Source.CLIENTS)
    _refuse_untrusted(found)

    def get(key: str, check: Callable[[str], Any]) -> Any:
        return _checked(key, found[key], check) if key in found else None

    home = get("home", str)
    if "baseUrl" in found and found["baseUrl"].source is not Source.ENVIRONMENT:
        # A file that was written for this server says more than the context that happens to be in use.
        server: Server | None = Server(get("baseUrl", check_base_url))
    elif bound is not None:
        server = None
    else:
        server = chosen_server(base_url=base_url, context=context, database=database, home=home, environ=variables)
    tenant = get("tenant", lambda text: check_name(text, "tenant")) or (server.tenant if server else None)
    auto_renew = found.get("autoRenew")
    if auto_renew is not None and not isinstance(auto_renew.value, bool):
        raise InvalidInput("autoRenew is neither true nor false.", hint="Write true or false, without quotes.")
    token = Secret(get("token", str) or "")
    if server and not for_many and "token" not in found and "VAULT_TOKEN" not in variables:
        from vaultctl.client.logins import stored_token

        token = stored_token(server.base_url, tenant, home=home) or token
    if not token.reveal() and not for_many:
        raise NotAuthenticated(
            "The MCP server has no token.",
            hint="Set VAULT_TOKEN to an agent's token: vaultctl token create --agent NAME",
        )
    return Settings(
        token=token,
        tenant=tenant,
        base_url=server.base_url if server else None,
        home=home,
        database=database,
        session_id=_session_id(variables.get("CORTEX_SESSION_ID", "")),
        agent_name=get("agentName", lambda text: check_name(text, "agent")),
        default_ttl=get("defaultTTL", Duration.parse),
        max_ttl=get("maxTTL", Duration.parse),
        auto_renew=auto_renew.value if auto_renew else False,
        renew_before_expiry=get("renewBeforeExpiry", Duration.parse) or RENEW_BEFORE_EXPIRY,
        log_level=get("logLevel", _log_level) or "info",
        response_format=get("responseFormat", _response_format) or ResponseFormat.VALUE,
    )


def _bind(found: dict[str, _Setting], profile: profiles.Profile) -> None:
    """A profile's token is used for its own vault, whatever else names one."""
    own = {
        "token": profiles.token_of(profile).reveal(),
        "tenant": profile.tenant,
        "agentName": profile.agent,
        "baseUrl": profile.place.base_url,
        "home": profile.place.home,
    }
    for key, value in own.items():
        found.pop(key, None)
        if value is not None:
            found[key] = _Setting(value, Source.FLAG)


def lease_settings(environment: Mapping[str, str]) -> Settings:
    """The settings of leases alone, for a server that has no token, no file and a vault of its own.

    Raises:
        InvalidInput: A value is malformed.
    """
    keys = ("defaultTTL", "maxTTL", "autoRenew", "renewBeforeExpiry", "responseFormat")
    named = {_VARIABLES[key] for key in keys}
    found = {name: text for name, text in environment.items() if name in named and text}

    def get(key: str, check: Callable[[str], Any]) -> Any:
        name = _VARIABLES[key]
        return _checked(key, _Setting(found[name], Source.ENVIRONMENT), check) if name in found else None

    auto_renew = _VARIABLES["autoRenew"]
    return Settings(
        token=Secret(""),
        default_ttl=get("defaultTTL", Duration.parse),
        max_ttl=get("maxTTL", Duration.parse),
        auto_renew=_switch(found.get(auto_renew, "false"), auto_renew),
        renew_before_expiry=get("renewBeforeExpiry", Duration.parse) or RENEW_BEFORE_EXPIRY,
        response_format=get("responseFormat", _response_format) or ResponseFormat.VALUE,
    )


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        with open(path, "rb", opener=private_files.without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise InvalidInput(f"{path.name} is not a file.")
            text = file.read(_LONGEST_FILE + 1)
    except FileNotFoundError:
        if required:
            raise InvalidInput(f"There is no {path.name} where --config says.") from None
        return {}
    except OSError as error:
        raise InvalidInput(f"{path.name} can't be read: {error.strerror}.", hint="Check its mode and owner.") from None
    content = None
    if len(text) <= _LONGEST_FILE:
        with contextlib.suppress(ValueError, RecursionError):
            content = json.loads(text)
    if not isinstance(content, dict):
        raise InvalidInput(f"{path.name} is not a JSON object.", hint='For example {"tenant": "my-org"}.')
    unknown = [key for key in content if key not in _KEYS]
    if unknown:
        # The key itself may be a secret in the wrong place; only one that looks like a name is shown.
        shown = next((key for key in unknown if key.isascii() and key.isalpha() and len(key) <= 32), "of another name")
        raise InvalidInput(f"{path.name} has an unknown key: {shown}.", hint=f"Known are {', '.join(_KEYS)}.")
    if content.get("token") and mode & 0o077:
        raise InvalidInput(
            f"{path.name} holds a token and others than its owner may read it.", hint=f"Run chmod 600 {path.name}"
        )
    return content


def _refuse_untrusted(found: Mapping[str, _Setting]) -> None:
    token = found.get("token")
    if token is None or token.source is Source.WORKING_DIRECTORY:
        return  # its own token, or one that was kept for exactly the server that it names
    for key in ("baseUrl", "home"):
        if key in found and found[key].source is Source.WORKING_DIRECTORY:
            raise InvalidInput(
                f"{FILE_NAME} in the working directory sets {key}, and the token comes from {token.source.value}: "
                "a token is not sent where such a file says.",
                hint=f"Set {_VARIABLES[key]} instead, or name the file with --config.",
            )


def _checked(key: str, setting: _Setting, check: Callable[[str], Any]) -> Any:
    name = _name(key, setting.source)
    if not isinstance(setting.value, str):
        raise InvalidInput(f"{name} is not a text.", hint=f'Write it in quotes: "{key}": "…".')
    try:
        return check(setting.value)
    except InvalidInput as error:
        raise InvalidInput(f"{name} is malformed.", hint=error.hint) from None


def _name(key: str, source: Source) -> str:
    if source is Source.FLAG:
        return f"--{key}"
    return _VARIABLES[key] if source is Source.ENVIRONMENT else f"{key} of the configuration file"


def _switch(text: str, variable: str) -> bool:
    if text.lower() not in _SWITCHES:
        raise InvalidInput(f"{variable} is neither true nor false.", hint="Set it to true, false, 1 or 0.")
    return _SWITCHES[text.lower()]


def _session_id(text: str) -> str | None:
    if not text:
        return None
    try:
        return check_session_id(text)
    except InvalidInput as error:
        raise InvalidInput("CORTEX_SESSION_ID is malformed.", hint=error.hint) from None


def _log_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise InvalidInput("That is not a log level.", hint=f"One of: {', '.join(LOG_LEVELS)}.")
    return text.lower()


def _response_format(text: str) -> ResponseFormat:
    for known in ResponseFormat:
        if text == known.value:
            return known
    raise InvalidInput("That is not a response format.", hint='Write "value" or "reference".')
