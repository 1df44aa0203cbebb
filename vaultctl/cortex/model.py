"""The conversation with the model, which is pydantic-ai's: this module alone knows it.

A provider's error may quote the key that it was sent, or what the model was told: of it only the kind and the HTTP
status are passed on.
"""

from typing import TYPE_CHECKING, Any, NoReturn

from vaultctl.cortex.events import Usage
from vaultctl.cortex.tools import Answer, Tools
from vaultctl.domain.errors import InvalidInput, ModelFailed, VaultError, VaultUnavailable

if TYPE_CHECKING:
    from pydantic_ai.models import Model
    from pydantic_ai.toolsets import AbstractToolset

_TOOL_RETRIES = 5
"""Times in a row that a model may call what is not there, or with what is no JSON."""


def require_extra() -> None:
    """Refuse if the packages of the extra are not there.

    Raises:
        VaultUnavailable: They are not.
    """
    from importlib.util import find_spec

    if find_spec("pydantic_ai") is None:
        raise VaultUnavailable(
            "Cortex needs packages that are not installed: pydantic_ai.",
            hint="Install them: pip install 'vaultctl[cortex]'",
        )


def find(model: "Model | str | None") -> "Model":
    """The model that is meant.

    Args:
        model: One of pydantic-ai's, or a name like ``openai:gpt-5``.

    Raises:
        InvalidInput: There is no such model, or its provider lacks a package or a key.
    """
    from pydantic_ai.exceptions import UserError
    from pydantic_ai.models import infer_model

    if not model:
        raise InvalidInput("No model is named.", hint="Name one like openai:gpt-5, or set CORTEX_MODEL.")
    try:
        return infer_model(model)
    except ImportError:
        provider = str(model).partition(":")[0].partition("-")[0]  # of openai-chat it is openai's
        raise InvalidInput(
            f"The provider {provider} needs a package that is not installed.",
            hint=f"Install it: pip install 'pydantic-ai-slim[{provider}]'",
        ) from None
    except UserError as error:
        if "environment variable" in str(error):
            raise InvalidInput(
                f"The model {model} needs its provider's key.",
                hint="Set the variable that the provider documents, such as OPENAI_API_KEY; "
                "a local server is named by OPENAI_BASE_URL.",
            ) from None
        raise InvalidInput(
            f"There is no model {model}.", hint="Name one as provider:model, for example openai:gpt-5."
        ) from None


async def converse(
    model: "Model", task: str, tools: Tools, *, name: str, instructions: list[str], max_requests: int
) -> tuple[str, Usage]:
    """Have ``model`` do ``task`` with ``tools``; its answer, and what it cost.

    Raises:
        ModelFailed: The provider refused, can't be reached, or the model did not come to an end.
        VaultError: What ends a run; see :meth:`~vaultctl.cortex.tools.Tools.call`.
    """
    from pydantic_ai import Agent
    from pydantic_ai.usage import UsageLimits

    agent: Agent[None, str] = Agent(
        model,
        name=name,
        instructions=instructions,
        toolsets=[_toolset(tools)],
        retries={"tools": _TOOL_RETRIES, "output": _TOOL_RETRIES},
    )
    try:
        result = await agent.run(task, usage_limits=UsageLimits(request_limit=max_requests), infer_name=False)
    except VaultError:
        raise
    except Exception as error:
        _fail(error, max_requests)
    usage = result.usage
    return result.output, Usage(
        requests=usage.requests, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens
    )


def _toolset(tools: Tools) -> "AbstractToolset[None]":
    from pydantic_ai import BinaryContent, RunContext, ToolDefinition, ToolFailed
    from pydantic_ai.toolsets import AbstractToolset, ToolsetTool
    from pydantic_core import SchemaValidator, core_schema

    any_arguments = SchemaValidator(core_schema.dict_schema(core_schema.str_schema(), core_schema.any_schema()))

    class Toolset(AbstractToolset[None]):
        """The tools of the run's servers, which judge the arguments themselves."""

        @property
        def id(self) -> str:
            return "mcp"

        async def get_tools(self, ctx: RunContext[None]) -> dict[str, ToolsetTool[None]]:  # noqa: ARG002
            return {
                name: ToolsetTool(
                    toolset=self,
                    tool_def=ToolDefinition(
                        name=name,
                        description=offered.tool.description,
                        parameters_json_schema=offered.tool.input_schema,
                    ),
                    max_retries=_TOOL_RETRIES,
                    args_validator=any_arguments,
                )
                for name, offered in tools.offered.items()
            }

        async def call_tool(
            self,
            name: str,
            tool_args: dict[str, Any],
            ctx: RunContext[None],  # noqa: ARG002
            tool: ToolsetTool[None],  # noqa: ARG002
        ) -> Any:
            answer: Answer = await tools.call(name, tool_args)
            if answer.refused:
                raise ToolFailed(answer.text)
            if not answer.files:
                return answer.text
            files = [BinaryContent(file.data, media_type=file.media_type) for file in answer.files]
            return [answer.text, *files] if answer.text else files

    return Toolset()


def _fail(error: Exception, max_requests: int) -> NoReturn:
    """Raise our own error about ``error``, whose text stays here."""
    from pydantic_ai import exceptions as failures

    status = getattr(error, "status_code", None)
    answered = f"answered with HTTP status {status}" if isinstance(status, int) else "refused"
    match error:
        case failures.UsageLimitExceeded():
            raise ModelFailed(
                f"The model did not come to an end within {max_requests} requests.",
                hint="Give it more with maxRequests, or a smaller task.",
            ) from None
        case failures.ModelAuthenticationError():
            told, hint = f"The model's provider {answered}.", "Check the provider's key, such as OPENAI_API_KEY."
        case failures.ModelNotFoundError():
            told, hint = f"The model's provider {answered}.", "Check the model's name."
        case failures.ModelRateLimitError() | failures.ModelQuotaExceededError():
            told, hint = f"The model's provider {answered}.", "It limits how much you ask of it: try again later."
        case failures.ModelConnectionError() | failures.ModelRequestTimeout():
            told, hint = (
                "The model's provider can't be reached.",
                "Check the network, and OPENAI_BASE_URL if it is set.",
            )
        case failures.ModelAPIError():
            told, hint = (
                f"The model's provider {answered}.",
                "Try again; if it stays so, look at the provider's status.",
            )
        case failures.UserError():
            told, hint = (
                "The model can't be used like this.",
                "Check its name, and what it supports: it must call tools.",
            )
        case failures.AgentRunError():
            told = f"The model went astray ({type(error).__name__})."
            hint = "Try again, say the task more clearly, or name another model."
        case _:
            told = f"The conversation with the model failed ({type(error).__name__})."
            hint = "Try again; see the session's audit trail for what was done."
    raise ModelFailed(told, hint=hint) from None
