"""ARCHITECTURE.md tells the truth: one file and its place in the catalogue make a stage."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from enricher import pages
from enricher.cli import cli
from enricher.schema import pipeline_schema
from enricher.stages import STAGES
from enricher.stages.base import Stage

from .examples import pipeline_of, run

PAGE = Path(__file__).parent.parent / "ARCHITECTURE.md"
PIPELINE = """\
name: hidden
stages:
  - json: {}
  - hash: {when: user_id, field: user_id, key: "${HASH_KEY:-k3y}", length: 16}
routes:
  - console: {}
"""


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Stage]:
    """Write the page's code as a module, and put its stage into the catalogue for one test."""
    text = PAGE.read_text(encoding="utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    [name] = re.findall(r"`enricher/stages/([a-z_]+)\.py`, hides", text)
    file = tmp_path / f"{name}.py"
    file.write_text(code, encoding="utf-8")
    module_name = f"enricher.stages.{name}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, module_name, module)
    spec.loader.exec_module(module)
    [stage] = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Stage) and value is not Stage
    ]
    monkeypatch.setitem(STAGES, stage.kind, stage)
    assert stage.kind == name
    return stage


def test_the_page_is_short() -> None:
    assert len(PAGE.read_text(encoding="utf-8").splitlines()) <= 100


def test_its_examples_are_true(stage: type[Stage], tmp_path: Path) -> None:
    assert stage.examples
    for example in stage.examples:
        assert run(stage, example, tmp_path) == example.expect


def test_the_schema_knows_it(stage: type[Stage]) -> None:
    validator = jsonschema.Draft202012Validator(pipeline_schema())
    pipeline = pipeline_of(stage, stage.examples[0])
    assert validator.is_valid(pipeline)
    pipeline["stages"][1][stage.kind]["lenght"] = 8
    assert not validator.is_valid(pipeline)


def test_the_reference_shows_it(stage: type[Stage]) -> None:
    page = pages.stages_page()
    assert f"\n## {stage.kind}\n" in page
    assert "| `length` | integer ≥ 8, ≤ 64 | `16` | Characters of the hash to keep. |" in page
    assert stage.examples[0].title in page


def test_the_command_line_shows_it(stage: type[Stage]) -> None:
    result = CliRunner().invoke(cli, ["stages", stage.kind])
    assert result.exit_code == 0
    assert "Characters of the hash to keep." in result.stdout


@pytest.mark.usefixtures("stage")
def test_it_runs_in_a_pipeline_file(tmp_path: Path) -> None:
    file, events = tmp_path / "hidden.yaml", tmp_path / "events.ndjson"
    file.write_text(PIPELINE)
    events.write_text('{"user_id": "u1"}\n{"user_id": "u1"}\n{"user_id": 5}\n{}\n')

    checked = CliRunner().invoke(cli, ["check", str(file)])
    assert (checked.exit_code, checked.stderr) == (0, "")

    result = CliRunner().invoke(cli, ["dry-run", str(file), str(events), "--format", "ndjson"])
    assert result.exit_code == 0, result.stderr
    first, second, wrong, absent = [
        json.loads(line)["document"] for line in result.stdout.splitlines()
    ]
    assert first == second == {"user_id": "a2627c054a7a0aa5"}
    assert wrong["failures"] == {"hash": "user_id is a number, not a text"}
    assert absent == {}
