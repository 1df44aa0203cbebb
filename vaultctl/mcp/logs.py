"""Logging of the server: to stderr, our own messages only.

A library's log message may quote what a client sent or a vault answered, and a traceback holds it all. So of
foreign records only the logger, the level and the exception's class are shown; of ours, never a traceback.
"""

import logging
import sys
import threading
from types import TracebackType

from vaultctl.domain.text import safe

logger = logging.getLogger("vaultctl.mcp")
"""The only logger whose messages are shown."""


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        kind = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        suffix = f" ({kind.__name__})" if kind else ""
        if record.name == logger.name:
            return f"vaultctl mcp: {level}: {safe(record.getMessage())}{suffix}"
        return f"vaultctl mcp: {level}: in {record.name}{suffix}"


def configure(level: str) -> None:
    """Replace whatever logging there is, and the hooks that would print tracebacks.

    Args:
        level: Name of the lowest level shown. Foreign records are shown from warning on, or from debug if that is it.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    own = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(own if own == logging.DEBUG else max(own, logging.WARNING))
    logger.setLevel(own)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # it would print a traceback where stderr is gone
    sys.excepthook = _on_exception
    threading.excepthook = lambda failure: _report(failure.exc_type)
    sys.unraisablehook = lambda failure: _report(failure.exc_type)


def _on_exception(kind: type[BaseException], _: BaseException, __: TracebackType | None) -> None:
    _report(kind)


def _report(kind: type[BaseException] | None) -> None:
    logger.error("Unexpected: %s", kind.__name__ if kind else "unknown")
