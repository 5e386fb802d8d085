"""A pipeline, compiled: decode, stages, alerts and routes as a few generated functions.

Stages that work on one event are fused into one loop; a stage that works on a batch (a look-up)
stands between two loops. The plan does no I/O of its own and is never changed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from enricher.loop import Ending, Events, Loop, Outcomes, Step, describe, generate
from enricher.model import DeadLetter, Outcome, Record
from enricher.stages.base import Decoder, note_failure


class Clock:
    """The time of processing, read once a batch."""

    def __init__(self) -> None:
        self.text = ""
        self.tick()

    def tick(self) -> None:
        """Read the clock."""
        self.text = datetime.now(UTC).isoformat(timespec="milliseconds")

    def read(self) -> str:
        """Give the time of this batch, ISO 8601 in UTC."""
        return self.text


@dataclass(slots=True)
class Plan:
    """A compiled pipeline. `process()` gives one outcome for each record, in order."""

    name: str
    decode: Decoder
    steps: tuple[Step, ...]
    ending: Ending
    clock: Clock
    fused: tuple[Loop | Step, ...] = ()
    """As few loops as there can be; generated for the first batch, so that `check` is quick."""
    single: tuple[Loop | Step, ...] = ()
    """One loop for each step and one for the ending: for explain and for the cost by stage."""
    decoder_name: str = "json"

    async def process(self, records: Sequence[Record]) -> list[Outcome]:
        """Give every record its one outcome."""
        if not self.fused:
            self.fused = tuple(fuse(self.steps, self.ending))
        events, outcomes = self.start(records)
        for part in self.fused:
            await run_part(part, records, events, outcomes)
        return outcomes  # type: ignore[return-value]  # the ending leaves no None

    async def process_timed(
        self, records: Sequence[Record], cost_ns: dict[str, int]
    ) -> list[Outcome]:
        """Do the same stage by stage, and add up what each one costs, in nanoseconds."""
        if not self.single:
            self.single = tuple(fuse_singly(self.steps, self.ending))
        names = [self.decoder_name, *(step.name for step in self.steps), "routes"]
        begin = time.perf_counter_ns()
        events, outcomes = self.start(records)
        for name, part in zip(names, [None, *self.single], strict=True):
            if part is not None:
                await run_part(part, records, events, outcomes)
            end = time.perf_counter_ns()
            cost_ns[name] = cost_ns.get(name, 0) + end - begin
            begin = end
        return outcomes  # type: ignore[return-value]

    def start(self, records: Sequence[Record]) -> tuple[Events, Outcomes]:
        """Decode a batch."""
        self.clock.tick()
        decoded = self.decode(list(records))
        outcomes: Outcomes = [None] * len(records)
        for number, event in enumerate(decoded):
            if type(event) is not dict:
                reason, error = str(event), getattr(event, "error", "Failure")
                outcomes[number] = DeadLetter(records[number], self.decoder_name, error, reason)
                decoded[number] = None  # type: ignore[call-overload]
        return decoded, outcomes  # type: ignore[return-value]


async def run_part(
    part: Loop | Step, records: Sequence[Record], events: Events, outcomes: Outcomes
) -> None:
    """Run one loop, or one stage that works on the batch."""
    if isinstance(part, Step):
        await run_batch(part, records, events, outcomes)
    else:
        part(records, events, outcomes)


async def run_batch(
    step: Step, records: Sequence[Record], events: Events, outcomes: Outcomes
) -> None:
    """Run a batch stage on the events that it concerns, and note who failed."""
    when = step.when
    chosen = [
        number
        for number, event in enumerate(events)
        if event is not None and (when is None or when(event))
    ]
    if not chosen:
        return
    function: Any = step.function
    try:
        failures: Mapping[int, str] = await function([events[number] for number in chosen])
    except Exception as error:  # noqa: BLE001 - a stage's bug concerns its events alone
        failures = dict.fromkeys(range(len(chosen)), describe(error))
    for position, reason in failures.items():
        number = chosen[position]
        event = events[number]
        if event is None:
            continue
        if step.dead_letter:
            outcomes[number] = DeadLetter(records[number], step.name, "Failure", reason)
            events[number] = None
        else:
            note_failure(event, step.name, reason)


def fuse(steps: Sequence[Step], ending: Ending) -> list[Loop | Step]:
    """Generate as few loops as there can be."""
    parts: list[Loop | Step] = []
    run: list[Step] = []
    for step in steps:
        if step.is_batch:
            if run:
                parts.append(generate(run, None))
            parts.append(step)
            run = []
        else:
            run.append(step)
    parts.append(generate(run, ending))
    return parts


def fuse_singly(steps: Sequence[Step], ending: Ending) -> list[Loop | Step]:
    """Generate one loop for each stage and one for the ending."""
    loops: list[Loop | Step] = [s if s.is_batch else generate([s], None) for s in steps]
    return [*loops, generate([], ending)]
