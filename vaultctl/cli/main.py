"""The entry: an argv in, an exit status out. The one place where errors become exit statuses."""

import os
import sys
from collections.abc import Sequence

from vaultctl.cli import output
from vaultctl.domain.errors import ExitStatus, VaultError


def main(argv: Sequence[str]) -> int:
    """Run ``vaultctl`` with the arguments ``argv``, and say how it ended."""
    _have_all_streams()
    try:
        if list(argv) == ["--version"]:
            return _version()
        if "_VAULTCTL_COMPLETE" in os.environ:
            from vaultctl.cli.completions import answer

            return answer(os.environ)
        return _run(argv)
    except KeyboardInterrupt:
        from vaultctl.cli import console

        if sys.stderr.isatty():
            console.say("")
        return ExitStatus.INTERRUPTED
    except output.ReaderGone:
        return ExitStatus.DONE
    except VaultError as error:
        from vaultctl.cli import console

        console.report(error)
        return error.exit_status
    except Exception as error:
        from vaultctl.cli import console

        console.report_unexpected(error)
        return ExitStatus.UNEXPECTED


def _run(argv: Sequence[str]) -> int:
    import typer

    from vaultctl.cli.app import root
    from vaultctl.cli.confirm import Declined
    from vaultctl.cli.invocation import Invocation

    command = root()
    try:
        with command.make_context("vaultctl", list(argv), obj=Invocation()) as ctx:
            command.invoke(ctx)
    except typer.Exit as end:
        return end.exit_code
    except Declined as declined:
        return declined.exit_status
    except typer.TyperException as error:
        # A usage error of the parser's own: a missing argument, an unknown option.
        from vaultctl.cli import console

        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "vaultctl"
        console.report_usage(error.format_message(), f"See {path} --help.")
        return ExitStatus.USAGE
    return ExitStatus.DONE


def _version() -> int:
    from vaultctl import __version__

    output.write(f"vaultctl {__version__}\n")
    return ExitStatus.DONE


def _have_all_streams() -> None:
    """Make up for standard streams that were closed, and let no encoding stand in the way of a message."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # Taken, so that no database is opened under its number; read-only, so that writing to it is an error.
            while os.open(os.devnull, os.O_RDONLY) < descriptor:
                pass
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
