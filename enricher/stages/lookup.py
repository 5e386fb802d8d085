"""Look a key up in Redis, once for a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from pydantic import Field

from enricher import path
from enricher.model import Event, Failure, Unavailable
from enricher.path import FieldPath
from enricher.stages.base import BatchFunction, Context, Example, Stage
from enricher.template import Template, renderer


class Lookup(Stage):
    """Get the JSON object that is stored under a key and write it to `target`.

    One round trip for a batch, each key once. A key that the store does not know, or whose
    fields are missing, changes nothing. A store that cannot be reached and a value that is no
    JSON object are failures.
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
            "an unknown user",
            "lookup: {key: 'user:{user_id}', target: user}",
            {"user_id": "u2"},
            {"user_id": "u2"},
        ),
    )
    key: Template = Field(description="Such as `user:{user_id}`.")
    target: FieldPath
    max_key_bytes: int = Field(default=512, gt=0, description="A longer key is a failure.")

    def compile(self, context: Context) -> BatchFunction:
        """Build the function of a batch; the store connects when it is first asked."""
        render, put, lookups = (
            renderer(self.key, context.builtins),
            path.setter(self.target),
            context.lookups,
        )
        limit, short = self.max_key_bytes, self.max_key_bytes // 4  # UTF-8: at most 4 a character
        too_long = f"the key is longer than {limit} bytes"
        known: dict[bytes | None, dict[str, Any] | str | None] = {None: None}

        def remember(value: bytes | None) -> dict[str, Any] | str | None:
            if value not in known:
                if len(known) >= REMEMBERED:
                    known.clear()
                known[value] = parse(value)
            return known[value]

        async def lookup(events: list[Event]) -> Mapping[int, str]:
            failures: dict[int, str] = {}
            keys = [render(event) for event in events]
            wanted = [
                key
                for key in dict.fromkeys(keys)
                if key and (len(key) <= short or len(key.encode()) <= limit)
            ]
            try:
                values = await lookups.get_many(wanted) if wanted else []
            except Unavailable as error:
                return dict.fromkeys((n for n, key in enumerate(keys) if key), str(error))
            found = {key: remember(value) for key, value in zip(wanted, values, strict=True)}
            for number, key in enumerate(keys):
                if not key:
                    continue
                value = found.get(key, too_long)
                if type(value) is str:
                    failures[number] = value
                elif value is not None:
                    try:
                        put(events[number], value)
                    except Failure as failure:
                        failures[number] = str(failure)
            return failures

        return lookup


REMEMBERED = 1 << 13
"""Values whose parsed form is kept; events share it, since nobody changes it in place."""


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
