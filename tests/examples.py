"""Runs the examples that stages carry, on the plan that the daemon runs."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import yaml

from enricher import build, config, document
from enricher.lookups import FileLookups
from enricher.model import Document, Record
from enricher.stages import STAGES
from enricher.stages.base import Example, Stage

DATABASES = Path(__file__).parent / "data" / "mmdb"
"""MaxMind's test databases; `GeoLite2-ASN.mmdb` in an example is the small one."""


def pipeline_of(stage: type[Stage], example: Example) -> dict[str, Any]:
    """Give a whole pipeline, as parsed YAML, with an example's stage in it."""
    item = document.parse(example.yaml, "example").value
    stages = [item] if stage.decodes else [{"json": {}}, item]
    return {
        "name": "example",
        "allow_python": True,
        "stages": stages,
        "routes": [{"elasticsearch": {"index": "example"}}],
    }


def run(stage: type[Stage], example: Example, folder: Path) -> dict[str, Any]:
    """Give what a pipeline file with an example's stage makes of the example's event."""
    file = folder / "example.yaml"
    write_files(example, folder)
    file.write_text(yaml.safe_dump(pipeline_of(stage, example)))
    plan = build.build(config.load(file), FileLookups(example.lookups))
    record = Record(orjson.dumps(example.given), "id", None, "file", 0)
    [outcome] = asyncio.run(plan.process([record]))
    assert isinstance(outcome, Document), outcome
    event: dict[str, Any] = orjson.loads(outcome.body)
    return event


def write_files(example: Example, folder: Path) -> None:
    """Put what an example names into a folder: its texts, and the databases that the tests have."""
    for name, text in example.files.items():
        (folder / name).write_text(text)
    for database in DATABASES.glob("GeoLite2-*-Test.mmdb"):
        (folder / database.name.replace("-Test", "")).symlink_to(database)


def all_examples() -> list[tuple[type[Stage], Example]]:
    """Give every example of every stage."""
    return [(stage, example) for stage in STAGES.values() for example in stage.examples]
