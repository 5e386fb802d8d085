"""What was decoded to put history in order is not decoded again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from enricher.model import Event, Failure, Record
from enricher.stages.base import Decoder


@dataclass(slots=True)
class Decoded:
    """A decoder that was told events beforehand; it gives them once, for the plan changes them."""

    decoder: Decoder
    """That the events are from, and that decodes everything else."""
    _records: list[Record] = field(default_factory=list)
    _events: list[Event | Failure] = field(default_factory=list)

    def tell(self, records: Sequence[Record], events: Sequence[Event | Failure | None]) -> None:
        """Take the events of a batch, decoded quickly; where one is missing, none counts."""
        known = [event for event in events if event is not None]
        self._records = list(records) if len(known) == len(records) else []
        self._events = known

    def __call__(self, records: list[Record]) -> list[Event | Failure]:
        """Decode with every check."""
        return self.decoder.checked(records, self.quickly(records))

    def quickly(self, records: list[Record]) -> list[Event | Failure]:
        """Decode with every check but `is_sound`, which the caller makes."""
        if not records or records != self._records:
            return self.decoder.quickly(records)
        events, self._records, self._events = self._events, [], []
        return events

    def checked(
        self, records: list[Record], events: list[Event | Failure]
    ) -> list[Event | Failure]:
        """Give what `__call__` does, of events that were decoded quickly."""
        return self.decoder.checked(records, events)

    def is_sound(self, names: tuple[str, ...]) -> bool:
        """Say whether an event may have these top-level fields."""
        return self.decoder.is_sound(names)
