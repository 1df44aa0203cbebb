"""Shell completion: which words may come next, from the names of commands and options alone.

``_VAULTCTL_COMPLETE=source_bash vaultctl`` prints the script for a shell (``completions/`` keeps them); the script
calls ``_VAULTCTL_COMPLETE=complete_bash vaultctl`` on every Tab with the words typed so far in ``COMP_WORDS``, one a
line, and the index of the one at the cursor in ``COMP_CWORD``. The answer is a candidate a line, with its help
behind a tab where the shell shows one, or ``:files``. No vault is opened and nothing is written.

The commands are read from ``commands.json``. ``python -m vaultctl.cli.completions completions`` (``make completions``)
writes that file and the scripts; a test compares them with the program. Typer's own completion is not used: it loads
Typer and Rich on every Tab, and its zsh script can't be autoloaded.
"""

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from vaultctl.cli.placeholders import CREDENTIALS, FILES, LOOKED_UP, VARIABLES
from vaultctl.domain.errors import ExitStatus, InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS_FILE = os.path.join(os.path.dirname(__file__), "commands.json")  # noqa: PTH118, PTH120  # pathlib costs 3 ms

BASH = """\
# vaultctl: completion for bash
_vaultctl_completion() {
    local IFS=$'\\n' line
    COMPREPLY=()
    for line in $(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _VAULTCTL_COMPLETE=complete_bash \\
            "$1" 2>/dev/null); do
        if [[ $line == :files ]]; then
            compopt -o default
        else
            COMPREPLY+=("$line")
        fi
    done
}

complete -F _vaultctl_completion vaultctl
"""

ZSH = """\
#compdef vaultctl
# vaultctl: completion for zsh
_vaultctl_completion() {
    local line
    local -a candidates
    (( $+commands[vaultctl] )) || return 1
    for line in "${(@f)$(COMP_WORDS="${(F)words}" COMP_CWORD=$((CURRENT - 1)) \\
            _VAULTCTL_COMPLETE=complete_zsh vaultctl 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            [[ $PREFIX == --*=* ]] && compset -P 1 '*='
            _files
            return
        elif [[ -n $line ]]; then
            candidates+=("$line")
        fi
    done
    _describe -V vaultctl candidates
}

if [[ $funcstack[1] == _vaultctl ]]; then  # autoloaded
    _vaultctl_completion "$@"
else
    compdef _vaultctl_completion vaultctl
fi
"""

FISH = """\
# vaultctl: completion for fish
function _vaultctl_completion
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    set -l words $before $word
    for line in (COMP_WORDS=(string join \\n -- $words | string collect) COMP_CWORD=(count $before) \\
            _VAULTCTL_COMPLETE=complete_fish vaultctl 2>/dev/null)
        if test "$line" = ":files"
            set -l option (string match --regex -- '^--[^=]*=' $word)
            for path in (__fish_complete_path (string replace -- "$option" "" $word))
                echo "$option$path"
            end
        else
            echo $line
        end
    end
end

complete --no-files --keep-order --command vaultctl --arguments "(_vaultctl_completion)"
"""

POWERSHELL = """\
# vaultctl: completion for PowerShell
Register-ArgumentCompleter -Native -CommandName vaultctl -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements |
        Where-Object { $_.Extent.StartOffset -lt $cursorPosition } | ForEach-Object { "$_" })
    if ($wordToComplete -eq '') { $words += '' }
    $before = $env:COMP_WORDS, $env:COMP_CWORD, $env:_VAULTCTL_COMPLETE
    try {
        $env:COMP_WORDS = $words -join "`n"
        $env:COMP_CWORD = $words.Count - 1
        $env:_VAULTCTL_COMPLETE = 'complete_powershell'
        $lines = @(vaultctl 2>$null)
    } finally {
        $env:COMP_WORDS, $env:COMP_CWORD, $env:_VAULTCTL_COMPLETE = $before
    }
    foreach ($line in $lines) {
        if ($line -eq ':files') { return }  # PowerShell's own completion has paths
        $word, $help = $line -split "`t", 2
        if (-not $help) { $help = $word }
        [System.Management.Automation.CompletionResult]::new($word, $word, 'ParameterValue', $help)
    }
}
"""

SCRIPT_NAMES = {"bash": "vaultctl.bash", "zsh": "_vaultctl", "fish": "vaultctl.fish", "powershell": "vaultctl.ps1"}
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH, "powershell": POWERSHELL}


class Candidate(NamedTuple):
    """A word that may come next, and what it means."""

    word: str
    help: str = ""


def answer(environment: Mapping[str, str]) -> int:
    """Do what ``_VAULTCTL_COMPLETE`` asks for.

    Raises:
        InvalidInput: It asks for something else, or for another shell.
    """
    from vaultctl.cli import output

    instruction, _, shell = environment["_VAULTCTL_COMPLETE"].partition("_")
    if instruction not in ("source", "complete") or shell not in SCRIPTS:
        raise InvalidInput(
            "_VAULTCTL_COMPLETE asks for something that is not there.",
            hint=f"It is source_SHELL or complete_SHELL; shells: {', '.join(SCRIPTS)}.",
        )
    if instruction == "source":
        output.write(SCRIPTS[shell])
    else:
        *before, incomplete = _words(environment)
        found = candidates(before, incomplete)
        output.write("".join(f"{_line(candidate, shell)}\n" for candidate in found))
    return ExitStatus.DONE


def candidates(before: list[str], incomplete: str) -> list[Candidate]:
    """What may stand in the place of ``incomplete`` after the words ``before``, the program's name left out."""
    with open(COMMANDS_FILE, encoding="utf-8") as file:
        command: Any = json.load(file)
    everywhere = {name for option in command["options"] for name in option["names"]}
    awaited: Any = None  # the option whose value is the next word
    given: dict[str, str] = {}  # what options say of the vault that is meant
    used: set[str] = set()
    arguments = 0
    for word in before:
        if awaited:
            given[awaited["names"][-1]] = word
            awaited = None
        elif word == "--":  # what follows are arguments, and of a command that is run its own
            return _starting(command["arguments"][-1] if command["arguments"] else [], incomplete, given)
        elif word.startswith("-"):
            name, equals, value = word.partition("=")
            option = _option(command, name)
            if equals:
                given[option["names"][-1]] = value
            used.update(option["names"])
            awaited = option if option["takes"] is not None and not equals else None
        elif command["commands"]:
            command = command["commands"].get(word)
            if command is None:
                return []
        else:
            arguments += 1
    if awaited:
        return _starting(awaited["takes"], incomplete, given)
    if incomplete.startswith("--") and "=" in incomplete:
        name, _, value = incomplete.partition("=")
        found = _starting(_option(command, name)["takes"] or [], value, given)
        return [c if c.word == FILES else Candidate(f"{name}={c.word}", c.help) for c in found]
    if incomplete.startswith("-"):
        return [
            Candidate(name, option["help"])
            for option in command["options"]
            if option["repeatable"] or not used.intersection(option["names"])
            for name in option["names"]
            if name.startswith(incomplete) and (name.startswith("--") or name == incomplete)
        ]
    if command["commands"]:
        if used - everywhere:  # filters stand before no subcommand
            return []
        found = [Candidate(name, below["help"]) for name, below in command["commands"].items()]
        return [c for c in found if c.word.startswith(incomplete)]
    awaiting = command["arguments"][arguments:] or (command["arguments"][-1:] if command["goesOn"] else [])
    return _starting(awaiting[0] if awaiting else [], incomplete, given)


def _words(environment: Mapping[str, str]) -> list[str]:
    """The words behind the program's name, up to the one at the cursor.

    bash takes ``--output=json`` and ``KEY=name`` for three words; they are put together again.
    """
    bash = environment["_VAULTCTL_COMPLETE"].endswith("_bash")
    raw = environment.get("COMP_WORDS", "").split("\n")
    cursor = environment.get("COMP_CWORD", "")
    at = int(cursor) if cursor.isdecimal() else len(raw) - 1
    words: list[str] = []
    for word in (*raw[1:at], raw[at] if 0 < at < len(raw) else ""):
        if words and (bash or words[-1].startswith("--")) and (word == "=" or words[-1].endswith("=")):
            words[-1] += word
        else:
            words.append(word)
    return words


def _option(command: Any, name: str) -> Any:
    unknown: dict[str, Any] = {"names": [name], "takes": None}
    return next((option for option in command["options"] if name in option["names"]), unknown)


def _starting(values: list[str], incomplete: str, given: dict[str, str]) -> list[Candidate]:
    if values == [VARIABLES]:
        variable, equals, name = incomplete.partition("=")
        found = _starting([CREDENTIALS], name, given) if equals else []
        return [Candidate(f"{variable}={c.word}", c.help) for c in found]
    if len(values) == 1 and values[0] in LOOKED_UP:
        return _looked_up(values[0].removeprefix(":"), incomplete, given)
    return [Candidate(value) for value in values if value == FILES or value.startswith(incomplete)]


def _looked_up(kind: str, incomplete: str, given: dict[str, str]) -> list[Candidate]:
    from vaultctl.client.names import known_names

    def said(option: str) -> str | None:
        return given.get(option, "").strip("'\"") or None

    found = known_names(
        kind,
        incomplete,
        tenant=said("--tenant"),
        context=said("--context"),
        base_url=said("--base-url"),
        database=said("--database"),
    )
    return [Candidate(*one) for one in found]


def _line(candidate: Candidate, shell: str) -> str:
    word, help = candidate
    if word == FILES:
        return word
    match shell:
        case "zsh":
            return word.replace(":", "\\:") + (f":{help}" if help else "")
        case "fish" | "powershell" if help:
            return f"{word}\t{help}"
        case "bash":  # for which the word begins behind the =
            return word.rpartition("=")[2]
    return word


# Writing the files


def generated(folder: "Path") -> dict["Path", str]:
    """What the generated files have to hold: the scripts, in ``folder``, manual pages, and the list of commands."""
    from pathlib import Path

    from vaultctl.cli.app import root
    from vaultctl.cli.man_pages import man_pages

    command = root()
    scripts = {folder / SCRIPT_NAMES[shell]: script for shell, script in SCRIPTS.items()}
    pages = {folder / "man" / name: page for name, page in man_pages(command).items()}
    return scripts | pages | {Path(COMMANDS_FILE): json.dumps(_described(command, None), indent=1) + "\n"}


def _described(command: Any, parent: Any) -> dict[str, Any]:
    import typer

    context = typer.Context(command, parent=parent, info_name=command.name, resilient_parsing=True)
    names = command.list_commands(context) if hasattr(command, "list_commands") else []
    parameters = command.get_params(context)
    return {
        "help": command.get_short_help_str(100),
        "options": [
            {
                "names": parameter.opts,
                "takes": None if parameter.is_flag else _completed(parameter, context),
                "repeatable": parameter.multiple,
                "help": parameter.help or "",
            }
            for parameter in parameters
            if parameter.param_type_name == "option"
        ],
        "arguments": [_completed(p, context) for p in parameters if p.param_type_name == "argument"],
        "goesOn": any(p.param_type_name == "argument" and p.nargs == -1 for p in parameters),
        "commands": {name: _described(command.get_command(context, name), context) for name in names},
    }


def _completed(parameter: Any, context: Any) -> list[str]:
    """The values that a parameter may have, as far as they are known."""
    if parameter.type.name == "path":
        return [FILES]
    return [item.value for item in parameter.shell_complete(context, "")]


if __name__ == "__main__":
    from pathlib import Path

    wanted = generated(Path(sys.argv[1]))
    for path in Path(sys.argv[1], "man").glob("*.1"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
