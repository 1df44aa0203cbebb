"""What the tests of the remote client share: a server with a script, and a token."""

import os
from collections.abc import Iterator

import pytest

from tests.client.scripted_server import ScriptedServer
from vaultctl.crypto.tokens import new_token_secret
from vaultctl.domain.secrets import Secret


@pytest.fixture
def token() -> Secret:
    return new_token_secret(os.urandom)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server
