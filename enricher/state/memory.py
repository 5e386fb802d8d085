"""State in this process: for runs without Redis, dry runs, tests and backtests."""

from __future__ import annotations

from collections.abc import Sequence
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


class MemoryStates:
    """Keeps what active keys have seen; a key that is silent for its retention goes."""

    def __init__(self) -> None:
        self._stages: dict[str, _Keys] = {}

    async def see(self, spec: Spec, sightings: Sequence[Sighting]) -> list[Answer]:
        """See events in their order, and answer each."""
        keys = self._keys(spec)
        if sightings:
            _turn(keys, min([one[2] for one in sightings]))
        memory, young, old = keys.memory, keys.young, keys.old
        answers = []
        for one in sightings:
            key = one[0]
            history = young.get(key)
            if history is None:
                history = young[key] = old.pop(key) if key in old else History(spec.columns)
            answers.append(history.see(memory, one))
        return answers

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
