"""The JSON Schema of pipeline files: takes what `check` takes, refuses what an editor should mark."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from enricher import document
from enricher.schema import pipeline_schema
from enricher.sources import SOURCES
from enricher.stages import STAGES
from enricher.stages.base import Example, Stage

from .examples import all_examples, pipeline_of

PIPELINES = sorted((Path(__file__).parent.parent / "pipelines").glob("*.yaml"))
SCHEMA = pipeline_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
SMALL: dict[str, Any] = {
    "name": "small",
    "connections": {"kafka": {"brokers": ["a:9092"]}},
    "stages": [{"json": {}}],
    "routes": [{"console": {}}],
}


def mistakes(value: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(value)]


def changed(path: list[str | int], value: object) -> dict[str, Any]:
    """Give the small pipeline with one value put in."""
    pipeline = copy.deepcopy(SMALL)
    inner: Any = pipeline
    for key in path[:-1]:
        inner = inner.setdefault(key, {}) if isinstance(inner, dict) else inner[key]
    inner[path[-1]] = value
    return pipeline


def test_is_a_schema_of_draft_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.stem)
def test_shipped_pipelines_fit(file: Path) -> None:
    """As they are written: an editor sees `${…}`, never what stands for it."""
    parsed = document.read_file(file)
    assert not parsed.problems
    assert mistakes(parsed.value) == []


@pytest.mark.parametrize(("stage", "example"), all_examples(), ids=lambda one: str(one)[:30])
def test_every_example_fits(stage: type[Stage], example: Example) -> None:
    assert mistakes(pipeline_of(stage, example)) == []


@pytest.mark.parametrize(("kind", "source"), SOURCES.items())
def test_every_example_of_a_source_fits(kind: str, source: Any) -> None:
    examples = [document.parse(text, "example").value for text in source.examples]
    assert [next(iter(example)) for example in examples] == [kind] * len(examples)
    assert mistakes({**SMALL, "sources": examples}) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["conections"], {}),
        (["connections", "kafka"], {"broker": "a:9092"}),
        (["stages"], [{"json": {"envelop": "message"}}]),
        (["stages"], [{"jsn": {}}]),
        (["stages"], [{"bucket": {"field": "a", "ranges": [{"belo": 1, "set": {}}]}}]),
        (["sources"], [{"file": {"path": ["a"]}}]),
        (["routes"], [{"elasticsearch": {"indx": "a"}}]),
        (["alerts"], [{"name": "a", "when": "b", "summry": "c"}]),
        (["tests"], [{"name": "a", "given": {}, "expects": {}}]),
    ],
    ids=str,
)
def test_a_misspelt_field_is_refused(path: list[str | int], value: object) -> None:
    assert mistakes(SMALL) == []
    assert mistakes(changed(path, value))


def test_an_item_names_one_stage() -> None:
    assert mistakes({**SMALL, "stages": [{"json": {}, "drop": {}}]})
    assert mistakes({**SMALL, "stages": [{}]})


def test_a_stage_without_required_fields_may_stay_empty() -> None:
    """`- json:` is null in YAML, and `check` takes it."""
    assert mistakes({**SMALL, "stages": [{"json": None}]}) == []
    assert mistakes({**SMALL, "stages": [{"translate": None}]})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["allow_python"], "${PYTHON:-false}"),
        (["window"], {"past_days": "${DAYS}"}),
        (["connections", "elasticsearch"], {"hosts": "${URL}", "timeout_s": "${TIMEOUT:-5}"}),
        (["connections", "kafka", "brokers"], "a:9092,b:9092"),
        (["connections", "kafka", "security_protocol"], "${PROTOCOL:-SSL}"),
        (["dead_letters"], {"topic": "dead-${ENVIRONMENT}"}),
        (["stages"], [{"json": {"max_depth": "${DEPTH}"}}]),
    ],
    ids=str,
)
def test_a_variable_may_stand_for_any_scalar(path: list[str | int], value: object) -> None:
    assert mistakes(changed(path, value)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["allow_python"], "yes"),
        (["window"], {"past_days": "many"}),
        (["window"], {"past_days": -1}),
        (["connections", "kafka", "security_protocol"], "TLS"),
        (["dead_letters"], {"topic": "dead letters"}),
        (["tests"], [{"name": "a", "given": {}, "expect": {"dropped": "${DROPPED}"}}]),
    ],
    ids=str,
)
def test_any_other_text_in_its_place_is_refused(path: list[str | int], value: object) -> None:
    """Under `tests`, nothing is put in for variables."""
    assert mistakes(changed(path, value))


@pytest.mark.parametrize("kind", STAGES)
def test_an_editor_can_show_what_a_stage_does(kind: str) -> None:
    item = SCHEMA["properties"]["stages"]["items"]["properties"][kind]
    reference = item.get("$ref") or item["anyOf"][0]["$ref"]
    assert SCHEMA["$defs"][reference.rpartition("/")[2]]["description"]
