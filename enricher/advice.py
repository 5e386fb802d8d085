"""What `enricher check` warns of: a pipeline that runs, and may not do what its author means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from enricher import path
from enricher.config import PipelineConfig
from enricher.model import Problem
from enricher.sources.file import File
from enricher.stages.base import Stage
from enricher.stages.mask import Mask
from enricher.stages.rename import Rename
from enricher.stages.timestamp import Timestamp
from enricher.stages.window import Windows
from enricher.tail.finder import matches

_IN_PLACE = ("convert", "drop", "mask", "normalize", "remove")
"""Stages that bring no other value into a field than it has."""
_FROM_ELSEWHERE = ("lookup", "python")
"""Stages that bring texts which were in no record."""


def advice(config: PipelineConfig) -> list[Problem]:
    """Give warnings, in the order of the file."""
    found: list[Problem] = []
    for number, source in enumerate(config.sources):
        if isinstance(source, File) and source.follow:
            nothing = [one for one in source.paths if not any(matches([one], source.exclude))]
            message = "no file matches yet; what appears is taken up"
            found += [
                config.document.problem(("sources", number, "file", "paths"), f'"{one}": {message}')
                for one in nothing
            ]
    for number, stage in enumerate(config.stages):
        if isinstance(stage, Mask):
            later = config.stages[number + 1 :]
            place = ("stages", number, stage.kind)
            found += [config.document.problem(place, text) for text in _unmasked(stage, later)]
        if isinstance(stage, Windows):
            place = ("stages", number, stage.kind)
            before = config.stages[:number]
            found += [config.document.problem(place, text) for text in _unsteady(stage, before)]
    redis = config.pipeline.connections.redis
    if any(one.stateful for one in config.stages) and not (redis and (redis.url or redis.file)):
        message = "no redis: what stages remember is lost with the process, and is no worker's else"
        found.append(config.document.problem(("connections",), message))
    settings = config.pipeline.dead_letters
    if (
        any(isinstance(one, Mask) for one in config.stages)
        and "mask" not in settings.model_fields_set
    ):
        message = (
            "dead letters hold records as they came; write mask: true, or false if you mean it"
        )
        found.append(config.document.problem(("dead_letters",), message))
    return found


def _unsteady(stage: Windows, before: Sequence[Stage]) -> Iterator[str]:
    """Say what of a window is not the same for everybody who sends events."""
    times = [field for one in before if isinstance(one, Timestamp) for field in one.writes()]
    if stage.time not in times:
        yield (
            f"no timestamp stage before it writes {stage.time}: whoever sends the event says when "
            f"it was; put one before it, with target: {stage.time}"
        )


def _unmasked(stage: Mask, later: Sequence[Stage]) -> Iterator[str]:
    masked = {path.parse(field)[0] for field in (*stage.fields, *stage.within)}
    for other in later:
        name = other.name or other.kind
        written = _brought(other)
        if stage.scan and not stage.within and other.kind in _FROM_ELSEWHERE:
            yield f"{name} stands behind it: what that brings is not masked; put this stage last"
        elif fields := sorted(masked if written is None else masked.intersection(written)):
            yield f"{name} writes {', '.join(fields)} behind it, not masked; put this stage last"


def _brought(stage: Stage) -> Iterable[str] | None:
    """Give the fields that a stage may bring new values into; None stands for any."""
    if stage.kind in _IN_PLACE:
        return []
    written = stage.fields.values() if isinstance(stage, Rename) else stage.writes()
    return None if written is None else {path.parse(field)[0] for field in written}
