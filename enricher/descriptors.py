"""How many files and connections the process may have open."""

from __future__ import annotations

import structlog

log = structlog.get_logger(__name__)

_OTHERS = 256
"""Descriptors for everything else: sinks, look-ups, files."""


def make_room(connections: int) -> int:
    """Let the process open so many connections; gives how many it may, which can be fewer."""
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return connections
    wanted = connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    infinity = resource.RLIM_INFINITY
    if soft != infinity and soft < wanted:
        soft = wanted if hard == infinity else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == infinity or soft >= wanted:
        return connections
    log.warning("fewer connections than wanted: raise the limit of open files",
                limit=soft, connections=max(1, soft - _OTHERS), wanted=connections)  # fmt: skip
    return max(1, soft - _OTHERS)
