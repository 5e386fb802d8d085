"""The program's own logs: one line an event, JSON where nobody is looking."""

from __future__ import annotations

import sys

import structlog


def configure(*, as_json: bool | None = None) -> None:
    """Send structlog to standard error; JSON unless it is a terminal."""
    as_json = not sys.stderr.isatty() if as_json is None else as_json
    renderer = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
