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
