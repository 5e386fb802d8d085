"""The reference follows from the code: every file of it is current, every part documented."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from enricher import fields, pages, reference
from enricher.cli import COMMANDS
from enricher.config import Pipeline
from enricher.connections import Connections
from enricher.functions import FUNCTIONS
from enricher.routes import Route
from enricher.sources import SOURCES
from enricher.stages import STAGES
from enricher.stages.base import Example, Stage

from .examples import all_examples, run


def test_the_reference_is_current() -> None:
    """If this fails, run `python -m enricher.reference`."""
    assert reference.drifted() == []


def test_check_names_the_files_that_drifted(tmp_path: Path) -> None:
    runner = CliRunner()
    arguments = ["--root", str(tmp_path)]
    assert runner.invoke(reference.main, arguments).exit_code == 0
    assert runner.invoke(reference.main, [*arguments, "--check"]).exit_code == 0

    (tmp_path / "docs/cli.md").unlink()
    (tmp_path / "docs/stages.md").write_text("old")
    result = runner.invoke(reference.main, [*arguments, "--check"])

    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stderr.splitlines()] == [
        "docs/stages.md",
        "docs/cli.md",
    ]


def test_every_generated_page_says_so() -> None:
    for name, text in reference.files().items():
        assert name.endswith(".json") or text.startswith(pages.NOTICE)


@pytest.mark.parametrize(("stage", "example"), all_examples(), ids=lambda one: str(one)[:30])
def test_every_example_gives_what_the_reference_shows(
    stage: type[Stage], example: Example, tmp_path: Path
) -> None:
    assert run(stage, example, tmp_path) == example.expect


@pytest.mark.parametrize(("kind", "stage"), STAGES.items())
def test_every_stage_is_documented(kind: str, stage: type[Stage]) -> None:
    page = pages.stages_page()
    assert f"\n## {kind}\n\n{fields.summary(stage)}\n" in page
    assert stage.examples
    for model in (stage, *fields.nested(stage)):
        for row in fields.rows(model):
            assert f"| `{row.name}` |" in page


@pytest.mark.parametrize(("kind", "source"), SOURCES.items())
def test_every_source_is_documented(kind: str, source: type[BaseModel]) -> None:
    page = pages.sources_page()
    assert f"\n## {kind}\n\n{fields.summary(source)}\n" in page
    for row in fields.rows(source):
        assert f"| `{row.name}` | {row.type} |" in page


def test_every_sink_connection_and_block_is_documented() -> None:
    sinks, pipeline = pages.sinks_page(), pages.pipeline_page()
    for sink in Route.sinks:
        assert f"\n### {sink}\n" in sinks
    for connection in Connections.model_fields:
        assert f"\n### {connection} connection\n" in sinks
    for block in Pipeline.model_fields:
        assert f"`{block}`" in pipeline


def test_every_function_is_documented() -> None:
    page = pages.expressions_page()
    for name in FUNCTIONS:
        assert f"| `{name}(" in page


def test_every_command_is_documented() -> None:
    page = reference.cli_page()
    for name in COMMANDS:
        assert f"\n## enricher {name}\n" in page
        assert f"Usage: enricher {name} " in page


def test_links_lead_somewhere() -> None:
    """A link between pages names a page that is written, too."""
    texts = {Path(name).name: text for name, text in reference.files().items()}
    for text in texts.values():
        for target in text.split("](")[1:]:
            file, _, anchor = target.partition(")")[0].partition("#")
            assert not file or file in texts
            assert not anchor or f"# {anchor}\n" in (texts[file] if file else text).lower()


class Inner(BaseModel):
    """Something inside."""

    value: int = 3


class Outer(BaseModel):
    """Say one thing
    over two lines.

    And more.
    """

    inner: list[Inner]
    choice: float | int | None = None


def test_a_model_is_described_in_words() -> None:
    assert fields.summary(Outer) == "Say one thing over two lines."
    assert fields.description(Outer) == "And more."
    assert fields.nested(Outer) == [Inner]
    assert fields.rows(Outer) == [
        fields.Row("inner", "list of Inner", "required", "Something inside."),
        fields.Row("choice", "number", "", ""),
    ]
    assert fields.rows(Inner) == [fields.Row("value", "integer", "3", "")]
