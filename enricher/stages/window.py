"""Count, add up and remember what the earlier events of a key had, in event time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from enricher import path, template
from enricher.connections import STRICT
from enricher.duration import Duration, microseconds
from enricher.each import each
from enricher.inline import define
from enricher.model import Event, Failure, Record
from enricher.path import FieldPath
from enricher.stages.base import Context, Example, Stage
from enricher.state.asking import Asking
from enricher.state.sighting import MAX_ID, fitting, time_reader, values_reader
from enricher.state.spec import Answer, Measure, Sighting, Spec
from enricher.template import Template

KINDS = ("count", "sum", "mean", "distinct", "previous")


class Seen(BaseModel):
    """What is written to one field: one of `count`, `sum`, `mean`, `distinct`, `previous`."""

    model_config = STRICT
    count: Literal[True] | None = Field(default=None, description="How many events.")
    sum: FieldPath | None = Field(default=None, description="The sum of a number.")
    mean: FieldPath | None = Field(default=None, description="The mean of a number.")
    distinct: FieldPath | None = Field(default=None, description="How many different values.")
    previous: FieldPath | None = Field(
        default=None, description="The value of the last event before this one that had any."
    )
    within: Duration | None = Field(
        default=None,
        description="Of the events in (t - within, t], t being this event's time; else of all "
        "that are kept.",
    )
    last: int | None = Field(
        default=None, ge=1, le=1000, description="Of those, the last so many that have the field."
    )
    at_least: int = Field(default=0, ge=0, description="With fewer events nothing is written.")
    before: bool = Field(default=False, description="Leave this event out.")
    having: FieldPath | None = Field(default=None, description="Only events that have this field.")

    @model_validator(mode="after")
    def _is_one(self) -> Seen:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"write one of {', '.join(KINDS)}, such as `count: true`")
        if self.last and self.count and not self.having:
            raise ValueError("last: a count has no field that events must have; name it: having")
        if self.last and self.at_least > self.last:
            raise ValueError("at_least: there are never more than `last`: nothing would be written")
        if self.previous and (self.last or self.at_least or self.before):
            raise ValueError("previous: it is one value, of before this event; take the rest out")
        return self

    def measure(self, target: str) -> Measure:
        """Say the same to a store."""
        kind: Any = next(kind for kind in KINDS if getattr(self, kind) is not None)
        of = []
        if kind != "count":
            of.append(f"{'number' if kind in {'sum', 'mean'} else 'json'}:{getattr(self, kind)}")
        if self.having:
            of.append(f"json:{self.having}")
        is_previous = kind == "previous"
        return Measure(
            target=target,
            kind=kind,
            of=tuple(of),
            within_us=microseconds(self.within) if self.within else None,
            last=1 if is_previous else self.last,
            at_least=max(self.at_least, 1) if kind == "mean" else self.at_least,
            before=self.before or is_previous,
        )


class Windows(Stage):
    """Write what the events of a key had in a window before this one and up to it.

    The order of events is that of their times, and of their ids where times are equal. Each is
    answered from those before it, whatever comes later; an event that is seen again changes nothing
    and gets its first answer again. One that is late counts for those that come after it, as long
    as all its windows lie within `retention`; a later one is a failure.

    State is kept in `connections.redis`, for all workers and over restarts; without it in memory. A
    user of Redis needs `evalsha eval hmget hget hset hdel exists pttl pexpire`.
    Without a key nothing happens. A missing time, or a value that is not of its kind, is a failure,
    and the event is not counted. Of a key with more than `max_events` the oldest are forgotten:
    counts end there, and events before those are refused as too late.
    """

    kind: ClassVar[str] = "window"
    stateful: ClassVar[bool] = True
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "the first event of a user",
            """window:
  key: "{user}"
  retention: 7d
  fields:
    payments_1h: {count: true, within: 1h}
    usual_amount: {mean: amount, last: 20, at_least: 5, before: true}
    cards_1d: {distinct: card, within: 1d}
    previous_place: {previous: place}""",
            {"@timestamp": "2025-10-20T10:00:00Z", "user": "u1", "amount": 5, "card": "c"},
            {
                "@timestamp": "2025-10-20T10:00:00Z",
                "user": "u1",
                "amount": 5,
                "card": "c",
                "payments_1h": 1,
                "cards_1d": 1,
            },
        ),
        Example(
            "no key",
            'window: {key: "{user}", fields: {n: {count: true, within: 1h}}}',
            {"@timestamp": "2025-10-20T10:00:00Z"},
            {"@timestamp": "2025-10-20T10:00:00Z"},
        ),
        Example(
            "an amount that is no number",
            'window: {key: "{user}", fields: {spent: {sum: amount, within: 1h}}}',
            {"@timestamp": "2025-10-20T10:00:00Z", "user": "u1", "amount": "5"},
            {
                "@timestamp": "2025-10-20T10:00:00Z",
                "user": "u1",
                "amount": "5",
                "tags": ["_window_failure"],
                "failures": {"window": "amount is a text, not a number"},
            },
        ),
    )
    key: Template = Field(description="Whose events belong together, such as `{user_id}`.")
    fields: dict[FieldPath, Seen] = Field(min_length=1, description="What is written.")
    time: FieldPath = Field(
        default="@timestamp", description="When it happened: ISO 8601 with an offset."
    )
    event_id: Template | None = Field(
        default=None,
        description="By what an event is known again, such as `{payment_id}`; where that is not "
        "given or missing, the record's own id.",
    )
    retention: Duration = Field(
        default="1d", description="How long events and their first answers are kept, by event time."
    )
    max_events: int = Field(
        default=1000, ge=1, le=10_000, description="Events of one key that are kept at most."
    )
    ahead: Duration = Field(
        default="1d",
        description="A time that is later than the record's own by more than this is a failure: it "
        "would make all that follow too late.",
    )
    outage: Duration = Field(
        default="1d",
        description="How long the pipeline may stand still without losing state: Redis keeps what "
        "nobody touches for `retention` and this.",
    )
    on_unavailable: Literal["wait", "tag"] = Field(
        default="wait",
        description="While Redis is away: wait for it, or fail; later counts lack what failed.",
    )
    max_key_bytes: int = Field(default=512, gt=0, description="A longer key is a failure.")

    @field_validator("key", "event_id")
    @classmethod
    def _has_a_field(cls, text: str | None) -> str | None:
        if text is not None and not any(part.keys for part in template.parse(text)):
            raise ValueError(
                f'"{text}" has no field and is the same for all events: write it like {{user_id}}'
            )
        return text

    @model_validator(mode="after")
    def _remembers_enough(self) -> Windows:
        for target, seen in self.fields.items():
            if seen.within and microseconds(seen.within) >= microseconds(self.retention):
                raise ValueError(
                    f"retention: {self.retention} must be longer than {seen.within} (within) of "
                    f"{target}; what is more is how late an event may be"
                )
            if (seen.last or 0) > self.max_events:
                raise ValueError(f"max_events: {target} needs {seen.last} of them")
        return self

    def compile(self, context: Context) -> KeyedWindows:
        """Build the function of a batch; Redis is connected when it is first asked."""
        waits = self.on_unavailable == "wait"
        return KeyedWindows(self, Asking(context.states, self.spec(context), waits))

    def spec(self, context: Context) -> Spec:
        """Say to a store what is wanted."""
        measures = tuple(seen.measure(target) for target, seen in self.fields.items())
        return Spec(
            name=f"{context.pipeline}:{self.name or self.kind}",
            measures=measures,
            columns=tuple(dict.fromkeys(column for one in measures for column in one.of)),
            retention_us=microseconds(self.retention),
            max_events=self.max_events,
            outage_us=microseconds(self.outage),
        )

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return list(self.fields)


class KeyedWindows:
    """A function of a batch, which sees its events in their order."""

    def __init__(self, stage: Windows, asking: Asking) -> None:
        self.asking = asking
        see = seer(stage, asking.spec)
        self._see = each(see, ["event", "record"], ["seen", "sightings"], numbered=True)
        self._write = each(writer(list(stage.fields)), ["event", "answer"])

    async def __call__(self, events: list[Event], records: list[Record]) -> Mapping[int, str]:
        """Answer a whole batch; give the reasons of those that failed."""
        seen: list[int] = []
        sightings: list[Sighting] = []
        failures = self._see(events, records, seen, sightings)
        answers = await self.asking.see(sightings) if sightings else []
        unanswered = self._write([events[number] for number in seen], answers)
        return failures | {seen[place]: reason for place, reason in unanswered.items()}


def seer(stage: Windows, spec: Spec) -> Callable[..., None]:
    """Build the function that notes what a store sees of an event, where that has a key."""
    get_key = template.renderer(stage.key)
    get_id = template.renderer(stage.event_id) if stage.event_id else define(("event",), "None")
    get_time, time_of = path.getter(stage.time), time_reader(stage.time, microseconds(stage.ahead))
    get_values, fit, new, kind = values_reader(spec.columns), fitting, tuple.__new__, Sighting
    most_key, most_id = stage.max_key_bytes, MAX_ID

    def see(
        event: Event, record: Record, seen: list[int], sightings: list[Sighting], number: int
    ) -> None:
        key = get_key(event)
        if key is None:
            return
        if not (key.isascii() and len(key) <= most_key):
            fit(key, most_key, "key")
        own_id = get_id(event)
        id_ = record.id if own_id is None else own_id
        if not (id_.isascii() and len(id_) <= most_id):
            fit(id_, most_id, "event's id")
        time_us = time_of(get_time(event), record)
        # A named tuple's own way takes three times as long.
        sightings.append(new(kind, (key, id_, time_us, get_values(event))))
        seen.append(number)

    return see


def writer(fields: Sequence[str]) -> Callable[..., None]:
    """Build the function that writes an answer. It raises `Failure`, as where there is none."""
    setters = {field: path.setter(field) for field in fields}
    is_flat = all(path.parse(field) == (field,) for field in fields)

    def write(event: Event, answer: Answer) -> None:
        if type(answer) is not dict:
            raise Failure(str(answer))
        if is_flat:
            event.update(answer)
        else:
            for field, value in answer.items():
                setters[field](event, value)

    return write
