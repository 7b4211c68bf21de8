"""Structured logs: events with stable names and key-value context.

They go to Python's standard logger `kubekka`, so that who embeds a cluster decides where they
end; the command line calls `configure_logging`.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

__all__ = ["configure_logging", "get_logger"]

_PROCESSORS: list[Any] = [
    structlog.stdlib.filter_by_level,
    structlog.stdlib.add_log_level,
    structlog.processors.format_exc_info,
    structlog.processors.KeyValueRenderer(key_order=["event"]),
]


def get_logger(**context: Any) -> Any:
    """A logger whose every event carries `context`."""
    return structlog.wrap_logger(
        logging.getLogger("kubekka"), processors=_PROCESSORS, wrapper_class=structlog.stdlib.BoundLogger
    ).bind(**context)


def configure_logging(style: str = "console", level: str = "warning") -> None:
    """Write logs to stderr. `style`: `console` for people, `json` for machines; `level` as in
    `logging`.

    Raises: ValueError for an unknown style or level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown log level {level!r}")
    renderer: Any
    if style == "json":
        renderer = structlog.processors.JSONRenderer()
    elif style == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    else:
        raise ValueError(f"unknown log format {style!r}")
    _PROCESSORS[2:] = [structlog.processors.TimeStamper(fmt="iso", utc=True)]
    if style == "json":
        _PROCESSORS.append(structlog.processors.format_exc_info)
    _PROCESSORS.append(renderer)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("kubekka")
    logger.handlers[:] = [handler]
    logger.setLevel(number)
    logger.propagate = False
