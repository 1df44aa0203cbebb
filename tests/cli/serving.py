"""A real ``vaultctl server start``, as a process of its own."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.cli.conftest import PATIENCE, VAULTCTL


class Serving(NamedTuple):
    """A server that listens."""

    base_url: str
    process: "subprocess.Popen[str]"

    def stop(self) -> tuple[int, str]:
        """Tell it to stop; its exit status, and the rest of its log."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, log


@contextmanager
def serving(*argv: str, cwd: Path | None = None, **environment: str) -> Iterator[Serving]:
    """A server on a free port of this machine, ended at the end."""
    process = subprocess.Popen(
        [VAULTCTL, "server", "start", "--listen", "127.0.0.1:0", *argv],
        env=os.environ | environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    try:
        line = process.stderr.readline()
        assert line.startswith("{"), line + process.communicate(timeout=PATIENCE)[1]
        yield Serving(json.loads(line)["url"], process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
