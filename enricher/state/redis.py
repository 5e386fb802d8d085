"""State in Redis, for all workers and over restarts: one script a key, one round trip a batch.

Whether a script that was not answered has run is not known. It is simply sent again: what it saw
before changes nothing, and gets its first answer again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import orjson

from enricher.lookups.server import Command
from enricher.model import Unavailable
from enricher.state.script import PIECE, Script, script_of
from enricher.state.spec import TOO_LATE, Answer, Sighting, Spec

PREFIX = "enricher:state:"
"""What every key of ours begins with."""


class Commands(Protocol):
    """Who sends commands, each of which concerns one key."""

    async def run_each(self, commands: Mapping[str, Command], written: int) -> dict[str, Any]:
        """Give the answer to each key's command: `Unavailable` or `Failure` where there is none."""
        ...


class RedisStates:
    """Keeps state in the Redis that look-ups ask.

    Args:
        commands: sends what is to be done.
        piece: events that are read and written together.
    """

    def __init__(self, commands: Any, piece: int = PIECE) -> None:
        self._commands: Commands = commands
        self._piece = piece

    async def see(self, spec: Spec, sightings: Sequence[Sighting]) -> list[Answer]:
        """See events in their order, and answer each, with one round trip."""
        by_key: dict[str, list[int]] = defaultdict(list)
        for number, one in enumerate(sightings):
            by_key[f"{PREFIX}{spec.name}:{one.key}"].append(number)
        arguments = {
            key: ("1", key, *_words(sightings, numbers)) for key, numbers in by_key.items()
        }
        found = await self._run(script_of(spec, self._piece), arguments)
        answers: list[Answer] = [TOO_LATE] * len(sightings)
        for key, numbers in by_key.items():
            told = found[key]
            for place, number in enumerate(numbers):
                answers[number] = _answer(told[place] if type(told) is list else told)
        return answers

    async def _run(self, script: Script, arguments: Mapping[str, Command]) -> dict[str, Any]:
        from redis.exceptions import NoScriptError

        written = sum([sum(map(len, rest)) for rest in arguments.values()])
        found = await self._commands.run_each(
            {key: ("EVALSHA", script.sha, *rest) for key, rest in arguments.items()}, written
        )
        unknown = [key for key, told in found.items() if isinstance(told, NoScriptError)]
        if unknown:  # the server is new, or was started again: this makes it know the script
            found |= await self._commands.run_each(
                {key: ("EVAL", script.text, *arguments[key]) for key in unknown},
                written + len(unknown) * len(script.text),
            )
        return found


def _words(sightings: Sequence[Sighting], numbers: Sequence[int]) -> Iterator[str]:
    """Write events for the script, to which an empty text is what is not there."""
    for number in numbers:
        _, id_, time_us, values = sightings[number]
        yield id_
        yield str(time_us)
        for value in values:
            yield "" if value is None else str(value)


def _answer(told: Any) -> Answer:
    if told is None:
        return TOO_LATE
    if isinstance(told, bytes):
        answer: dict[str, Any] = orjson.loads(told)
        return answer
    return told if isinstance(told, Unavailable) else str(told)
