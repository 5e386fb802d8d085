"""Tables of a stage: in the pipeline, or in a file of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from enricher.build import build
from enricher.config import load
from enricher.model import ConfigError

from .running import event_of

PIPELINE = (
    "name: p\nstages:\n  - json: {}\n  - translate:\n"
    "      {field: a, target: b, STAGE}\nroutes: [elasticsearch: {index: l}]\n"
)


def made(folder: Path, stage: str, event: dict[str, Any]) -> dict[str, Any]:
    file = folder / "p.yaml"
    file.write_text(PIPELINE.replace("STAGE", stage))
    return event_of(build(load(file, {})), event)


@pytest.mark.parametrize(
    ("name", "text"),
    [("t.yaml", "x: {y: [1]}\n5: five"), ("t.json", '{"x": {"y": [1]}, "5": "five"}')],
)
def test_values_of_any_type(tmp_path: Path, name: str, text: str) -> None:
    """A table beside the pipeline file; numbers are looked up as JSON writes them."""
    (tmp_path / name).write_text(text)
    assert made(tmp_path, f"file: {name}", {"a": "x"}) == {"a": "x", "b": {"y": [1]}}
    assert made(tmp_path, f"file: {name}", {"a": 5}) == {"a": 5, "b": "five"}
    assert made(tmp_path, f"file: {name}, default: 1", {"a": "z"}) == {"a": "z", "b": 1}
    assert made(tmp_path, f"file: {name}", {"a": "z"}) == {"a": "z"}


def test_csv_values_are_texts(tmp_path: Path) -> None:
    """Of two columns, or of two that are named."""
    (tmp_path / "two.csv").write_text("x,1\n5,true\n")
    (tmp_path / "named.csv").write_text("from,note,to\nx,,1\n5,,true\n")
    for stage in ("file: two.csv", "file: named.csv, key_column: from, value_column: to"):
        assert made(tmp_path, stage, {"a": "x"}) == {"a": "x", "b": "1"}
        assert made(tmp_path, stage, {"a": 5}) == {"a": 5, "b": "true"}


@pytest.mark.parametrize(
    ("stage", "problem"),
    [
        ("default: 1", "give either table or file"),
        ("table: {}, file: t.csv", "give either table or file"),
        ("file: t.csv, key_column: a", "give both key_column and value_column, or none"),
        ("table: {}, key_column: a, value_column: b", "key_column and value_column are for a file"),
        ("file: t.yaml, key_column: a, value_column: b", "DIR/t.yaml: key_column and value_column"),
        ("file: t.csv", 'DIR/t.csv:2: duplicate key "x"'),
        ("file: no.csv", "DIR/no.csv: cannot be read: No such file or directory"),
    ],
)
def test_mistakes(tmp_path: Path, stage: str, problem: str) -> None:
    """They are told with the place of the stage, and that in the file."""
    (tmp_path / "t.csv").write_text("x,1\nx,2\n")
    with pytest.raises(ConfigError) as error:
        made(tmp_path, stage, {})
    expected = f"p.yaml:4:5: stages[1].translate: {problem.replace('DIR', str(tmp_path))}"
    assert expected in str(error.value)
