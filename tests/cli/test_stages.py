"""`enricher stages`, `enricher schema` and `enricher completion`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from enricher.cli import cli
from enricher.model import UserError
from enricher.schema import pipeline_schema
from enricher.stages import STAGES


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_list_has_a_line_for_each_stage() -> None:
    assert [line.split()[0] for line in invoke("stages").splitlines()] == list(STAGES)


def test_the_list_is_data_for_programs() -> None:
    listed = json.loads(invoke("stages", "--format", "json"))
    assert [one["name"] for one in listed] == list(STAGES)
    assert all(one["summary"] for one in listed)


@pytest.mark.parametrize("kind", STAGES)
def test_a_stage_is_shown_with_its_fields_and_examples(kind: str) -> None:
    text = invoke("stages", kind)
    assert "\x1b" not in text
    assert "  on_error " in text
    for example in STAGES[kind].examples:
        assert f"Example: {example.title}" in text


def test_a_stage_is_data_for_programs() -> None:
    stage = json.loads(invoke("stages", "lookup", "--format", "json"))
    assert stage["name"] == "lookup"
    assert stage["examples"][0]["lookups"] == {"user:u1": {"days": 5}}
    assert stage["examples"][0]["files"] == {}
    examples = json.loads(invoke("stages", "translate", "--format", "json"))["examples"]
    assert {"regions.csv": "kerala,south\ngujarat,west\n"} in [one["files"] for one in examples]
    assert "regions.csv:\n    kerala,south\n    gujarat,west" in invoke("stages", "translate")
    assert {
        "name": "key",
        "type": "template",
        "default": "required",
        "description": "Such as `user:{user_id}`: for Redis it begins with a text that is fixed.",
    } in stage["fields"]


def test_an_unknown_stage_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r'no stage "buckt" \(did you mean "bucket"\?\)'):
        CliRunner().invoke(cli, ["stages", "buckt"], catch_exceptions=False)
    done = subprocess.run(
        [sys.executable, "-m", "enricher", "stages", "xyz"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith('no stage "xyz"; there are json, timestamp')


def test_the_schema_is_printed() -> None:
    assert json.loads(invoke("schema")) == pipeline_schema()


def test_the_schema_is_written_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    assert invoke("schema", "--output", str(file)) == ""
    assert json.loads(file.read_text()) == pipeline_schema()


def test_a_schema_that_cannot_be_written_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written: No such file or directory"):
        invoke("schema", "--output", str(tmp_path / "missing" / "schema.json"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_calls_us(shell: str) -> None:
    script = invoke("completion", shell)
    assert f"_ENRICHER_COMPLETE={shell}_complete" in script


def test_the_shell_at_hand_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/zsh")
    assert invoke("completion") == invoke("completion", "zsh")
    monkeypatch.setenv("SHELL", "/bin/dash")
    with pytest.raises(UserError, match="write one of bash, zsh, fish"):
        invoke("completion")


@pytest.mark.parametrize(
    ("words", "expected"),
    [("enricher che", ["plain,check"]), ("enricher completion z", ["plain,zsh"])],
)
def test_completion_completes(words: str, expected: list[str]) -> None:
    """What the script of bash asks for, and what it gets."""
    script = "import sys; sys.argv[0] = 'enricher'; from enricher.cli import main; main()"
    environment = os.environ | {
        "_ENRICHER_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == expected
