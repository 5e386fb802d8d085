"""State in this process: for runs without Redis, dry runs, tests and backtests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from enricher.state.history import History, Memory
from enricher.state.spec import Answer, Sighting, Spec


@dataclass(slots=True)
class _Keys:
    """The histories of one stage, in two generations: who is in neither was not seen for long."""

    memory: Memory
    young: dict[str, History] = field(default_factory=dict)
    old: dict[str, History] = field(default_factory=dict)
    turn_at_us: int | None = None
    ahead: int = 0
    """Events in a row that were beyond that, where they are seen one by one."""
    earliest_us: int = 0
    """Of them."""

    def of(self, key: str) -> History:
        """Give what is kept of a key, and keep it on."""
        history = self.young.get(key)
        if history is None:
            old, columns = self.old, self.memory.spec.columns
            history = self.young[key] = old.pop(key) if key in old else History(columns)
        return history


SURE = 1000
"""So many events in a row show what time it is."""


class MemoryStates:
    """Keeps what active keys have seen; a key that is silent for its retention goes."""

    def __init__(self) -> None:
        self._stages: dict[str, _Keys] = {}

    async def see(self, spec: Spec, sightings: Sequence[Sighting]) -> list[Answer]:
        """See events in their order, and answer each."""
        keys = self._keys(spec)
        if sightings:
            _turn(keys, min([one.time_us for one in sightings]))
        return [keys.of(one[0]).see(keys.memory, one) for one in sightings]

    def seer(self, spec: Spec) -> Callable[[Sighting], Answer]:
        """Build the function that sees one event and answers it: there is no trip to share."""
        stages, keys_of = self._stages, self._keys

        def see(one: Sighting) -> Answer:
            keys = stages.get(spec.name)
            if keys is None or keys.memory.spec is not spec:
                keys = keys_of(spec)
            time_us, turn_at_us = one[2], keys.turn_at_us
            if turn_at_us is None or time_us >= turn_at_us:
                keys.earliest_us = min(time_us, keys.earliest_us) if keys.ahead else time_us
                keys.ahead += 1
                if keys.ahead == SURE:
                    _turn(keys, keys.earliest_us)
                    keys.ahead = 0
            elif keys.ahead:
                keys.ahead = 0
            return keys.of(one[0]).see(keys.memory, one)

        return see

    def _keys(self, spec: Spec) -> _Keys:
        keys = self._stages.get(spec.name)
        if keys is None:
            keys = self._stages[spec.name] = _Keys(Memory(spec))
        elif keys.memory.spec is not spec:  # a reload: what is measured may be something else
            keys.memory = Memory(spec)
        return keys

    def clear(self) -> None:
        """Forget everything."""
        self._stages.clear()


def _turn(keys: _Keys, time_us: int) -> None:
    """Forget who was silent for the retention, and for as long as an event may be late.

    Args:
        keys: of the stage.
        time_us: the earliest event of a batch: a single one from the future ages nobody.
    """
    span = keys.memory.retention_us + keys.memory.lateness_us
    if keys.turn_at_us is None:
        keys.turn_at_us = time_us + span
    elif time_us >= keys.turn_at_us:
        keys.old, keys.young = keys.young, {}
        keys.turn_at_us = time_us + span
