"""One family of errors; each kind has one code, one HTTP status and one exit status."""

import pytest

from vaultctl.domain import errors
from vaultctl.domain.errors import ExitStatus, VaultError

TABLE = {
    # kind: (code, HTTP status, exit status)
    "VaultError": ("internal_error", 500, 1),
    "InternalError": ("internal_error", 500, 1),
    "InvalidInput": ("invalid_input", 422, 2),
    "NotAuthenticated": ("not_authenticated", 401, 3),
    "NotAllowed": ("not_allowed", 403, 4),
    "NotFound": ("not_found", 404, 5),
    "Conflict": ("conflict", 409, 6),
    "AlreadyExists": ("already_exists", 409, 6),
    "LeaseAtMaximum": ("lease_at_maximum", 409, 6),
    "TooManyRequests": ("too_many_requests", 429, 7),
    "VaultUnavailable": ("vault_unavailable", 503, 7),
    "VaultMissing": ("vault_missing", 503, 7),
    "VaultLocked": ("vault_locked", 503, 7),
    "AgentRunFailed": ("agent_run_failed", 502, 7),
    "ToolServerFailed": ("tool_server_failed", 502, 7),
    "ToolTimedOut": ("tool_timed_out", 504, 7),
    "ModelFailed": ("model_failed", 502, 7),
    "VerificationFailed": ("verification_failed", 500, 8),
}
KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, VaultError) and kind.__module__ == errors.__name__
}


def test_there_is_no_kind_besides_these() -> None:
    assert KINDS.keys() == TABLE.keys()


@pytest.mark.parametrize("name", TABLE)
def test_a_kind_has_its_code_and_statuses(name: str) -> None:
    kind = KINDS[name]
    assert (kind.code, kind.http_status, kind.exit_status) == TABLE[name]


def test_no_two_kinds_share_a_code() -> None:
    codes = [kind.code for name, kind in KINDS.items() if name != "VaultError"]
    assert len(set(codes)) == len(codes)


def test_an_exit_status_means_one_thing() -> None:
    assert {status.name: status.value for status in ExitStatus} == {
        "DONE": 0,
        "UNEXPECTED": 1,
        "USAGE": 2,
        "NOT_AUTHENTICATED": 3,
        "NOT_ALLOWED": 4,
        "NOT_FOUND": 5,
        "CONFLICT": 6,
        "UNAVAILABLE": 7,
        "VERIFICATION_FAILED": 8,
        "INTERRUPTED": 130,
    }


def test_an_error_says_what_happened_and_what_to_do_next() -> None:
    error = KINDS["NotFound"]("There is no such lease.", hint="List yours: vaultctl lease list")
    assert (str(error), error.message, error.hint) == (
        "There is no such lease.",
        "There is no such lease.",
        "List yours: vaultctl lease list",
    )
    assert KINDS["NotFound"]("There is no such lease.").hint == ""
