"""What a stage wants to know of earlier events, and what a store of them offers.

Every store keeps the same promises. The events of a key have an order, by time and then by id.
An event is answered from those before it and itself, when it is first seen; seen again, it changes
nothing and gets that answer again. What is older than `Spec.lateness_us` behind the newest event of
its key is refused, since what its windows held may be forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from enricher.model import Unavailable

Value = float | str | None
"""What is kept of one field: a number, any value as JSON, or nothing."""
Answer = dict[str, Any] | str | Unavailable
"""Fields and their values; why there are none; or why the store could not be asked."""
TOO_LATE = "too late: what its windows held is forgotten (see retention and max_events)"


class Measure(NamedTuple):
    """One field that is written."""

    target: str
    kind: Literal["count", "sum", "mean", "distinct", "previous"]
    of: tuple[str, ...] = ()
    """Columns: that of its values first, then those that an event must have to take part."""
    within_us: int | None = None
    """Half open: (t - within, t], in microseconds."""
    last: int | None = None
    """Of those the last so many."""
    at_least: int = 0
    """With fewer the field is not written."""
    before: bool = False
    """Whether the present event is left out."""


class Spec(NamedTuple):
    """What one stage remembers, and what it makes of it."""

    name: str
    """Of the stage; no other one shares its state."""
    measures: tuple[Measure, ...]
    columns: tuple[str, ...]
    """What is kept of each event: `number:field`, or `json:field`."""
    retention_us: int
    """Events that lie so far behind the newest one of their key are forgotten."""
    max_events: int
    """The newest of a key that are kept."""
    outage_us: int = 86_400_000_000
    """How long a store outside this process keeps what nobody touches beyond the retention."""

    @property
    def lateness_us(self) -> int:
        """Give how far behind the newest one an event may be, with all its windows in memory."""
        return self.retention_us - max([m.within_us or 0 for m in self.measures], default=0)


class Sighting(NamedTuple):
    """An event as a store sees it."""

    key: str
    id: str
    time_us: int
    """Microseconds since the epoch."""
    values: tuple[Value, ...]
    """By column."""


class States(Protocol):
    """A store of what stages remember."""

    async def see(self, spec: Spec, sightings: Sequence[Sighting]) -> list[Answer]:
        """See events in their order, and answer each. Never raises."""
        ...
