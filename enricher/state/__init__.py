"""What stages remember of the events that they have seen: in Redis, or in memory."""

from __future__ import annotations

from enricher.lookups.store import Lookups
from enricher.state.memory import MemoryStates
from enricher.state.spec import States

__all__ = ["MemoryStates", "States", "open_states"]


def open_states(lookups: Lookups) -> States:
    """Choose where state is kept: in the Redis that look-ups ask, else in memory."""
    if not hasattr(lookups, "run_each"):
        return MemoryStates()
    from enricher.state.redis import RedisStates

    return RedisStates(lookups)
