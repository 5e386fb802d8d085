"""Where an event goes: the first route that matches names sink, index and id."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, Field, field_validator, model_validator

from enricher import path, template
from enricher.connections import STRICT
from enricher.expression import Predicate
from enricher.inline import define
from enricher.model import Event
from enricher.moment import LAST, LIMIT, Moment, moment
from enricher.template import Template

DAY_MS = 86_400_000
HOUR_MS = 3_600_000
MAX_ID_BYTES = 512
"""Elasticsearch's limit; a longer id falls back to the record's own."""
MAX_INDEX_BYTES = 255
"""Elasticsearch's limit for the name of an index."""
_SOME_DAY = datetime(2000, 12, 31, 23, tzinfo=UTC)
_INDEX_TEXT = re.compile(r"[^\\/*?\"<>|,#\s:A-Z]*")
_YEARS = (946_684_800_000, 4_133_980_800_000)
"""2000-01-01 and 2101-01-01 in milliseconds since the epoch, UTC."""


class Window(BaseModel):
    """How far an event's time may lie from its record's; beyond it is out of range."""

    model_config = STRICT
    past_days: float = Field(
        default=30, ge=0, description="Days that the event may be older than its record."
    )
    future_days: float = Field(
        default=1, ge=0, description="Days that the event may be newer than its record."
    )


class IndexTarget(BaseModel):
    """An index of Elasticsearch (or of the embedded store)."""

    model_config = STRICT
    index: Template = Field(description="Such as `logs-{@timestamp:%Y.%m.%d}`.")
    id: Template | None = Field(
        default=None, description="The document's id; the record's own where not given or empty."
    )
    template: str | None = Field(default=None, description="The index template it relies on.")
    allowed: dict[str, list[str]] = Field(
        default_factory=dict, description="For a field in the index name: the values it may have."
    )

    @field_validator("index")
    @classmethod
    def _check_index(cls, text: str) -> str:
        parts = template.parse(text)
        first = parts[0].literal
        if not first or first[0] in "-_+." or any(part.builtin for part in parts):
            raise ValueError("an index name starts with a fixed text that begins with a letter")
        for part in parts:
            if not part.keys and not _INDEX_TEXT.fullmatch(part.literal):
                raise ValueError(f'"{part.literal}" cannot stand in an index name')
        if any(part.format and not part.format.startswith("%") for part in parts):
            raise ValueError("a number with a format cannot stand in an index name")
        if sum(bool(part.format) for part in parts) > 1:
            raise ValueError("one time is enough in an index name")
        return text

    @model_validator(mode="after")
    def _check_allowed(self) -> IndexTarget:
        if self.id is not None and any(part.builtin for part in template.parse(self.id)):
            raise ValueError("an id comes from the event alone: a replay must give it again")
        for part in template.parse(self.index):
            field = path.render(part.keys) if part.keys else ""
            if part.keys and not part.format and field not in self.allowed:
                raise ValueError(
                    f"an index name from data needs its values: write allowed: {{{field}: [a, b]}}"
                )
        self._check_length()
        for value in (value for values in self.allowed.values() for value in values):
            if not value or not _INDEX_TEXT.fullmatch(value):
                raise ValueError(f'"{value}" cannot stand in an index name')
        return self

    def _check_length(self) -> None:
        longest = 0
        for part in template.parse(self.index):
            values = self.allowed.get(path.render(part.keys), []) if part.keys else [part.literal]
            texts = [_SOME_DAY.strftime(part.format)] if part.format else values
            longest += max((len(text.encode()) for text in texts), default=0)
        if longest > MAX_INDEX_BYTES:
            raise ValueError(f"the index name has {longest} bytes; {MAX_INDEX_BYTES} is the most")


class TopicTarget(BaseModel):
    """A topic of Kafka; the key is the document's id."""

    model_config = STRICT
    topic: str = Field(
        pattern=r"^[a-zA-Z0-9._-]{1,249}$", description="Of `connections.kafka`; made beforehand."
    )


class ConsoleTarget(BaseModel):
    """Standard output, one JSON document a line."""

    model_config = STRICT


class Route(BaseModel):
    """Sends the events for which `when` is true to one sink."""

    model_config = STRICT
    sinks: ClassVar[tuple[str, ...]] = ("elasticsearch", "kafka", "console")
    when: Predicate | None = None
    elasticsearch: IndexTarget | None = None
    kafka: TopicTarget | None = None
    console: ConsoleTarget | None = None

    @model_validator(mode="after")
    def _one_sink(self) -> Route:
        if sum(getattr(self, sink) is not None for sink in self.sinks) != 1:
            raise ValueError(f"a route names exactly one of {', '.join(self.sinks)}")
        return self

    @property
    def sink(self) -> str:
        """Give the name of the sink."""
        return next(sink for sink in self.sinks if getattr(self, sink) is not None)

    def namer(self, window: Window) -> IndexNamer:
        """Build what names the index."""
        if self.elasticsearch is not None:
            return index_namer(self.elasticsearch, window)
        return fixed_namer(self.kafka.topic if self.kafka else "console")

    def identifier(self) -> Callable[[Event], Any] | None:
        """Build the function that gives the document's own id, to be checked by `fit_id`."""
        if self.elasticsearch is None or self.elasticsearch.id is None:
            return None
        parts = template.parse(self.elasticsearch.id)
        if len(parts) == 1 and parts[0].keys and not parts[0].format:
            return path.getter(path.render(parts[0].keys))
        return template.renderer(self.elasticsearch.id)


def fit_id(value: Any) -> str | None:
    """Give a text that can be an id; None where the record's own counts."""
    if type(value) is str and value and len(value.encode()) <= MAX_ID_BYTES:
        return value
    return None


class IndexNamer(NamedTuple):
    """Names an index by an event's time and, in some, by allowed values of its fields."""

    time: Callable[[Event], Any]
    """Reads the time that stands in the name; None where none does."""
    name: Callable[[Any, int | None, Event], str | None]
    """Gives the name by that time, the record's timestamp (ms) and the event; None where a field
    is missing or not allowed."""
    needs_event: bool = False
    """Whether the name depends on more of the event than its time."""
    known: Mapping[Moment, tuple[int, int, bool, str]] = MappingProxyType({})
    """By the hour of the time: the earliest and the latest timestamp (ms) that suit all of it,
    whether it does without one, and the name. `name` fills it."""


def fixed_namer(name: str) -> IndexNamer:
    """Build what gives one name to all."""
    return IndexNamer(define(("event",), "None"), lambda _time, _timestamp, _event: name)


def index_namer(target: IndexTarget, window: Window) -> IndexNamer:
    """Build the function that names an index from an event's time and allowed values.

    An event without a time, or with one outside the window around its record's timestamp, goes
    to `<base>-outofrange`: a replay chooses the same index, and no year 9999 makes one.
    """
    parts = template.parse(target.index)
    time_part = next((part for part in parts if part.format), None)
    name_values = value_namer(parts, target.allowed)
    is_fixed = not any(part.keys and not part.format for part in parts)
    if time_part is None and is_fixed:
        return fixed_namer(target.index)
    if time_part is None:
        no_time = define(("event",), "None")
        return IndexNamer(
            no_time, lambda _time, _timestamp, event: name_values(event, ""), needs_event=True
        )
    last, read = LAST, moment
    in_range = range_check(window)
    out_of_range = f"{parts[0].literal.rstrip('-._')}-outofrange"
    certain = certain_timestamps(window)
    names: dict[Moment, tuple[int, int, bool, str]] = {}

    def name(value: Any, timestamp: int | None, event: Event) -> str | None:
        time = last[1] if value is last[0] else read(value)
        known = names.get(time)  # type: ignore[arg-type]  # None is never a key
        if known is not None:
            earliest, latest, is_sane, index = known
            if is_sane if timestamp is None else earliest <= timestamp <= latest:
                return index
        if time is None or not in_range(time, value, timestamp):
            return out_of_range
        found = name_values(event, time.local.strftime(time_part.format))
        if found is not None and is_fixed:
            if len(names) >= LIMIT:
                names.clear()
            names[time] = (*certain(time), 2000 <= time.year <= 2100, found)
        return found

    return IndexNamer(path.getter(path.render(time_part.keys)), name, not is_fixed, names)


def value_namer(
    parts: tuple[template.Part, ...], allowed: Mapping[str, list[str]]
) -> Callable[[Event, str], str | None]:
    """Build the function that puts a name together from literals, a time and allowed values."""
    pieces = [
        (part, path.getter(path.render(part.keys)), allowed.get(path.render(part.keys), []))
        if part.keys
        else (part, None, [])
        for part in parts
    ]

    def name(event: Event, time: str) -> str | None:
        texts = []
        for part, get, values in pieces:
            if get is None:
                texts.append(part.literal)
            elif part.format:
                texts.append(time)
            else:
                value = get(event)
                if value not in values:
                    return None
                texts.append(value)
        return "".join(texts)

    return name


def certain_timestamps(window: Window) -> Callable[[Moment], tuple[int, int]]:
    """Build the function that gives the records' timestamps that suit all times of an hour."""
    past, future = int(window.past_days * DAY_MS), int(window.future_days * DAY_MS)
    first, last = _YEARS

    def certain(time: Moment) -> tuple[int, int]:
        earliest, latest = time.epoch_ms + HOUR_MS - future, time.epoch_ms + past
        return max(earliest, first), min(latest, last - 1)

    return certain


def range_check(window: Window) -> Callable[[Moment, str, int | None], bool]:
    """Build the function that says whether a time may name an index.

    A file's record has no timestamp of its own: only the years 2000-2100 are checked.
    """
    past, future = int(window.past_days * DAY_MS), int(window.future_days * DAY_MS)
    first, last = _YEARS

    def in_range(time: Moment, text: str, timestamp: int | None) -> bool:
        if timestamp is None:
            return 2000 <= time.year <= 2100
        age = timestamp - Moment.exact_ms(text)
        return -future <= age <= past and first <= timestamp < last

    return in_range
