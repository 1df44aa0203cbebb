"""Manual pages: one for each command, that says what ``--help`` says."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.test_help import PAGES
from vaultctl.cli.app import root
from vaultctl.cli.man_pages import man_pages
from vaultctl.domain.errors import ExitStatus

FOLDER = Path(__file__).parents[2] / "completions" / "man"
MAN = man_pages(root())


def name_of(path: tuple[str, ...]) -> str:
    return f"{'-'.join(('vaultctl', *path))}.1"


def test_each_command_has_a_page_and_no_page_is_of_another() -> None:
    assert set(MAN) == {name_of(path) for path in PAGES}


@pytest.mark.parametrize("path", PAGES, ids=" ".join)
def test_a_page_has_all_options_and_examples(path: tuple[str, ...]) -> None:
    page = MAN[name_of(path)].replace("\\-", "-").replace("\\(aq", "'").replace("\\(ti", "~").replace("\\(ha", "^")
    names = [name for param in PAGES[path].params for name in param.opts if name.startswith("--")]
    assert not [name for name in names if name not in page]
    assert all(line in page for line in PAGES[path].epilog.splitlines())


def test_a_page_holds_no_request_but_its_own() -> None:
    """Text of help pages that begins with a dot or a quote would be one."""
    requests = {line.split()[0] for page in MAN.values() for line in page.splitlines() if line[:1] in (".", "'")}
    assert requests == {".TH", ".SH", ".PP", ".TP", ".nf", ".fi"}


def test_the_exit_statuses_are_all_there() -> None:
    shown = re.findall(r"^\\fB(\d+)\\fR$", MAN["vaultctl.1"], re.MULTILINE)
    assert [int(number) for number in shown] == list(ExitStatus)


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not installed")
def test_man_shows_them_without_a_warning() -> None:
    done = subprocess.run(
        ["man", "--warnings", "--local-file", *sorted(str(path) for path in FOLDER.glob("*.1"))],
        env=os.environ | {"MANPAGER": "cat", "MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "vaultctl lease create shopify-api-key --ttl 15m --purpose 'Fetch the latest orders'" in done.stdout
