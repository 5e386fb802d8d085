"""State in Redis, for all workers and over restarts: one script a key, one round trip a batch.

Whether a script that was not answered has run is not known. It is simply sent again: what it saw
before changes nothing, and gets its first answer again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha1
from pathlib import Path
from typing import Any, Protocol

import orjson

from enricher.lookups.server import Command
from enricher.model import Unavailable
from enricher.state.spec import TOO_LATE, Answer, Sighting, Spec

PREFIX = "enricher:state:"
"""What every key of ours begins with."""
SCRIPT = Path(__file__).with_name("see.lua").read_text("utf-8")
SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Commands(Protocol):
    """Who sends commands, each of which concerns one key."""

    async def run_each(self, commands: Mapping[str, Command], written: int) -> dict[str, Any]:
        """Give the answer to each key's command: `Unavailable` or `Failure` where there is none."""
        ...


class RedisStates:
    """Keeps state in the Redis that look-ups ask.

    Args:
        commands: sends what is to be done.
    """

    def __init__(self, commands: Any) -> None:
        self._commands: Commands = commands

    async def see(self, spec: Spec, sightings: Sequence[Sighting]) -> list[Answer]:
        """See events in their order, and answer each, with one round trip."""
        by_key: dict[str, list[int]] = defaultdict(list)
        for number, one in enumerate(sightings):
            by_key[f"{PREFIX}{spec.name}:{one.key}"].append(number)
        measured = measured_json(spec)
        arguments = {
            key: ("1", key, measured, _events(sightings, numbers))
            for key, numbers in by_key.items()
        }
        found = await self._run(arguments)
        answers: list[Answer] = [TOO_LATE] * len(sightings)
        for key, numbers in by_key.items():
            told = found[key]
            for place, number in enumerate(numbers):
                answers[number] = _answer(told[place] if type(told) is list else told)
        return answers

    async def _run(self, arguments: Mapping[str, Command]) -> dict[str, Any]:
        from redis.exceptions import NoScriptError

        written = sum([len(rest[-1]) for rest in arguments.values()])
        found = await self._commands.run_each(
            {key: ("EVALSHA", SHA, *rest) for key, rest in arguments.items()}, written
        )
        unknown = [key for key, told in found.items() if isinstance(told, NoScriptError)]
        if unknown:  # the server is new, or was started again: this makes it know the script
            found |= await self._commands.run_each(
                {key: ("EVAL", SCRIPT, *arguments[key]) for key in unknown},
                written + len(unknown) * len(SCRIPT),
            )
        return found


@lru_cache(maxsize=256)
def measured_json(spec: Spec) -> str:
    """Write what the script has to know of a stage."""
    measures = [
        {
            "target": orjson.dumps(one.target).decode(),
            "kind": one.kind,
            "of": one.of,
            "at_least": one.at_least,
            **({} if one.within_us is None else {"within": one.within_us}),
            **({} if one.last is None else {"last": one.last}),
            **({"before": True} if one.before else {}),
        }
        for one in spec.measures
    ]
    return orjson.dumps(
        {
            "measures": measures,
            "columns": spec.columns,
            "retention": spec.retention_us,
            "lateness": spec.lateness_us,
            "max_events": spec.max_events,
            "expire": (spec.retention_us + spec.outage_us) // 1000,
        }
    ).decode()


def _events(sightings: Sequence[Sighting], numbers: Sequence[int]) -> str:
    """Write events for the script, to which false is what is not there."""
    rows = []
    for number in numbers:
        _, id_, time_us, values = sightings[number]
        rows.append([id_, time_us, *[False if value is None else value for value in values]])
    return orjson.dumps(rows).decode()


def _answer(told: Any) -> Answer:
    if told is None:
        return TOO_LATE
    if isinstance(told, bytes):
        answer: dict[str, Any] = orjson.loads(told)
        return answer
    return told if isinstance(told, Unavailable) else str(told)
