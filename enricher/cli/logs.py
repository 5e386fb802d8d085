"""The program's own logs: one line an event, JSON where nobody is looking."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog


def configure(form: str = "auto", level: str = "info", worker: int | None = None) -> None:
    """Send structlog, and the warnings of libraries, to standard error.

    Args:
        form: `json`, `console`, or `auto`: JSON unless standard error is a terminal.
        level: the least that is logged: `debug`, `info`, `warning` or `error`.
        worker: which of several workers this is; stands in every line.
    """
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    renderers: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        # rich, where it is installed, would show the values of local variables: secrets, events.
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    structlog.configure(
        processors=[
            *([] if worker is None else [lambda _, __, line: {"worker": worker, **line}]),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_Relay()])


class _Relay(logging.Handler):
    """Passes on what libraries warn of, in the form of our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        error = record.exc_info[1] if record.exc_info else None
        more = {"error": repr(error)} if error else {}
        log.log(record.levelno, record.getMessage(), logger=record.name, **more)
