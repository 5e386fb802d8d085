"""A pipeline, compiled: decode, stages, alerts and routes as a few generated functions.

An event takes the fast way (`fast.py`: one loop, look-ups asked before it, added fields written
straight into the document) or, where it is unfit for that, the plain one: stages that work on one
event fused into loops, and a stage that works on a batch between two of them. Both ways make the
same documents. The plan does no I/O of its own; all that changes of it is what it generated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from enricher.fast import Fast, build_fast
from enricher.loop import Ending, Events, Loop, Outcomes, Step, dead_letter, describe, generate
from enricher.model import DeadLetter, Event, Failure, Outcome, Record
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
class Bet:
    """The bet that events do not bring the fields that the plan adds, and how it goes."""

    _fast: Fast | None = None
    _present: set[str] = field(default_factory=set)
    """Fields that events were seen to bring."""
    _records: int = 0
    _lost: int = 0
    _rounds: int = 0

    def fast(self, plan: Plan, records: Sequence[Record]) -> Fast | None:
        """Give the fast way; generated for the first batch, and again when the bet goes badly."""
        if self._rounds == 0 or (self._lost > MOST_LOST * self._records and self._records > ENOUGH):
            self._records = self._lost = 0
            self._rounds += 1
            self._see(plan.decode(list(records[:SEEN])))
            present = frozenset(self._present)
            allowed = self._rounds <= MOST_ROUNDS
            made = build_fast(plan.decode, plan.steps, plan.ending, present) if allowed else None
            self._fast = made
        self._records += len(records)
        return self._fast

    def like(self, plan: Plan) -> Bet:
        """Make the bet of a plan that is to get the events that this one has seen."""
        bet = Bet(_present=set(self._present))
        bet.fast(plan, [])
        return bet

    def lose(self, unfit: Sequence[Event | Failure]) -> None:
        """Note the events of a batch that were unfit."""
        self._lost += len(unfit)
        self._see(unfit[:SEEN])

    def _see(self, events: Sequence[Event | Failure]) -> None:
        for event in events:
            if type(event) is dict and len(self._present) < MOST_NAMES:
                self._present.update(name for name in event if len(name) <= MAX_NAME)


MOST_LOST = 0.1
"""Share of unfit events from which on it is better to give the fields up that they bring."""
ENOUGH = 1000
"""Records from which on that share means something."""
MOST_ROUNDS = 4
"""Loops that are generated before the plain way is taken for good."""
MOST_NAMES = 1 << 12
MAX_NAME = 256
"""Characters of a field's name that is noted; who makes names up is not followed for ever."""
SEEN = 100
"""Events of a batch that are looked at for the fields that they bring."""


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
    bet: Bet = field(default_factory=Bet)

    async def process(self, records: Sequence[Record]) -> list[Outcome]:
        """Give every record its one outcome: the fast way, or the plain one where that is unfit."""
        fast = self.bet.fast(self, records)
        if fast is None:
            return await self._process_plainly(records)
        events, outcomes = self.start(records, self.decode.quickly)
        unfit = await fast.run(records, events, outcomes)
        if unfit:  # decoded anew: the fast way may have left its marks on them
            left = [records[number] for number in unfit]
            self.bet.lose(self.decode(left))
            done = await self._process_plainly(left)
            for number, outcome in zip(unfit, done, strict=True):
                outcomes[number] = outcome
        return outcomes  # type: ignore[return-value]  # the ending leaves no None

    async def _process_plainly(self, records: Sequence[Record]) -> list[Outcome]:
        if not self.fused:
            self.fused = tuple(fuse(self.steps, self.ending))
        events, outcomes = self.start(records, self.decode)
        for part in self.fused:
            await run_part(part, records, events, outcomes)
        return outcomes  # type: ignore[return-value]

    def prepare(self, former: Plan) -> None:
        """Generate the functions now, and not when records wait, for events as another had them."""
        self.fused = tuple(fuse(self.steps, self.ending))
        self.single = tuple(fuse_singly(self.steps, self.ending))
        self.bet = former.bet.like(self)

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

    def start(
        self,
        records: Sequence[Record],
        decode: Callable[[list[Record]], list[Event | Failure]] | None = None,
    ) -> tuple[Events, Outcomes]:
        """Decode a batch."""
        self.clock.tick()
        decoded: list[Any] = (decode or self.decode)(list(records))
        outcomes: Outcomes = [None] * len(records)
        if set(map(type, decoded)) - {dict}:
            for number, event in enumerate(decoded):
                if type(event) is not dict:
                    reason, error = str(event), getattr(event, "error", "Failure")
                    outcomes[number] = DeadLetter(records[number], self.decoder_name, error, reason)
                    decoded[number] = None
        return decoded, outcomes


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
    chosen = [number for number, event in enumerate(events) if event is not None]
    if when is not None:
        chosen = _meeting(when, chosen, records, events, outcomes)
    if not chosen:
        return
    function: Any = step.function
    try:
        arguments: list[list[Any]] = [[events[number] for number in chosen]]
        if step.takes_record:
            arguments.append([records[number] for number in chosen])
        failures: Mapping[int, str] = await function(*arguments)
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


def _meeting(
    when: Callable[[Event], Any],
    numbers: Sequence[int],
    records: Sequence[Record],
    events: Events,
    outcomes: Outcomes,
) -> list[int]:
    """Give the numbers of the events that meet a condition."""
    chosen = []
    for number in numbers:
        event: Any = events[number]
        try:
            if when(event):
                chosen.append(number)
        except Exception as error:  # noqa: BLE001 - as in a loop
            outcomes[number] = dead_letter(records[number], "plan", error)
            events[number] = None
    return chosen


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
