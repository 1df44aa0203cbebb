"""The one family of exceptions. Each kind has one code, one HTTP status and one exit status.

::

    VaultError
     ├── InvalidInput         the request itself is malformed
     ├── NotAuthenticated     no token, or one that does not count (any more)
     ├── NotAllowed           known caller, refused
     ├── NotFound             not there, or not there for this caller
     ├── Conflict             the thing is in a state that does not permit this
     │    ├── AlreadyExists
     │    └── LeaseAtMaximum  the lease cannot be renewed further
     ├── TooManyRequests      faster than the caller's limit, or than the server can serve its tenant
     ├── VaultUnavailable     unreachable, locked, damaged, or no vault at all
     │    ├── VaultMissing
     │    └── VaultLocked     the root key cannot be had
     ├── AgentRunFailed       a run of an agent ended without an answer; the vault is well
     │    ├── ToolServerFailed  one of its MCP servers did not start, or ended
     │    ├── ToolTimedOut      a tool did not answer in time
     │    └── ModelFailed       the model can't be had, or went astray
     ├── VerificationFailed   stored data is not what the vault wrote
     └── InternalError        a defect of ours

A message never holds a secret nor quotes a value that could be one. ``hint`` says what to do next.
"""

from enum import IntEnum
from typing import ClassVar


class ExitStatus(IntEnum):
    """Exit statuses of the command line. Scripts depend on them."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    NOT_AUTHENTICATED = 3
    NOT_ALLOWED = 4
    NOT_FOUND = 5
    CONFLICT = 6
    UNAVAILABLE = 7
    VERIFICATION_FAILED = 8
    INTERRUPTED = 130


class VaultError(Exception):
    """Base of everything that vaultctl raises on purpose.

    Attributes:
        message: What happened, in one sentence, safe to show.
        hint: What to do next; empty if there is nothing to say.
        code: Stable machine-readable name of the kind.
        http_status: Status of the RFC 9457 problem that carries it.
        exit_status: Exit status of the command that meets it.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    exit_status: ClassVar[ExitStatus] = ExitStatus.UNEXPECTED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidInput(VaultError):
    """The request is malformed: a bad name, duration, value or combination."""

    code = "invalid_input"
    http_status = 422
    exit_status = ExitStatus.USAGE


class NotAuthenticated(VaultError):
    """No token, a mistyped one, or one that is unknown, expired or revoked."""

    code = "not_authenticated"
    http_status = 401
    exit_status = ExitStatus.NOT_AUTHENTICATED


class NotAllowed(VaultError):
    """The caller is known and may not do this."""

    code = "not_allowed"
    http_status = 403
    exit_status = ExitStatus.NOT_ALLOWED


class NotFound(VaultError):
    """There is no such thing, or not for this caller."""

    code = "not_found"
    http_status = 404
    exit_status = ExitStatus.NOT_FOUND


class Conflict(VaultError):
    """The thing exists and is in a state that does not permit the operation."""

    code = "conflict"
    http_status = 409
    exit_status = ExitStatus.CONFLICT


class AlreadyExists(Conflict):
    """The name is taken."""

    code = "already_exists"


class LeaseAtMaximum(Conflict):
    """The lease has reached ``maxExpiresAt``: only a new lease gives access."""

    code = "lease_at_maximum"


class TooManyRequests(VaultError):
    """The caller, or its tenant as a whole, asks for more than it is served."""

    code = "too_many_requests"
    http_status = 429
    exit_status = ExitStatus.UNAVAILABLE


class VaultUnavailable(VaultError):
    """The vault can't be reached, written, or is held by another process."""

    code = "vault_unavailable"
    http_status = 503
    exit_status = ExitStatus.UNAVAILABLE


class VaultMissing(VaultUnavailable):
    """There is no vault at the place that was named."""

    code = "vault_missing"


class VaultLocked(VaultUnavailable):
    """The root key can't be had: no keyring, no key file, or a wrong passphrase."""

    code = "vault_locked"


class AgentRunFailed(VaultError):
    """A run of an agent ended without an answer, because of something that it depends on."""

    code = "agent_run_failed"
    http_status = 502
    exit_status = ExitStatus.UNAVAILABLE


class ToolServerFailed(AgentRunFailed):
    """One of the run's MCP servers did not start, or ended before the run did."""

    code = "tool_server_failed"


class ToolTimedOut(AgentRunFailed):
    """A tool did not answer within the time that the agent's configuration gives it."""

    code = "tool_timed_out"
    http_status = 504


class ModelFailed(AgentRunFailed):
    """The model's provider refused or could not be reached, or the model did not come to an end."""

    code = "model_failed"


class VerificationFailed(VaultError):
    """Stored data does not verify: it was changed by something other than the vault."""

    code = "verification_failed"
    http_status = 500
    exit_status = ExitStatus.VERIFICATION_FAILED


class InternalError(VaultError):
    """A defect of vaultctl itself."""
