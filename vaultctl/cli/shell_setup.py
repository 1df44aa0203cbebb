"""Where each shell looks for completions, and what puts ours there."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vaultctl.cli.completions import SCRIPT_NAMES, SCRIPTS
from vaultctl.client import private_files
from vaultctl.domain.errors import InvalidInput, VaultUnavailable

_BASH_COMPLETION = (
    "/usr/share/bash-completion/bash_completion",
    "/usr/local/share/bash-completion/bash_completion",
    "/opt/homebrew/share/bash-completion/bash_completion",
    "/etc/bash_completion",
)
"""The package that loads what stands in its folders; without it bash is told of the script by a line of its own."""

_LONGEST_FILE = 4_194_304


class Setup(NamedTuple):
    """What a shell needs.

    Attributes:
        shell: Its name.
        script: Where the script goes.
        startup: The file that it runs when it starts and that has to name the script; None if it finds it by itself.
        line: What has to stand there.
    """

    shell: str
    script: Path
    startup: Path | None = None
    line: str = ""

    @property
    def script_is_current(self) -> bool:
        """Whether the script is there, as this version has it."""
        return _content(self.script) == SCRIPTS[self.shell]

    @property
    def startup_is_current(self) -> bool:
        """Whether the shell finds the script."""
        return self.startup is None or self.line in (_content(self.startup) or "").splitlines()

    def carry_out(self) -> None:
        """Write what is missing. The shell's own file is added to, and nothing in it changed.

        Raises:
            VaultUnavailable: A file can't be written.
        """
        path = self.script
        try:
            if not self.script_is_current:
                path.parent.mkdir(parents=True, exist_ok=True)
                private_files.replace_bytes(path, SCRIPTS[self.shell].encode(), 0o644)
            if self.startup is not None and not self.startup_is_current:
                path = self.startup
                path.parent.mkdir(parents=True, exist_ok=True)
                before = _content(path) or ""
                with open(path, "a", encoding="utf-8") as file:  # through a link, if it is one
                    file.write(f"{'' if before.endswith(chr(10)) or not before else chr(10)}{self.line}\n")
        except OSError as error:
            raise VaultUnavailable(
                f"{path} can't be written: {error.strerror}.",
                hint=f"Put the script where your shell finds it: vaultctl completion show {self.shell}",
            ) from None


def shell_in_use(environ: Mapping[str, str] = os.environ) -> str:
    """The login shell.

    Raises:
        InvalidInput: It is none that completions are there for.
    """
    name = os.path.basename(environ.get("SHELL", ""))  # noqa: PTH119  # a name, not a path
    return check_shell({"pwsh": "powershell"}.get(name, name))


def check_shell(name: str) -> str:
    """``name``, if there is a script for that shell.

    Raises:
        InvalidInput: There is none.
    """
    if name not in SCRIPTS:
        raise InvalidInput(
            "There are no completions for this shell.", hint=f"Name one of them with --shell: {', '.join(SCRIPTS)}."
        )
    return name


def setup_of(shell: str, environ: Mapping[str, str] = os.environ) -> Setup:
    """What ``shell`` needs, for this user."""
    home = Path(environ.get("HOME") or Path.home())
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    ours = data / "vaultctl" / "completions" / SCRIPT_NAMES[shell]
    quoted = shlex.quote(str(ours))
    match shell:
        case "fish":
            return Setup(shell, config / "fish" / "completions" / SCRIPT_NAMES[shell])
        case "zsh":
            load = f"(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit; }}; source {quoted}"
            return Setup(shell, ours, Path(environ.get("ZDOTDIR") or home) / ".zshrc", load)
        case "powershell":
            profile = config / "powershell" / "Microsoft.PowerShell_profile.ps1"
            return Setup(shell, ours, profile, ". '" + str(ours).replace("'", "''") + "'")
    if any(Path(path).exists() for path in _BASH_COMPLETION):
        return Setup(shell, data / "bash-completion" / "completions" / "vaultctl")
    return Setup(shell, ours, home / ".bashrc", f"source {quoted}")


def _content(path: Path) -> str | None:
    try:
        with open(path, "rb", opener=private_files.without_waiting) as file:
            return file.read(_LONGEST_FILE).decode("utf-8", "surrogateescape")
    except OSError:
        return None
