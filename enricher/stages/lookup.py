"""Look a key up in Redis, once for a batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import orjson
from pydantic import Field

from enricher import path
from enricher.functions import to_number
from enricher.model import Event, Failure, Unavailable
from enricher.path import FieldPath
from enricher.stages.base import Context, Example, Stage
from enricher.template import Template, renderer

Found = dict[str, Any] | str | tuple[dict[str, Any], str] | None
"""What a key gives: fields to write, why there are none, both, or nothing at all."""


class Lookup(Stage):
    """Get the JSON object that is stored under a key and write it to `target`.

    One round trip for a batch, each key once, and answers are kept for `cache_s`, negative ones
    too. A key that the store does not know, or whose fields are missing, changes nothing. A
    store that cannot be reached and a value that is no JSON object are failures.
    """

    kind: ClassVar[str] = "lookup"
    examples: ClassVar[tuple[Example, ...]] = (
        Example(
            "a known user",
            "lookup: {key: 'user:{user_id}', target: user}",
            {"user_id": "u1"},
            {"user_id": "u1", "user": {"days": 5}},
            lookups={"user:u1": b'{"days": 5}'},
        ),
        Example(
            "a number of it in a field of its own",
            "lookup: {key: 'user:{user_id}', target: user, numbers: {user_days: days}}",
            {"user_id": "u1"},
            {"user_id": "u1", "user": {"days": "5"}, "user_days": 5},
            lookups={"user:u1": b'{"days": "5"}'},
        ),
        Example(
            "an unknown user",
            "lookup: {key: 'user:{user_id}', target: user}",
            {"user_id": "u2"},
            {"user_id": "u2"},
        ),
    )
    key: Template = Field(description="Such as `user:{user_id}`.")
    target: FieldPath
    numbers: dict[FieldPath, FieldPath] = Field(
        default_factory=dict,
        description="Fields that get a number of the object, by its path there; numeric text is "
        "converted, anything else is a failure, absent or null writes nothing.",
    )
    cache_s: float = Field(
        default=60.0, ge=0, description="Seconds that an answer is kept at most; 0 asks anew."
    )
    max_key_bytes: int = Field(default=512, gt=0, description="A longer key is a failure.")

    def compile(self, context: Context) -> KeyedLookup:
        """Build the function of a batch; the store connects when it is first asked."""
        return KeyedLookup(self, context)

    def writes(self) -> Iterable[str]:
        """Give the fields that it may write."""
        return [self.target, *self.numbers]


class KeyedLookup:
    """A function of a batch that can also be asked first and applied later, event by event."""

    def __init__(self, stage: Lookup, context: Context) -> None:
        self.key: Callable[[Event], str | None] = renderer(stage.key, context.builtins)
        """The key of an event; None or an empty text where there is none."""
        self._lookups = context.lookups
        self._read = reader(stage)
        self._cache = Cache(stage.cache_s if context.lookups.lasting else 0.0)
        self._limit = stage.max_key_bytes
        self.apply = applier([stage.target, *stage.numbers])
        """Writes what was found to an event. Raises `Failure`."""

    async def fetch(self, keys: list[str | None]) -> list[Found]:
        """Give what is stored under each key, with at most one round trip. Never raises."""
        held = self._cache.held()
        try:
            return [held[key] for key in keys]
        except KeyError:
            answers = await self._ask([key for key in dict.fromkeys(keys) if key not in held])
        return [answers[key] if key in answers else held[key] for key in keys]

    async def _ask(self, missing: Iterable[str | None]) -> dict[str | None, Found]:
        too_long = f"the key is longer than {self._limit} bytes"
        answers: dict[str | None, Found] = {}
        asked = []
        for key in missing:
            if key and len(key.encode()) <= self._limit:
                asked.append(key)
            else:
                answers[key] = too_long if key else None
        try:
            values = await self._lookups.get_many(asked) if asked else []
        except Unavailable as error:
            return answers | dict.fromkeys(asked, str(error))
        known = {key: self._read(value) for key, value in zip(asked, values, strict=True)}
        self._cache.add(known, sum(len(value) for value in values if value))
        return answers | known

    async def __call__(self, events: list[Event]) -> Mapping[int, str]:
        """Look up and write for a whole batch; give the reasons of those that failed."""
        failures: dict[int, str] = {}
        found = await self.fetch([self.key(event) for event in events])
        for number, (event, value) in enumerate(zip(events, found, strict=True)):
            try:
                self.apply(event, value)
            except Failure as failure:
                failures[number] = str(failure)
        return failures


def reader(stage: Lookup) -> Callable[[bytes | None], Found]:
    """Build the function that reads a stored value and works out the fields that it gives."""
    target = stage.target
    numbers = [(field, source, path.getter(source)) for field, source in stage.numbers.items()]

    def read(value: bytes | None) -> Found:
        stored = parse(value)
        if type(stored) is not dict:
            return stored
        fields: dict[str, Any] = {target: stored}
        reasons = []
        for field, source, get in numbers:
            number = get(stored)
            try:
                if number is not None:
                    is_number = type(number) in (int, float)
                    fields[field] = number if is_number else to_number(number, source)
            except Failure as failure:
                reasons.append(str(failure))
        return (fields, "; ".join(reasons)) if reasons else fields

    return read


def applier(fields: list[str]) -> Callable[[Event, Found], None]:
    """Build the function that writes what was found to an event."""
    keys = {field: path.parse(field) for field in fields}
    is_flat = all(len(parts) == 1 and parts[0] == field for field, parts in keys.items())
    setters = {field: path.setter(field) for field in fields}

    def write(event: Event, values: dict[str, Any]) -> None:
        for field, value in values.items():
            setters[field](event, value)

    def apply(event: Event, found: Found) -> None:
        if type(found) is dict:
            if is_flat:
                event.update(found)
            else:
                write(event, found)
        elif type(found) is str:
            raise Failure(found)
        elif type(found) is tuple:
            write(event, found[0])
            raise Failure(found[1])

    return apply


class Cache:
    """Answers by key, in two generations: the older one goes when half the time has passed."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held: dict[str | None, Found] = dict(NOBODY)
        self._young: dict[str | None, Found] = dict(NOBODY)
        self._held_bytes = self._young_bytes = 0
        self._turn_at = 0.0

    def held(self) -> dict[str | None, Found]:
        """Give what is fresh enough now."""
        now = time.monotonic()
        is_full = len(self._held) > REMEMBERED or self._held_bytes > REMEMBERED_BYTES
        if now >= self._turn_at or is_full:
            self._held, self._young = self._young, dict(NOBODY)
            self._held_bytes, self._young_bytes = self._young_bytes, 0
            self._turn_at = now + self._seconds / 2
        return self._held

    def add(self, answers: Mapping[str, Found], size: int) -> None:
        """Keep answers that the store gave, and the bytes that they were."""
        if self._seconds:
            self._held_bytes += size
            self._young_bytes += size
            self._held.update(answers)
            self._young.update(answers)


NOBODY: Mapping[str | None, Found] = {None: None, "": None}
"""What is known without asking."""
REMEMBERED = 1 << 14
REMEMBERED_BYTES = 16 << 20
"""Answers that are kept at most, and their JSON, with those of the batch at hand."""


def parse(value: bytes | None) -> dict[str, Any] | str | None:
    """Read a stored value: an object, None where there is none, or the reason it is useless."""
    if value is None:
        return None
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        return "the stored value is not JSON"
    if value.count(b"{") + value.count(b"[") > MAX_DEPTH and is_too_deep(parsed):
        return f"the stored value is nested deeper than {MAX_DEPTH}"
    return parsed if type(parsed) is dict else "the stored value is no JSON object"


MAX_DEPTH = 64
"""Objects and lists inside each other that a stored value may have; orjson writes 254."""


def is_too_deep(value: Any) -> bool:
    """Say whether a value nests deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        children = (v.values() if type(v) is dict else v for v in level)
        level = [child for each in children for child in each if type(child) in (dict, list)]
        if not level:
            return False
    return True
