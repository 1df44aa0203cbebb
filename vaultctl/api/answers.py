"""Answers of the server, before they go out."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from vaultctl.domain import problems
from vaultctl.domain.errors import InvalidInput, NotAuthenticated, TooManyRequests, VaultError, VaultUnavailable

Headers = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
PROBLEM = problems.MEDIA_TYPE.encode()

GUARDS: Headers = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""Headers of every answer: no cache keeps it, and no browser takes it for a page."""


class Answer(NamedTuple):
    """An answer that is complete. Its body may hold a secret, so it is not shown."""

    status: int
    body: bytes
    media_type: bytes = JSON
    headers: Headers = ()

    def __repr__(self) -> str:
        return f"Answer({self.status})"

    def raw_headers(self, request_id: str = "") -> list[tuple[bytes, bytes]]:
        """All headers that go out."""
        return [
            (b"content-type", self.media_type),
            (b"content-length", b"%d" % len(self.body)),
            *GUARDS,
            *(((b"x-request-id", request_id.encode()),) if request_id else ()),
            *self.headers,
        ]


class Problem(Exception):
    """Something went wrong on the way to an operation, with a status that is not that of the error's kind."""

    def __init__(self, error: VaultError, status: int, headers: Headers = ()) -> None:
        super().__init__(error.message)
        self.error = error
        self.status = status
        self.headers = headers


_encode = msgspec.json.Encoder().encode


def json_answer(value: Any, status: int = HTTPStatus.OK) -> Answer:
    """``value``, which is plain data, as JSON."""
    return Answer(status, _encode(value))


def problem_answer(error: VaultError | Problem, request_id: str = "") -> Answer:
    """The problem that tells of ``error``, with the id under which the log has it."""
    known = error if isinstance(error, Problem) else Problem(error, error.http_status)
    problem = problems.to_problem(known.error, known.status) | ({"requestId": request_id} if request_id else {})
    headers = (*known.headers, *_usual_headers(known.error, known.headers))
    return Answer(known.status, _encode(problem), PROBLEM, headers)


def _usual_headers(error: VaultError, given: Headers) -> Iterable[tuple[bytes, bytes]]:
    if isinstance(error, NotAuthenticated):
        yield b"www-authenticate", b"Bearer"
    if isinstance(error, TooManyRequests | VaultUnavailable) and b"retry-after" not in dict(given):
        yield b"retry-after", b"1"


def too_many(message: str, hint: str, retry_after: float) -> Problem:
    """A refusal for now; ``retry_after`` is in seconds."""
    headers = ((b"retry-after", b"%d" % max(1, -(-retry_after // 1))),)
    return Problem(TooManyRequests(message, hint=hint), HTTPStatus.TOO_MANY_REQUESTS, headers)


def no_such_path() -> Problem:
    """The answer where a path means nothing."""
    return Problem(InvalidInput("There is no such path.", hint="See /openapi.json."), HTTPStatus.NOT_FOUND)


def method_not_allowed(allowed: Iterable[str]) -> Problem:
    """The answer where a path knows other methods only."""
    methods = ", ".join(allowed)
    error = InvalidInput("The path does not know this method.", hint=f"Methods: {methods}.")
    return Problem(error, HTTPStatus.METHOD_NOT_ALLOWED, ((b"allow", methods.encode()),))
