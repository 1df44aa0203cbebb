"""The program in this process, on fake streams or a fake terminal, and a real vault for it to work on."""

import io
import json
import os
import pty
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.vaults import new_vault
from vaultctl.cli.main import main
from vaultctl.client import Vault
from vaultctl.domain.records import IssuedToken

VAULTCTL = str(Path(sys.executable).with_name("vaultctl"))
PATIENCE = 20

API_KEY = "shpat_0123456789abcdef0123456789abcdef"
DATABASE_URL = "postgresql://reader:s3cr3t-w0rd@db.example.com:5432/orders"


class Result(NamedTuple):
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class _Stream(io.TextIOWrapper):
    def __init__(self, text: str, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(text.encode()), encoding="utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal

    @property
    def text(self) -> str:
        buffer = self.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue().decode()


class Cli:
    """Runs commands. ``stdin`` is what they read; on a ``terminal`` it is typed, ``hidden`` answers included."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(
        self,
        *argv: str,
        stdin: str = "",
        terminal: bool = False,
        hidden: tuple[str, ...] = (),
        columns: int = 200,
        **environment: str,
    ) -> Result:
        answers = iter(hidden)
        with self._monkeypatch.context() as patch:
            for name, value in ({"COLUMNS": str(columns)} | environment).items():
                patch.setenv(name, value)
            patch.setattr("getpass.getpass", lambda prompt: next(answers))
            streams = {}
            for name, text in (("stdin", stdin), ("stdout", ""), ("stderr", "")):
                streams[name] = _Stream(text, terminal=terminal)
                patch.setattr(sys, name, streams[name])
            status = main(argv)
        return Result(status, streams["stdout"].text, streams["stderr"].text)

    def ok(self, *argv: str, **settings: Any) -> Result:
        """A command that has to end well."""
        result = self(*argv, **settings)
        assert result.status == 0, result.err
        return result


class Terminal:
    """A program on a real terminal."""

    def __init__(self, program: str, *argv: str, **environment: str) -> None:
        self.shown = ""
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.execvpe(program, [program, *argv], os.environ | environment)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if not self._read():
                break
        assert text in self.shown

    def type(self, text: str) -> None:
        os.write(self.file, text.encode())

    def end(self) -> int:
        while self._read():
            pass
        os.close(self.file)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bool:
        if not select.select([self.file], [], [], PATIENCE)[0]:
            return False
        try:
            data = os.read(self.file, 4096)
        except OSError:  # the other end is closed
            return False
        self.shown += data.decode()
        return bool(data)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return Cli(monkeypatch)


@pytest.fixture
def home(cli: Cli, monkeypatch: pytest.MonkeyPatch, fast_path: Path) -> Path:
    """A new vault with the tenant ``my-org``, in the environment."""
    monkeypatch.setenv("VAULTCTL_HOME", str(fast_path))
    new_vault(fast_path)
    return fast_path


@pytest.fixture
def stocked(home: Path, cli: Cli) -> Path:
    """That vault with two credentials."""
    cli.ok("credential", "create", "shopify-api-key", "--type", "api-key", "--max-ttl", "4h", stdin=API_KEY)
    cli.ok(
        "credential",
        "create",
        "orders-db",
        "--type",
        "database-url",
        "--allow",
        "agent:analytics-*",
        stdin=DATABASE_URL,
    )
    return home


@pytest.fixture
def owner(home: Path) -> Iterator[Vault]:
    with Vault.embedded() as vault:
        yield vault


@pytest.fixture
def mint(owner: Vault) -> Callable[..., str]:
    """Mints a token, and answers its secret."""

    def mint(**settings: Any) -> str:
        issued: IssuedToken = owner.tokens.create(**settings)
        return issued.secret.reveal()

    return mint


@pytest.fixture
def session(stocked: Path, mint: Callable[..., str]) -> str:
    """The id of a run of ``deploy-agent`` that leased, renewed, was refused and released."""
    token = mint(agent="deploy-agent", credentials=["shopify-*"])
    with Vault.connect(token=token) as vault:
        opened = vault.sessions.open("cortex_sess_abc123")
    with Vault.connect(token=opened.token) as run:
        lease = run.leases.create("shopify-api-key", ttl="15m", purpose="Fetch the latest orders")
        lease.renew("30m")
        with pytest.raises(Exception, match="There is no credential 'orders-db'"):
            run.leases.create("orders-db", purpose="Curiosity")
        lease.revoke()
    return opened.session.id
