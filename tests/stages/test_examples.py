"""Every stage's examples run as its reference shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from enricher.build import build
from enricher.config import load
from enricher.lookups import FileLookups
from enricher.model import Document, Record
from enricher.stages import STAGES
from enricher.stages.base import Example

from ..examples import write_files

EXAMPLES = [(kind, example) for kind, stage in STAGES.items() for example in stage.examples]


def lines_of(example: Example) -> Iterator[str]:
    """Write an example as the item of a list, as a pipeline has it."""
    first, *rest = example.yaml.splitlines()
    yield f"  - {first}"
    yield from (f"    {line}" for line in rest)


@pytest.mark.parametrize("kind", STAGES)
def test_every_stage_has_examples(kind: str) -> None:
    """At least one, and its YAML names the stage."""
    examples = STAGES[kind].examples
    assert examples
    assert all(example.yaml.startswith(f"{kind}:") for example in examples)
    assert len({example.title for example in examples}) == len(examples)


@pytest.mark.parametrize(
    ("kind", "example"), EXAMPLES, ids=[f"{kind}: {example.title}" for kind, example in EXAMPLES]
)
def test_example_runs_as_documented(kind: str, example: Example, tmp_path: Path) -> None:
    """A pipeline of this one stage makes of the given event what the example promises."""
    file = tmp_path / "example.yaml"
    write_files(example, tmp_path)
    first = [] if STAGES[kind].decodes else ["  - json: {}"]
    head = ["name: example", "allow_python: true", "stages:", *first]
    tail = ["routes:", "  - elasticsearch: {index: logs}"]
    file.write_text("\n".join([*head, *lines_of(example), *tail]))
    plan = build(load(file, {}), FileLookups(example.lookups))
    record = Record(orjson.dumps(example.given), "id", None, "file", 0)
    outcome = asyncio.run(plan.process([record]))[0]
    assert isinstance(outcome, Document)
    assert orjson.loads(outcome.body) == example.expect
    assert example.given == orjson.loads(record.value)
