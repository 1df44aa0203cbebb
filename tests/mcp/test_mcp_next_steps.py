"""What a model is told to do about a refusal: hints are written for people, who have a shell and run the vault."""

import pytest

from vaultctl.domain.errors import VaultError, VaultLocked, VaultMissing, VaultUnavailable, VerificationFailed
from vaultctl.mcp.server import _TOOLS

HINT = "vaultctl doctor"


@pytest.mark.parametrize("kind", [VaultUnavailable, VaultLocked, VaultMissing, VerificationFailed])
@pytest.mark.parametrize("tool", _TOOLS)
def test_what_only_people_can_mend_a_model_is_told_to_say_to_them(tool: str, kind: type[VaultError]) -> None:
    step = _TOOLS[tool].next_step(kind("It is so.", hint=HINT))
    assert "the person you work for" in step
    assert HINT not in step
