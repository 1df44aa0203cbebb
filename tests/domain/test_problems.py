"""An error survives its way over HTTP as an RFC 9457 problem."""

import pytest

from vaultctl.domain import errors
from vaultctl.domain.errors import InvalidInput, VaultError, VaultUnavailable
from vaultctl.domain.problems import from_problem, to_problem

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, VaultError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("hint", ["", "Do this."])
def test_an_error_arrives_as_it_was_raised(kind: type[VaultError], hint: str) -> None:
    problem = to_problem(kind("It failed.", hint=hint))
    back = from_problem(problem["status"], problem)
    assert (problem["status"], "hint" in problem) == (kind.http_status, bool(hint))
    assert type(back).code == kind.code
    assert (back.message, back.hint) == ("It failed.", hint)


@pytest.mark.parametrize(("status", "kind"), [(404, InvalidInput), (418, InvalidInput), (502, VaultUnavailable)])
def test_a_problem_of_an_unknown_code_is_of_the_nearest_kind(status: int, kind: type[VaultError]) -> None:
    assert type(from_problem(status, {"code": "from_the_future", "detail": "x"})) is kind
    assert str(status) in from_problem(status, {}).message
