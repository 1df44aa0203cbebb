"""Errors as RFC 9457 problems, and back to the same kind of error."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from vaultctl.domain.errors import InternalError, InvalidInput, VaultError, VaultUnavailable

MEDIA_TYPE = "application/problem+json"


def to_problem(error: VaultError, status: int | None = None) -> dict[str, Any]:
    """The problem that tells of ``error``.

    ``status`` is for what went wrong on the way to an operation, such as 405; else it is that of the error's kind.
    """
    status = status or error.http_status
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.message,
        "code": error.code,
    }
    return problem | ({"hint": error.hint} if error.hint else {})


def from_problem(status: int, problem: Mapping[str, Any]) -> VaultError:
    """The error that ``problem``, which came with ``status``, tells of; of an unknown code, one of the nearest kind."""
    kind = _KINDS.get(str(problem.get("code")))
    if kind is None:
        kind = VaultUnavailable if status >= 500 else InvalidInput
    message = str(problem.get("detail") or f"The server answered {status}.")
    return kind(message, hint=str(problem.get("hint") or ""))


def _kinds(base: type[VaultError]) -> Iterator[type[VaultError]]:
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


_KINDS = {kind.code: kind for kind in _kinds(VaultError)} | {InternalError.code: InternalError}
