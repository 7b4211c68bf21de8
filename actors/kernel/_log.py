"""Structured logs: events with stable names and key-value context.

They go through structlog to Python's standard logger `kubekka`, so that who embeds a cluster
decides where they end; the command line calls `configure_logging`. structlog is imported at the
first event that somebody wants to see: it takes longer to load than a cluster takes to start.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

__all__ = ["Log", "configure_logging", "get_logger"]

_logger = logging.getLogger("kubekka")
_style = "plain"
_bound: Any = None


def _structlog() -> Any:
    """The structlog logger of the style that was configured, made once."""
    global _bound
    if _bound is None:
        import structlog

        processors: list[Any] = [structlog.stdlib.add_log_level]
        if _style == "plain":
            processors += [
                structlog.processors.format_exc_info,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ]
        else:
            processors.append(structlog.processors.TimeStamper(fmt="iso", utc=True))
            if _style == "json":
                processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
            else:
                colors = sys.stderr.isatty()
                processors.append(
                    structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
                )
        _bound = structlog.wrap_logger(_logger, processors=processors, wrapper_class=structlog.stdlib.BoundLogger)
    return _bound


class Log:
    """A logger whose every event carries `context`. A level that nobody listens to costs a look."""

    __slots__ = ("_context",)

    def __init__(self, context: dict[str, Any]) -> None:
        self._context = context

    def bind(self, **context: Any) -> Log:
        """The same logger with more context."""
        return Log({**self._context, **context})

    def debug(self, event: str, **values: Any) -> None:
        if _logger.isEnabledFor(logging.DEBUG):
            _structlog().debug(event, **self._context, **values)

    def info(self, event: str, **values: Any) -> None:
        if _logger.isEnabledFor(logging.INFO):
            _structlog().info(event, **self._context, **values)

    def warning(self, event: str, **values: Any) -> None:
        if _logger.isEnabledFor(logging.WARNING):
            _structlog().warning(event, **self._context, **values)

    def error(self, event: str, **values: Any) -> None:
        if _logger.isEnabledFor(logging.ERROR):
            _structlog().error(event, **self._context, **values)

    def critical(self, event: str, **values: Any) -> None:
        if _logger.isEnabledFor(logging.CRITICAL):
            _structlog().critical(event, **self._context, **values)


def get_logger(**context: Any) -> Log:
    """A logger whose every event carries `context`."""
    return Log(context)


def configure_logging(style: str = "console", level: str = "warning") -> None:
    """Write logs to stderr. `style`: `console` for people, `json` for machines; `level` as in
    `logging`.

    Raises: ValueError for an unknown style or level.
    """
    global _style, _bound
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"unknown log level {level!r}")
    if style not in ("console", "json"):
        raise ValueError(f"unknown log format {style!r}")
    _style, _bound = style, None
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    _logger.handlers[:] = [handler]
    _logger.setLevel(number)
    _logger.propagate = False
