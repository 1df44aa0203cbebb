"""The four tools, as a model sees them, and what carries a call to the session.

On the SDK's low-level server: its ergonomic one quotes rejected arguments, allows unknown ones, and answers for
resources and prompts that are not there.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

import vaultctl
from vaultctl.domain.durations import Duration
from vaultctl.domain.errors import (
    Conflict,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    VaultError,
    VaultUnavailable,
    VerificationFailed,
)
from vaultctl.domain.records import Credential, IssuedLease, ResponseFormat
from vaultctl.domain.text import safe
from vaultctl.domain.times import rfc3339
from vaultctl.domain.wire import from_json_object, to_json_object
from vaultctl.mcp.logs import logger
from vaultctl.mcp.session import AgentSession, HeldLease

Context = ServerRequestContext[Any, Any]
Arguments = TypeVar("Arguments", bound="_Arguments")
JSON = dict[str, Any]

_LONGEST_CLAIM = 100

_INSTRUCTIONS = (
    "Credentials come from a vault as leases: each ends, and each is recorded with your purpose. Request a credential "
    "with vault_get_credential when a task needs it, not before; revoke its lease with vault_revoke_lease when the "
    "task is done. Never repeat a credential's value in an answer, a file, a log or a command line. A credential may "
    "come as a reference instead of its value: pass its ref on to a tool that takes the credential, exactly as it is. "
    "Answers may hold notices about leases that are about to end."
)


class _Arguments(msgspec.Struct, forbid_unknown_fields=True):
    """What a model sends to a tool; the names are those of the tool's schema."""


class _GetCredential(_Arguments):
    name: str
    purpose: str = ""  # a missing one is refused with the same words as a blank one
    ttl: str | None = None
    response_format: ResponseFormat | None = msgspec.field(default=None, name="responseFormat")


class _ListCredentials(_Arguments):
    pass


class _OneLease(_Arguments):
    lease_id: str = msgspec.field(name="leaseId")


@dataclass(frozen=True)
class _Tool(Generic[Arguments]):
    description: Tool
    arguments: type[Arguments]
    run: Callable[[AgentSession, Arguments, Context], Awaitable[JSON]]
    next_steps: tuple[tuple[type[VaultError], str], ...] = ()

    def next_step(self, error: VaultError) -> str:
        """What a model can do about ``error``: hints are written for people, who have a shell."""
        known = (text for kind, text in (*self.next_steps, *_NEXT_STEPS) if isinstance(error, kind))
        return next(known, error.hint)

    async def call(self, session: AgentSession, arguments: JSON, context: Context) -> JSON:
        try:
            wanted = from_json_object(arguments, self.arguments)
        except InvalidInput as error:
            takes = ", ".join(self.description.input_schema["properties"]) or "nothing"
            raise InvalidInput(error.message, hint=f"{self.description.name} takes {takes}.") from None
        return await self.run(session, wanted, context)


def build(session: AgentSession) -> Server[Any]:
    """The MCP server of one session."""

    async def always(_: Context) -> AgentSession:
        return session

    return build_for(always)


def build_for(find: Callable[[Context], Awaitable[AgentSession]]) -> Server[Any]:
    """The MCP server of sessions that are found anew for each call."""

    async def list_tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[tool.description for tool in _TOOLS.values()])

    async def call_tool(context: Context, params: CallToolRequestParams) -> CallToolResult:
        tool = _TOOLS.get(params.name)
        if tool is None:
            return _refusal("There is no such tool.", f"There are {', '.join(_TOOLS)}.")
        try:
            session = await find(context)
            answer = await tool.call(session, params.arguments or {}, context)
        except VaultError as error:
            return _refusal(error.message, tool.next_step(error))
        except Exception as error:  # its text may hold anything
            logger.error("Unexpected in a tool: %s", type(error).__name__)
            return _refusal("The vault server met an unexpected error.", "Try again, or report it.")
        if notices := session.take_notices():
            answer["notices"] = notices
        text = json.dumps(answer, ensure_ascii=False)
        return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=answer)

    server: Server[Any] = Server(
        "vaultctl",
        version=vaultctl.__version__,
        title="vaultctl",
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    server.middleware.clear()  # telemetry, which would record what exceptions say
    return server


def _refusal(message: str, next_step: str) -> CallToolResult:
    text = f"{message} {next_step}".rstrip()
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


async def _get_credential(session: AgentSession, wanted: _GetCredential, context: Context) -> JSON:
    purpose = wanted.purpose.strip()
    if not purpose:
        raise InvalidInput(
            "A purpose is required.", hint="Say in one sentence what you need the credential for; it is recorded."
        )
    ttl = None if wanted.ttl is None else Duration.parse(wanted.ttl, what="TTL")
    issued = await session.issue(wanted.name, purpose, ttl, _claims(context), wanted.response_format)
    lease = issued.held.lease
    return {
        "leaseId": lease.id,
        "credentialName": lease.credential_name,
        "type": issued.answer.type.value,
        **_delivered(issued.answer),
        "ttl": str(lease.ttl),
        **_times(issued.held),
    }


async def _list_credentials(session: AgentSession, _: _ListCredentials, __: Context) -> JSON:
    return {"credentials": [_credential(credential) for credential in await session.list_credentials()]}


async def _renew_lease(session: AgentSession, wanted: _OneLease, _: Context) -> JSON:
    held = await session.renew(wanted.lease_id)
    return {"leaseId": held.lease.id, **_times(held)}


async def _revoke_lease(session: AgentSession, wanted: _OneLease, _: Context) -> JSON:
    lease = await session.revoke(wanted.lease_id)
    return {"leaseId": lease.id, "state": lease.state.value}


def _delivered(answer: IssuedLease) -> JSON:
    """The value, or the reference that stands for it."""
    if answer.value is not None:
        return {"value": answer.value.reveal()}
    return {"credentialReference": to_json_object(answer.credential_reference)}


def _times(held: HeldLease) -> JSON:
    return {
        "expiresAt": rfc3339(held.lease.expires_at),
        "maxExpiresAt": rfc3339(held.limit),
        "renewable": held.renewable,
    }


def _credential(credential: Credential) -> JSON:
    policy = credential.policy
    limits = {"defaultTTL": policy.default_lease_ttl, "maxTTL": policy.max_lease_ttl}
    return {
        "name": credential.name,
        "type": credential.type.value,
        "metadata": credential.metadata,
        "attributes": credential.attributes,
        **{name: str(limit) for name, limit in limits.items() if limit},
    }


def _claims(context: Context) -> dict[str, str]:
    """What the client says it is. Anyone can say anything, so it is cut and cleaned, and never believed."""
    params = context.session.client_params
    if params is None:
        return {}
    info = params.client_info
    said = {"clientName": info.name, "clientVersion": info.version}
    return {key: safe(text)[:_LONGEST_CLAIM] for key, text in said.items() if text}


_NEXT_STEPS: tuple[tuple[type[VaultError], str], ...] = (
    (NotAuthenticated, "Ask the person you work for to start the vault's MCP server again, with a valid token."),
    (VaultUnavailable, "Try again in a moment. If that does not help, tell the person you work for."),
    (VerificationFailed, "Tell the person you work for: whoever runs the vault has to see to it."),
)
_ABOUT_A_NAME: tuple[tuple[type[VaultError], str], ...] = (
    (NotFound, "See vault_list_credentials for what you can use, or ask the person you work for about access."),
)
_ABOUT_A_LEASE: tuple[tuple[type[VaultError], str], ...] = (
    (NotFound, "Give a leaseId that vault_get_credential answered, or request a new lease with it."),
    (Conflict, "Request a new lease with vault_get_credential if you still need the credential."),
)


def _schema(properties: JSON, *, required: list[str] | None = None) -> JSON:
    names = list(properties) if required is None else required
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


_LEASE_ID = {"type": "string", "description": "The leaseId that vault_get_credential answered."}
_EXPIRES_AT = {"type": "string", "format": "date-time", "description": "When the lease ends unless it is renewed."}
_MAX_EXPIRES_AT = {
    "type": "string",
    "format": "date-time",
    "description": "When it ends in any case; after that, request a new lease.",
}
_RENEWABLE = {"type": "boolean", "description": "Whether vault_renew_lease can still extend it."}
_NOTICES = {
    "type": "array",
    "items": {"type": "string"},
    "description": "What happened to your leases meanwhile, if something did.",
}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


_REFERENCE = {
    **_schema(
        {
            "ref": {
                "type": "string",
                "description": "Write this, exactly as it is, where a tool takes the credential.",
            },
            "preview": {"type": "string", "description": "The value's last characters."},
            "metadata": {**_TEXTS, "description": "What is known of the credential and is not secret."},
        },
        required=["ref", "metadata"],
    ),
    "description": "Stands for the value, which you are not given.",
}


def _answer(one_of: tuple[str, ...] = (), **properties: Any) -> JSON:
    required = [name for name in properties if name not in one_of]
    schema = _schema({**properties, "notices": _NOTICES}, required=required)
    return schema | ({"oneOf": [{"required": [name]} for name in one_of]} if one_of else {})


_TOOLS: dict[str, _Tool[Any]] = {
    tool.description.name: tool
    for tool in (
        _Tool(
            Tool(
                name="vault_get_credential",
                title="Get a credential",
                description=(
                    "Get a credential (an API key, an SSH key, a database URL…) from the vault as a lease that ends. "
                    "Request it when you are about to use it, and only what the task needs. The value is in this "
                    "answer alone: use it, but never repeat it in an answer, a file, a log or a command line. Some "
                    "credentials come as a credentialReference instead: pass its ref on to a tool that takes the "
                    "credential, exactly as it is, and the value takes its place there. "
                    "When you are done, call vault_revoke_lease with the leaseId. If the task takes longer than the "
                    "lease, call vault_renew_lease before expiresAt; after maxExpiresAt request the credential again."
                ),
                input_schema=_schema(
                    {
                        "name": {
                            "type": "string",
                            "description": "The credential's name, as vault_list_credentials shows it.",
                        },
                        "purpose": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": 500,
                            "description": (
                                "Why you need it, in one sentence that a person who reviews the audit log will "
                                "understand, for example 'Fetch this week's orders to summarise them'. It is recorded. "
                                "Never put a secret in it."
                            ),
                        },
                        "ttl": {
                            "type": "string",
                            "description": (
                                "How long you need it, like 90s, 15m or 1h30m; leave it out for the default. It may "
                                "be cut to what is allowed: the answer's ttl and expiresAt say what was granted."
                            ),
                        },
                        "responseFormat": {
                            "type": "string",
                            "enum": [known.value for known in ResponseFormat],
                            "description": (
                                "How you want the credential: its value, or a reference to it that you pass on to a "
                                "tool. Leave it out for what is usual; where only references are given, one is given."
                            ),
                        },
                    },
                    required=["name", "purpose"],
                ),
                output_schema=_answer(
                    ("value", "credentialReference"),
                    leaseId={"type": "string"},
                    credentialName={"type": "string"},
                    type={"type": "string"},
                    value={"type": "string", "description": "The secret itself. Never repeat it."},
                    credentialReference=_REFERENCE,
                    ttl={"type": "string", "description": "The TTL that was granted."},
                    expiresAt=_EXPIRES_AT,
                    maxExpiresAt=_MAX_EXPIRES_AT,
                    renewable=_RENEWABLE,
                ),
                annotations=ToolAnnotations(
                    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
                ),
            ),
            _GetCredential,
            _get_credential,
            _ABOUT_A_NAME,
        ),
        _Tool(
            Tool(
                name="vault_list_credentials",
                title="List credentials",
                description=(
                    "List the credentials that you may request, with what is known about them but without their "
                    "values. What is not listed you can't get."
                ),
                input_schema=_schema({}),
                output_schema=_answer(
                    credentials={
                        "type": "array",
                        "items": _schema(
                            {
                                "name": {"type": "string"},
                                "type": {"type": "string"},
                                "metadata": {**_TEXTS, "description": "What people wrote about it."},
                                "attributes": {**_TEXTS, "description": "What its type tells: host, fingerprint…"},
                                "defaultTTL": {"type": "string"},
                                "maxTTL": {"type": "string"},
                            },
                            required=["name", "type", "metadata", "attributes"],
                        ),
                    }
                ),
                annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
            ),
            _ListCredentials,
            _list_credentials,
        ),
        _Tool(
            Tool(
                name="vault_renew_lease",
                title="Renew a lease",
                description=(
                    "Extend a lease from now, by the TTL that it was granted and never past its maxExpiresAt. Once it "
                    "is at that maximum this is refused: request the credential anew with vault_get_credential."
                ),
                input_schema=_schema({"leaseId": _LEASE_ID}),
                output_schema=_answer(
                    leaseId={"type": "string"},
                    expiresAt=_EXPIRES_AT,
                    maxExpiresAt=_MAX_EXPIRES_AT,
                    renewable=_RENEWABLE,
                ),
                annotations=ToolAnnotations(
                    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
                ),
            ),
            _OneLease,
            _renew_lease,
            _ABOUT_A_LEASE,
        ),
        _Tool(
            Tool(
                name="vault_revoke_lease",
                title="Revoke a lease",
                description=(
                    "End a lease when you no longer need its credential. Do this as soon as the task is done, and "
                    "don't use the value afterwards."
                ),
                input_schema=_schema({"leaseId": _LEASE_ID}),
                output_schema=_answer(leaseId={"type": "string"}, state={"type": "string"}),
                annotations=ToolAnnotations(
                    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
                ),
            ),
            _OneLease,
            _revoke_lease,
            _ABOUT_A_LEASE,
        ),
    )
}
